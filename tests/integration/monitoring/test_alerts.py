"""The alerts live: clients that wait behind a real PgBouncer reach the webhook, and so does the end of it."""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.monitoring.prometheus import alertmanager_config, prometheus_config
from components.monitoring.rules import rule_file
from components.pgbouncer.ini import PgBouncerIni, auth_file
from ops.dev import packages, ports
from settings import HOST, STATS_USER
from settings.models import PoolSettings
from tests.integration.built import built_platform
from tests.integration.pooler import Pooler, running_pooler

POOL = 5
CLIENTS = 300
SECONDS = "1s"
"""In place of every time of the rules and of the configuration: the times themselves are promtool's to check."""


class Webhook:
    """Who is on call: keeps what Alertmanager posts."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                webhook.alerts += json.loads(body)["alerts"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def has(self, name: str, status: str) -> bool:
        return any(alert["labels"]["alertname"] == name and alert["status"] == status for alert in self.alerts)


@contextmanager
def program(*command: str | Path, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture(scope="module")
def pooler() -> Iterator[Pooler]:
    """PgBouncer with a pool of 5 for payload, as a stack renders its ini."""
    with built_platform() as platform:
        binaries = packages.find()
        assert binaries is not None
        passwords = {role: secret.get_secret_value() for role, secret in platform.state.passwords.items()}
        folder = platform.directory / "servers"
        users = folder / "monitored-users.txt"
        users.write_text(auth_file({r: v.get_secret_value() for r, v in platform.state.scram_verifiers.items()}))
        owner = folder.stat()
        os.chown(users, owner.st_uid, owner.st_gid)
        payload = platform.settings.products["payload"].model_copy(update={"pool": PoolSettings(size=POOL, reserve=0)})
        ini = PgBouncerIni(
            version=binaries.pgbouncer_version,
            server_host=HOST,
            server_port=platform.running.database_port,
            listen_address=HOST,
            listen_port=ports.free_port(),
            products=[payload],
            max_client_connections=1000,
            auth_file_path=str(users),
            server_tls=None,
            client_tls=None,
            stats_user=True,
        )
        with running_pooler(ini, binaries.pgbouncer, folder, passwords) as running:
            yield running


@pytest.fixture(scope="module")
def on_call(pooler: Pooler, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """The declared rules and configuration with targets on this machine, and every time at a second."""
    folder, webhook = tmp_path_factory.mktemp("monitoring"), Webhook()
    exporter, prometheus, alertmanager = ports.free_port(), ports.free_port(), ports.free_port()
    rules = rule_file(pooled_connections=20, runbooks="https://example.com")
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = SECONDS
    config = prometheus_config("shared", valkey=False) | {
        "global": {"scrape_interval": SECONDS, "evaluation_interval": SECONDS},
        "rule_files": [str(folder / "rules.json")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{alertmanager}"]}]}]},
    }
    targets = {"pgbouncer": exporter, "alertmanager": alertmanager, "prometheus": prometheus}
    config["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [f"{HOST}:{targets[job['job_name']]}"]}]}
        for job in config["scrape_configs"]
    ]
    delivery = alertmanager_config()
    delivery["route"] |= {"group_wait": SECONDS, "group_interval": SECONDS}
    delivery["receivers"][0]["webhook_configs"][0]["url_file"] = str(folder / "url")
    for name, content in (("rules", rules), ("prometheus", config), ("alertmanager", delivery)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "url").write_text(f"http://{HOST}:{webhook.server.server_port}/")
    dsn = f"postgres://{STATS_USER}:{pooler.passwords[STATS_USER]}@{HOST}:{pooler.port}/pgbouncer?sslmode=disable"
    with ExitStack() as running:
        running.enter_context(
            program(
                programs / "prometheus-pgbouncer-exporter",
                f"--web.listen-address={HOST}:{exporter}",
                PGBOUNCER_EXPORTER_CONNECTION_STRING=dsn,
            )
        )
        running.enter_context(
            program(
                programs / "prometheus-alertmanager",
                f"--config.file={folder}/alertmanager.json",
                f"--storage.path={folder}/alertmanager",
                "--cluster.listen-address=",
                f"--web.listen-address={HOST}:{alertmanager}",
            )
        )
        running.enter_context(
            program(
                programs / "prometheus",
                f"--config.file={folder}/prometheus.json",
                f"--storage.tsdb.path={folder}/prometheus",
                f"--web.listen-address={HOST}:{prometheus}",
            )
        )
        until(lambda: _value(prometheus, "pgbouncer_up") == 1, "Prometheus has not seen PgBouncer")
        yield webhook
    webhook.server.shutdown()


def _value(prometheus: int, query: str) -> float | None:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{prometheus}/api/v1/query?query={query}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


def test_clients_that_wait_wake_somebody_up_until_they_are_served(pooler: Pooler, on_call: Webhook) -> None:
    assert not on_call.has("PgBouncerClientsWait", "firing")
    served = threading.Event()

    def client(_: int) -> None:
        with closing(pooler.connect("payload_user", connect_timeout=120)) as connection, connection.transaction():
            connection.execute("SELECT 1")
            served.wait(120)

    with ThreadPoolExecutor(CLIENTS) as clients:
        ended = [clients.submit(client, number) for number in range(CLIENTS)]
        try:
            until(lambda: on_call.has("PgBouncerClientsWait", "firing"), "no alert fired")
        finally:
            served.set()
        for each in ended:
            each.result(120)
    until(lambda: on_call.has("PgBouncerClientsWait", "resolved"), "the alert did not clear")
    (alert, *_) = on_call.alerts
    assert alert["annotations"]["runbook_url"] == "https://example.com/pgbouncer-saturated.md"


def test_the_names_of_the_metrics_are_the_exporters_own(pooler: Pooler, programs: Path) -> None:
    """Every metric of PgBouncer's in the rules is one that the exporter really has."""
    port = ports.free_port()
    dsn = f"postgres://{STATS_USER}:{pooler.passwords[STATS_USER]}@{HOST}:{pooler.port}/pgbouncer?sslmode=disable"
    with program(
        programs / "prometheus-pgbouncer-exporter",
        f"--web.listen-address={HOST}:{port}",
        PGBOUNCER_EXPORTER_CONNECTION_STRING=dsn,
    ):
        until(lambda: "pgbouncer_up 1" in _metrics(port), "the exporter has not seen PgBouncer")
        shown = _metrics(port)
    rules = json.dumps(rule_file(pooled_connections=20, runbooks="https://example.com"))
    named = {word for word in rules.replace("(", " ").replace(")", " ").split() if word.startswith("pgbouncer_")}
    assert len(named) > 6
    assert {name for name in named if f"\n{name}" not in shown} == set()


def _metrics(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""

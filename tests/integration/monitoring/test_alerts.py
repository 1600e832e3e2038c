"""The alerts live: clients that wait behind a real PgBouncer reach the webhook and the mailbox, and so does the end."""

import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from components.monitoring.alertmanager import alertmanager_config
from components.monitoring.prometheus import prometheus_config
from components.monitoring.rules import rule_file
from ops.dev import ports
from settings import HOST, OwnMonitoringSettings
from tests.configs import EMAIL, FULL_MONITORING
from tests.integration import tls
from tests.integration.monitoring.conftest import alertmanager_command, pgbouncer_exporter, program, until
from tests.integration.pooler import Pooler
from tests.watched import OWN

WATCHED = replace(OWN, valkey=False, edge=False, pods=False)
PASSWORD = "of-the-mail-server-0123456789"
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


class MailServer:
    """Keeps the mail that it gets over TLS from who knows the password."""

    def __init__(self, folder: Path) -> None:
        authority = tls.authority(folder / "ca")
        self.ca = authority.certificate
        leaf = authority.issue("localhost", folder, owner=folder.stat())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(leaf.certificate, leaf.key)
        self.subjects: list[str] = []
        self.controller = Controller(
            self,
            hostname=HOST,
            port=ports.free_port(),
            tls_context=context,
            require_starttls=True,
            authenticator=self._authenticate,
            auth_required=True,
            # Its prompts in LOGIN are not those that Alertmanager answers.
            auth_exclude_mechanism=["LOGIN"],
        )

    def section(self) -> OwnMonitoringSettings:
        """The stack's section with this server."""
        email = {**EMAIL, "host": "localhost", "port": self.controller.port}
        return OwnMonitoringSettings.model_validate_json(json.dumps({**FULL_MONITORING, "email": email}))

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd calls it so)
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        assert (envelope.mail_from, envelope.rcpt_tos) == (EMAIL["from"], [EMAIL["to"]])
        self.subjects.append(str(message["subject"]))
        return "250 Accepted"

    def _authenticate(self, *arguments: Any) -> AuthResult:
        login = arguments[-1]
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login == LoginPassword(EMAIL["username"].encode(), PASSWORD.encode()))

    def has(self, name: str, status: str) -> bool:
        return any(name in subject and status in subject for subject in self.subjects)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    server = MailServer(tmp_path_factory.mktemp("mail"))
    server.controller.start()
    yield server
    server.controller.stop()


@pytest.fixture(scope="module")
def on_call(
    pooler: Pooler, programs: Path, mail: MailServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Webhook]:
    """The declared rules and configuration with targets on this machine, and every time at a second."""
    folder, webhook = tmp_path_factory.mktemp("monitoring"), Webhook()
    prometheus, alertmanager = ports.free_port(), ports.free_port()
    rules = rule_file(WATCHED, runbooks="https://example.com")
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = SECONDS
    config = prometheus_config(WATCHED) | {
        "global": {"scrape_interval": SECONDS, "evaluation_interval": SECONDS},
        "rule_files": [str(folder / "rules.json")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{alertmanager}"]}]}]},
    }
    # Of the sections for a webhook and for e-mail the addresses alone are the test's own.
    delivery = alertmanager_config(mail.section())
    delivery["route"] |= {"group_wait": SECONDS, "group_interval": SECONDS}
    (receiver,) = delivery["receivers"]
    receiver["webhook_configs"][0]["url_file"] = str(folder / "url")
    (folder / "url").write_text(f"http://{HOST}:{webhook.server.server_port}/")
    receiver["email_configs"][0] |= {
        "auth_password_file": str(folder / "password"),
        "tls_config": {"ca_file": str(mail.ca)},
    }
    (folder / "password").write_text(PASSWORD)
    with ExitStack() as running:
        targets = {
            "pgbouncer": running.enter_context(pgbouncer_exporter(programs, pooler)),
            "alertmanager": alertmanager,
            "prometheus": prometheus,
        }
        config["scrape_configs"] = [
            {
                "job_name": job["job_name"],
                "static_configs": [{"targets": [f"{HOST}:{targets[job['job_name']]}"]}],
                "relabel_configs": job.get("relabel_configs", []),
            }
            for job in config["scrape_configs"]
        ]
        for name, content in (("rules", rules), ("prometheus", config), ("alertmanager", delivery)):
            (folder / f"{name}.json").write_text(json.dumps(content))
        running.enter_context(
            program(
                *alertmanager_command(programs),
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


def test_clients_that_wait_wake_somebody_up_until_they_are_served(
    pooler: Pooler, on_call: Webhook, mail: MailServer
) -> None:
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
    until(lambda: mail.has("PgBouncerClientsWait", "FIRING"), "no mail says that it fires")
    until(lambda: mail.has("PgBouncerClientsWait", "RESOLVED"), "no mail says that it cleared")
    (alert, *_) = on_call.alerts
    assert alert["annotations"]["runbook_url"] == "https://example.com/pgbouncer-saturated.md"

"""The local servers in containers, with a stand-in for Docker."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.pgbouncer.ini import CONTAINER_VERSION
from ops.dev import admin, containers, packages, servers
from ops.dev import state as local_state
from ops.dev.model import Extras, LocalStack, Status
from ops.dev.postgresql import BOOTSTRAP_SQL
from settings import Settings
from tests.unit.ops.dev.programs import programs

COMPOSE = yaml.safe_load(containers.COMPOSE_FILE.read_text())


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    return local_state.prepare("dev", tmp_path)


def compose_environment(told: Settings, folder: Path) -> dict[str, str]:
    return containers.environment(LocalStack.of(told, folder))


def test_every_port_is_published_on_the_loopback_address_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(ports) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]+:-\d+\}:\d+", port) for port in ports)


def test_every_container_has_a_pinned_image_and_a_health_check() -> None:
    images = {name: service["image"] for name, service in COMPOSE["services"].items()}
    assert images["postgres"] == "postgres:15"
    assert images["pgbouncer"] == "edoburu/pgbouncer:v1.25.2-p0"
    assert images["pgbouncer"].split(":v")[1].startswith("{}.{}.".format(*CONTAINER_VERSION))
    assert not [image for image in images.values() if ":" not in image or image.endswith(":latest")]
    assert all(service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL") for service in COMPOSE["services"].values())


def test_the_compose_file_takes_what_make_up_gives(tmp_path: Path, told: Settings) -> None:
    used = set(re.findall(r"\$\{(\w+)", containers.COMPOSE_FILE.read_text()))
    used |= {
        entry["environment"]
        for part in ("configs", "secrets")
        for entry in COMPOSE[part].values()
        if "environment" in entry
    }
    assert used == set(compose_environment(told, tmp_path))


def test_no_secret_is_in_a_containers_configuration(tmp_path: Path, told: Settings) -> None:
    """What `docker inspect` shows: everything but the mounted secrets."""
    assert told.local is not None
    environment = compose_environment(told, tmp_path)
    mounted = {entry["environment"] for entry in COMPOSE["secrets"].values()}
    visible = " ".join(value for key, value in environment.items() if key not in mounted)
    for secret in (*told.local.passwords.values(), *told.local.scram_verifiers.values(), *told.local.secrets.values()):
        assert secret.get_secret_value() not in visible
    assert mounted == {"ADMIN_VERIFIER", "PGBOUNCER_USERS", "VALKEY_ACL"}


def test_the_containers_environment_stays_until_something_changes(
    tmp_path: Path, told: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = compose_environment(told, tmp_path)
    assert compose_environment(told, tmp_path) == first
    assert stat.S_IMODE((tmp_path / "compose.json").stat().st_mode) == 0o600
    fewer = told.model_copy(update={"products": dict(list(told.products.items())[:2])})
    another = local_state.prepare("dev", tmp_path_factory.mktemp("another"))  # the same ini, other passwords
    for changed in (fewer, another):
        assert compose_environment(changed, tmp_path)["PGBOUNCER_CHECKSUM"] != first["PGBOUNCER_CHECKSUM"]


def test_the_containers_servers_are_told_the_same_as_the_native_ones(tmp_path: Path, told: Settings) -> None:
    assert told.local is not None
    environment = compose_environment(told, tmp_path)
    assert "server_tls_sslmode = disable" in environment["PGBOUNCER_INI"]
    assert environment["PGBOUNCER_USERS"] == LocalStack.of(told, tmp_path).pgbouncer_users()
    assert environment["MAX_CONNECTIONS"] == "200"
    postgres = COMPOSE["services"]["postgres"]
    assert "--password_encryption=scram-sha-256" in postgres["command"]
    assert "--shared_preload_libraries=pg_stat_statements" in postgres["command"]
    assert postgres["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "scram-sha-256"
    assert COMPOSE["configs"]["bootstrap_sql"]["file"] == f"./{BOOTSTRAP_SQL.name}"


def fake_compose(folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str = "") -> Path:
    """A container engine that writes down what it is asked, with a variable of its environment; containers run after
    `up` and until `down`."""
    told = f" {variable}=${variable}" if variable else ""
    calls = folder / "calls"
    programs(
        folder,
        docker=f"""
echo "$@{told}" >> {calls}
case "$*" in
  *" up "*) echo c1 > {folder}/running ;;
  *" down"*) rm -f {folder}/running ;;
  *" ps --quiet"*) cat {folder}/running 2> /dev/null || true ;;
  *" ps --services"*) [ ! -e {folder}/running ] || printf 'postgres\\npgbouncer\\n' ;;
esac
""",
    )
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return calls


def test_containers_are_started_once_and_stopped(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker, folder = tmp_path / "docker", tmp_path / "state"
    docker.mkdir()
    calls = fake_compose(docker, monkeypatch)
    monkeypatch.setattr(admin, "require", lambda *_: None)
    said: list[str] = []

    first = servers.start(told, folder, report=said.append)
    assert (first.kind, first.actions) == ("compose", ("containers started",))
    assert servers.start(told, folder, report=said.append).actions == ()
    assert servers.status(folder) == Status(kind="compose", postgresql=True, pgbouncer=True)
    extras, generated = servers.extras_of(told, folder), json.loads((folder / "extras.json").read_text())
    assert extras == first.extras
    assert extras.store is not None
    assert extras.store.endpoint == f"http://127.0.0.1:{generated['s3Port']}"
    assert extras.store.secret_access_key == generated["s3SecretAccessKey"]
    assert extras.store.bucket == COMPOSE["services"]["s3"]["environment"]["BUCKET"] == settings.BUCKET
    assert told.local is not None
    password = told.local.secrets["VALKEY_PASSWORD"].get_secret_value()
    assert extras.redis_url == f"redis://django:{password}@127.0.0.1:{generated['valkeyPort']}/0"
    assert servers.stop(folder) == ("containers stopped",)
    assert servers.status(folder) == Status(kind="compose")
    (removed,) = servers.stop(folder, wipe=True)
    assert removed.startswith(f"removed {folder}: ")
    assert servers.status(folder) == Status(kind=None)
    assert servers.extras_of(told, folder) == Extras()

    commands = [line for line in calls.read_text().splitlines() if "--project-name" in line]
    assert all(f"--file {containers.COMPOSE_FILE} --project-name lightwave-" in line for line in commands)
    assert [line for line in commands if line.endswith("down --volumes")]
    assert told.local is not None
    for secret in told.local.passwords.values():
        assert secret.get_secret_value() not in calls.read_text() + "".join(said)


def test_a_clusters_address_is_published_by_the_container_too(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_compose(tmp_path, monkeypatch, "CLUSTER_ADDRESS")
    monkeypatch.setattr(admin, "require", lambda *_: None)
    monkeypatch.setattr(LocalStack, "cluster_address", lambda _: "172.18.0.1")
    servers.start(told, tmp_path / "state", report=lambda _: None)
    (up, _) = (line for line in calls.read_text().splitlines() if " up " in line)
    assert f"--file {containers.COMPOSE_FILE} --file {containers.COMPOSE_CLUSTER_FILE} --project-name" in up
    assert up.endswith("CLUSTER_ADDRESS=172.18.0.1")


def test_extras_that_fail_do_not_fail_the_platform(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, docker='case "$*" in *"valkey s3") exit 1 ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(admin, "require", lambda *_: None)
    assert "did not start" in servers.start(told, tmp_path, report=lambda _: None).notes[0]


def test_the_real_client_accepts_the_compose_file(tmp_path: Path, told: Settings) -> None:
    if not packages.succeeds(["docker", "compose", "version"]):
        pytest.skip("no docker compose on this machine")
    files = ("--file", str(containers.COMPOSE_FILE), "--file", str(containers.COMPOSE_CLUSTER_FILE))
    done = subprocess.run(
        ["docker", "compose", *files, "config", "--format", "json"],
        env={**os.environ, **compose_environment(told, tmp_path), "CLUSTER_ADDRESS": "172.18.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rendered: dict[str, Any] = json.loads(done.stdout)
    assert set(rendered["services"]) == {"postgres", "pgbouncer", "valkey", "s3"}
    assert told.local is not None
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service["ports"]]
        for name, service in rendered["services"].items()
    }
    database = str(told.local.database_port)
    assert published["postgres"] == [("127.0.0.1", database, 5432), ("172.18.0.1", database, 5432)]
    assert {host for name, ports in published.items() if name != "postgres" for host, _, _ in ports} == {"127.0.0.1"}

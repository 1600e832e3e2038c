"""The local servers without servers: which kind is chosen, what is installed, what the containers are told."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from ops.dev import servers as services
from ops.dev import state as local_state
from settings import (
    ADMIN,
    APPLICATION_SECRETS,
    STATS_USER,
    VALKEY_SECRETS,
    LocalDatabaseSettings,
    Settings,
    SettingsError,
)
from tests.configs import ON_KIND
from tests.unit import conftest

COMPOSE = yaml.safe_load(services.COMPOSE_FILE.read_text())


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    return local_state.prepare("dev", tmp_path)


# --- state ------------------------------------------------------------------------------------------------------------


def test_the_state_is_generated_once(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    told = local_state.prepare("dev", folder)
    before = (folder / "state.json").read_bytes()
    assert told.local is not None
    logins = {STATS_USER, *(p.login_role for p in told.products.values())}
    assert set(told.local.passwords) == {ADMIN, *logins}
    assert set(told.local.scram_verifiers) == logins
    assert set(told.local.secrets) == {*APPLICATION_SECRETS.values(), *VALKEY_SECRETS}
    assert told.local.database_port != told.local.pgbouncer_port
    assert local_state.prepare("dev", folder) == told
    assert (folder / "state.json").read_bytes() == before


def test_the_state_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local_state.prepare("dev", tmp_path / "state")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "state.json").stat().st_mode) == 0o600


def test_every_secret_is_its_own_and_long(told: Settings) -> None:
    assert told.local is not None
    secrets = [s.get_secret_value() for s in (*told.local.passwords.values(), *told.local.secrets.values())]
    assert len(set(secrets)) == len(secrets) == 11
    assert all(re.fullmatch(r"[A-Za-z0-9]{32,}", secret) for secret in secrets)


def test_verifiers_have_salts_of_their_own(told: Settings) -> None:
    assert told.local is not None
    salts = {v.get_secret_value().split("$")[1] for v in told.local.scram_verifiers.values()}
    assert len(salts) == len(told.products) + 1


def test_taken_ports_are_stepped_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_state, "port_is_free", lambda _: False)
    told = local_state.prepare("dev", tmp_path)
    assert told.local is not None
    assert told.local.database_port != 5432
    assert told.local.pgbouncer_port != 6432


def test_free_usual_ports_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_state, "port_is_free", lambda _: True)
    told = local_state.prepare("dev", tmp_path)
    assert told.local is not None
    assert (told.local.database_port, told.local.pgbouncer_port) == (5432, 6432)


@pytest.mark.parametrize("mangled", ["", "{", "[]", '"x"', '{"passwords": 1}', '{"databasePort": "x"}'])
def test_a_mangled_state_is_told_with_its_cure_and_left_alone(tmp_path: Path, mangled: str) -> None:
    (tmp_path / "state.json").write_text(mangled)
    if mangled in ("[]",):  # nothing in it: as if there were none
        assert local_state.prepare("dev", tmp_path).local is not None
        return
    with pytest.raises(SettingsError, match=r"\.local/dev/state\.json[\s\S]*make down WIPE=1"):
        local_state.prepare("dev", tmp_path)


def test_a_wrong_config_generates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "stack_config", lambda _: {"lightwave:database": {"server": "local"}})
    with pytest.raises(SettingsError):
        local_state.prepare("dev", tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    local_state.write_private(path, "old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        local_state.write_private(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- which kind -------------------------------------------------------------------------------------------------------


def programs(folder: Path, **scripts: str) -> None:
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("scripts", "command"),
    [
        ({}, None),
        ({"docker": "exit 0"}, ["docker", "compose"]),
        ({"podman": "exit 0"}, ["podman", "compose"]),
        ({"docker": "exit 1", "podman": "exit 0"}, ["podman", "compose"]),
        ({"docker": '[ "$1" != info ]'}, None),  # the client alone
        ({"docker": '[ "$1" != compose ]'}, None),  # no compose plugin
    ],
    ids=["none", "docker", "podman", "podman for a dead docker", "no daemon", "no plugin"],
)
def test_a_container_engine_counts_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str], command: list[str] | None
) -> None:
    programs(tmp_path, **scripts)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert services.compose_command() == command


@pytest.mark.parametrize(
    ("answers", "recorded", "how"),
    [(True, None, "compose"), (False, None, "native"), (True, "native", "native"), (False, "compose", "compose")],
)
def test_containers_are_preferred_and_what_was_used_first_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool, recorded: str | None, how: str
) -> None:
    monkeypatch.setattr(services, "compose_command", lambda: ["docker", "compose"] if answers else None)
    if recorded:
        (tmp_path / "services.json").write_text(json.dumps({"how": recorded}))
    assert services._chosen(tmp_path, "auto") == how


def test_a_start_that_could_not_begin_binds_nobody(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Callable[[str], None]) -> services.Binaries:
        raise services.ServicesError("missing")

    monkeypatch.setattr(services, "find_binaries", lambda: None)
    monkeypatch.setattr(services, "_install_debian_packages", refuse)
    with pytest.raises(services.ServicesError, match="missing"):
        services.start(told, tmp_path, engine="native")
    assert services.status(tmp_path) == services.Status(how=None)


def version(text: str) -> str:
    return f"echo '{text}'"


@pytest.mark.parametrize(
    ("postgres", "pgbouncer", "found"),
    [
        ("postgres (PostgreSQL) 15.9", "PgBouncer 1.18.0", (1, 18)),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "PgBouncer 1.25.2", (1, 25)),
        ("postgres (PostgreSQL) 16.15", "PgBouncer 1.25.2", None),
        ("postgres (PostgreSQL) 14.15", "PgBouncer 1.25.2", None),
    ],
)
def test_binaries_count_when_they_are_of_version_15(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str, pgbouncer: str, found: tuple[int, int] | None
) -> None:
    programs(tmp_path, initdb="exit 0", postgres=version(postgres), pgbouncer=version(pgbouncer))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(services, "_POSTGRESQL_FOLDERS", ())
    binaries = services.find_binaries()
    if found is None:
        assert binaries is None
    else:
        assert binaries == services.Binaries(
            postgresql=tmp_path, pgbouncer=tmp_path / "pgbouncer", pgbouncer_version=found
        )


# --- what is installed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "release", "command"),
    [
        ("Darwin", {}, "brew install postgresql@15 pgbouncer"),
        ("Linux", {"ID": "debian", "VERSION_ID": "12"}, "sudo apt-get install postgresql-15 pgbouncer"),
        (
            "Linux",
            {"ID": "debian", "VERSION_ID": "13"},
            "apt.postgresql.org.sh -y && sudo apt-get install postgresql-15",
        ),
        (
            "Linux",
            {"ID": "ubuntu", "ID_LIKE": "debian"},
            "apt.postgresql.org.sh -y && sudo apt-get install postgresql-15",
        ),
        ("Linux", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "sudo dnf install postgresql15-server"),
        ("Linux", {"ID": "alpine"}, "https://www.postgresql.org/download/"),
    ],
)
def test_the_error_has_the_platforms_own_command(
    monkeypatch: pytest.MonkeyPatch, system: str, release: dict[str, str], command: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(services, "_os_release", lambda: release)
    assert command in services._how_to_install()


@pytest.mark.parametrize(
    ("release", "root", "sudo"),
    [
        ({"ID": "debian", "VERSION_ID": "13"}, True, True),
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, True, True),
        ({"ID": "debian", "VERSION_ID": "12"}, False, False),
    ],
    ids=["debian 13", "ubuntu", "no sudo"],
)
def test_nothing_is_installed_elsewhere_or_without_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], root: bool, sudo: bool
) -> None:
    programs(tmp_path, apt_get=f"touch {tmp_path}/ran", sudo="exit 0" if sudo else "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(services, "_os_release", lambda: release)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    with pytest.raises(services.ServicesError, match="or run:"):
        services._install_debian_packages(print)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("outcome", [0, 100])
def test_the_installation_starts_no_service_and_cleans_up(tmp_path: Path, outcome: int) -> None:
    """The script as it is, with other folders: apt-get finds services forbidden, and afterwards they no longer are."""
    policy = tmp_path / "policy-rc.d"
    programs(
        tmp_path,
        apt_get=f'echo "$@" >> {tmp_path}/calls; sh {policy}; echo $? >> {tmp_path}/policy-says;'
        f' [ "$1" = update ] || exit {outcome}',
        systemctl=f'echo systemctl "$@" >> {tmp_path}/calls',
    )
    script = services._INSTALL.replace("/usr/sbin/policy-rc.d", str(policy)).replace("{units}", "postgresql pgbouncer")
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:2] == ["update -q", "install -q -y --no-install-recommends postgresql-15 pgbouncer"]
    assert (tmp_path / "policy-says").read_text().split() == ["101", "101"]
    assert not policy.exists()
    assert done.returncode == outcome
    assert calls[2:] == ([] if outcome else ["systemctl disable -q postgresql pgbouncer"])


def test_the_installation_leaves_an_own_policy_alone(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("mine")
    programs(tmp_path, apt_get="exit 0")
    script = services._INSTALL.replace("/usr/sbin/policy-rc.d", str(policy)).replace("{units}", "")
    subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, capture_output=True)
    assert policy.read_text() == "mine"


# --- the containers ---------------------------------------------------------------------------------------------------


def compose_environment(told: Settings, folder: Path) -> dict[str, str]:
    assert told.local is not None
    assert isinstance(told.database, LocalDatabaseSettings)
    extras = services._Compose(folder)._extras(told.local)
    return services.compose_environment(told, told.local, told.database, extras)


def test_every_port_is_published_on_the_loopback_address_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(ports) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]+:-\d+\}:\d+", port) for port in ports)


def test_every_container_has_a_pinned_image_and_a_health_check() -> None:
    images = {name: service["image"] for name, service in COMPOSE["services"].items()}
    assert images["postgres"] == "postgres:15"
    assert images["pgbouncer"] == "edoburu/pgbouncer:v1.25.2-p0"
    assert images["pgbouncer"].split(":v")[1].startswith("{}.{}".format(*services.COMPOSE_PGBOUNCER_VERSION))
    assert not [image for image in images.values() if ":" not in image or image.endswith(":latest")]
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in COMPOSE["services"].values())


def test_the_compose_file_takes_what_make_up_gives(tmp_path: Path, told: Settings) -> None:
    used = set(re.findall(r"\$\{(\w+)", services.COMPOSE_FILE.read_text()))
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
    for secret in (*told.local.passwords.values(), *told.local.scram_verifiers.values()):
        assert secret.get_secret_value() not in visible
    assert mounted == {"ADMIN_VERIFIER", "PGBOUNCER_USERS"}


def test_the_containers_environment_stays_until_something_changes(tmp_path: Path, told: Settings) -> None:
    first = compose_environment(told, tmp_path)
    assert compose_environment(told, tmp_path) == first
    assert stat.S_IMODE((tmp_path / "compose.json").stat().st_mode) == 0o600
    fewer = told.model_copy(update={"products": dict(list(told.products.items())[:2])})
    another = local_state.prepare("dev", tmp_path / "another")  # the same ini, other passwords
    for changed in (fewer, another):
        assert compose_environment(changed, tmp_path)["PGBOUNCER_CHECKSUM"] != first["PGBOUNCER_CHECKSUM"]


def test_the_containers_servers_are_told_the_same_as_the_native_ones(tmp_path: Path, told: Settings) -> None:
    assert told.local is not None
    environment = compose_environment(told, tmp_path)
    assert "server_tls_sslmode = disable" in environment["PGBOUNCER_INI"]
    assert environment["PGBOUNCER_USERS"] == services.pgbouncer_auth_file(told, told.local)
    assert environment["MAX_CONNECTIONS"] == "200"
    postgres = COMPOSE["services"]["postgres"]
    assert "--password_encryption=scram-sha-256" in postgres["command"]
    assert "--shared_preload_libraries=pg_stat_statements" in postgres["command"]
    assert postgres["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "scram-sha-256"
    assert COMPOSE["configs"]["bootstrap_sql"]["file"] == f"./{services.BOOTSTRAP_SQL.name}"


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
    engine = tmp_path / "engine"
    engine.mkdir()
    calls = fake_compose(engine, monkeypatch)
    monkeypatch.setattr(services, "require_admin", lambda *_: None)
    said: list[str] = []

    first = services.start(told, tmp_path, say=said.append)
    assert (first.how, first.actions) == ("compose", ("containers started",))
    assert services.start(told, tmp_path, say=said.append).actions == ()
    assert services.status(tmp_path) == services.Status(how="compose", postgresql=True, pgbouncer=True)
    extras, generated = services.extras(tmp_path), json.loads((tmp_path / "compose.json").read_text())
    assert extras is not None
    assert extras.store.endpoint == f"http://127.0.0.1:{generated['S3_PORT']}"
    assert extras.store.secret_access_key == generated["S3_SECRET_ACCESS_KEY"]
    assert extras.store.bucket == COMPOSE["services"]["s3"]["environment"]["BUCKET"] == settings.BUCKET
    assert extras.redis_url == f"redis://127.0.0.1:{generated['VALKEY_PORT']}/0"
    assert services.stop(tmp_path) == ("containers stopped",)
    assert services.status(tmp_path) == services.Status(how="compose")
    assert services.stop(tmp_path, wipe=True) == ("data removed",)
    assert services.status(tmp_path) == services.Status(how=None)
    assert services.extras(tmp_path) is None

    commands = [line for line in calls.read_text().splitlines() if "--project-name" in line]
    assert all(f"--file {services.COMPOSE_FILE} --project-name lightwave-" in line for line in commands)
    assert [line for line in commands if line.endswith("down --volumes")]
    assert told.local is not None
    for secret in told.local.passwords.values():
        assert secret.get_secret_value() not in calls.read_text() + "".join(said)


def on_a_cluster(host: str) -> Settings:
    config = settings.stack_config("dev") | {f"lightwave:{name}": value for name, value in ON_KIND.items()}
    config["lightwave:kubernetes"] = {**ON_KIND["kubernetes"], "databaseHost": host, "databaseCidrs": ["192.0.2.0/24"]}
    return settings.load("dev", config, local=conftest.local_state())


def test_a_name_needs_no_address_besides_loopback(told: Settings) -> None:
    assert services.cluster_address(told) is None
    assert services.cluster_address(on_a_cluster("host.docker.internal")) is None


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    # TEST-NET-1 of RFC 5737: nobody's.
    told = on_a_cluster("192.0.2.1")
    with pytest.raises(services.ServicesError, match=r"databaseHost 192\.0\.2\.1 .*; allowed: an address"):
        services.cluster_address(told)


def test_a_clusters_address_is_published_by_the_container_too(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_compose(tmp_path, monkeypatch, "CLUSTER_ADDRESS")
    monkeypatch.setattr(services, "require_admin", lambda *_: None)
    monkeypatch.setattr(services, "cluster_address", lambda _: "172.18.0.1")
    services.start(told, tmp_path / "state", say=lambda _: None)
    (up, _) = (line for line in calls.read_text().splitlines() if " up " in line)
    assert f"--file {services.COMPOSE_FILE} --file {services.COMPOSE_CLUSTER_FILE} --project-name" in up
    assert up.endswith("CLUSTER_ADDRESS=172.18.0.1")


def test_extras_that_fail_do_not_fail_the_platform(
    tmp_path: Path, told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, docker='case "$*" in *"valkey s3") exit 1 ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(services, "require_admin", lambda *_: None)
    assert "did not start" in services.start(told, tmp_path, say=lambda _: None).notes[0]


def test_the_real_client_accepts_the_compose_file(tmp_path: Path, told: Settings) -> None:
    if not services._succeeds(["docker", "compose", "version"]):
        pytest.skip("no docker compose on this machine")
    files = ("--file", str(services.COMPOSE_FILE), "--file", str(services.COMPOSE_CLUSTER_FILE))
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


def test_the_bootstrap_asks_for_the_admins_verifier_alone() -> None:
    state = settings.LocalState.model_validate_json(json.dumps(conftest.local_state()))
    verifier = services.admin_verifier(state)
    sql = services.bootstrap_sql(verifier)
    assert sql.startswith(f"SET lightwave.admin_verifier = '{verifier}';\n\n")
    assert "NOSUPERUSER CREATEROLE NOCREATEDB" in sql
    assert state.passwords[ADMIN].get_secret_value() not in sql

"""The local servers as they really run: started, killed, changed, stopped; and whom they let in."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

import settings
from ops.dev import servers as services
from ops.dev import state as local_state
from settings import ADMIN, DATABASE, Settings
from tests.integration.conftest import Platform, require_binaries, running_platform, state_folder

ROLE = "payload_user"


@pytest.fixture(scope="module")
def served() -> Iterator[Platform]:
    """A platform where the product roles can log in: nothing here is about their grants."""
    with running_platform() as platform:
        with platform.superuser() as connection:
            for role, verifier in platform.state.scram_verifiers.items():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{verifier.get_secret_value()}'")
        yield platform


def start_again(platform: Platform, changed: Settings | None = None) -> services.Running:
    return services.start(changed or platform.settings, platform.directory, engine="native")


def pids(platform: Platform) -> tuple[int, int]:
    servers = platform.directory / "servers"
    files = (servers / "postgresql" / "postmaster.pid", servers / "pgbouncer" / "pgbouncer.pid")
    postgresql, pgbouncer = (int(file.read_text().split()[0]) for file in files)
    return postgresql, pgbouncer


def reconfigured(platform: Platform, **sections: dict[str, object]) -> Settings:
    """The platform's settings with entries of a section replaced."""
    config = settings.stack_config("dev")
    for name, value in sections.items():
        config[f"lightwave:{name}"] = {**config.get(f"lightwave:{name}", {}), **value}
    with settings.offline():
        products = settings.load("dev", config).products.values()
    local_state.ensure(products, platform.directory)
    return settings.load("dev", config, local=local_state.read(platform.directory))


# --- what runs --------------------------------------------------------------------------------------------------------


def test_the_first_start_says_what_it_did(platform: Platform) -> None:
    assert len(platform.running.actions) >= 3
    assert services.status(platform.directory) == services.Status(how="native", postgresql=True, pgbouncer=True)


def test_the_server_is_as_on_rds(platform: Platform) -> None:
    with platform.connect() as connection:
        version = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
        admin = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owners = connection.execute(
            "SELECT pg_get_userbyid(datdba), pg_get_userbyid(nspowner) FROM pg_database, pg_namespace"
            " WHERE nspname = 'extensions' AND datname = current_database()"
        ).fetchone()
        extension = connection.execute(
            "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
        ).fetchone()
        connection.execute("SELECT count(*) FROM extensions.pg_stat_statements")
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("password_encryption", "listen_addresses", "max_connections", "superuser_reserved_connections")
        }
    assert version == (15,)
    assert admin == (False, True, False, False, False, True)
    assert owners == (ADMIN, ADMIN)
    assert extension == ("extensions",)
    assert shown == {
        "password_encryption": ("scram-sha-256",),
        "listen_addresses": ("127.0.0.1",),
        "max_connections": ("200",),
        "superuser_reserved_connections": ("3",),
    }


def test_every_way_in_over_tcp_is_scram_and_none_is_the_superusers(platform: Platform) -> None:
    with platform.superuser() as connection:
        rules = connection.execute(
            "SELECT type, user_name, auth_method FROM pg_hba_file_rules ORDER BY line_number"
        ).fetchall()
    assert rules == [
        ("local", ["postgres"], "peer"),
        ("host", ["postgres"], "reject"),
        ("host", ["all"], "scram-sha-256"),
    ]
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        platform.connect("postgres", password="x", database="postgres")


def test_no_other_users_process_can_read_the_state(platform: Platform) -> None:
    servers = platform.directory / "servers"
    secret = [platform.directory / "state.json", servers / "pgbouncer" / "userlist.txt"]
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (servers, servers / "postgresql", servers / "pgbouncer"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert platform.directory.stat().st_mode & 0o067 == 0  # at most a group may pass through


def test_no_process_shows_a_password(platform: Platform) -> None:
    shown = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    for secret in (*platform.state.passwords.values(), *platform.state.scram_verifiers.values()):
        assert secret.get_secret_value() not in shown


# --- whom they let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_a_role_logs_in_with_its_own_password_alone(served: Platform, *, pooled: bool) -> None:
    with served.connect(ROLE, pooled=pooled) as connection:
        assert connection.execute("SELECT session_user, current_database()").fetchone() == (ROLE, DATABASE)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(ROLE, pooled=pooled, password="x" * 40)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(ROLE, pooled=pooled, password=served.state.passwords["django_user"].get_secret_value())


@pytest.mark.parametrize("role", ["nobody_user", ADMIN, "postgres", "pgbouncer_stats"])
def test_the_pooler_refuses_who_is_not_in_its_file(served: Platform, role: str) -> None:
    options = {} if role in served.state.passwords else {"password": "x"}
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(role, pooled=True, **options)


def test_the_pooler_knows_one_database(served: Platform) -> None:
    with pytest.raises(psycopg.OperationalError, match="no such database"):
        served.connect(ROLE, pooled=True, database="postgres")


def test_nobody_reaches_the_poolers_console(served: Platform) -> None:
    with pytest.raises(psycopg.OperationalError, match="not allowed"):
        served.connect(ROLE, pooled=True, database="pgbouncer")


def test_the_options_parameter_holds_direct_and_is_refused_pooled(served: Platform) -> None:
    options = "-c search_path=payload,public"
    with served.connect(ROLE, options=options) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("payload,public",)
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        served.connect(ROLE, pooled=True, options=options)


def test_a_product_has_its_share_of_server_connections_and_no_more(served: Platform) -> None:
    """createos has a pool of 5 and a reserve of 2: of ten clients that each hold a transaction, seven are served."""
    clients = [served.connect("createos_user", pooled=True, autocommit=False) for _ in range(10)]
    try:
        for client in clients:
            # Sent and not waited for: the last three wait in the pooler.
            client.pgconn.send_query(b"BEGIN; SELECT 1")
        deadline = time.monotonic() + 10
        seen = 0
        with served.superuser() as connection:
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'createos_user'"
                ).fetchone()
                seen = max(seen, row[0] if row else 0)
                if seen == 7 and deadline - time.monotonic() > 1:
                    deadline = time.monotonic() + 1  # long enough for an eighth to show up
                time.sleep(0.05)
    finally:
        for client in clients:
            client.close()
    assert seen == 7


def test_the_pooler_knows_every_key_of_its_ini(served: Platform) -> None:
    log = (served.directory / "servers" / "pgbouncer" / "pgbouncer.log").read_text()
    assert "process up" in log
    assert not re.search(r"unrecogni[sz]ed|unknown|invalid|deprecated|cannot load", log)


# --- started again ----------------------------------------------------------------------------------------------------


def test_a_second_start_changes_nothing(platform: Platform) -> None:
    before = pids(platform), (platform.directory / "state.json").read_bytes()
    again = start_again(platform)
    assert again.actions == ()
    assert (again.database_port, again.pgbouncer_port) == (
        platform.running.database_port,
        platform.running.pgbouncer_port,
    )
    assert (pids(platform), (platform.directory / "state.json").read_bytes()) == before


def test_killed_servers_come_back_with_their_data(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    with platform.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for pid in pids(platform):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not services.status(platform.directory).postgresql)
    # The pid of the one that is gone now belongs to a program that is none of ours.
    with stranger() as pid:
        (platform.directory / "servers" / "pgbouncer" / "pgbouncer.pid").write_text(f"{pid}\n")
        assert services.status(platform.directory) == services.Status(how="native")
        again = start_again(platform)
        assert len(again.actions) == 2
        with platform.connect() as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        os.kill(pid, 0)  # raises where it is gone


@pytest.mark.parametrize("milliseconds", [100, 400, 800])
def test_a_start_killed_anywhere_can_be_run_again(tmp_state: Path, milliseconds: int) -> None:
    command = "import sys; from pathlib import Path; from ops.dev import servers, state; d = Path(sys.argv[1]);"
    command += "s = state.prepare('dev', d); print(flush=True); servers.start(s, d, engine='native')"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_state)], cwd=settings.ROOT, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()  # imports and state are done: the rest is the servers
        time.sleep(milliseconds / 1000)
        run.kill()
    told = local_state.prepare("dev", tmp_state)
    running = services.start(told, tmp_state, engine="native")
    assert services.status(tmp_state) == services.Status(how="native", postgresql=True, pgbouncer=True)
    assert services.start(told, tmp_state, engine="native").actions == ()
    assert told.local is not None
    with psycopg.connect(
        host=running.host,
        port=running.database_port,
        dbname=DATABASE,
        user=ADMIN,
        password=told.local.passwords[ADMIN].get_secret_value(),
    ) as connection:
        found = connection.execute("SELECT extname FROM pg_extension WHERE extname = 'pg_stat_statements'").fetchone()
    assert found == ("pg_stat_statements",)


def test_two_starts_at_once_do_not_hurt_each_other(tmp_state: Path) -> None:
    command = "import sys; from pathlib import Path; from ops.dev import servers, state; d = Path(sys.argv[1]);"
    command += "print(len(servers.start(state.prepare('dev', d), d, engine='native').actions))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(tmp_state)], cwd=settings.ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = sorted(int(run.communicate(timeout=60)[0]) for run in runs)
    assert told[0] == 0
    assert told[1] >= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_a_folder_closed_to_the_servers_user_gets_its_data_elsewhere(tmp_path: Path) -> None:
    """A checkout under /root, say. pytest's folder is closed in the same way."""
    told = local_state.prepare("dev", tmp_path / "state")
    servers = tmp_path / "state" / "servers"
    try:
        assert services.start(told, tmp_path / "state", engine="native").actions
        elsewhere = servers.resolve()
        assert servers.is_symlink()
        assert elsewhere.parent == Path("/var/lib")
        assert services.start(told, tmp_path / "state", engine="native").actions == ()
    finally:
        services.stop(tmp_path / "state", wipe=True)
    assert not servers.is_symlink()
    assert not elsewhere.exists()


# --- changed ----------------------------------------------------------------------------------------------------------


def test_a_new_product_is_served_without_a_restart(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    before = pids(platform)
    products = settings.stack_config("dev")["lightwave:products"]
    changed = reconfigured(platform, products={**products, "audioos": {}})
    assert changed.local is not None
    known = {role: secret.get_secret_value() for role, secret in platform.state.passwords.items()}
    now = {role: secret.get_secret_value() for role, secret in changed.local.passwords.items()}
    assert {role: now[role] for role in known} == known
    assert set(now) - set(known) == {"audioos_user"}

    assert start_again(platform, changed).actions == ("PgBouncer reloaded: its configuration changed",)
    assert pids(platform) == before
    verifier = changed.local.scram_verifiers["audioos_user"].get_secret_value()
    with platform.superuser() as connection:
        connection.execute(f"CREATE ROLE audioos_user LOGIN PASSWORD '{verifier}'")
    wait_for(lambda: logs_in(platform, "audioos_user", now["audioos_user"]))


def logs_in(platform: Platform, role: str, password: str) -> bool:
    try:
        platform.connect(role, pooled=True, password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def test_what_is_fixed_at_the_start_takes_a_restart(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    postgresql, pgbouncer = pids(platform)
    changed = reconfigured(platform, pgbouncer={"maxClientConnections": 300})
    assert len(start_again(platform, changed).actions) == 2
    assert pids(platform)[0] == postgresql
    assert pids(platform)[1] != pgbouncer

    changed = reconfigured(platform, pgbouncer={"maxClientConnections": 300}, database={"maxConnections": 150})
    assert len(start_again(platform, changed).actions) == 2
    with platform.connect() as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("150",)


def test_pgbouncer_gets_the_descriptors_that_its_clients_need(tmp_state: Path) -> None:
    command = "import resource, sys; from pathlib import Path; from ops.dev import servers, state;"
    command += "resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[2]))); d = Path(sys.argv[1]);"
    command += "print(*servers.start(state.prepare('dev', d), d, engine='native').actions, sep='\\n')"
    run = [sys.executable, "-c", command, str(tmp_state)]

    refused = subprocess.run([*run, "1000"], cwd=settings.ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode != 0
    assert "lightwave:pgbouncer.maxClientConnections: 1000 needs" in refused.stderr
    assert "pulumi config set --stack dev --path lightwave:pgbouncer.maxClientConnections" in refused.stderr

    raised = subprocess.run([*run, "4096"], cwd=settings.ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "file-descriptor limit raised from 256" in raised.stdout
    pid = int((tmp_state / "servers" / "pgbouncer" / "pgbouncer.pid").read_text())
    limits = Path(f"/proc/{pid}/limits")
    if limits.exists():
        line = next(line for line in limits.read_text().splitlines() if line.startswith("Max open files"))
        assert int(line.split()[3]) >= 1000 + 66


# --- stopped ----------------------------------------------------------------------------------------------------------


def test_stop_leaves_nothing_and_touches_nothing_else(fresh_platform: Callable[[], Platform], served: Platform) -> None:
    platform = fresh_platform()
    ours = pids(platform)
    assert services.stop(platform.directory) == ("PgBouncer stopped", "PostgreSQL stopped")
    assert not any(services._argv(pid)[:1] not in ([], [""]) for pid in ours)
    for port in (platform.running.database_port, platform.running.pgbouncer_port):
        assert local_state.port_is_free(port)
    assert services.status(served.directory) == services.Status(how="native", postgresql=True, pgbouncer=True)

    assert services.stop(platform.directory) == ()
    assert (platform.directory / "servers" / "postgresql" / "PG_VERSION").exists()
    assert services.stop(platform.directory, wipe=True) == ("data removed",)
    assert [path.name for path in platform.directory.iterdir()] == ["lock"]


def test_stop_does_not_wait_for_clients(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    with closing(platform.connect()) as client:
        client.execute("BEGIN; SELECT 1")
        services.stop(platform.directory)
    assert services.status(platform.directory) == services.Status(how="native")


def test_stop_spares_a_stranger_with_a_pid_of_ours(tmp_state: Path) -> None:
    services.start(local_state.prepare("dev", tmp_state), tmp_state, engine="native")
    services.stop(tmp_state)
    with stranger() as pid:
        for name in ("postgresql/postmaster.pid", "pgbouncer/pgbouncer.pid"):
            (tmp_state / "servers" / name).write_text(f"{pid}\n")
        assert services.stop(tmp_state) == ()
        os.kill(pid, 0)  # raises where it is gone


def test_stop_where_nothing_was_started(tmp_path: Path) -> None:
    assert services.stop(tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()
    assert services.stop(tmp_path, wipe=True) == ()


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["databasePort", "pgbouncerPort"])
def test_a_port_that_somebody_took_is_named(tmp_state: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_ORPHAN_SECONDS", 1)
    told = local_state.prepare("dev", tmp_state)
    port = json.loads((tmp_state / "state.json").read_text())[key]
    with socket.socket() as taken:
        taken.bind((local_state.HOST, port))
        taken.listen()
        with pytest.raises(services.ServicesError, match=f"port {port} is taken.*{key}"):
            services.start(told, tmp_state, engine="native")
    assert services.start(told, tmp_state, engine="native").actions


def test_data_of_another_state_are_refused(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    state = json.loads((platform.directory / "state.json").read_text())
    state["passwords"][ADMIN] = local_state.password()
    local_state.write_private(platform.directory / "state.json", json.dumps(state))
    with pytest.raises(services.ServicesError, match=r"other passwords.*make down WIPE=1"):
        start_again(platform, local_state.prepare("dev", platform.directory))


def test_the_two_kinds_of_servers_are_not_mixed(platform: Platform) -> None:
    with pytest.raises(services.ServicesError, match="belong to servers of kind native"):
        services.start(platform.settings, platform.directory, engine="compose")


def test_production_is_not_started_here(tmp_path: Path) -> None:
    with settings.offline():
        prod = settings.load("prod", settings.stack_config("prod"))
    with pytest.raises(services.ServicesError, match="stack prod has no local server"):
        services.start(prod, tmp_path)


# --- helpers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tmp_state() -> Iterator[Path]:
    """An empty state folder with ports of its own; what was started from it is stopped."""
    require_binaries()
    with state_folder() as directory:
        yield directory


@contextmanager
def stranger() -> Iterator[int]:
    """The pid of a process that is none of ours."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        # Before exec is through it has no command line, and would be spared for the wrong reason.
        wait_for(lambda: services._argv(process.pid)[:1] == ["sleep"])
        yield process.pid
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_a_stopped_pooler_comes_back_without_its_old_sessions(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    with platform.connect() as admin:
        before = admin.execute("SELECT pg_postmaster_start_time()").fetchone()
    services.stop_pooler(platform.directory)
    assert services.status(platform.directory) == services.Status(how="native", postgresql=True, pgbouncer=False)
    again = services.start(platform.settings, platform.directory, engine="native")
    assert again.actions
    assert services.status(platform.directory).pgbouncer
    with platform.connect() as admin:
        assert admin.execute("SELECT pg_postmaster_start_time()").fetchone() == before

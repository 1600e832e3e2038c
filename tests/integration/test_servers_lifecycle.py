"""The local servers as they really run: started again, killed, changed, stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

import settings
from ops.dev import home, ports, processes, servers
from ops.dev import state as local_state
from ops.dev.files import write_private
from ops.dev.model import Running, ServersError, Status
from settings import ADMIN, DATABASE, HOST, Settings
from tests.integration.conftest import Platform, require_binaries, state_folder


def start_again(platform: Platform, changed: Settings | None = None) -> Running:
    return servers.start(changed or platform.settings, platform.directory, kind="native", extras=False)


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
    wait_for(lambda: not servers.status(platform.directory).postgresql)
    # The pid of the one that is gone now belongs to a program that is none of ours.
    with stranger() as pid:
        (platform.directory / "servers" / "pgbouncer" / "pgbouncer.pid").write_text(f"{pid}\n")
        assert servers.status(platform.directory) == Status(kind="native")
        again = start_again(platform)
        assert len(again.actions) == 2
        with platform.connect() as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        os.kill(pid, 0)  # raises where it is gone


@pytest.mark.parametrize("milliseconds", [100, 400, 800])
def test_a_start_killed_anywhere_can_be_run_again(tmp_state: Path, milliseconds: int) -> None:
    command = "import sys; from pathlib import Path; from ops.dev import servers, state; d = Path(sys.argv[1]);"
    command += "s = state.prepare('dev', d); print(flush=True); servers.start(s, d, kind='native')"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_state)], cwd=settings.ROOT, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()  # imports and state are done: the rest is the servers
        time.sleep(milliseconds / 1000)
        run.kill()
    dev = local_state.prepare("dev", tmp_state)
    running = servers.start(dev, tmp_state, kind="native")
    assert servers.status(tmp_state) == Status(kind="native", postgresql=True, pgbouncer=True)
    assert servers.start(dev, tmp_state, kind="native").actions == ()
    assert dev.local is not None
    with psycopg.connect(
        host=running.host,
        port=running.database_port,
        dbname=DATABASE,
        user=ADMIN,
        password=dev.local.passwords[ADMIN].get_secret_value(),
    ) as connection:
        found = connection.execute("SELECT extname FROM pg_extension WHERE extname = 'pg_stat_statements'").fetchone()
    assert found == ("pg_stat_statements",)


def test_two_starts_at_once_do_not_hurt_each_other(tmp_state: Path) -> None:
    command = "import sys; from pathlib import Path; from ops.dev import servers, state; d = Path(sys.argv[1]);"
    command += "print(len(servers.start(state.prepare('dev', d), d, kind='native').actions))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(tmp_state)], cwd=settings.ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    counts = sorted(int(run.communicate(timeout=60)[0]) for run in runs)
    assert counts[0] == 0
    assert counts[1] >= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_a_folder_closed_to_the_servers_user_gets_its_data_elsewhere(tmp_path: Path) -> None:
    """A checkout under /root, say. pytest's folder is closed in the same way."""
    dev = local_state.prepare("dev", tmp_path / "state")
    link = tmp_path / "state" / "servers"
    try:
        assert servers.start(dev, tmp_path / "state", kind="native").actions
        elsewhere = link.resolve()
        assert link.is_symlink()
        assert elsewhere.parent == Path("/var/lib")
        assert servers.start(dev, tmp_path / "state", kind="native").actions == ()
    finally:
        servers.stop(tmp_path / "state", wipe=True)
    assert not link.is_symlink()
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
    command += "print(*servers.start(state.prepare('dev', d), d, kind='native').actions, sep='\\n')"
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


def test_stop_leaves_nothing_and_touches_nothing_else(
    fresh_platform: Callable[[], Platform], platform: Platform
) -> None:
    ours = fresh_platform()
    processes_of_ours = [psutil.Process(pid) for pid in pids(ours)]
    assert servers.stop(ours.directory) == ("PgBouncer stopped", "PostgreSQL stopped")
    assert not any(processes.runs(process) for process in processes_of_ours)
    for port in (ours.running.database_port, ours.running.pgbouncer_port):
        assert ports.port_is_free(port)
    assert servers.status(platform.directory) == Status(kind="native", postgresql=True, pgbouncer=True)

    assert servers.stop(ours.directory) == ()
    assert (ours.directory / "servers" / "postgresql" / "PG_VERSION").exists()
    (removed,) = servers.stop(ours.directory, wipe=True)
    assert removed == f"removed {ours.directory}: data, ports, passwords and env files"
    assert not ours.directory.exists()


def test_stop_does_not_wait_for_clients(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    with closing(platform.connect()) as client:
        client.execute("BEGIN; SELECT 1")
        servers.stop(platform.directory)
    assert servers.status(platform.directory) == Status(kind="native")


def test_stop_spares_a_stranger_with_a_pid_of_ours(tmp_state: Path) -> None:
    servers.start(local_state.prepare("dev", tmp_state), tmp_state, kind="native")
    servers.stop(tmp_state)
    with stranger() as pid:
        for name in ("postgresql/postmaster.pid", "pgbouncer/pgbouncer.pid"):
            (tmp_state / "servers" / name).write_text(f"{pid}\n")
        assert servers.stop(tmp_state) == ()
        os.kill(pid, 0)  # raises where it is gone


def test_stop_where_nothing_was_started(tmp_path: Path) -> None:
    assert servers.stop(tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()
    assert servers.stop(tmp_path, wipe=True) == ()


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["databasePort", "pgbouncerPort"])
def test_a_port_that_another_process_took_is_named(tmp_state: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "_ORPHAN_SECONDS", 1)
    dev = local_state.prepare("dev", tmp_state)
    servers.start(dev, tmp_state, kind="native")
    servers.stop(tmp_state)
    port = json.loads((tmp_state / "state.json").read_text())[key]
    with listening(port):
        assert local_state.prepare("dev", tmp_state) == dev
        with pytest.raises(ServersError, match=f"port {port} is taken.*\n.*{key}"):
            servers.start(dev, tmp_state, kind="native")
    assert servers.start(dev, tmp_state, kind="native").actions


@pytest.mark.parametrize("key", ["databasePort", "pgbouncerPort"])
def test_a_port_that_was_taken_before_the_first_start_is_chosen_again(tmp_state: Path, key: str) -> None:
    dev = local_state.prepare("dev", tmp_state)
    port = json.loads((tmp_state / "state.json").read_text())[key]
    with listening(port):
        with pytest.raises(ServersError, match=f"port {port} was taken.*\n.*make up, which chooses another one"):
            servers.start(dev, tmp_state, kind="native")
        again = local_state.prepare("dev", tmp_state)
        assert json.loads((tmp_state / "state.json").read_text())[key] != port
        assert servers.start(again, tmp_state, kind="native").actions


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Another program's server on that port."""
    with socket.socket() as taken:
        # Connections that the stopped server closed may still be in TIME_WAIT.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, port))
        taken.listen()
        yield


def test_data_of_another_state_are_refused(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    state = json.loads((platform.directory / "state.json").read_text())
    state["passwords"][ADMIN] = local_state.password()
    write_private(platform.directory / "state.json", json.dumps(state))
    with pytest.raises(ServersError, match=r"other passwords[\s\S]*make down WIPE=1"):
        start_again(platform, local_state.prepare("dev", platform.directory))


def test_the_two_kinds_of_servers_are_not_mixed(platform: Platform) -> None:
    with pytest.raises(ServersError, match="belong to servers of kind native"):
        servers.start(platform.settings, platform.directory, kind="compose")


def test_production_is_not_started_here(tmp_path: Path) -> None:
    with settings.offline():
        prod = settings.load("prod", settings.stack_config("prod"))
    with pytest.raises(ServersError, match="stack prod has no local server"):
        servers.start(prod, tmp_path)


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
        wait_for(lambda: psutil.Process(process.pid).cmdline()[:1] == ["sleep"])
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
    servers.stop_pooler(platform.directory)
    assert servers.status(platform.directory) == Status(kind="native", postgresql=True, pgbouncer=False)
    again = start_again(platform)
    assert again.actions
    assert servers.status(platform.directory).pgbouncer
    with platform.connect() as admin:
        assert admin.execute("SELECT pg_postmaster_start_time()").fetchone() == before

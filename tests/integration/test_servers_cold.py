"""Checkouts that come up for the first time, or lost their folder: they share no port and leave no server behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import settings
from ops.dev import ports, processes, servers
from ops.dev import state as local_state
from ops.dev.model import ServersError, Status
from settings.problems import OperatorError
from tests.integration.conftest import Platform, require_binaries, state_folder

_COLD_START = """\
import sys
from pathlib import Path
from ops.dev import servers, state
state._USUAL_DATABASE_PORT, state._USUAL_PGBOUNCER_PORT = map(int, sys.argv[2:])
sys.stdin.readline()
settings = state.prepare("dev", Path(sys.argv[1]))
running = servers.start(settings, Path(sys.argv[1]), kind="native", report=lambda _: None)
print(running.database_port, running.pgbouncer_port)
"""


@pytest.fixture
def folders() -> Iterator[list[Path]]:
    """The stack folders of three checkouts where nothing was ever started."""
    require_binaries()
    made = [Path(tempfile.mkdtemp(prefix="lightwave-")).resolve() for _ in range(3)]
    try:
        yield made
    finally:
        for folder in made:
            servers.stop(folder, wipe=True)


def test_checkouts_that_come_up_at_the_same_time_share_no_port(folders: list[Path]) -> None:
    """Three of them, which all find the usual ports free."""
    usual = ports.free_port()
    usual_ports = [usual, ports.free_port([usual])]
    command = [sys.executable, "-c", _COLD_START]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(folder), *map(str, usual_ports)],
                    cwd=settings.ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for folder in folders
        ]
        for run in runs:
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
        ended = [(run.communicate(timeout=120), run.returncode) for run in runs]
    assert [status for _, status in ended] == [0, 0, 0], ended
    chosen = [int(port) for (output, _), _ in ended for port in output.split()]
    assert len(set(chosen)) == 6
    assert set(usual_ports) <= set(chosen)
    for folder in folders:
        assert servers.status(folder) == Status(kind="native", postgresql=True, pgbouncer=True)


def test_a_stopped_checkout_keeps_its_ports(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_state, "_USUAL_DATABASE_PORT", ports.free_port())
    first, second, third = folders
    for folder in (first, second):
        servers.start(local_state.prepare("dev", folder), folder, kind="native")
        servers.stop(folder)
    chosen = [json.loads((folder / "state.json").read_text())["databasePort"] for folder in (first, second)]
    assert chosen[0] == local_state._USUAL_DATABASE_PORT != chosen[1]
    servers.start(local_state.prepare("dev", first), first, kind="native")
    # Removed, it keeps none.
    servers.stop(first, wipe=True)
    dev = local_state.prepare("dev", third)
    assert dev.local is not None
    assert dev.local.database_port == chosen[0]


# --- a folder that was removed under its servers ----------------------------------------------------------------------


def running(platform: Platform) -> list[psutil.Process]:
    """Its two servers."""
    home = platform.directory / "servers"
    files = (home / "postgresql" / "postmaster.pid", home / "pgbouncer" / "pgbouncer.pid")
    return [psutil.Process(int(file.read_text().split()[0])) for file in files]


def test_down_stops_the_servers_of_a_folder_that_was_removed(fresh_platform: Callable[[], Platform]) -> None:
    platform, other = fresh_platform(), fresh_platform()
    ours = running(platform)
    shutil.rmtree(platform.directory)
    assert servers.stop(platform.directory) == ("PgBouncer stopped", "PostgreSQL stopped")
    assert not any(map(processes.runs, ours))
    assert not platform.directory.exists()
    assert all(map(processes.runs, running(other)))


def test_up_ends_the_servers_of_a_folder_that_was_removed(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    ours, usual = running(platform), platform.state.database_port
    shutil.rmtree(platform.directory)
    assert servers.end_orphans(platform.directory) == ("PgBouncer stopped", "PostgreSQL stopped")
    assert not any(map(processes.runs, ours))
    assert ports.port_is_free(usual)
    dev = local_state.prepare("dev", platform.directory)
    again = servers.start(dev, platform.directory, kind="native", extras=False)
    assert len(again.actions) == 3
    assert servers.end_orphans(platform.directory) == ()


def test_servers_whose_data_alone_were_removed_are_replaced(fresh_platform: Callable[[], Platform]) -> None:
    platform = fresh_platform()
    ours = running(platform)
    shutil.rmtree(platform.directory / "servers")
    again = servers.start(platform.settings, platform.directory, kind="native", extras=False)
    assert "PostgreSQL stopped: its data were removed" in again.actions
    assert not any(map(processes.runs, ours))
    platform.connect().close()


def command_lines() -> list[list[str]]:
    """Of all processes."""
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another user")
def test_data_that_only_the_removed_folder_linked_to_are_found_again(tmp_path: Path) -> None:
    """pytest's folder is closed to the servers' user, as a checkout under /root is."""
    require_binaries()
    directory = tmp_path / "stack"
    servers.start(local_state.prepare("dev", directory), directory, kind="native")
    elsewhere = (directory / "servers").resolve()
    shutil.rmtree(directory)
    try:
        assert elsewhere.exists()
        assert {"PgBouncer stopped", "PostgreSQL stopped"} <= set(servers.end_orphans(directory))
        assert not [argv for argv in command_lines() if str(elsewhere) in " ".join(argv)]
        with pytest.raises(ServersError, match=r"other passwords[\s\S]*make down WIPE=1, then make up"):
            servers.start(local_state.prepare("dev", directory), directory, kind="native")
    finally:
        servers.stop(directory, wipe=True)
    assert not elsewhere.exists()


# --- the layout of an earlier version ---------------------------------------------------------------------------------


def test_a_folder_of_an_earlier_version_can_be_wiped() -> None:
    require_binaries()
    with state_folder() as old:
        servers.start(local_state.prepare("dev", old), old, kind="native", extras=False)
        (old / local_state.RECORD).unlink()
        (old / "services.json").write_text('{"how": "native"}')
        (old / "env").mkdir()
        (old / "pulumi").mkdir()
        directory = old / "dev"
        with pytest.raises(OperatorError, match=r"earlier version[\s\S]*make down WIPE=1, then make up"):
            local_state.prepare("dev", directory)
        assert servers.stop(directory) == ("PgBouncer stopped", "PostgreSQL stopped")
        assert (old / "servers" / "postgresql" / "PG_VERSION").exists()
        servers.stop(directory, wipe=True)
        assert sorted(path.name for path in old.iterdir() if path.suffix != ".lock") == ["pulumi"]
        assert local_state.prepare("dev", directory).local is not None

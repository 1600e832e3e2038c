"""`make bench` on real servers: what it prints, that it leaves nothing, and where the password is."""

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops import __main__ as ops
from ops.dev import bench
from ops.dev import servers as services
from ops.dev import state as local_state
from settings import Settings
from tests.integration.built import built_platform
from tests.integration.conftest import Platform


@pytest.fixture(scope="module")
def built() -> Iterator[Platform]:
    with built_platform() as platform:
        yield platform


class Watcher:
    """Looks at every pgbench that runs: its arguments, its environment, its password file."""

    def __init__(self) -> None:
        self.arguments: set[str] = set()
        self.environments: set[str] = set()
        self.files: dict[Path, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    arguments = (process / "cmdline").read_text()
                    environment = (process / "environ").read_text() if "pgbench" in arguments else ""
                    file = re.search(r"(?:^|\0)PGPASSFILE=([^\0]+)", environment)
                    ours = f"\nPPid:\t{os.getpid()}\n" in (process / "status").read_text()
                    if file and ours:
                        self.files[Path(file[1])] = stat.S_IMODE(Path(file[1]).stat().st_mode)
                        self.arguments.add(arguments)
                        self.environments.add(environment)
                except OSError:  # gone meanwhile
                    continue
            time.sleep(0.05)


def tables(platform: Platform) -> set[str]:
    with closing(platform.superuser()) as connection:
        return {name for (name,) in connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'bench%'")}


def test_it_measures_both_ways_and_leaves_nothing(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher() as watcher:
        assert bench.run(built.settings, rounds=2, seconds=3) == 0
    printed = capsys.readouterr().out
    rows = {
        name: tuple(map(float, figures.split()))
        for name, figures in re.findall(r"^(round \d|min|median|max) +([\d. ]+)$", printed, re.MULTILINE)
    }
    assert list(rows) == ["round 1", "round 2", "min", "median", "max"]
    pairs = [rows["round 1"], rows["round 2"]]
    for direct, pooled, ratio in pairs:
        assert direct > 0
        assert pooled > 0
        assert ratio == pytest.approx(pooled / direct, abs=0.01)
    for column in range(3):
        figures = sorted(pair[column] for pair in pairs)
        assert rows["min"][column] == figures[0]
        assert rows["max"][column] == figures[1]
        assert rows["median"][column] == pytest.approx(sum(figures) / 2, abs=0.01 if column == 2 else 1)

    ports = {port for arguments in watcher.arguments for port in re.findall(r"--port=(\d+)", arguments)}
    assert ports == {str(built.running.database_port), str(built.running.pgbouncer_port)}
    assert list(watcher.files.values()) == [0o600]
    seen = "\n".join([printed, *watcher.arguments, *watcher.environments])
    assert not [role for role, password in built.state.passwords.items() if password.get_secret_value() in seen]
    assert not [file for file in watcher.files if file.parent.exists()]
    assert not tables(built)


def test_a_run_that_fails_is_told_and_leaves_nothing(built: Platform) -> None:
    with closing(built.superuser()) as connection:
        connection.execute("ALTER ROLE django_user CONNECTION LIMIT 3")
    with pytest.raises(bench.BenchError, match="too many connections"):
        bench.run(built.settings, rounds=1, seconds=1)
    with closing(built.superuser()) as connection:
        connection.execute("ALTER ROLE django_user CONNECTION LIMIT 70")
    assert not tables(built)


def test_a_run_that_loses_a_client_is_told(built: Platform) -> None:
    """pgbench goes on with the others then, and prints a figure."""

    begun = datetime.now(UTC)

    def end_one() -> None:
        # The pool's own connections, left by other runs, are older.
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'"
            f" AND backend_start > '{begun}' AND query LIKE 'SELECT v%' LIMIT 1"
        )
        deadline = time.monotonic() + 20
        with closing(built.superuser()) as connection:
            while not connection.execute(query.encode()).fetchone() and time.monotonic() < deadline:
                time.sleep(0.05)

    ender = threading.Thread(target=end_one)
    ender.start()
    with pytest.raises(bench.BenchError, match="Run was aborted"):
        bench.run(built.settings, rounds=1, seconds=4)
    ender.join()
    assert not tables(built)


def stopped(settings: Settings) -> Settings:
    """The same stack on ports where nothing listens."""
    assert settings.local is not None
    ports = {"database_port": local_state.free_port(), "pgbouncer_port": local_state.free_port()}
    return settings.model_copy(update={"local": settings.local.model_copy(update=ports)})


def test_a_stack_that_is_not_up_is_told(
    built: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("settings.of_stack", lambda _: stopped(built.settings))
    assert ops.main(["bench"]) == 2
    assert "run: make up" in capsys.readouterr().err


def test_a_machine_without_pgbench_is_told(
    built: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("settings.of_stack", lambda _: built.settings)
    monkeypatch.setattr(services, "find_binaries", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert ops.main(["bench"]) == 2
    assert "apt-get install postgresql-15" in capsys.readouterr().err

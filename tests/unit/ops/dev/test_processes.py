"""Processes found by their command line and ended, with programs of this machine."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from ops.dev import processes
from ops.dev.model import ServersError

Run = Callable[..., psutil.Process]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts programs; what still runs afterwards is killed."""
    with ExitStack() as stack:

        def start(*command: str) -> psutil.Process:
            started = stack.enter_context(subprocess.Popen(command))
            stack.callback(started.kill)
            process = psutil.Process(started.pid)
            deadline = time.monotonic() + 10
            while process.cmdline() != list(command):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return process

        yield start


def test_a_process_is_found_by_program_and_argument(run: Run) -> None:
    ours = run("sleep", "61.25")
    run("sleep", "61.5")
    assert processes.find("sleep", ["61.25", "another"]) == ours
    assert processes.find("sleep", ["61"]) is None
    assert processes.find("another", ["61.25"]) is None


def test_of_two_with_the_same_command_line_the_older_is_meant(run: Run) -> None:
    """A child that has just been forked looks like its server."""
    server = run("sleep", "61.75")
    time.sleep(0.05)
    run("sleep", "61.75")
    assert processes.find("sleep", ["61.75"]) == server


def test_the_next_signal_ends_what_ignores_the_first(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = run("sh", "-c", f"trap '' INT; touch {tmp_path}/ignores; while :; do sleep 0.05; done")
    processes.wait((tmp_path / "ignores").exists, "it does not start", "wait")
    waited: list[float] = []
    wait = processes.wait

    def shorter(condition: Callable[[], bool], otherwise: str, fix: str, seconds: float) -> None:
        waited.append(seconds)
        wait(condition, otherwise, fix, 0.3)

    monkeypatch.setattr(processes, "wait", shorter)
    with pytest.raises(ServersError, match=rf"process {stubborn.pid} does not stop\n +fix: kill -9 {stubborn.pid}"):
        processes.end(stubborn, signal.SIGINT)
    assert processes.runs(stubborn)
    processes.end(stubborn, signal.SIGINT, signal.SIGTERM)
    assert waited == [20, 5, 20]
    # A zombie until its parent collects it: it does not run.
    assert not processes.runs(stubborn)
    processes.end(stubborn, signal.SIGTERM)

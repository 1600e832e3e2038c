"""Processes of this machine: found by their command line, ended, waited for."""

import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import psutil

from ops.dev.model import ServersError

START_SECONDS = 60
"""How long a server may take to start."""


def find(program: str, arguments: Collection[str]) -> psutil.Process | None:
    """The process that runs `program` with one of `arguments` on its command line; None where there is none.

    Not by pid file: pids are used again, and a pid file may have been removed under a running server.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone by now, a zombie, or not ours to look at
            argv = process.cmdline()
            if argv and Path(argv[0]).name == program and not set(argv[1:]).isdisjoint(arguments):
                found.append((process.create_time(), process))
    # A child that a server has just forked still has its parent's command line.
    return min(found, key=lambda entry: entry[0])[1] if found else None


def end(process: psutil.Process, *signals: signal.Signals) -> None:
    """Sends the signals, each where the one before did not end the process.

    Raises ServersError where the last one does not end it within 20 seconds, or the process is another user's.
    """
    for number in signals:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        except psutil.AccessDenied:
            raise ServersError(
                f"process {process.pid} belongs to another user, who started the servers", "stop them as that user"
            ) from None
        last = number is signals[-1]
        try:
            wait(
                lambda: not runs(process),
                f"process {process.pid} does not stop",
                f"kill -9 {process.pid}, then run the command again",
                seconds=20 if last else 5,
            )
        except ServersError:
            if last:
                raise


def runs(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def wait(condition: Callable[[], bool], otherwise: str, fix: str, seconds: float = START_SECONDS) -> None:
    """Waits until the condition holds. Raises ServersError with `otherwise` and `fix` where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServersError(otherwise, fix)
        time.sleep(0.02)

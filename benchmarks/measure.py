"""What a command costs."""

import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from settings import ROOT


def python(*arguments: str) -> float:
    """Seconds of CPU of a run of this Python, user and system: hardly changed by what else runs on the machine.

    Raises RuntimeError where it fails.
    """
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"python {' '.join(arguments)} ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def side_by_side(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, float]:
    """The median seconds of CPU of each command; they take turns, so that a busy moment meets them all."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, arguments in commands.items():
            found[name].append(python(*arguments))
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def table(head: Sequence[str], rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers have two decimals, or none from 100 on."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) and abs(value) < 100 else str(value)


def write(path: Path, text: str) -> Path:
    """Writes a file of a benchmark and gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

"""What a command costs."""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from settings import ROOT

_PEAK = (
    "import atexit; atexit.register(lambda: print(next("
    "line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:'))));"
)
"""Prints the process's own peak at its end, in kB. What wait4 tells may be the parent's: the child was a copy of it."""


class Cost(NamedTuple):
    """What one run took."""

    cpu: float
    """Seconds, user and system: hardly changed by what else runs on the machine."""
    memory: float
    """Peak of the resident memory, in MB."""


def python(code: str) -> Cost:
    """Runs code in a Python of its own. Raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PEAK + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Cost(cpu, int(done.stdout.split()[-1]) / 1024)


def side_by_side(programs: Mapping[str, str], runs: int) -> dict[str, Cost]:
    """The medians of each program; they take turns, so that a busy moment meets them all."""
    found: dict[str, list[Cost]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, code in programs.items():
            found[name].append(python(code))
    return {name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in found.items()}


def table(head: Sequence[str], rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers have two decimals, or none from 100 on."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.{2 if abs(value) < 100 else 0}f}" if isinstance(value, float) else str(value)


def write(path: Path, text: str) -> Path:
    """Writes a file of a benchmark and gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

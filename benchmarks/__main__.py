"""Runs every benchmark and writes docs/performance.md: `python -m benchmarks`, about 40 minutes."""

import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import applying, evaluate, growth, pooler
from settings import ROOT

PAGE = ROOT / "docs" / "performance.md"
BY_HAND = "\n## Waits\n"
"""From here on the page is kept: it says what was seen of commands that take too long for a benchmark."""


def main() -> None:
    """Measures, then writes the page, but for its end."""
    _, heading, kept = PAGE.read_text().partition(BY_HAND)
    pooled = pooler.throughput()
    with tempfile.TemporaryDirectory() as folder:
        flat = evaluate.against_flat(Path(folder), ("dev", "prod"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("pulumi", "pulumi-aws", "pulumi-cloudflare"))
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
    PAGE.write_text(
        f"""\
# Performance

Written by `python -m benchmarks` on {datetime.now(UTC).date()}: {machine}.
Compare figures within a table only: they come from one run, in which the variants took turns. CPU is user and system
time; wall-clock times depend on what else the machine does. MB is the peak of the process's resident memory.

## Evaluating the program

The program against a flat one without components that declares the same typed resources, generated from the plan.

{flat}

## Importing the SDKs

On top of `pulumi`. A stack imports only what it uses: a local one neither AWS's nor Cloudflare's, and production a part
of Cloudflare's.

{evaluate.imports()}

## Growth in products

Offline, with the interpreter's start:

{growth.offline((5, 50, 100, 200))}

A local stack, wall-clock seconds; a repeated `make up` against a bare `pulumi up` and `make verify`, the means of
{growth.TURNS} turns:

{chr(10).join(growth.applied((5, 50)))}
## Applying

The first `pulumi up` of a local stack at Pulumi's default parallelism, the program against a flat one, both to an empty
database; wall-clock seconds, the medians. No update failed.

{applying.against_flat()}

## PgBouncer

The rendered configuration on Debian's PgBouncer, which is older than production's; pgbench runs on the same cores.
Best of {pooler.RUNS} runs of {pooler.SECONDS} seconds; no transaction failed.

{pooled}
{heading}{kept}"""
    )


if __name__ == "__main__":
    main()

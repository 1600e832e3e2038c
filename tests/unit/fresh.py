"""A Python of its own: nothing is imported in it yet."""

import os
import subprocess
import sys

from settings import ROOT


def lines_of(program: str, **environment: str) -> list[str]:
    """The lines that the program prints, run beside the project's modules with these variables set."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()

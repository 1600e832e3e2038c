"""The terminal that commands write to: colour where a person reads, plain lines in pipes, in CI and with NO_COLOR."""

import io
import os

from rich.console import Console, RenderableType

console = Console(highlight=False)
"""Standard output."""


def show(output: RenderableType) -> None:
    """Prints to standard output, in colour on a terminal and as plain lines otherwise."""
    if console.is_terminal and not {"NO_COLOR", "CI"} & os.environ.keys():
        console.print(output)
    else:
        print(plain(output))


def plain(output: RenderableType) -> str:
    """The output without colour, one unwrapped line per row."""
    file = io.StringIO()
    Console(file=file, width=100_000, color_system=None, highlight=False).print(output)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())

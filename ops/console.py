"""The terminal: colour, check marks and a spinner there; plain lines in a pipe, in CI and with NO_COLOR.

Pulumi draws its own progress, and errors are printed by `ops.__main__` alone.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text


def in_ci() -> bool:
    """Whether this is a CI job, where nobody watches or answers."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


console = Console(highlight=False, markup=False, emoji=False)
"""Standard output. Print with `soft_wrap=True` what a user may copy."""


def is_terminal() -> bool:
    """Whether output may move and be in colour: never with NO_COLOR, in CI or on a dumb terminal."""
    plain = in_ci() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return console.is_terminal and not plain


def say(*lines: str) -> None:
    """Prints lines as they are, at once: Pulumi writes to the same place."""
    for line in lines:
        print(line, flush=True)


def show(output: RenderableType) -> None:
    """Prints in colour on a terminal, as plain lines otherwise."""
    if is_terminal():
        console.print(output)
    else:
        say(plain(output))


def plain(output: RenderableType) -> str:
    """The output without colour, one unwrapped line per row."""
    file = io.StringIO()
    # Wide, because rich would cut tables off at 80 columns.
    Console(file=file, width=100_000, color_system=None, highlight=False, markup=False, emoji=False).print(output)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def mark(ok: bool, *, skipped: bool = False) -> Text:
    """✓, ✗ or - in colour; `ok`, `FAILED` or `skipped` where there is no terminal. All of one width."""
    shown, plain, style = (
        ("-", "skipped", "dim") if skipped else ("✓", "ok", "green") if ok else ("✗", "FAILED", "bold red")
    )
    return Text(shown, style=style) if is_terminal() else Text(f"{plain:<7}")


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Yields a function to call with a message before each slow step.

    A spinner with the seconds so far shows the step until the next one begins or the block ends; without a terminal
    the message is printed. Inside the block, print through `console` or `say`.
    """
    if not is_terminal():
        yield say
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), _Seconds(), console=console) as progress:

        def step(message: str) -> None:
            for task in progress.task_ids:
                progress.update(task, completed=1)
            progress.add_task(message, total=1)

        yield step
        for task in progress.task_ids:
            progress.update(task, completed=1)


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """One slow step, as long as the block takes."""
    with steps() as step:
        step(message)
        yield


class _Seconds(ProgressColumn):
    """How long a task has taken."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s")

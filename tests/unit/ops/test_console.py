"""Output is in colour where a person reads it, and plain lines everywhere else."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from ops import console

RED = Text("wrong", style="red")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard output, as if it were a terminal that shows colour."""
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    file = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=file, force_terminal=True, color_system="standard", width=80))
    return file


def test_a_terminal_gets_colour(terminal: io.StringIO) -> None:
    console.show(RED)
    assert terminal.getvalue() == "\x1b[31mwrong\x1b[0m\n"


@pytest.mark.parametrize("variable", ["NO_COLOR", "CI"])
def test_no_color_and_ci_get_plain_lines(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    console.show(RED)
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == "wrong\n"


def test_a_pipe_gets_plain_unwrapped_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a" * 500
    console.show(Text(f"{long} [not markup]", style="red"))
    assert capsys.readouterr().out == f"{long} [not markup]\n"

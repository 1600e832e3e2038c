"""Output is in colour where a person reads it, and plain lines everywhere else."""

import io
from contextlib import redirect_stdout

import pytest
from rich.text import Text

from ops import console

RED = Text("wrong", style="red")


class Terminal(io.StringIO):
    """Standard output, as a terminal has it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def on_a_terminal(output: Text) -> str:
    with redirect_stdout(Terminal()) as file:
        console._console().print(output)
    return file.getvalue()


def test_a_terminal_gets_colour() -> None:
    assert on_a_terminal(RED) == "\x1b[31mwrong\x1b[0m\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")])
def test_ci_and_no_color_get_plain_lines(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    assert on_a_terminal(RED) == "wrong\n"


def test_a_pipe_gets_plain_unwrapped_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a" * 500
    console._console().print(Text(f"{long} [not markup]", style="red"))
    assert capsys.readouterr().out == f"{long} [not markup]\n"

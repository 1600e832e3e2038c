"""Output is in colour where a person reads it, and plain lines everywhere else."""

import io
import re
import time

import pytest
from rich.console import Console
from rich.text import Text

from ops import console

RED = Text("wrong", style="red")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard output, as if it were a terminal that shows colour."""
    for name in ("NO_COLOR", "CI", "TERM"):
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


def test_a_check_mark_is_a_word_where_there_is_no_terminal(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = [(True, False), (False, False), (False, True)]
    assert [console.mark(ok, skipped=skipped).plain for ok, skipped in marks] == ["✓", "✗", "-"]
    console.show(console.mark(True))
    assert terminal.getvalue() == "\x1b[32m✓\x1b[0m\n"
    monkeypatch.setenv("CI", "true")
    assert [console.mark(ok, skipped=skipped).plain for ok, skipped in marks] == ["ok     ", "FAILED ", "skipped"]


def test_a_slow_step_has_a_spinner_with_its_seconds(terminal: io.StringIO) -> None:
    with console.steps() as step:
        step("fetching images")
        time.sleep(1.1)
        step("installing packages")
    assert "fetching images" in terminal.getvalue()
    assert re.search(r"fetching images +1 s", terminal.getvalue())
    assert re.search(r"installing packages +0 s", terminal.getvalue())


@pytest.mark.usefixtures("terminal")
def test_a_slow_step_is_one_line_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with console.waiting("fetching images"):
        assert capsys.readouterr().out == "fetching images\n"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "expected"), [(None, False), ("", False), ("false", False), ("true", True), ("1", True)]
)
def test_a_ci_job_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    assert console.in_ci() is expected

"""Running another program: its output, or an error that says what failed and how to fix it."""

import os
import sys
from pathlib import Path

import pytest

from ops.process import ProcessError, output
from settings.problems import Problem


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_it_returns_what_the_program_prints(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd(), os.environ['MINE'], sys.stdin.read())"
    printed = output(python(program), timeout=30, cwd=tmp_path, env={"MINE": "x"}, stdin="asked")
    assert printed == f"{tmp_path} x asked\n"


def test_the_environment_is_added_to_this_process_s_or_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIRS", "y")
    show = ["/bin/sh", "-c", "echo $MINE$THEIRS"]
    assert output(show, timeout=30, env={"MINE": "x"}) == "xy\n"
    assert output(show, timeout=30, env={"MINE": "x"}, clean=True) == "x\n"


def test_it_never_reads_this_process_s_input() -> None:
    # A program that asks would wait for a terminal's answer.
    assert output(python("import sys; print(repr(sys.stdin.read()))"), timeout=30) == "''\n"


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (
            "import sys; print('out'); print(*range(8), sep='\\n', file=sys.stderr); sys.exit(3)",
            "failed: 3\n4\n5\n6\n7",
        ),
        ("import sys; print('out'); sys.exit(3)", "failed: exit status 3"),
    ],
)
def test_a_failure_ends_with_its_last_lines_and_the_fix(program: str, what: str) -> None:
    with pytest.raises(ProcessError) as failed:
        output(python(program), timeout=30, fix="do this")
    (problem,) = failed.value.problems
    assert problem.what.endswith(what)
    assert problem.fix == "do this"
    # It may be secret.
    assert "out" not in problem.what.replace(program, "")


def test_a_program_without_an_answer_is_ended_and_its_output_not_kept() -> None:
    program = "import time; print('secret', flush=True); time.sleep(60)"
    with pytest.raises(ProcessError, match=r"gave no answer in 0\.5 s") as failed:
        output(python(program), timeout=0.5)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as failed:
        output([tmp_path / "nothing", "--here"], timeout=5, fix="install it")
    assert failed.value.problems == (
        Problem(what="nothing cannot be run: No such file or directory", fix="install it"),
    )


def test_a_message_names_the_program_and_its_verbs(tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(ProcessError, match=r"^pulumi stack select failed: exit status 1$"):
        output([program, "--non-interactive", "stack", "select", "prod"], timeout=30, env=dict(os.environ))

"""The command line: each command takes its own options only, refuses what is not there, and errors are printed once."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

import settings
from ops import __main__ as command_line
from ops import up
from ops.dev import servers
from ops.errors import ExitCode, FailedError
from settings.problems import OperatorError, Problem, SettingsError

STACK_COMMANDS = (
    *("plan", "policy", "up", "down", "preview", "deploy", "drift", "verify", "env", "release", "tunnel"),
    *("media-sync", "phase0", "handoff"),
)

REQUIRED = {
    "env": ["--service", "payload"],
    "release": ["--service", "payload", "--image", "x"],
    "media-sync": ["--from", "."],
    "completion": ["bash"],
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed to standard error when the arguments are refused."""
    assert command_line.main(arguments) == ExitCode.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("name", command_line.commands.commands)
def test_an_unknown_option_and_an_argument_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    required = REQUIRED.get(name, [])
    assert "No such option '--nonsense'" in refused(capsys, name, *required, "--nonsense")
    assert "unexpected extra argument (nonsense)" in refused(capsys, name, *required, "nonsense")


@pytest.mark.parametrize("name", command_line.commands.commands)
def test_only_what_works_on_a_stack_takes_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    required = REQUIRED.get(name, [])
    message = refused(capsys, name, *required, "--stack", "prdo")
    if name in STACK_COMMANDS:
        assert "there is no Pulumi.prdo.yaml; expected: dev, prod, staging" in message
    else:
        assert "No such option '--stack'" in message


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command 'depoly'" in refused(capsys, "depoly")


def test_stopping_prod_is_refused_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(servers, "stop", lambda *_, **__: pytest.fail("stopped"))
    assert refused(capsys, "down", "--stack", "prod").startswith("stack prod is not local")


def test_an_unknown_git_ref_is_refused_with_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "diff", "--base", "typo")
    assert "typo" in message.splitlines()[0]
    assert message.splitlines()[-1].startswith("      fix: ")


# --- what is printed, and how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"), [(OperatorError("it is wrong", "make it right"), 2), (FailedError("it broke", "repair it"), 1)]
)
def test_an_error_is_printed_once_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OperatorError, status: int
) -> None:
    def fail(_: str, **__: bool) -> ExitCode:
        raise error

    monkeypatch.setattr(up, "up", fail)
    assert command_line.main(["up"]) == status
    (problem,) = error.problems
    assert capsys.readouterr() == ("", f"{problem.what}\n      fix: {problem.fix}\n")


def test_several_problems_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: str, **__: bool) -> ExitCode:
        raise OperatorError([Problem(what="one", fix="first"), Problem(what="two")])

    monkeypatch.setattr(up, "up", fail)
    assert command_line.main(["up"]) == ExitCode.REFUSED
    assert capsys.readouterr().err == "- one\n      fix: first\n- two\n"


def test_a_config_s_errors_have_a_title(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: str, **__: bool) -> ExitCode:
        raise SettingsError([Problem(key="lightwave:protect", what="is wrong", fix="set it")], stack="prod")

    monkeypatch.setattr(up, "up", fail)
    assert command_line.main(["up"]) == ExitCode.REFUSED
    assert capsys.readouterr().err == (
        "stack prod: 1 error in its config\n- lightwave:protect: is wrong\n      fix: set it\n"
    )


def test_what_is_not_foreseen_keeps_its_traceback_and_ends_with_a_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str, **__: bool) -> ExitCode:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(up, "up", fail)
    assert command_line.main(["up"]) == ExitCode.FAILED
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert 'raise ZeroDivisionError("by\\nzero")' in "".join(lines)
    assert lines[-2:] == [
        "ZeroDivisionError: by zero",
        "      fix: run the command again; if it fails again, report it with the traceback above",
    ]


def test_an_interrupt_prints_one_line(tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = (
        "import pathlib, sys, time\n"
        "from ops import up\n"
        f"up.up = lambda stack, remove: (pathlib.Path({str(started)!r}).touch(), time.sleep(60))\n"
        "from ops.__main__ import main\n"
        "sys.exit(main(['up']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=settings.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (nothing else is done)
    ) as process:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert [line for line in err.splitlines() if line] == [
        "interrupted: what was done so far stays; the same command goes on from there"
    ]


# --- help and completion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["verify", "--stack", "typo"]])
def test_help_imports_no_sdk(arguments: Sequence[str]) -> None:
    program = (
        "import sys\n"
        "from ops.__main__ import main\n"
        f"main({list(arguments)!r})\n"
        "print('imported', sorted({'pulumi', 'psycopg', 'pydantic', 'rich', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=settings.ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines()[-1] == "imported []"


def test_every_command_and_option_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--help"]) == ExitCode.OK
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2], "cut off"
    for name, command in command_line.commands.commands.items():
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


COMPLETE = """
eval "$({python} -m ops completion bash)" || exit 1
COMP_WORDS=({words}) COMP_CWORD={index}
_ops_completion ops
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ops", "de"], ["deploy"]),
        (["ops", "verify", "--s"], ["--stack"]),
        (["ops", "verify", "--stack", ""], ["dev", "prod", "staging"]),
        (["ops", "down", "--stack", "p"], ["prod"]),
    ],
)
def test_the_shell_offers_commands_options_and_stacks(
    monkeypatch: pytest.MonkeyPatch, words: list[str], offered: list[str]
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = COMPLETE.format(python=sys.executable, words=" ".join(f"'{word}'" for word in words), index=len(words) - 1)
    monkeypatch.delenv("BASH_ENV", raising=False)
    # The commands run from anywhere; the completion is printed in the repository.
    ended = subprocess.run(
        [bash, "-c", f"cd {settings.ROOT} && {script}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.split() == offered, ended.stderr


# --- the Makefile -----------------------------------------------------------------------------------------------------


def test_make_passes_the_stack_to_every_command_that_takes_one() -> None:
    makefile = (settings.ROOT / "Makefile").read_text()
    calls = dict(re.findall(r"^\t@?\$\(OPS\) ([a-z0-9-]+)(.*)$", makefile, re.MULTILINE))
    assert set(calls) >= {*STACK_COMMANDS, "golden", "diff"}
    assert {name for name, options in calls.items() if "--stack $(STACK)" in options} == set(STACK_COMMANDS)

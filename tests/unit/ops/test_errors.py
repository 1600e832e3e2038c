"""Every error that a command may end with names its fix."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ops import __main__ as command_line
from ops.deploy import commands
from ops.errors import ExitCode, FailedError
from ops.plan.review import golden_at
from settings import ROOT
from settings.problems import OperatorError, Problem
from tests.unit.conftest import full_config
from tests.unit.settings.changes import load
from tests.unit.syntax import tree_of
from tests.unit.test_docs import FILES

CHECKED = [name for name in FILES if name.endswith(".py") and name.partition("/")[0] in ("ops", "settings")]
PASSED_ON = ("problem", "problems", "list(problems)")
"""Variables that hold problems, which are checked where they are made."""


@cache
def error_classes() -> frozenset[str]:
    """Names of OperatorError and of everything below it."""
    trees = [tree_of(ROOT / name) for name in CHECKED]
    defined = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    classes, found = {"OperatorError"}, 0
    while found != len(classes):
        found = len(classes)
        classes |= {node.name for node in defined if {ast.unparse(base) for base in node.bases} & classes}
    assert {"SettingsError", "FailedError", "ProcessError", "ServersError", "NoPulumiError"} <= classes
    return frozenset(classes)


def errors(name: str) -> Iterator[ast.Call]:
    """The calls in a file that make an OperatorError, of any class, or a Problem."""
    for node in ast.walk(tree_of(ROOT / name)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {*error_classes(), "Problem"}:
            yield node


def has_fix(call: ast.Call) -> bool:
    """Whether a fix is given, or the problems are made elsewhere."""
    fixes = [keyword.value for keyword in call.keywords if keyword.arg == "fix"] + call.args[1:2]
    if fixes:
        return ast.unparse(fixes[0]) not in ("''", "None")
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Call) and ast.unparse(first.func) in ("Problem", "sorted"):
        return True
    if isinstance(first, ast.GeneratorExp | ast.List):
        return True
    return first is not None and ast.unparse(first).rpartition(".")[2] in PASSED_ON


@pytest.mark.parametrize("name", CHECKED)
def test_every_error_names_its_fix(name: str) -> None:
    without = [f"{name}:{call.lineno}: {ast.unparse(call)}" for call in errors(name) if not has_fix(call)]
    assert without == []


def test_an_error_without_a_fix_is_found() -> None:
    texts = ("OperatorError('no')", "OperatorError('no', '')", "Problem(what='no')", "FailedError(what)")
    calls = [ast.parse(text, mode="eval").body for text in texts]
    assert [has_fix(call) for call in calls if isinstance(call, ast.Call)] == [False] * 4
    assert str(Problem(what="no", fix="yes")).splitlines()[-1] == "      fix: yes"


def test_errors_are_printed_in_one_place() -> None:
    assert [Path(name).name for name in CHECKED if "print_error(" in (ROOT / name).read_text()] == ["__main__.py"]
    assert "fix" in inspect.signature(OperatorError).parameters


@pytest.mark.parametrize(("stack", "fix"), [("dev", "make up STACK=dev"), ("prod", "docs/runbooks/drift.md")])
def test_what_verify_finds_ends_with_a_fix(stack: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.as_declared(stack, ExitCode.OK) is ExitCode.OK
    monkeypatch.setattr(commands, "verify", lambda *_, **__: ExitCode.FAILED)
    with pytest.raises(FailedError) as failed:
        commands.as_declared(stack, commands.verify(stack))
    (problem,) = failed.value.problems
    assert problem.what == f"the database of stack {stack} differs from the product table; every wrong check is above"
    assert problem.fix.startswith(fix)


def test_verify_prints_the_fix_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("settings.of_stack", lambda _: load("dev", full_config("dev")))
    monkeypatch.setattr(commands, "verify", lambda *_, **__: ExitCode.FAILED)
    assert command_line.main(["verify"]) == ExitCode.FAILED
    assert capsys.readouterr().err.splitlines()[-1].startswith("      fix: make up STACK=dev")


def test_a_git_that_fails_names_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with pytest.raises(OperatorError, match="fix: "):
        golden_at("HEAD", "dev")

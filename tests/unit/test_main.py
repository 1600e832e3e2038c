"""`__main__.py`: short, without decisions that belong elsewhere, and without SDKs that a stack does not use."""

import ast

import pytest

import settings
from tests.unit.fresh import lines_of
from tests.unit.syntax import tree_of

PROGRAM = settings.ROOT / "__main__.py"


def test_it_is_at_most_120_lines() -> None:
    assert len(PROGRAM.read_text().splitlines()) <= 120


def test_it_asserts_nothing_and_names_no_framework() -> None:
    nodes = list(ast.walk(tree_of(PROGRAM)))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    names = set(settings.APPLICATION_SECRETS)
    assert names == {"payload", "django"}
    assert not [node.lineno for node in nodes if isinstance(node, ast.Constant) and node.value in names]
    assert not [node.lineno for node in nodes if isinstance(node, ast.Attribute) and node.attr == "framework"]


def test_the_sdk_of_dashboards_is_imported_where_a_stack_has_monitoring() -> None:
    guarded = [
        inner.module
        for node in ast.walk(tree_of(PROGRAM))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "settings.monitoring"
        for inner in node.body
        if isinstance(inner, ast.ImportFrom)
    ]
    assert guarded == ["stack.monitoring"]


def sdks_after(statements: str) -> set[str]:
    """The SDKs that a Python of its own has imported after the statements."""
    shown = "import sys; print(*{name.partition('.')[0] for name in sys.modules if name.startswith('pulumi_')})"
    (found,) = lines_of(f"{statements}; {shown}")
    return set(found.split())


def test_a_local_stack_imports_no_sdk_that_it_does_not_use() -> None:
    """Each of them takes seconds to import."""
    assert sdks_after("from ops.plan.recorder import record_stack; record_stack('dev')") == {
        "pulumi_postgresql",
        "pulumi_random",
    }


@pytest.mark.parametrize("module", ["ops.up", "ops.dev.env", "ops.verify.report", "ops.phase0.commands"])
def test_commands_of_local_stacks_import_no_large_sdk(module: str) -> None:
    """What each of them costs before it begins."""
    assert sdks_after(f"import {module}") <= {"pulumi_postgresql"}

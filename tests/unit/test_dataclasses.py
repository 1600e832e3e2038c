"""Every dataclass is frozen and slotted: what is passed around never changes, and a misspelt field is an error.

What components and the stack take and give is keyword-only too: a call reads like the config.
"""

import ast
from collections.abc import Iterator

import pytest

from settings import ROOT
from tests.unit.syntax import tree_of
from tests.unit.test_docs import FILES

FOLDERS = ("settings", "components", "policies", "stack", "ops", "bootstrap")
CHECKED = [name for name in FILES if name.endswith(".py") and name.partition("/")[0] in FOLDERS]
KEYWORD_ONLY = ("components", "stack")


def decorators(tree: ast.AST) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of the dataclasses in a file, with the arguments of their decorator."""
    for node in ast.walk(tree):
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
            if isinstance(node, ast.ClassDef) and ast.unparse(call.func) in ("dataclass", "dataclasses.dataclass"):
                yield node.name, {str(given.arg): ast.unparse(given.value) for given in call.keywords}


@pytest.mark.parametrize("name", CHECKED)
def test_dataclasses_are_frozen_slotted_and_keyword_only(name: str) -> None:
    for class_, given in decorators(tree_of(ROOT / name)):
        wanted = {"frozen", "slots", *(["kw_only"] if name.partition("/")[0] in KEYWORD_ONLY else [])}
        assert wanted <= {key for key, value in given.items() if value == "True"}, class_


def test_one_that_is_not_is_seen() -> None:
    found = dict(decorators(ast.parse("@dataclass\nclass A: ...\n@dataclass(frozen=False)\nclass B: ...")))
    assert found == {"A": {}, "B": {"frozen": "False"}}

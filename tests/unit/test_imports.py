"""Imports point one way: settings <- components <- stack <- __main__, and policies <- ops."""

import ast
from collections.abc import Iterator

import pytest

import settings

OURS = {"settings", "components", "stack", "policies", "ops", "bootstrap", "tests"}
MAY_IMPORT = {
    "settings": {"settings"},
    "components": {"settings", "components"},
    "stack": {"settings", "components", "stack"},
    "__main__.py": {"settings", "components", "stack"},
    # The Pulumi CLI loads the pack by itself.
    "policies": {"policies"},
    "bootstrap": {"policies", "bootstrap"},
}
OPS_MAY_IMPORT = {
    "plan": {"process", "verify", "plan"},
    "verify": {"console", "errors", "verify"},
}
"""The floors of ops below deploy, dev and up; `plan` reads the access matrix of `verify`."""


def imported(path: str) -> Iterator[str]:
    """The dotted names of this project's modules that a file, or the files below a folder, import."""
    start = settings.ROOT / path
    for file in [start] if start.is_file() else start.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                yield str(node.module)


@pytest.mark.parametrize("path", MAY_IMPORT)
def test_imports_point_one_way(path: str) -> None:
    found = {name.partition(".")[0] for name in imported(path)} & OURS
    assert found <= MAY_IMPORT[path]


@pytest.mark.parametrize("folder", OPS_MAY_IMPORT)
def test_the_lower_floors_of_ops_import_no_upper_one(folder: str) -> None:
    # `from ops import process` names the package alone: the names after it are what is imported.
    tree = [ast.parse(file.read_text()) for file in (settings.ROOT / "ops" / folder).rglob("*.py")]
    nodes = [node for file in tree for node in ast.walk(file) if isinstance(node, ast.ImportFrom)]
    found = {name.name for node in nodes if node.module == "ops" for name in node.names}
    found |= {node.module.split(".")[1] for node in nodes if str(node.module).startswith("ops.") and node.module}
    assert found <= OPS_MAY_IMPORT[folder]


def test_folders_of_components_do_not_import_each_other_in_a_circle() -> None:
    folders = {path.name for path in (settings.ROOT / "components").iterdir() if path.is_dir()} - {"__pycache__"}
    needs = {
        folder: {name.split(".")[1] for name in imported(f"components/{folder}") if name.startswith("components.")}
        & folders - {folder}
        for folder in folders
    }
    while ready := [folder for folder, needed in needs.items() if not needed]:
        needs = {folder: needed - set(ready) for folder, needed in needs.items() if folder not in ready}
    assert needs == {}

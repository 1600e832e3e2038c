"""Imports point one way: settings <- components <- stack <- __main__, and policies <- ops, by layers."""

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
OPS_MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "console": set(),
    "process": set(),
    "aws": {"process"},
    "verify": {"console", "errors"},
    "plan": {"process", "verify"},
    "deploy": {"aws", "console", "errors", "process", "verify"},
    "dev": {"deploy", "plan", "process"},
    "up": {"console", "deploy", "dev", "errors", "plan", "verify"},
}
"""The modules and folders of ops, from the bottom up; `plan` reads the access matrix of `verify`."""


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
                yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", MAY_IMPORT)
def test_imports_point_one_way(path: str) -> None:
    found = {name.partition(".")[0] for name in imported(path)} & OURS
    assert found <= MAY_IMPORT[path]


@pytest.mark.parametrize("name", OPS_MAY_IMPORT)
def test_imports_within_ops_point_one_way(name: str) -> None:
    path = f"ops/{name}" if (settings.ROOT / "ops" / name).is_dir() else f"ops/{name}.py"
    found = {module.split(".")[1] for module in imported(path) if module.startswith("ops.")}
    assert found <= {*OPS_MAY_IMPORT[name], name}
    below = list(OPS_MAY_IMPORT)[: list(OPS_MAY_IMPORT).index(name)]
    assert OPS_MAY_IMPORT[name] <= set(below), "a circle"


def test_every_module_of_ops_has_its_place() -> None:
    there = {path.stem for path in (settings.ROOT / "ops").iterdir()} - {"__init__", "__main__", "__pycache__"}
    assert there == set(OPS_MAY_IMPORT)


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

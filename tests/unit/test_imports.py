"""Imports point one way: settings <- components <- stack <- __main__, and within ops from the command line down."""

import ast
from collections.abc import Iterator

import pytest

import settings
from tests.unit.syntax import tree_of

OURS = {"settings", "components", "stack", "policies", "ops", "bootstrap", "tests"}
MAY_IMPORT = {
    "settings": {"settings"},
    "components": {"settings", "components"},
    "stack": {"settings", "components", "stack"},
    "__main__.py": {"settings", "components", "stack"},
}


def imported(path: str) -> Iterator[str]:
    """The dotted names of this project's modules that a file, or the files below a folder, import."""
    start = settings.ROOT / path
    for file in [start] if start.is_file() else start.rglob("*.py"):
        for node in ast.walk(tree_of(file)):
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


OPS = (
    ("check", "errors", "console", "process", "aws"),
    ("verify",),
    ("plan",),
    ("deploy",),
    ("dev",),
    ("phase0",),
    ("up", "release"),
    ("__main__",),
)
"""The modules and folders of ops, by layer; a layer may import those before it."""


def test_imports_within_ops_point_one_way() -> None:
    below: set[str] = set()
    for layer in OPS:
        below |= set(layer)
        for name in layer:
            path = f"ops/{name}" if (settings.ROOT / "ops" / name).is_dir() else f"ops/{name}.py"
            needed = {part for module in imported(path) if (part := module.removeprefix("ops.")) != module}
            assert {part.partition(".")[0] for part in needed} <= below, name
    assert below == {path.stem for path in (settings.ROOT / "ops").iterdir()} - {"__init__", "__pycache__"}


SETTINGS = (
    "names",
    "problems",
    "values",
    "models",
    "service_models",
    "monitoring_models",
    "edge_models",
    "frameworks",
    "settings",
    "words",
    "service_rules",
    "edge_rules",
    "tier_rules",
    "rules",
    "files",
    "report",
    "reference",
)
"""The modules of the settings, by layer; a module may import those before it."""


def test_imports_within_the_settings_point_one_way() -> None:
    for position, name in enumerate(SETTINGS):
        needed = {module.split(".")[1] for module in imported(f"settings/{name}.py") if module.startswith("settings.")}
        assert needed <= set(SETTINGS[:position]), name
    assert set(SETTINGS) == {path.stem for path in (settings.ROOT / "settings").glob("*.py")} - {"__init__"}

"""A copy of the project, for a command that must not run in this checkout."""

import shutil
import sys
from pathlib import Path

from settings import ROOT

_FILES = (
    *("*.py", "Pulumi*.yaml", "pyproject.toml", "uv.lock"),
    *("components", "settings", "stack", "ops", "policies", "local"),
)
"""What the commands and the program read."""


def copy_project(root: Path) -> None:
    """Copies the project into the folder, and gives it the interpreter that runs already as its environment."""
    for pattern in _FILES:
        for path in ROOT.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, root / path.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, root / path.name)
    # Pulumi.yaml names the project's own environment.
    (root / ".venv").symlink_to(sys.prefix)

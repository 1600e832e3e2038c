"""What a Payload service is locked to: a version that the platform supports, and no MongoDB."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from settings.problems import OperatorError, Problem

LEAST_PAYLOAD = (3, 83, 0)
"""Older ones wait for ever for a transaction that could not begin, as when the pooler is away for a moment."""

MONGODB = "@payloadcms/db-mongodb"


def _npm(text: str) -> dict[str, str]:
    packages = json.loads(text).get("packages", {})
    return {path.rpartition("node_modules/")[2]: entry.get("version", "") for path, entry in packages.items()}


def _pnpm(text: str) -> dict[str, str]:
    # Its keys are `name@version` with peers in parentheses, and `/name@version` in older files.
    return dict(re.findall(r"^  '?/?((?:@[\w.-]+/)?[\w.-]+)@([\d.]+)", text, re.MULTILINE))


_FILES = {"package-lock.json": _npm, "pnpm-lock.yaml": _pnpm}


def locked(folder: Path) -> dict[str, str]:
    """Name and version of every package in the folder's lock file. Raises OperatorError where there is none."""
    for name, packages in _FILES.items():
        path = folder / name
        if path.exists():
            try:
                return packages(path.read_text())
            except (ValueError, AttributeError) as error:
                raise OperatorError(
                    f"{path} cannot be read: {error}", "install again, and commit the lock file"
                ) from error
    raise OperatorError(f"{folder} has no lock file; expected: {' or '.join(_FILES)}", "commit the lock file")


def problems(folder: Path, packages: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with the packages that are locked there."""
    least = ".".join(map(str, LEAST_PAYLOAD))
    version = packages.get("payload")
    if version is None:
        yield Problem(what=f"{folder} does not lock payload", fix="install payload, or name Payload's own folder")
    elif tuple(map(int, re.findall(r"\d+", version)[:3])) < LEAST_PAYLOAD:
        yield Problem(
            what=f"{folder} has Payload {version}; expected: {least} or newer",
            fix=f"upgrade every @payloadcms package with payload, to {least} or newer",
        )
    if MONGODB in packages:
        yield Problem(what=f"{folder} still locks {MONGODB}", fix=f"remove {MONGODB}, with npm or pnpm")

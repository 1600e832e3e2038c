"""What a Payload service's lock file has to say."""

import json
from pathlib import Path

import pytest

from ops.phase0 import lockfile
from settings import ROOT
from settings.problems import OperatorError

PNPM = """\
lockfileVersion: '9.0'
packages:
  '@payloadcms/db-postgres@3.83.0':
    resolution: {integrity: sha512-x}
  payload@3.83.0:
    resolution: {integrity: sha512-x}
snapshots:
  payload@3.83.0(graphql@16.11.0)(typescript@5.7.3):
    dependencies: {}
"""


def npm(folder: Path, **versions: str) -> Path:
    packages = {f"node_modules/{name}": {"version": version} for name, version in versions.items()}
    (folder / "package-lock.json").write_text(json.dumps({"packages": {"": {"name": "site"}, **packages}}))
    return folder


def found(folder: Path) -> list[str]:
    return [problem.what.removeprefix(f"{folder} ") for problem in lockfile.problems(folder, lockfile.locked(folder))]


def test_the_example_is_as_it_should_be() -> None:
    assert found(ROOT / "examples" / "payload") == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.82.9", ["has Payload 3.82.9; expected: 3.83.0 or newer"]),
        ("3.9.0", ["has Payload 3.9.0; expected: 3.83.0 or newer"]),
        ("3.83.0", []),
        ("4.0.0", []),
    ],
)
def test_the_least_version(tmp_path: Path, version: str, expected: list[str]) -> None:
    assert found(npm(tmp_path, payload=version)) == expected


def test_mongodbs_adapter_is_found(tmp_path: Path) -> None:
    npm(tmp_path, **{"payload": "3.90.1", "@payloadcms/db-mongodb": "3.90.1"})
    assert found(tmp_path) == ["still locks @payloadcms/db-mongodb"]


def test_pnpms_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "pnpm-lock.yaml"
    path.write_text(PNPM)
    assert found(tmp_path) == []
    path.write_text(PNPM.replace("3.83.0", "3.59.1").replace("db-postgres", "db-mongodb"))
    assert found(tmp_path) == [
        "has Payload 3.59.1; expected: 3.83.0 or newer",
        "still locks @payloadcms/db-mongodb",
    ]


@pytest.mark.parametrize(
    ("text", "message"), [(None, "has no lock file; expected: package-lock.json or pnpm"), ("{", "cannot be read")]
)
def test_without_a_readable_lock_file(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "package-lock.json").write_text(text)
    with pytest.raises(OperatorError, match=message):
        found(tmp_path)


def test_another_service_is_not_payload(tmp_path: Path) -> None:
    assert found(npm(tmp_path, next="15.0.0")) == ["does not lock payload"]

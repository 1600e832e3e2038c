"""Reserved ports, without servers."""

import json
import os
import stat
from pathlib import Path

import pytest

from ops.dev import ports


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state home; every port is free."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ports, "port_is_free", lambda _: True)
    return tmp_path / "home"


def folder(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name / ".local" / "dev"
    path.mkdir(parents=True)
    return path


def test_a_port_belongs_to_one_folder_at_a_time(home: Path, tmp_path: Path) -> None:
    one, other = folder(tmp_path, "one"), folder(tmp_path, "other")
    assert ports.reserve(one, 5432) == 5432
    assert ports.reserve(one, 5432) == 5432
    assert ports.reserve(other, 5432) != 5432
    assert ports.reserve(one, 6432, besides=[6432]) != 6432
    one.rmdir()
    assert ports.reserve(other, 5432) == 5432
    assert stat.S_IMODE((home / "lightwave" / "ports.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("mangled", ["", "[]", "{", '{"x": 1}', '{"5432": 1}', "null"])
def test_a_mangled_file_is_made_anew(home: Path, tmp_path: Path, mangled: str) -> None:
    file = home / "lightwave" / "ports.json"
    file.parent.mkdir(parents=True)
    file.write_text(mangled)
    one = folder(tmp_path, "one")
    assert ports.reserve(one, 5432) == 5432
    assert json.loads(file.read_text()) == {"5432": str(one)}


def test_without_a_home_the_checkout_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    one = folder(tmp_path, "one")
    port = ports.reserve(one, 0)
    assert json.loads((one.parent / "ports.json").read_text()) == {str(port): str(one)}

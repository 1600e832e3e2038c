"""The generated state of a local stack: once, private, and refused with words where it is wrong."""

import os
import re
import stat
from pathlib import Path

import pytest

import settings
from ops.dev import ports
from ops.dev import state as local_state
from settings import ADMIN, APPLICATION_SECRETS, STATS_USER, VALKEY_SECRETS, Settings, SettingsError


@pytest.fixture
def dev(tmp_path: Path) -> Settings:
    return local_state.prepare("dev", tmp_path)


def test_the_state_is_generated_once(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    dev = local_state.prepare("dev", folder)
    before = (folder / "state.json").read_bytes()
    assert dev.local is not None
    logins = {STATS_USER, *(p.login_role for p in dev.products.values())}
    assert set(dev.local.passwords) == {ADMIN, *logins}
    assert set(dev.local.scram_verifiers) == logins
    assert set(dev.local.secrets) == {*APPLICATION_SECRETS.values(), *VALKEY_SECRETS}
    assert dev.local.database_port != dev.local.pgbouncer_port
    assert local_state.prepare("dev", folder) == dev
    assert (folder / "state.json").read_bytes() == before


def test_the_state_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local_state.prepare("dev", tmp_path / "state")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "state.json").stat().st_mode) == 0o600


def test_every_secret_is_its_own_and_long(dev: Settings) -> None:
    assert dev.local is not None
    secrets = [s.get_secret_value() for s in (*dev.local.passwords.values(), *dev.local.secrets.values())]
    assert len(set(secrets)) == len(secrets) == 11
    assert all(re.fullmatch(r"[A-Za-z0-9]{32,}", secret) for secret in secrets)


def test_verifiers_have_salts_of_their_own(dev: Settings) -> None:
    assert dev.local is not None
    salts = {v.get_secret_value().split("$")[1] for v in dev.local.scram_verifiers.values()}
    assert len(salts) == len(dev.products) + 1


def test_taken_ports_are_stepped_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "port_is_free", lambda _: False)
    dev = local_state.prepare("dev", tmp_path)
    assert dev.local is not None
    assert dev.local.database_port != 5432
    assert dev.local.pgbouncer_port != 6432


def test_free_usual_ports_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ports, "port_is_free", lambda _: True)
    dev = local_state.prepare("dev", tmp_path / "stack")
    assert dev.local is not None
    assert (dev.local.database_port, dev.local.pgbouncer_port) == (5432, 6432)


@pytest.mark.parametrize("mangled", ["", "{", "[]", '"x"', '{"passwords": 1}', '{"databasePort": "x"}'])
def test_a_mangled_state_is_reported_with_the_fix_and_left_alone(tmp_path: Path, mangled: str) -> None:
    (tmp_path / "state.json").write_text(mangled)
    if mangled in ("[]",):  # nothing in it: as if there were none
        assert local_state.prepare("dev", tmp_path).local is not None
        return
    with pytest.raises(SettingsError, match=r"\.local/dev/state\.json[\s\S]*make down WIPE=1"):
        local_state.prepare("dev", tmp_path)


def test_a_wrong_config_generates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "stack_config", lambda _: {"lightwave:database": {"server": "local"}})
    with pytest.raises(SettingsError):
        local_state.prepare("dev", tmp_path / "state")
    assert not (tmp_path / "state").exists()

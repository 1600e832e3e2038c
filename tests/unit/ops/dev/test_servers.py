"""Which kind of servers is chosen, and what a local stack gives them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import settings
from ops.dev import containers, packages, servers
from ops.dev import state as local_state
from ops.dev.model import LocalStack, ServersError, Status
from ops.dev.postgresql import bootstrap_sql
from settings import ADMIN, Settings
from tests.configs import ON_KIND
from tests.unit import conftest
from tests.unit.ops.dev.programs import programs


@pytest.fixture
def dev(tmp_path: Path) -> Settings:
    return local_state.prepare("dev", tmp_path)


# --- which kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scripts", "command"),
    [
        ({}, None),
        ({"docker": "exit 0"}, ["docker", "compose"]),
        ({"podman": "exit 0"}, ["podman", "compose"]),
        ({"docker": "exit 1", "podman": "exit 0"}, ["podman", "compose"]),
        ({"docker": '[ "$1" != info ]'}, None),  # the client alone
        ({"docker": '[ "$1" != compose ]'}, None),  # no compose plugin
    ],
    ids=["none", "docker", "podman", "podman for a dead docker", "no daemon", "no plugin"],
)
def test_a_container_engine_counts_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str], command: list[str] | None
) -> None:
    programs(tmp_path, **scripts)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert containers.compose_command() == command


@pytest.mark.parametrize(
    ("answers", "recorded", "kind"),
    [(True, None, "compose"), (False, None, "native"), (True, "native", "native"), (False, "compose", "compose")],
)
def test_containers_are_preferred_and_what_was_used_first_is_kept(
    tmp_path: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch, *, answers: bool, recorded: str | None, kind: str
) -> None:
    monkeypatch.setattr(containers, "compose_command", lambda: ["docker", "compose"] if answers else None)
    if recorded:
        (tmp_path / "servers.json").write_text(json.dumps({"kind": recorded}))
    assert servers._chosen(LocalStack.of(dev, tmp_path), "auto") == kind


def test_a_start_that_could_not_begin_binds_nobody(
    tmp_path: Path, dev: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Callable[[str], None]) -> packages.Binaries:
        raise ServersError("missing")

    monkeypatch.setattr(packages, "find", lambda: None)
    monkeypatch.setattr(packages, "install", refuse)
    with pytest.raises(ServersError, match="missing"):
        servers.start(dev, tmp_path, kind="native")
    assert servers.status(tmp_path) == Status(kind=None)


# --- what they are given


def on_a_cluster(host: str, folder: Path) -> LocalStack:
    config = settings.stack_config("dev") | {f"lightwave:{name}": value for name, value in ON_KIND.items()}
    config["lightwave:kubernetes"] = {**ON_KIND["kubernetes"], "databaseHost": host, "databaseCidrs": ["192.0.2.0/24"]}
    return LocalStack.of(settings.load("dev", config, local=conftest.local_state()), folder)


def test_a_name_needs_no_address_besides_loopback(dev: Settings, tmp_path: Path) -> None:
    assert LocalStack.of(dev, tmp_path).cluster_address() is None
    assert on_a_cluster("host.docker.internal", tmp_path).cluster_address() is None


def test_an_address_that_is_not_this_machines_is_refused(tmp_path: Path) -> None:
    # TEST-NET-1 of RFC 5737: nobody's.
    stack = on_a_cluster("192.0.2.1", tmp_path)
    with pytest.raises(ServersError, match=r"databaseHost 192\.0\.2\.1 .*\n.*set an address"):
        stack.cluster_address()


def test_the_bootstrap_asks_for_the_admins_verifier_alone(dev: Settings, tmp_path: Path) -> None:
    stack = LocalStack.of(dev, tmp_path)
    verifier = stack.admin_verifier()
    sql = bootstrap_sql(verifier)
    assert sql.startswith(f"SET lightwave.admin_verifier = '{verifier}';\n\n")
    assert "NOSUPERUSER CREATEROLE CREATEDB" in sql
    assert stack.state.passwords[ADMIN].get_secret_value() not in sql

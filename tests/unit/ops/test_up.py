"""What `make up` and `make down` refuse before anything is touched."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ops import up
from ops.deploy import checks, file_backend
from ops.dev import admin, servers, state
from ops.dev.model import Running
from ops.errors import FailedError
from settings.problems import OperatorError


@pytest.fixture
def folder_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """The stacks' folders, none of them this checkout's."""
    monkeypatch.setattr(state, "folder", lambda stack: tmp_path / stack)
    return state.folder


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose servers were stopped."""
    folders: list[Path] = []

    def stop(folder: Path, **_: bool) -> tuple[str, ...]:
        folders.append(folder)
        return ()

    monkeypatch.setattr(servers, "stop", stop)
    return folders


@pytest.mark.parametrize("wipe", [True, False])
def test_down_refuses_a_stack_that_is_not_local(
    folder_of: Callable[[str], Path], stopped: list[Path], wipe: bool
) -> None:
    with pytest.raises(OperatorError, match=r"stack prod is not local[\s\S]*STACK=dev"):
        up.down("prod", wipe=wipe)
    assert not stopped
    assert not folder_of("prod").exists()


def test_up_refuses_a_stack_that_is_not_local(folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(OperatorError, match=r"stack prod is not local[\s\S]*make deploy STACK=prod"):
        up.up("prod")
    assert not (folder_of("prod") / state.FILE).exists()


@pytest.mark.parametrize("name", ["bin", "pulumi", "servers"])
def test_a_stack_that_would_share_its_folder_is_refused(
    folder_of: Callable[[str], Path], stopped: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`.local/pulumi` holds the Pulumi CLI, `.local/bin` the completion's launcher: a wipe would remove them."""
    monkeypatch.setattr(checks, "declared_local", lambda _: True)
    kept = folder_of(name) / "kept"
    kept.parent.mkdir()
    kept.touch()
    for command in (up.up, partial(up.down, wipe=True)):
        with pytest.raises(OperatorError, match=rf"no stack can be called {name}[\s\S]*git mv Pulumi\.{name}\.yaml"):
            command(name)
    assert not stopped
    assert list(kept.parent.iterdir()) == [kept]


def test_a_stack_whose_config_is_gone_can_be_stopped(folder_of: Callable[[str], Path], stopped: list[Path]) -> None:
    with pytest.raises(OperatorError, match="stack bob is not local"):
        up.down("bob")
    folder_of("bob").mkdir()
    (folder_of("bob") / state.RECORD).write_text('{"kind": "native"}')
    up.down("bob")
    assert stopped == [folder_of("bob")]


def test_what_the_state_holds_at_cloudflare_is_not_forgotten(
    folder_of: Callable[[str], Path], stopped: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_backend, "at_cloudflare", lambda _: ["media-bucket"])
    with pytest.raises(OperatorError, match="state knows media-bucket at Cloudflare"):
        up.down("dev", wipe=True)
    assert not stopped
    up.down("dev")
    assert stopped == [folder_of("dev")]


def test_the_folder_of_an_earlier_version_is_refused_with_the_fix(folder_of: Callable[[str], Path]) -> None:
    old = folder_of("dev").parent / state.FILE
    old.write_text("{}")
    with pytest.raises(OperatorError, match=r"earlier version[\s\S]*fix: make down WIPE=1, then make up"):
        up.up("dev")
    assert old.read_text() == "{}"
    assert not (folder_of("dev") / state.FILE).exists()


@pytest.mark.parametrize(("error", "restarted"), [(FailedError, True), (OperatorError, False)])
def test_the_pooler_is_restarted_where_an_update_failed_and_not_where_it_was_refused(
    folder_of: Callable[[str], Path],
    stopped: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    error: type[OperatorError],
    restarted: bool,
) -> None:
    """Its server sessions keep the search path that their role had, and a failed update may have changed that."""
    started: list[Path] = []

    def start(*_: object, **__: object) -> Running:
        started.append(folder_of("dev"))
        return Running(kind="native", database_port=5432, pgbouncer_port=6432, actions=())

    def build(*_: object, **__: object) -> None:
        raise error("no")

    monkeypatch.setattr(servers, "end_orphans", lambda _: ())
    monkeypatch.setattr(servers, "start", start)
    monkeypatch.setattr(servers, "stop_pooler", stopped.append)
    monkeypatch.setattr(admin, "connect", lambda _: io.StringIO())
    monkeypatch.setattr(up, "_build", build)
    with pytest.raises(error):
        up.up("dev")
    assert stopped == [folder_of("dev")] * restarted
    assert len(started) == 1 + restarted

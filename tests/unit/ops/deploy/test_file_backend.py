"""The state of local stacks: what a killed update leaves behind, and what must not be forgotten."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from ops.deploy import file_backend
from ops.deploy.deployment import Deployment
from ops.deploy.pulumi_cli import PulumiCli
from settings.problems import OperatorError
from tests.unit.ops.deploy.conftest import PENDING, StandIn


def _lock(root: Path, *, pid: int, hostname: str) -> Path:
    folder = file_backend.folder("dev", root) / ".pulumi" / "locks" / "organization" / "lightwave" / "dev"
    folder.mkdir(parents=True)
    lock = folder / "a.json"
    lock.write_text(json.dumps({"pid": pid, "hostname": hostname, "timestamp": "2026-01-01T00:00:00Z"}))
    return lock


def test_a_dead_lock_is_cleared_and_the_state_refreshed(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], tmp_path: Path
) -> None:
    # This process runs, and is not Pulumi: the number was given to another one.
    _lock(tmp_path, pid=os.getpid(), hostname=socket.gethostname())
    pulumi.answer(stack_export={"stdout": json.dumps(PENDING)})
    found = cli_of("dev").deployment()
    cli_of("dev").recover(found)
    assert [(p.operation, p.urn) for p in found.pending] == [
        ("creating", "urn::role::login"),
        ("creating", "urn::schema::own"),
        ("deleting", "urn:gone"),
        ("creating", "urn:grant"),
    ]
    asked = [arguments for arguments, _ in pulumi.asked]
    assert [words[:2] for words in asked] == [
        ["stack", "export"],
        ["cancel", "--yes"],
        ["refresh", "--stack"],
        ["stack", "export"],
    ]
    assert asked[1] == ["cancel", "--yes", "dev"]
    assert {"--clear-pending-creates", "--run-program"} <= set(asked[2])


@pytest.mark.parametrize(
    ("files", "repaired"),
    [
        ({"dev.json": '{"a": 1}', "dev.json.bak": '{"b": 1}'}, '{"a": 1}'),
        ({"dev.json": '{"a"', "dev.json.bak": '{"b": 1}'}, '{"b": 1}'),
        ({"dev.json": "", "dev.json.bak": '{"b'}, None),
        ({"dev.json": ""}, None),
    ],
)
def test_a_state_that_was_cut_off_is_taken_from_its_backup(
    pulumi: StandIn,
    cli_of: Callable[[str], PulumiCli],
    tmp_path: Path,
    files: dict[str, str],
    repaired: str | None,
) -> None:
    _lock(tmp_path, pid=2**22, hostname=socket.gethostname()).write_text("")
    file = file_backend.folder("dev", tmp_path) / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    file.parent.mkdir(parents=True)
    for name, text in files.items():
        file.with_name(name).write_text(text)
    cli_of("dev").select()
    assert (file.read_text() if file.exists() else None) == repaired
    assert file.with_name("dev.json.bak").exists() == (repaired is not None)
    assert [arguments[:2] for arguments, _ in pulumi.asked] == [["stack", "select"]]


@pytest.mark.parametrize(("name", "runs"), [("pulumi", True), ("another", False)])
def test_a_lock_counts_while_its_update_runs(tmp_path: Path, name: str, runs: bool) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            _lock(tmp_path, pid=process.pid, hostname=socket.gethostname())
            # The name is the program's once it was executed.
            with nullcontext() if not runs else pytest.raises(OperatorError, match=f"runs .process {process.pid} on"):
                assert file_backend.dead_locks("dev", tmp_path) == 1
        finally:
            process.kill()
    assert file_backend.dead_locks("dev", tmp_path) == 1


def test_another_machine_s_lock_is_left_alone(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], tmp_path: Path
) -> None:
    lock = _lock(tmp_path, pid=2**22, hostname="another")
    for step in (cli_of("dev").select, partial(cli_of("dev").recover, Deployment({}))):
        with pytest.raises(
            OperatorError, match=r"another update of stack dev runs .*on another(.|\n)*pulumi cancel dev"
        ):
            step()
    assert lock.exists()
    assert pulumi.asked == []


@pytest.mark.parametrize(("stale", "refreshes"), [(True, True), (False, False)])
def test_a_state_of_another_database_is_refreshed(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], stale: bool, refreshes: bool
) -> None:
    pulumi.answer(stack_export={"stdout": json.dumps({"deployment": {"resources": [{"urn": "urn:kept"}]}})})
    assert cli_of("dev").recover(cli_of("dev").deployment(), stale=stale).urns == {"urn:kept"}
    assert ("refresh" in [arguments[0] for arguments, _ in pulumi.asked]) == refreshes


def test_what_the_state_holds_at_cloudflare_is_known(tmp_path: Path) -> None:
    assert file_backend.at_cloudflare("dev", tmp_path) == []
    state = file_backend.folder("dev", tmp_path) / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    state.parent.mkdir(parents=True)
    resources = [
        {"urn": "urn:pulumi:dev::lightwave::postgresql:index/role:Role::login", "type": "postgresql:index/role:Role"},
        {"urn": "urn:pulumi:dev::lightwave::x::media-bucket", "type": "cloudflare:index/r2Bucket:R2Bucket"},
    ]
    state.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
    assert file_backend.at_cloudflare("dev", tmp_path) == ["media-bucket"]
    assert file_backend.at_cloudflare("alice", tmp_path) == []

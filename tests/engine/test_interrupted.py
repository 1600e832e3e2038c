"""What a killed update leaves, and the way on from there."""

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from ops.deploy import file_backend
from ops.deploy.adoption import adoption
from ops.deploy.deployment import Pending
from ops.deploy.pulumi_cli import PulumiCli
from ops.dev.recovery import drop_unrecorded
from ops.plan import recorder, sql
from settings.problems import OperatorError
from tests.engine.catalog import snapshot
from tests.engine.conftest import Ended, Project
from tests.integration.conftest import running_platform


def _killed_in_the_middle(project: Project, updating: Callable[..., Ended]) -> None:
    """Runs an update and kills it while it makes payload_user; the role is there then, and not recorded."""
    state = file_backend.folder("dev", project.root) / ".pulumi" / "stacks" / "lightwave" / "dev.json"

    def under_way(output: str) -> bool:
        if "Role access-payload-login creating" not in output:
            return False
        # Shown before it is written down.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if "access-payload-login" in state.read_text():
                return True
            time.sleep(0.01)
        raise TimeoutError

    with project.connect() as admin, admin.transaction():
        # The provider waits for this transaction, and is killed while it waits.
        admin.execute("CREATE ROLE payload_user")
        killed = updating(kill_when=under_way)
    assert killed.status != 0


def test_up_after_a_kill_in_the_middle_of_it(project: Project) -> None:
    _killed_in_the_middle(project, project.make_up)
    (lock,) = file_backend.folder("dev", project.root).glob(".pulumi/locks/*/*/dev/*.json")
    dead = lock.read_text()
    # A process that runs and is called pulumi: then the lock is left alone.
    pulumi = project.root / "pulumi"
    shutil.copy(shutil.which("sleep") or "", pulumi)
    pid = os.posix_spawn(pulumi, [str(pulumi), "60"], os.environ)
    try:
        lock.write_text(json.dumps({**json.loads(dead), "pid": pid}))
        refused = project.make_up()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert refused.status == 2, refused.output
    assert "another update of stack dev runs" in refused.output

    lock.write_text(dead)
    # The kill may come while Pulumi writes its state.
    state = file_backend.folder("dev", project.root) / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    shutil.copyfile(state, state.with_name("dev.json.bak"))
    state.write_text(state.read_text()[:1000])
    state.with_name("dev.json.attrs").write_text("")
    again = project.make_up()
    assert again.status == 0, again.output
    assert "the Pulumi state was cut off" in again.output
    assert "clearing the lock of a killed update" in again.output
    assert "dropped role payload_user" in again.output


def test_a_killed_creation_is_adopted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a protected stack is told to do, done."""
    for name, value in {**file_backend.environment("dev", project.root), "PULUMI_HOME": str(project.home)}.items():
        monkeypatch.setenv(name, value)
    found = PulumiCli(shutil.which("pulumi") or "", "dev", True, project.root)
    found.select()
    # One at a time, so that one is under way.
    update = partial(project.pulumi, "up", "--yes", "--skip-preview", "--stack", "dev", "--parallel", "1")
    _killed_in_the_middle(project, update)
    found.select()  # repairs what the kill cut off
    assert project.pulumi("cancel", "--yes", "dev").status == 0
    pending = {
        (p.type.rpartition(":")[2], str(p.inputs["name"])) for p in found.deployment().pending if "name" in p.inputs
    }
    assert pending == {("Role", "payload_user")}
    with project.connect() as admin:
        made = _made(admin)

        advice = adoption("dev", found.deployment().pending)
        commands = [shlex.split(line) for line in advice.fix.splitlines() if line.startswith("  pulumi")]
        assert [command[1] for command in commands] == ["import", "refresh"]
        for command in commands:
            ended = project.pulumi(*command[1:], "--yes", "--skip-preview")
            assert ended.status == 0, ended.output
        # What is imported is protected, as it was in the stack that this is meant for.
        project.configure(protect=True)
        project.update()
        # Changed into what is declared, and not made anew.
        assert made.items() <= _made(admin).items()
    with project.connect("payload_user") as payload:
        assert payload.execute("SHOW search_path").fetchone() == ("payload, public",)


def _made(connection: psycopg.Connection) -> dict[tuple[str, str], int]:
    """The roles and schemas that are there, with their object ids."""
    query = "SELECT 'Role', rolname, oid FROM pg_roles UNION ALL SELECT 'Schema', nspname, oid FROM pg_namespace"
    return {(kind, name): oid for kind, name, oid in connection.execute(query)}


def test_what_was_made_and_not_recorded_is_dropped_where_it_holds_nothing() -> None:
    """Pulumi's part in it is only its state, so this runs where there is no CLI too."""
    recording = recorder.record_stack("dev")
    with running_platform() as platform, platform.connect() as admin:
        admin.execute("CREATE ROLE payload_user; CREATE ROLE mine; CREATE SCHEMA payload; CREATE SCHEMA django")
        admin.execute("CREATE TABLE django.kept ()")
        before = snapshot(admin)
        with pytest.raises(OperatorError, match="schema django is in the database and not in the Pulumi state"):
            drop_unrecorded(admin, recording, [], set())
        assert snapshot(admin) == before

        admin.execute("DROP TABLE django.kept")
        recorded = {r.urn for r in recording.resources if r.name == "access-payload-schema"}
        dropped = drop_unrecorded(admin, recording, [], recorded)
        assert dropped == ["schema django", "role payload_user"]
        # What the state knows, what is not ours, and what stands before the stack does.
        for name in ("payload", "extensions"):
            assert admin.execute("SELECT FROM pg_namespace WHERE nspname = %s", [name]).fetchone() is not None
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'mine'").fetchone() is not None

        # A product that was taken out after its update was killed is known from the state alone.
        pending = Pending("creating", "urn:gone", "postgresql:index/role:Role", {"name": "mine"})
        assert drop_unrecorded(admin, recording, [pending], recorded) == ["role mine"]

        # The SQL does not build on what is there, no matter what made it.
        with pytest.raises(sql.NotEmptyError, match='schema "payload" already exists'):
            sql.apply(
                admin, recording, {role: v.get_secret_value() for role, v in platform.state.scram_verifiers.items()}
            )
        assert sql.built(admin) is None

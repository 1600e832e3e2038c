"""The dev stack under the real engine."""

import json
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from components.scram import scram_verifier
from ops import engine, recorder, sql
from settings import ROOT
from tests.engine.catalog import Catalog, snapshot
from tests.engine.conftest import Ended, Project, project_copy
from tests.integration.conftest import running_platform

PAYLOAD_TABLES = (ROOT / "tests/payload_tables.sql").read_bytes()
"""The seed's appendix."""

CYCLES = int(os.environ.get("ENGINE_CYCLES", "2"))


def _make_tables(project: Project) -> None:
    with project.connect("payload_user") as payload, project.connect("django_user") as django:
        payload.execute(PAYLOAD_TABLES)
        payload.execute("INSERT INTO users VALUES (gen_random_uuid(), 'a', 'a@example.com', 'x')")
        payload.execute("CREATE FUNCTION payload.secret() RETURNS integer LANGUAGE sql RETURN 1")
        django.execute("CREATE TABLE auth_user (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text)")


def _read_by_django(project: Project, *, on: bool) -> None:
    products = project.products()
    if on:
        products["payload"]["readers"] = ["django"]
    project.configure(products=products)


def _catalog(project: Project) -> Catalog:
    with project.connect() as admin:
        return snapshot(admin)


def _assert_clean(project: Project) -> None:
    for flags in (["--expect-no-changes"], ["--refresh", "--expect-no-changes"]):
        preview = project.pulumi("preview", *flags, "--stack", "dev")
        assert preview.status == 0, preview.output


def _refuses(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_both_ways_build_the_same_and_are_never_mixed(project: Project) -> None:
    _read_by_django(project, on=True)
    without = {engine.SWITCH: "off"}

    first = project.make_up()
    assert first.status == 0, first.output
    assert "built by pulumi" in first.output
    _make_tables(project)
    by_engine = _catalog(project)

    again = project.make_up()
    assert again.status == 0, again.output
    assert "The dev stack is up: no changes." in again.output
    for secret in json.loads(project.state_file.read_text())["passwords"].values():
        assert secret not in first.output + again.output
    refused = project.make_up(environment=without)
    assert refused.status == 2, refused.output
    assert "make down WIPE=1" in refused.output
    assert _catalog(project) == by_engine

    down = project.python("import sys; from ops import up; sys.exit(up.down(wipe=True))")
    assert down.status == 0, down.output
    assert not (project.root / engine.STATE_FOLDER).exists()
    first = project.make_up(environment=without)
    assert first.status == 0, first.output
    assert "no Pulumi engine (LIGHTWAVE_ENGINE=off)" in first.output
    _make_tables(project)
    by_sql = _catalog(project)
    assert by_sql.keys() == by_engine.keys()
    for name, rows in by_engine.items():
        assert rows
        assert by_sql[name] == rows, name

    # The engine is there now: the database stays with the SQL.
    again = project.make_up()
    assert again.status == 0, again.output
    assert "The dev stack is up: no changes." in again.output
    assert "built by the plan's SQL" in again.output
    assert _catalog(project) == by_sql


def test_up_where_there_is_no_engine(tmp_path: Path) -> None:
    with project_copy(tmp_path) as project:
        without = {engine.SWITCH: "off"}
        first = project.make_up(environment=without)
        assert first.status == 0, first.output
        assert "The dev stack is up: schemas, roles and grants created." in first.output
        before = _catalog(project)
        env_files = {path: path.read_bytes() for path in (project.root / ".local" / "env").iterdir()}
        assert {path.name for path in env_files} >= {"payload.env", "django.env"}

        again = project.make_up(environment=without)
        assert again.status == 0, again.output
        assert "The dev stack is up: no changes." in again.output
        assert {path: path.read_bytes() for path in env_files} == env_files

        # What the SQL can not do is refused, and nothing of it is done.
        _read_by_django(project, on=True)
        refused = project.make_up(environment=without)
        assert refused.status == 2, refused.output
        assert "make down WIPE=1" in refused.output
        assert _catalog(project) == before


def test_reads_tables_and_rotation(project: Project) -> None:
    project.update()
    before = _catalog(project)

    _read_by_django(project, on=True)
    project.update()
    with_read = _catalog(project)
    assert [row for row in with_read["memberships"] if row not in before["memberships"]] == [
        ("django_user", "payload_reader", "lightwave_admin", False)
    ]
    _make_tables(project)
    _assert_clean(project)
    with project.connect("django_user") as django, project.connect("payload_user") as payload:
        assert django.execute("SELECT email FROM payload.users").fetchall() == [("a@example.com",)]
        _refuses(django, "INSERT INTO payload.categories VALUES (gen_random_uuid(), 'a', 'a')")
        # A reader has USAGE on the schema, and PostgreSQL would let everybody execute a new function.
        _refuses(django, "SELECT payload.secret()")
        _refuses(payload, "SELECT * FROM django.auth_user")

    # A rotated password: the provider's update of a Role takes away every membership that the Role does not list.
    state = json.loads(project.state_file.read_text())
    state["passwords"]["django_user"] = "rotated"
    state["scramVerifiers"]["django_user"] = scram_verifier("rotated", secrets.token_bytes(16))
    project.state_file.write_text(json.dumps(state))
    assert "~ 1 updated" in project.update()
    assert _catalog(project)["memberships"] == with_read["memberships"]

    with project.connect("django_user") as django, project.connect("payload_user") as payload:
        django.execute("SELECT * FROM payload.users")
        _read_by_django(project, on=False)
        project.update()
        payload.execute("CREATE TABLE payload.made_after ()")
        _refuses(django, "SELECT * FROM payload.users")
        _refuses(django, "SELECT * FROM payload.made_after")
        payload.execute(
            "DROP TABLE posts_rels, posts, pages, users, categories, media, made_after; DROP FUNCTION payload.secret"
        )
        django.execute("DROP TABLE auth_user")
    assert _catalog(project) == before


def test_plain_pulumi_in_cycles_of_up_and_destroy(project: Project) -> None:
    committed = (project.root / "Pulumi.dev.yaml").read_bytes()
    empty = _catalog(project)
    for cycle in range(CYCLES):
        project.update()
        if cycle == 0:
            nothing = project.pulumi("up", "--yes", "--expect-no-changes")
            assert nothing.status == 0, nothing.output
        destroyed = project.pulumi("destroy", "--yes", "--skip-preview")
        assert destroyed.status == 0, destroyed.output
        left = _catalog(project)
        # What PUBLIC may do with a database by PostgreSQL's own default stays taken away.
        assert {**left, "databases": []} == {**empty, "databases": []}
    assert (project.root / "Pulumi.dev.yaml").read_bytes() == committed


def _killed_in_the_middle(project: Project, updating: Callable[..., Ended]) -> None:
    """Runs an update and kills it while it makes payload_user; the role is there then, and not recorded."""
    state = project.root / engine.STATE_FOLDER / ".pulumi" / "stacks" / "lightwave" / "dev.json"

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
    (lock,) = (project.root / engine.STATE_FOLDER).glob(".pulumi/locks/*/*/dev/*.json")
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
    # The kill may come while the engine writes its state.
    state = project.root / engine.STATE_FOLDER / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    shutil.copyfile(state, state.with_name("dev.json.bak"))
    state.write_text(state.read_text()[:1000])
    state.with_name("dev.json.attrs").write_text("")
    again = project.make_up()
    assert again.status == 0, again.output
    assert "the engine's state was cut off" in again.output
    assert "clearing the lock of a killed update" in again.output
    assert "dropped role payload_user" in again.output


def test_a_killed_creation_is_adopted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a protected stack is told to do, done."""
    for name, value in {**engine.dev_environment(project.root), "PULUMI_HOME": str(project.home)}.items():
        monkeypatch.setenv(name, value)
    found = engine.Engine(shutil.which("pulumi") or "", "dev", project.root)
    found.select()
    # One at a time, so that one is under way.
    update = partial(project.pulumi, "up", "--yes", "--skip-preview", "--stack", "dev", "--parallel", "1")
    _killed_in_the_middle(project, update)
    found.select()  # mends what the kill cut off
    assert project.pulumi("cancel", "--yes", "dev").status == 0
    pending = {(p.type.rpartition(":")[2], str(p.inputs["name"])) for p in found.pending() if "name" in p.inputs}
    assert pending == {("Role", "payload_user")}
    with project.connect() as admin:
        made = _made(admin)

        advice = engine.adoption(found)
        assert advice is not None
        commands = [shlex.split(line) for line in advice.splitlines() if line.startswith("  pulumi")]
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
    """The engine's part in it is only its state, so this runs where there is none too."""
    recording = recorder.record_stack("dev")
    with running_platform() as platform, platform.connect() as admin:
        admin.execute("CREATE ROLE payload_user; CREATE ROLE mine; CREATE SCHEMA payload; CREATE SCHEMA django")
        admin.execute("CREATE TABLE django.kept ()")
        before = snapshot(admin)
        with pytest.raises(engine.EngineError, match="schema django is in the database and not in the engine's state"):
            engine.drop_unrecorded(admin, recording, [], set())
        assert snapshot(admin) == before

        admin.execute("DROP TABLE django.kept")
        recorded = {r.urn for r in recording.resources if r.name == "access-payload-schema"}
        dropped = engine.drop_unrecorded(admin, recording, [], recorded)
        assert dropped == ["schema django", "role payload_user"]
        # What the state knows, what is not ours, and what stands before the stack does.
        for name in ("payload", "extensions"):
            assert admin.execute("SELECT FROM pg_namespace WHERE nspname = %s", [name]).fetchone() is not None
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'mine'").fetchone() is not None

        # A product that was taken out after its update was killed is known from the state alone.
        pending = engine.Pending("creating", "urn:gone", "postgresql:index/role:Role", {"name": "mine"})
        assert engine.drop_unrecorded(admin, recording, [pending], recorded) == ["role mine"]

        # The SQL does not build on what is there, whoever made it.
        with pytest.raises(sql.NotEmptyError, match='schema "payload" already exists'):
            sql.apply(
                admin, recording, {role: v.get_secret_value() for role, v in platform.state.scram_verifiers.items()}
            )
        assert sql.built(admin) is None


def test_a_product_with_tables_taken_out_of_a_protected_stack_is_refused(project: Project) -> None:
    products = project.products()
    project.configure(products=products, protect=True)
    project.update()
    _make_tables(project)
    before = _catalog(project)
    del products["payload"]
    project.configure(products=products, protect=True)
    refused = project.pulumi("up", "--yes", "--stack", "dev")
    assert refused.status != 0
    assert "cannot be deleted" in refused.output
    assert _catalog(project) == before


def test_a_changed_role_is_proven_on_the_pooled_path_too(project: Project) -> None:
    """A pooled server session keeps what its role was set to when it began."""
    assert project.make_up().status == 0
    products = project.products()
    project.configure(products={**products, "createos": {"statementTimeoutMs": 45_000}})
    again = project.make_up()
    assert again.status == 0, again.output
    assert "1 resources: update" in again.output

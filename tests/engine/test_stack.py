"""The dev stack under the real engine."""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from components.scram import scram_verifier
from ops import engine
from tests.engine.catalog import Catalog, snapshot
from tests.engine.conftest import Project

PAYLOAD_TABLES = (Path(__file__).parent / "payload_tables.sql").read_bytes()
"""The seed's appendix."""


def _make_tables(project: Project) -> None:
    with project.connect("payload_user") as payload, project.connect("django_user") as django:
        payload.execute(PAYLOAD_TABLES)
        payload.execute("INSERT INTO users VALUES (gen_random_uuid(), 'a', 'a@example.com', 'x')")
        payload.execute("CREATE FUNCTION payload.secret() RETURNS integer LANGUAGE sql RETURN 1")
        django.execute("CREATE TABLE auth_user (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text)")


def _assert_clean(project: Project) -> None:
    for flags in (["--expect-no-changes"], ["--refresh", "--run-program", "--expect-no-changes"]):
        preview = project.pulumi("preview", *flags, "--stack", "dev")
        assert preview.status == 0, preview.output


def _read_by_django(project: Project, *, on: bool) -> None:
    products = project.products()
    if on:
        products["payload"]["readers"] = ["django"]
    project.configure(products=products)


def _catalog(project: Project) -> Catalog:
    with project.connect() as admin:
        return snapshot(admin)


def test_make_up_twice(project: Project) -> None:
    first = project.make_up()
    assert first.status == 0, first.output
    assert "create" in first.output.splitlines()[-5]
    catalog = _catalog(project)
    second = project.make_up()
    assert second.status == 0, second.output
    assert "The dev stack is up: no changes." in second.output
    assert _catalog(project) == catalog
    for secret in json.loads(project.state_file.read_text())["passwords"].values():
        assert secret not in first.output + second.output


def test_clean_with_tables_and_a_read(project: Project) -> None:
    _read_by_django(project, on=True)
    project.update()
    _assert_clean(project)
    _make_tables(project)
    _assert_clean(project)
    with project.connect("django_user") as django:
        assert django.execute("SELECT email FROM payload.users").fetchall() == [("a@example.com",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            django.execute("INSERT INTO payload.categories VALUES (gen_random_uuid(), 'a', 'a')")
        # A reader has USAGE on the schema, and PostgreSQL would let everybody execute a new function.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            django.execute("SELECT payload.secret()")
    with project.connect("payload_user") as payload, pytest.raises(psycopg.errors.InsufficientPrivilege):
        payload.execute("SELECT * FROM django.auth_user")


def test_a_read_switched_on_and_off_again(project: Project) -> None:
    project.update()
    before = _catalog(project)
    _read_by_django(project, on=True)
    project.update()
    assert [row for row in _catalog(project)["memberships"] if row not in before["memberships"]] == [
        ("django_user", "payload_reader", "lightwave_admin", False)
    ]
    with project.connect("payload_user") as payload, project.connect("django_user") as django:
        payload.execute("CREATE TABLE payload.made_while_on (id integer)")
        django.execute("SELECT * FROM payload.made_while_on")
        _read_by_django(project, on=False)
        project.update()
        payload.execute("CREATE TABLE payload.made_after ()")
        for table in ("made_while_on", "made_after"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                django.execute(f"SELECT * FROM payload.{table}".encode())
        payload.execute("DROP TABLE payload.made_while_on, payload.made_after")
    assert _catalog(project) == before


def test_a_rotated_verifier_keeps_the_memberships(project: Project) -> None:
    _read_by_django(project, on=True)
    project.update()
    before = _catalog(project)
    state = json.loads(project.state_file.read_text())
    state["passwords"]["django_user"] = "rotated"
    state["scramVerifiers"]["django_user"] = scram_verifier("rotated", secrets.token_bytes(16))
    project.state_file.write_text(json.dumps(state))
    assert "~ 1 updated" in project.update()
    assert _catalog(project) == before
    with project.connect("django_user") as django:
        assert django.execute("SELECT session_user").fetchone() == ("django_user",)


def test_cycles_of_up_and_destroy_at_default_parallelism(project: Project) -> None:
    empty = _catalog(project)
    for _ in range(int(os.environ.get("ENGINE_CYCLES", "2"))):
        project.update()
        destroyed = project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")
        assert destroyed.status == 0, destroyed.output
        # PUBLIC's own rights on the database are gone, and destroy gives nobody anything.
        left = _catalog(project)
        assert {k: v for k, v in left.items() if k != "databases"} == {
            k: v for k, v in empty.items() if k != "databases"
        }


@pytest.mark.parametrize("at", ["Role access-payload-login creating", "Grant access-django-own creating"])
def test_up_after_a_kill_in_the_middle_of_creating(project: Project, at: str) -> None:
    killed = project.make_up(kill_when=lambda output: at in output)
    assert killed.status != 0
    with project.connect() as admin:
        row = admin.execute("SELECT count(*) FROM pg_roles WHERE rolname ~ '_(reader|user|login)$'").fetchone()
    assert row is not None
    assert row[0] > 0
    again = project.make_up()
    assert again.status == 0, again.output
    assert "clearing the lock of a killed update" in again.output
    _assert_clean(project)


def test_roles_and_schemas_made_and_not_recorded_are_dropped(project: Project) -> None:
    with project.connect() as admin:
        admin.execute("CREATE ROLE payload_user")
        admin.execute("CREATE SCHEMA django")
    ended = project.make_up()
    assert ended.status == 0, ended.output
    assert "dropped role payload_user" in ended.output
    assert "dropped schema django" in ended.output


def test_what_is_in_use_and_not_recorded_is_left_alone(project: Project) -> None:
    with project.connect() as admin:
        admin.execute("CREATE ROLE payload_user")
        admin.execute("CREATE SCHEMA django CREATE TABLE kept ()")
        ended = project.make_up()
        assert ended.status == 2, ended.output
        assert "schema django is in the database and not in the engine's state" in ended.output
        admin.execute("SELECT FROM django.kept")
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'payload_user'").fetchone() is not None


def test_an_update_that_runs_is_not_disturbed(project: Project) -> None:
    first = project.make_up(kill_when=lambda output: "creating" in output)
    (lock,) = (project.root / engine.STATE_FOLDER).glob(".pulumi/locks/*/*/dev/*.json")
    held = json.loads(lock.read_text())
    # A process that runs and is called pulumi: a copy of sleep.
    pulumi = project.root / "pulumi"
    shutil.copy(shutil.which("sleep") or "", pulumi)
    held["pid"] = os.posix_spawn(pulumi, [str(pulumi), "60"], os.environ)
    try:
        lock.write_text(json.dumps(held))
        second = project.make_up()
    finally:
        os.kill(held["pid"], 9)
        os.waitpid(held["pid"], 0)
    assert first.status != 0
    assert second.status == 2, second.output
    assert "another update of stack dev runs" in second.output
    assert lock.exists()


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


def test_the_sql_gives_the_same_catalog(projects: Callable[[], Project]) -> None:
    catalogs = []
    with ExitStack():
        for switch in ("", "off"):
            project = projects()
            _read_by_django(project, on=True)
            built = project.make_up(environment={engine.SWITCH: switch})
            assert built.status == 0, built.output
            assert ("built by pulumi" in built.output) == (not switch)
            _make_tables(project)
            catalogs.append(_catalog(project))
    by_engine, by_sql = catalogs
    for name, rows in by_engine.items():
        assert by_sql[name] == rows, name
    assert all(by_engine.values())


def test_built_from_sql_stays_so(project: Project) -> None:
    first = project.make_up(environment={engine.SWITCH: "off"})
    assert first.status == 0, first.output
    assert "no Pulumi engine (LIGHTWAVE_ENGINE=off)" in first.output
    before = _catalog(project)
    # The engine is there now.
    second = project.make_up()
    assert second.status == 0, second.output
    assert "The dev stack is up: no changes." in second.output
    assert "built by the plan's SQL" in second.output
    _read_by_django(project, on=True)
    changed = project.make_up()
    assert changed.status == 2, changed.output
    assert "make down WIPE=1" in changed.output
    assert _catalog(project) == before


def test_built_by_the_engine_is_not_gone_on_with_sql(project: Project) -> None:
    project.make_up()
    before = _catalog(project)
    without = project.make_up(environment={engine.SWITCH: "off"})
    assert without.status == 2
    assert "make down WIPE=1" in without.output
    assert _catalog(project) == before


def test_plain_pulumi_up(project: Project) -> None:
    committed = (project.root / "Pulumi.dev.yaml").read_bytes()
    assert project.make_up().status == 0
    preview = project.pulumi("up", "--yes", "--expect-no-changes")
    assert preview.status == 0, preview.output
    for arguments in (["refresh", "--yes"], ["destroy", "--yes"], ["up", "--yes"], ["stack", "select", "dev"]):
        ended = project.pulumi(*arguments)
        assert ended.status == 0, ended.output
    assert (project.root / "Pulumi.dev.yaml").read_bytes() == committed


def test_wiped_and_made_again(project: Project) -> None:
    assert project.make_up().status == 0
    down = project.python("import sys; from ops import up; sys.exit(up.down(wipe=True))")
    assert down.status == 0, down.output
    again = project.make_up()
    assert again.status == 0, again.output
    assert "create" in again.output

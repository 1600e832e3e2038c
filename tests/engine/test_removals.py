"""Removals, renames and changes by hand on a stack that holds tables, under the real Pulumi CLI."""

import re

import psycopg
import pytest

from tests.engine.conftest import Ended, Project


def _built(project: Project) -> None:
    first = project.make_up()
    assert first.status == 0, first.output
    project.make_tables()


def _refused(project: Project, *words: str, **options: str) -> Ended:
    """`make up` ends with status 2 before the Pulumi CLI or the pooler changes anything."""
    before, state, pooler = (
        project.catalog(),
        project.pulumi("stack", "export", "--stack", "dev").output,
        _pooler(project),
    )
    refused = project.ops("up", **options)
    assert refused.status == 2, refused.output
    assert "Traceback" not in refused.output
    assert _pooler(project) == pooler
    assert project.catalog() == before
    assert project.pulumi("stack", "export", "--stack", "dev").output == state
    for word in words:
        assert word in refused.output, refused.output
    return refused


def _pooler(project: Project) -> dict[str, str]:
    """What the pooler is configured with."""
    folder = project.state_file.parent / "servers" / "pgbouncer"
    return {name: (folder / name).read_text() for name in ("pgbouncer.ini", "userlist.txt")}


def _no_changes(project: Project) -> None:
    again = project.make_up()
    assert again.status == 0, again.output
    assert "Stack dev is up: no changes." in again.output, again.output


def _up(project: Project, *flags: str) -> str:
    ended = project.ops("up", *flags)
    assert ended.status == 0, ended.output
    return ended.output


def test_products_taken_out_are_refused_before_anything_changes(project: Project) -> None:
    _built(project)
    products = project.products()
    project.configure(products={"django": products["django"]})
    _refused(project, "schema payload is no longer declared and holds", "categories", "remove-a-product.md")
    _refused(project, "lightwave:products in Pulumi.dev.yaml replaces the whole table")
    assert project.ops("up", "--remove").status == 2
    project.configure(products=products)
    _no_changes(project)

    # An empty one: named, and confirmed.
    project.configure(products={name: entry for name, entry in products.items() if name != "cineos"})
    refused = _refused(project, "deletes Schema access-cineos-schema", "deletes Role access-cineos-login")
    assert "make up REMOVE=1" in refused.output.splitlines()[-1]
    _up(project, "--remove")
    with project.connect() as admin:
        assert not admin.execute("SELECT FROM pg_roles WHERE rolname LIKE 'cineos%'").fetchall()
    project.configure(products=products)
    _up(project)
    _no_changes(project)

    # A renamed product that keeps its schema.
    renamed = {name: entry for name, entry in products.items() if name != "cineos"}
    project.configure(products={**renamed, "films": {"schema": "cineos"}})
    _refused(project, "access-films-schema takes the name cineos", "a product cannot be renamed in one step")


def test_a_schema_with_tables_is_not_renamed_and_an_empty_one_is(project: Project) -> None:
    _built(project)
    products = project.products()
    project.configure(products={**products, "payload": {**products["payload"], "schema": "cms"}})
    _refused(project, "schema payload would become cms and holds", "schema: payload", "rename-a-schema.md")
    project.configure(products=products)
    _no_changes(project)

    before = project.catalog()
    project.configure(products={**products, "cineos": {"schema": "films"}})
    assert "renames schema cineos to films" in _up(project)
    _no_changes(project)
    project.configure(products=products)
    _up(project)
    _no_changes(project)
    assert project.catalog() == before


@pytest.mark.parametrize("taken_back", [True, False])
def test_a_rename_that_failed_half_way_is_repaired(project: Project, taken_back: bool) -> None:
    _built(project)
    products = project.products()
    before = project.catalog()
    project.configure(products={**products, "payload": {**products["payload"], "schema": "cms"}})
    # Plain Pulumi knows no check.
    assert project.pulumi("up", "--yes", "--skip-preview", "--stack", "dev").status != 0
    if taken_back:
        project.configure(products=products)
    _up(project)
    _no_changes(project)
    with project.connect("payload_user") as payload:
        assert payload.execute("SELECT email FROM users").fetchall() == [("a@example.com",)]
    if taken_back:
        assert project.catalog() == before


def test_a_removal_that_failed_half_way_is_repaired(project: Project) -> None:
    _built(project)
    products = project.products()
    before = project.catalog()
    project.configure(products={name: entry for name, entry in products.items() if name != "payload"})
    assert project.pulumi("up", "--yes", "--skip-preview", "--stack", "dev").status != 0
    with project.connect() as admin:
        owner = admin.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'payload'").fetchone()
    assert owner == ("lightwave_admin",)
    _refused(project, "schema payload is no longer declared and holds")
    project.configure(products=products)
    assert "payload_user owns" in _up(project)
    _no_changes(project)
    assert project.catalog() == before


def test_what_was_changed_by_hand_is_healed(project: Project) -> None:
    _built(project)
    before = project.catalog()
    with project.connect() as admin:
        admin.execute("ALTER ROLE payload_user CONNECTION LIMIT 3")
        admin.execute("ALTER ROLE payload_user SET search_path = public")
        admin.execute("REVOKE USAGE ON SCHEMA django FROM django_user")
        admin.execute("GRANT createos_user TO CURRENT_USER")
        admin.execute("DROP OWNED BY createos_user")
        admin.execute("REVOKE createos_user FROM CURRENT_USER")
    assert "making them again" in _up(project)
    assert project.catalog() == before
    _no_changes(project)

    with project.connect("payload_user") as payload:
        payload.execute("GRANT INSERT ON users TO django_user")
    failed = project.make_up()
    assert failed.status == 1, failed.output
    cause, fix = failed.output.splitlines()[-2:]
    assert cause.startswith("the database differs from the product table")
    assert "undo what was changed by hand, then make up" in fix


def test_plain_destroy_with_tables_names_the_schema(project: Project) -> None:
    _built(project)
    with project.connect("django_user") as owner:  # docs/dev-stack.md
        owner.execute("DROP DATABASE test_lightwave_platform WITH (FORCE)")
    destroyed = project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert destroyed.status != 0
    # The engine stops at the first of the two that hold tables.
    assert re.search("cannot drop schema (payload|django) because other objects depend on it", destroyed.output)
    with project.connect() as admin, pytest.raises(psycopg.errors.DependentObjectsStillExist):
        admin.execute("DROP SCHEMA payload")

"""Changes to a stack that holds tables, under the real Pulumi CLI."""

import json
import secrets

import psycopg
import pytest

from components.secrets.scram import scram_verifier
from tests.engine.conftest import Project


def _assert_clean(project: Project) -> None:
    for flags in (["--expect-no-changes"], ["--refresh", "--expect-no-changes"]):
        preview = project.pulumi("preview", *flags, "--stack", "dev")
        assert preview.status == 0, preview.output


def _refuses(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_reads_tables_and_rotation(project: Project) -> None:
    project.update()
    before = project.catalog()

    project.read_by_django(on=True)
    project.update()
    with_read = project.catalog()
    assert [row for row in with_read["memberships"] if row not in before["memberships"]] == [
        ("django_user", "payload_reader", "lightwave_admin", False)
    ]
    project.make_tables()
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
    assert project.catalog()["memberships"] == with_read["memberships"]

    with project.connect("django_user") as django, project.connect("payload_user") as payload:
        django.execute("SELECT * FROM payload.users")
        project.read_by_django(on=False)
        project.update()
        payload.execute("CREATE TABLE payload.made_after ()")
        _refuses(django, "SELECT * FROM payload.users")
        _refuses(django, "SELECT * FROM payload.made_after")
        payload.execute(
            "DROP TABLE posts_rels, posts, pages, users, categories, media, made_after; DROP FUNCTION payload.secret"
        )
        django.execute("DROP TABLE auth_user")
    assert project.catalog() == before


def test_a_product_with_tables_taken_out_of_a_protected_stack_is_refused(project: Project) -> None:
    products = project.products()
    project.configure(products=products, protect=True)
    project.update()
    project.make_tables()
    before = project.catalog()
    del products["payload"]
    project.configure(products=products, protect=True)
    refused = project.pulumi("up", "--yes", "--stack", "dev")
    assert refused.status != 0
    assert "cannot be deleted" in refused.output
    assert project.catalog() == before


def test_a_changed_role_is_proven_on_the_pooled_path_too(project: Project) -> None:
    """A pooled server session keeps what its role was set to when it began."""
    assert project.make_up().status == 0
    products = project.products()
    project.configure(products={**products, "createos": {"statementTimeoutMs": 45_000}})
    again = project.make_up()
    assert again.status == 0, again.output
    assert "1 resources: update" in again.output

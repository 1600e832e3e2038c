"""The access matrix derived from the product table, against one written out by hand."""

from typing import Any

import pytest

import settings
from ops.verify.matrix import PRIVILEGES, Matrix, markdown, matrix
from tests.unit.conftest import full_config, local_state


def of_dev(**products: dict[str, Any]) -> settings.Settings:
    """The dev stack, with some entries of its product table changed."""
    config = full_config("dev")
    for name, entry in products.items():
        config["lightwave:products"][name] |= entry
    return settings.load("dev", config, local=local_state())


def levels(found: Matrix) -> dict[str, list[str]]:
    schemas = ["payload", "django", "createos", "cineos", "photographyos", "public"]
    return {role.name: [found.access[role.name, schema].value for schema in schemas] for role in found.logins}


def test_each_product_has_its_own_schema_and_reads_public_alone() -> None:
    assert levels(matrix(of_dev())) == {
        "payload_user": ["full", "none", "none", "none", "none", "read"],
        "django_user": ["none", "full", "none", "none", "none", "read"],
        "createos_user": ["none", "none", "full", "none", "none", "read"],
        "cineos_user": ["none", "none", "none", "full", "none", "read"],
        "photographyos_user": ["none", "none", "none", "none", "full", "read"],
    }


def test_a_read_that_is_switched_on_changes_one_field_and_one_membership() -> None:
    off, on = matrix(of_dev()), matrix(of_dev(payload={"readers": ["django"]}))
    changed = {key: level.value for key, level in on.access.items() if off.access[key] is not level}
    assert changed == {("django_user", "payload"): "read"}
    assert on.roles["django_user"].member_of == {"lightwave_login", "payload_reader"}
    assert off.roles["django_user"].member_of == {"lightwave_login"}
    assert [name for name, role in on.roles.items() if role != off.roles[name]] == ["django_user"]
    assert (on.grants, on.readers, on.object_owners) == (off.grants, off.readers, off.object_owners)


def test_roles() -> None:
    roles = matrix(of_dev()).roles
    assert {name for name, role in roles.items() if not role.login} == {
        "lightwave_login",
        "payload_reader",
        "django_reader",
        "createos_reader",
        "cineos_reader",
        "photographyos_reader",
    }
    assert all(role.settings == {} and role.member_of == frozenset() for role in roles.values() if not role.login)
    assert roles["payload_user"].connection_limit == 70
    assert roles["payload_user"].settings == {
        "search_path": "payload, public",
        "statement_timeout": "30000",
        "idle_in_transaction_session_timeout": "300000",
    }


def test_owners_and_grants_of_the_schemas() -> None:
    found = matrix(of_dev(payload={"schema": "cms"}))
    assert found.schema_owners["cms"] == "lightwave_admin"
    assert found.schema_owners["public"] == "pg_database_owner"
    assert found.object_owners["cms"] == "payload_user"
    assert found.object_owners["public"] == "lightwave_admin"
    assert found.grants["cms"] == {("payload_user", "USAGE"), ("payload_user", "CREATE"), ("payload_reader", "USAGE")}
    assert found.grants["public"] == {("PUBLIC", "USAGE")}
    assert found.grants["extensions"] == frozenset()
    assert "payload" not in found.schema_owners


@pytest.mark.parametrize(
    ("schema", "kind", "expected"),
    [
        ("createos", "schema", set()),
        ("createos", "table", set()),
        ("createos", "function", set()),
        ("payload", "schema", {"USAGE"}),
        ("payload", "table", {"SELECT"}),
        ("payload", "sequence", set()),
        ("payload", "function", set()),
        ("public", "schema", {"USAGE"}),
        ("public", "table", {"SELECT"}),
        ("public", "sequence", set()),
        ("public", "function", {"EXECUTE"}),
        ("django", "schema", {"USAGE", "CREATE"}),
        ("django", "table", {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}),
        ("django", "sequence", {"USAGE", "SELECT", "UPDATE"}),
        ("django", "function", {"EXECUTE"}),
    ],
)
def test_privileges_of_django_that_reads_payload(schema: str, kind: str, expected: set[str]) -> None:
    found = matrix(of_dev(payload={"readers": ["django"]}))
    assert found.privileges("django_user", schema, kind) == expected
    assert set(PRIVILEGES[kind]) >= expected


def test_markdown_has_one_row_per_login_role() -> None:
    rows = markdown(of_dev(payload={"readers": ["django"]})).splitlines()
    assert rows[0] == (
        "| login role | payload | django | createos | cineos | photographyos | public "
        "| connections | statement timeout | idle in transaction |"
    )
    assert rows[2:4] == [
        "| `payload_user` | full | none | none | none | none | read | 70 | 30 s | 300 s |",
        "| `django_user` | read | full | none | none | none | read | 80 | 30 s | 120 s |",
    ]
    assert len([row for row in rows if row.startswith("| `")]) == 5


def test_the_offline_plan_has_the_same_matrix() -> None:
    with settings.offline():
        assert markdown(settings.load("dev", settings.stack_config("dev"))) == markdown(of_dev())

"""Schemas, roles and grants: what is declared, exact inputs, secrecy and readers."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.database.access import DatabaseAccess, DatabaseAccessArgs
from ops.plan.recorder import Recording, record
from policies.rules.model import Secret
from tests.unit.components.database.recordings import DJANGO, PAYLOAD, TYPE, access, children, kind, product
from tests.unit.conftest import STACKS

DATABASE = {"database": "lightwave_platform"}


# --- what is declared, in both stacks ---------------------------------------------------------------------------------

SHARED = [
    ("Schema", "access-extensions"),
    ("Extension", "access-pg-stat-statements"),
    ("Role", "access-login-group"),
    ("Grant", "access-public-database"),
    ("Grant", "access-login-connect"),
    ("Grant", "access-login-public-tables"),
    ("DefaultPrivileges", "access-login-public-default"),
]
OF_A_PRODUCT = [
    ("Schema", "schema"),
    ("Role", "login"),
    ("Role", "reader"),
    ("Grant", "own"),
    ("Grant", "reader-usage"),
    ("Grant", "reader-tables"),
    ("DefaultPrivileges", "reader-default"),
    ("DefaultPrivileges", "functions"),
]


def expected(*products: str) -> Counter[tuple[str, str]]:
    own = [(type_, f"access-{name}-{suffix}") for name in products for type_, suffix in OF_A_PRODUCT]
    return Counter([*SHARED, *own])


@pytest.mark.parametrize("stack", STACKS)
def test_all_stacks_declare_the_same(recording_of: Callable[[str], Recording], stack: str) -> None:
    found = children(recording_of(stack))
    assert Counter((kind(resource), resource.name) for resource in found) == expected(
        "payload", "django", "createos", "cineos", "photographyos"
    )
    assert all(resource.type.startswith("postgresql:index/") for resource in found)


def test_the_stacks_differ_in_nothing_but_protection(recording_of: Callable[[str], Recording]) -> None:
    def declared(stack: str) -> dict[str, Any]:
        # Each stack has its own passwords.
        return {r.name: (r.type, {**r.inputs, "password": None}) for r in children(recording_of(stack))}

    assert declared("dev") == declared("staging") == declared("prod")


@pytest.mark.parametrize("stack", STACKS)
def test_everything_is_protected_in_prod_alone(recording_of: Callable[[str], Recording], stack: str) -> None:
    assert {resource.protect for resource in children(recording_of(stack))} == {stack == "prod"}


@pytest.mark.parametrize("stack", STACKS)
def test_one_explicit_provider_for_all(recording_of: Callable[[str], Recording], stack: str) -> None:
    (provider,) = recording_of(stack).of_type("pulumi:providers:postgresql")
    assert {resource.provider for resource in children(recording_of(stack))} == {provider.urn}
    assert provider.inputs["superuser"] == "false"
    assert provider.inputs["username"] == "lightwave_admin"
    assert provider.inputs["database"] == "lightwave_platform"
    assert isinstance(provider.inputs["password"], Secret)


def test_a_product_is_one_entry() -> None:
    before, after = access(PAYLOAD, DJANGO), access(PAYLOAD, DJANGO, product("audioos"))
    new = {resource.urn for resource in after.resources} - {resource.urn for resource in before.resources}
    assert Counter((kind(r), r.name) for r in after.resources if r.urn in new) == expected("audioos") - Counter(SHARED)
    # The other resources stay as they are.
    assert [resource for resource in after.resources if resource.urn not in new] == list(before.resources)


def test_without_products_there_is_only_the_shared_part() -> None:
    assert Counter((kind(resource), resource.name) for resource in children(access())) == Counter(SHARED)


# --- exact inputs -----------------------------------------------------------------------------------------------------

LOGIN = {
    "login": True,
    "inherit": True,
    "superuser": False,
    "createDatabase": False,
    "createRole": False,
    "replication": False,
    "bypassRowLevelSecurity": False,
}
PUBLIC = {**DATABASE, "schema": "public"}
INPUTS: dict[str, dict[str, Any]] = {
    "access-extensions": {**DATABASE, "name": "extensions", "owner": "lightwave_admin", "ifNotExists": True},
    "access-pg-stat-statements": {**DATABASE, "name": "pg_stat_statements", "schema": "extensions"},
    "access-login-group": {"name": "lightwave_login", "login": False, "inherit": True},
    "access-public-database": {**DATABASE, "role": "public", "objectType": "database", "privileges": []},
    "access-login-connect": {
        **DATABASE,
        "role": "lightwave_login",
        "objectType": "database",
        "privileges": ["CONNECT"],
    },
    "access-login-public-tables": {
        **PUBLIC,
        "role": "lightwave_login",
        "objectType": "table",
        "privileges": ["SELECT"],
    },
    "access-login-public-default": {
        **PUBLIC,
        "role": "lightwave_login",
        "owner": "lightwave_admin",
        "objectType": "table",
        "privileges": ["SELECT"],
    },
    "access-payload-reader": {"name": "payload_reader", "login": False, "inherit": True},
    "access-payload-login": {
        **LOGIN,
        "name": "payload_user",
        "password": Secret("SCRAM-SHA-256$of-payload"),
        "roles": ["lightwave_login"],
        "searchPaths": ["payload", "public"],
        "connectionLimit": 60,
        "statementTimeout": 30_000,
        "idleInTransactionSessionTimeout": 60_000,
    },
    "access-payload-schema": {**DATABASE, "name": "payload", "owner": "lightwave_admin", "dropCascade": False},
    "access-django-reader": {"name": "django_reader", "login": False, "inherit": True},
    "access-django-login": {
        **LOGIN,
        "name": "django_user",
        "password": Secret("SCRAM-SHA-256$of-django"),
        "roles": ["lightwave_login", "payload_reader"],
        "searchPaths": ["api", "public"],
        "connectionLimit": 40,
        "statementTimeout": 5000,
        "idleInTransactionSessionTimeout": 7000,
    },
    "access-django-schema": {**DATABASE, "name": "api", "owner": "lightwave_admin", "dropCascade": False},
}
for _name, _schema in (("payload", "payload"), ("django", "api")):
    _in_schema = {**DATABASE, "schema": _schema}
    INPUTS |= {
        f"access-{_name}-own": {
            **_in_schema,
            "role": f"{_name}_user",
            "objectType": "schema",
            "privileges": ["CREATE", "USAGE"],
        },
        f"access-{_name}-reader-usage": {
            **_in_schema,
            "role": f"{_name}_reader",
            "objectType": "schema",
            "privileges": ["USAGE"],
        },
        f"access-{_name}-reader-tables": {
            **_in_schema,
            "role": f"{_name}_reader",
            "objectType": "table",
            "privileges": ["SELECT"],
        },
        f"access-{_name}-reader-default": {
            **_in_schema,
            "role": f"{_name}_reader",
            "owner": f"{_name}_user",
            "objectType": "table",
            "privileges": ["SELECT"],
        },
        f"access-{_name}-functions": {
            **DATABASE,
            "role": "public",
            "owner": f"{_name}_user",
            "objectType": "function",
            "privileges": [],
        },
    }


@pytest.mark.parametrize("name", INPUTS)
def test_exact_inputs(two_products: Recording, name: str) -> None:
    (resource,) = [resource for resource in two_products.resources if resource.name == name]
    assert resource.inputs == INPUTS[name]


def test_the_inputs_above_cover_every_resource(two_products: Recording) -> None:
    assert sorted(resource.name for resource in children(two_products)) == sorted(INPUTS)


# --- secrecy ----------------------------------------------------------------------------------------------------------


def test_a_plain_verifier_becomes_secret(two_products: Recording) -> None:
    for resource in children(two_products):
        assert isinstance(resource.inputs.get("password"), Secret) == resource.inputs.get("login", False)
    assert "SCRAM-SHA-256" not in repr(two_products)


def test_a_secret_verifier_is_passed_on() -> None:
    recording = record(
        lambda: DatabaseAccess(
            "access",
            DatabaseAccessArgs(
                database="d",
                admin="a",
                products=[DJANGO],
                password_verifiers={"django_user": pulumi.Output.secret("SCRAM-SHA-256$x")},
                protect=False,
            ),
        ),
        stack="test",
    )
    login = recording.one("postgresql:index/role:Role", "access-django-login")
    assert login.inputs["password"] == Secret("SCRAM-SHA-256$x")


@pytest.mark.parametrize("lacking", [("payload_user",), ("django_user",), ("payload_user", "django_user")])
def test_a_missing_verifier_is_refused(lacking: tuple[str, ...]) -> None:
    verifiers = {role: "x" for role in ("payload_user", "django_user") if role not in lacking}
    with pytest.raises(pulumi.InputPropertyError, match=f"no verifier for {', '.join(lacking)}"):
        access(PAYLOAD, DJANGO, verifiers=verifiers)


# --- who reads what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("readers", "groups"),
    [
        ({}, {"a": [], "b": [], "c": []}),
        ({"a": ["b"]}, {"a": [], "b": ["a_reader"], "c": []}),
        ({"a": ["b", "c"], "c": ["b"]}, {"a": [], "b": ["a_reader", "c_reader"], "c": ["a_reader"]}),
        ({"a": ["b"], "b": ["a"]}, {"a": ["b_reader"], "b": ["a_reader"], "c": []}),
    ],
)
def test_only_readers_are_members_of_the_reader_group(
    readers: dict[str, list[str]], groups: dict[str, list[str]]
) -> None:
    recording = access(*(product(name, readers=tuple(readers.get(name, ()))) for name in "abc"))
    for name, expected_groups in groups.items():
        login = recording.one("postgresql:index/role:Role", f"access-{name}-login")
        assert login.inputs["roles"] == ["lightwave_login", *expected_groups]


def test_adding_a_reader_changes_only_its_memberships() -> None:
    off, on = access(product("a"), product("b")), access(product("a", readers=("b",)), product("b"))
    changed = [
        (old.name, new) for old, new in zip(off.resources, on.resources, strict=True) if old.inputs != new.inputs
    ]
    assert [(name, new.inputs["roles"]) for name, new in changed] == [
        ("access-b-login", ["lightwave_login", "a_reader"])
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_by_default_no_product_reads_anothers_schema(recording_of: Callable[[str], Recording], stack: str) -> None:
    logins = [r for r in children(recording_of(stack)) if kind(r) == "Role" and r.inputs["login"]]
    assert len(logins) == 5
    assert all(login.inputs["roles"] == ["lightwave_login"] for login in logins)


@pytest.mark.parametrize("stack", STACKS)
def test_memberships_are_inputs_of_the_role_and_public_is_no_resource(
    recording_of: Callable[[str], Recording], stack: str
) -> None:
    everything = [r for r in recording_of(stack).resources if r.type.startswith("postgresql:")]
    # Updating a Role revokes memberships that it does not list; deleting a Schema is DROP SCHEMA.
    assert not [r for r in everything if kind(r) == "GrantRole"]
    assert not [r for r in everything if kind(r) == "Schema" and r.inputs["name"] == "public"]
    assert not [r for r in everything if kind(r) in {"Role", "Schema"} and "name" not in r.inputs]


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_outputs(two_products: Recording) -> None:
    (component,) = two_products.of_type(TYPE)
    assert two_products.component_outputs[component.urn] == {
        "login_roles": {"payload": "payload_user", "django": "django_user"}
    }

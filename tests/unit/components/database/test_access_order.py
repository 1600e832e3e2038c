"""Schemas, roles and grants: options, and the order that keeps concurrent grants apart."""

import itertools
from collections.abc import Callable, Iterable

import pytest

from ops.plan.recorder import RecordedResource, Recording
from tests.unit.components.database.recordings import DJANGO, PAYLOAD, access, children, kind, product
from tests.unit.conftest import STACKS

CHAINS = {
    "pg-stat-statements": "extensions",
    "login-connect": "public-database",
    "login-public-default": "login-public-tables",
    "payload-reader-usage": "payload-own",
    "payload-reader-tables": "payload-reader-usage",
    "payload-reader-default": "payload-reader-tables",
    "payload-functions": "payload-reader-default",
}


def by_name(recording: Recording) -> dict[str, RecordedResource]:
    return {resource.name: resource for resource in children(recording)}


@pytest.mark.parametrize(("later", "earlier"), CHAINS.items())
def test_what_shares_a_row_is_chained(two_products: Recording, later: str, earlier: str) -> None:
    found = by_name(two_products)
    assert found[f"access-{earlier}"].urn in found[f"access-{later}"].depends_on


def test_options(two_products: Recording) -> None:
    for resource in children(two_products):
        assert resource.delete_before_replace == (kind(resource) == "DefaultPrivileges"), resource.name
        kept = resource.name in {"access-extensions", "access-pg-stat-statements"}
        assert resource.retain_on_delete == kept, resource.name
        assert not resource.protect
        assert resource.custom


def test_protection_is_one_switch() -> None:
    assert {resource.protect for resource in children(access(PAYLOAD, DJANGO, protect=True))} == {True}


def _depends(recording: Recording) -> Callable[[RecordedResource, RecordedResource], bool]:
    below = {resource.urn: resource.depends_on for resource in recording.resources}

    def reached(urn: str) -> set[str]:
        return {urn, *(further for step in below[urn] for further in reached(step))}

    return lambda later, earlier: earlier.urn in reached(later.urn)


def _rows(resource: RecordedResource) -> Iterable[tuple[str, ...]]:
    """The catalog rows that creating the resource writes, by catalog."""
    inputs = resource.inputs
    if kind(resource) == "Schema":
        yield "pg_namespace", inputs["name"]
    elif kind(resource) == "Grant" and inputs["objectType"] == "database":
        yield "pg_database", inputs["database"]
    elif kind(resource) == "Grant" and inputs["objectType"] == "schema":
        yield "pg_namespace", inputs["schema"]
    elif kind(resource) == "Grant":
        yield "pg_class", inputs["schema"]
    elif kind(resource) == "DefaultPrivileges":
        yield "pg_default_acl", inputs["owner"], inputs.get("schema", ""), inputs["objectType"]
        # The provider makes the admin a member of the owner while it alters the owner's default privileges.
        yield "pg_auth_members", inputs["owner"]


def _collisions(recording: Recording) -> tuple[int, list[tuple[str, str]]]:
    """How many pairs of resources share a row, and which of them could run at the same time."""
    depends = _depends(recording)
    sharing = [
        (one, other)
        for one, other in itertools.combinations(children(recording), 2)
        if set(_rows(one)) & set(_rows(other))
    ]
    return len(sharing), [(a.name, b.name) for a, b in sharing if not depends(a, b) and not depends(b, a)]


@pytest.mark.parametrize("stack", STACKS)
def test_no_two_that_run_together_touch_one_row(recording_of: Callable[[str], Recording], stack: str) -> None:
    pairs, collisions = _collisions(recording_of(stack))
    # Each schema with its two grants, the grants on the database, each login's two default privileges.
    assert pairs == 5 * 3 + 1 + 5
    assert collisions == []


def test_no_two_that_run_together_touch_one_row_if_everybody_reads_everything() -> None:
    names = ("a", "b", "c", "d")
    everyone = [product(name, readers=tuple(other for other in names if other != name)) for name in names]
    assert _collisions(access(*everyone))[1] == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_grant_waits_for_its_role_and_schema(recording_of: Callable[[str], Recording], stack: str) -> None:
    recording = recording_of(stack)
    depends = _depends(recording)
    found = children(recording)
    makes = {r.inputs["name"]: r for r in found if kind(r) == "Role"}
    schemas = {r.inputs["name"]: r for r in found if kind(r) == "Schema"}
    waited = 0
    for resource in found:
        named = [makes.get(resource.inputs.get(key, "")) for key in ("role", "owner")]
        needed = [*named, *(makes[role] for role in resource.inputs.get("roles", ()))]
        if kind(resource) in {"Grant", "DefaultPrivileges", "Extension"}:
            needed.append(schemas.get(resource.inputs.get("schema", "")))
        for one in filter(None, needed):
            waited += 1
            assert depends(resource, one), f"{resource.name} does not wait for {one.name}"
    assert waited == 4 + 5 * (1 + 2 + 2 + 2 + 3 + 1)

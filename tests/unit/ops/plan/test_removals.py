"""The state's roles, schemas and grants against what the program declares."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ops.plan import removals
from ops.plan.recorder import Recording, record_stack
from ops.plan.removals import Removals, production_problems, without
from policies.tokens import POSTGRESQL
from settings.files import project_defaults

PRODUCTS = "lightwave:products"
Resources = list[dict[str, Any]]


def table() -> dict[str, Any]:
    return dict(project_defaults()[PRODUCTS])


def state(recording: Recording, *, protect: bool = False) -> Resources:
    """The recording as the state has it."""
    return [
        {
            "urn": r.urn,
            "type": r.type,
            "inputs": dict(r.inputs),
            "protect": protect,
            "retainOnDelete": r.retain_on_delete,
            "dependencies": list(r.depends_on),
        }
        for r in recording.resources
        if r.type.startswith(POSTGRESQL)
    ]


@pytest.fixture(scope="module")
def dev() -> Recording:
    return record_stack("dev")


@pytest.fixture(scope="module")
def changed() -> Callable[[Mapping[str, Any]], Recording]:
    return lambda products: record_stack("dev", overrides={PRODUCTS: products})


def texts(found: Removals, objects: Mapping[str, list[str]], confirm: str = "make up REMOVE=1") -> list[str]:
    return [str(problem) for problem in found.problems(objects, confirm=confirm, stack="dev")]


def test_the_same_table_removes_nothing(dev: Recording) -> None:
    found = Removals.of(state(dev), dev)
    assert found == Removals(removed=[], renamed=[], taken=[])
    assert texts(found, {"payload": ["users"]}) == []
    assert production_problems(state(dev, protect=True), dev) == []


def test_a_removed_product_with_objects_cannot_be_confirmed(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording]
) -> None:
    products = table()
    del products["payload"]
    found = Removals.of(state(dev), changed(products))
    assert {removals.name_of(r["urn"]) for r in found.removed} == {
        f"access-payload-{part}"
        for part in ["login", "reader", "schema", "own", "reader-usage", "reader-tables", "reader-default", "functions"]
    }
    for confirm in ("make up REMOVE=1", ""):
        (problem,) = texts(found, {"payload": ["a", "b", "c", "d", "e", "f"]}, confirm)
        assert "schema payload is no longer declared and holds 6 objects (a, b, c, d, e, …)" in problem
        assert "put its product back" in problem
        assert "docs/runbooks/remove-a-product.md" in problem
    # Objects elsewhere are not concerned; the removal is named line by line, and can be confirmed.
    (problem,) = texts(found, {"django": ["auth_user"]})
    assert "would delete 8 roles, schemas and grants" in problem
    assert "\n  deletes Role access-payload-login" in problem
    assert "confirm with: make up REMOVE=1" in problem
    assert texts(found, {}, "") == []


def test_a_table_in_the_stacks_file_is_named_as_the_cause(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Removals.of(state(dev), changed({"audioos": {}}))
    assert "replaces the whole table" not in texts(found, {})[0]
    monkeypatch.setattr(removals, "own_config", lambda _: {PRODUCTS: {"audioos": {}}})
    assert "lightwave:products in Pulumi.dev.yaml replaces the whole table of Pulumi.yaml" in texts(found, {})[0]


def test_a_schema_is_renamed_only_where_it_is_empty_or_its_grants_are_forgotten(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording]
) -> None:
    products = table()
    products["payload"] = {**products["payload"], "schema": "cms"}
    declared = changed(products)
    found = Removals.of(state(dev), declared)
    assert [(rename.old, rename.new) for rename in found.renamed] == [("payload", "cms")]
    assert found.lines() == ["renames schema payload to cms"]
    assert texts(found, {}) == []
    (problem,) = texts(found, {"payload": ["users"]})
    assert "schema payload would become cms and holds users" in problem
    assert "schema: payload" in problem
    assert "docs/runbooks/rename-a-schema.md" in problem

    def on_payload(resource: Mapping[str, Any]) -> bool:
        return removals.is_grant(resource) and removals.schema_of(resource) == "payload"

    after_runbook, names = without({"resources": state(dev)}, on_payload)
    assert sorted(names) == [
        f"access-payload-{part}" for part in ("own", "reader-default", "reader-tables", "reader-usage")
    ]
    left = after_runbook["resources"]
    assert not {urn for r in left for urn in r["dependencies"]} - {r.urn for r in dev.resources}
    assert all("access-payload-reader-" not in urn for r in left for urn in r["dependencies"])
    assert not Removals.of(left, declared).renamed


def test_a_rename_that_failed_half_way_can_be_taken_back(dev: Recording) -> None:
    """The provider renamed the schema and made some grants on its new name; others are pending deletes."""
    recorded = state(dev)
    for resource in recorded:
        if removals.name_of(resource["urn"]) == "access-payload-schema":
            resource["inputs"]["name"] = "cms"
    (own,) = (r for r in recorded if removals.name_of(r["urn"]) == "access-payload-own")
    recorded.append({**own, "inputs": {**own["inputs"], "schema": "cms"}})
    found = Removals.of(recorded, dev)
    assert [(rename.old, rename.new, rename.taken_back) for rename in found.renamed] == [("cms", "payload", True)]
    assert texts(found, {"cms": ["users"]}) == []


def test_a_product_is_not_renamed_over_its_old_schema(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording]
) -> None:
    products = table()
    del products["cineos"]
    found = Removals.of(state(dev), changed({**products, "films": {"schema": "cineos"}}))
    (problem,) = texts(found, {}, "")
    assert "access-films-schema takes the name cineos, which access-cineos-schema has" in problem


def test_pending_deletes_and_what_is_retained_are_no_removals(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording]
) -> None:
    recorded = state(dev)
    gone = {**recorded[0], "urn": "urn:pulumi:dev::lightwave::x::gone"}
    assert not Removals.of([*recorded, {**gone, "delete": True}, {**gone, "retainOnDelete": True}], dev).removed
    assert changed(table()).resources == dev.resources


def test_production_refuses_what_is_still_protected(
    dev: Recording, changed: Callable[[Mapping[str, Any]], Recording]
) -> None:
    products = table()
    del products["cineos"]
    declared = changed(products)
    problems = production_problems(state(dev, protect=True), declared)
    assert any("schema cineos is no longer declared" in str(problem) for problem in problems)
    assert all("remove-a-product.md" in str(problem) for problem in problems)
    # Unprotected by the runbook.
    assert production_problems(state(dev), declared) == []

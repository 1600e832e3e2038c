"""Recordings of `DatabaseAccess` on its own, for its tests."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.database.access import DatabaseAccess, DatabaseAccessArgs
from ops.plan.recorder import RecordedResource, Recording, record
from settings import Product

TYPE = "lightwave:database:DatabaseAccess"


def product(name: str, **entry: Any) -> Product:
    return Product.model_validate({"name": name, **entry})


PAYLOAD = product("payload", readers=("django",), connectionLimit=60)
DJANGO = product("django", schema="api", statementTimeoutMs=5000, idleInTransactionTimeoutMs=7000)


def access(
    *products: Product, protect: bool = False, verifiers: Mapping[str, pulumi.Input[str]] | None = None
) -> Recording:
    """The recording of only the component."""
    given = {p.login_role: f"SCRAM-SHA-256$of-{p.name}" for p in products} if verifiers is None else verifiers
    args = DatabaseAccessArgs(
        database="lightwave_platform",
        admin="lightwave_admin",
        products=products,
        password_verifiers=given,
        protect=protect,
    )
    return record(lambda: DatabaseAccess("access", args), stack="test")


def children(recording: Recording) -> list[RecordedResource]:
    (component,) = recording.of_type(TYPE)
    return recording.children(component.urn)


def kind(resource: RecordedResource) -> str:
    return resource.type.rpartition(":")[2]

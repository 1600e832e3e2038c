"""A built platform whose schemas already hold tables of real services."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from settings import ADMIN
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

PAGES = "CREATE TABLE payload.pages (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, slug text)"
APP_OBJECTS = {
    "payload_user": (
        PAGES,
        "INSERT INTO payload.pages (slug) VALUES ('home')",
        "CREATE VIEW payload.slugs AS SELECT slug FROM payload.pages",
        "CREATE FUNCTION payload.one() RETURNS integer LANGUAGE sql RETURN 1",
    ),
    "django_user": ("CREATE TABLE django.auth_user (id integer PRIMARY KEY)",),
    ADMIN: ("CREATE TABLE public.shared (id integer PRIMARY KEY)",),
}


PRODUCTS: dict[str, dict[str, Any]] = {
    name: {"connectionLimit": 12, "pool": {"size": 3, "reserve": 1}}
    for name in ("payload", "django", "createos", "cineos", "photographyos")
}
"""The dev stack's products, with a limit that takes less time to reach."""


@pytest.fixture(scope="package")
def built() -> Iterator[Platform]:
    """A platform whose schemas hold tables of real services already."""
    with built_platform({"lightwave:products": PRODUCTS}) as platform:
        for role, statements in APP_OBJECTS.items():
            with closing(platform.connect(role)) as session:
                for statement in statements:
                    session.execute(statement)
        yield platform

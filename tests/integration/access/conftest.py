"""The platforms that the access tests share."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from settings import ROOT
from tests.integration.access.seed_matrix import make_table
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

APPENDIX = (ROOT / "tests/payload_tables.sql").read_text()
"""Payload's tables from the Phase 0 report, in an order in which the statements run."""


@pytest.fixture(scope="package")
def built() -> Iterator[Platform]:
    """The platform with a table in every schema and Payload's own beside it."""
    with built_platform() as platform:
        make_table(platform, "later")
        with closing(platform.connect("payload_user")) as session:
            session.execute(APPENDIX.encode())
        yield platform


WITH_READ: dict[str, Any] = {
    "payload": {"readers": ["django"]},
    "django": {},
    "createos": {},
    # Small enough to be waited for.
    "cineos": {
        "connectionLimit": 7,
        "statementTimeoutMs": 2000,
        "idleInTransactionTimeoutMs": 2000,
        "pool": {"size": 2, "reserve": 1},
    },
    "photographyos": {},
}
EXISTING = """
CREATE TABLE public.existing (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, v text);
CREATE FUNCTION public.existing_f() RETURNS integer LANGUAGE sql RETURN 1;
"""


@pytest.fixture(scope="package")
def with_read() -> Iterator[Platform]:
    """Django reads Payload, CineOS has small limits, and a table was in public before the grants."""
    with built_platform({"lightwave:products": WITH_READ}, before=EXISTING) as platform:
        make_table(platform, "later")
        yield platform

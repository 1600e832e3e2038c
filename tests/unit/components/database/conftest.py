"""Fixtures of the database's tests."""

import pytest

from ops.plan.recorder import Recording
from tests.unit.components.database.recordings import DJANGO, PAYLOAD, access


@pytest.fixture(scope="module")
def two_products() -> Recording:
    return access(PAYLOAD, DJANGO)

"""Extensions that products ask for: found by their own queries, and nobody's to change."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ops.verify import report
from tests.integration.built import built_platform, direct, pooled
from tests.integration.conftest import Platform


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    products: dict[str, Any] = {
        "payload": {"extensions": ["pg_trgm", "uuid-ossp"]},
        "django": {"extensions": ["pg_trgm", "unaccent", "citext"]},
        "createos": {},
    }
    with built_platform({"lightwave:products": products}) as built:
        yield built


@pytest.mark.parametrize("pooled_", [False, True], ids=["direct", "pooled"])
def test_a_products_queries_find_them(platform: Platform, pooled_: bool) -> None:
    with platform.connect("django_user", pooled=pooled_) as django:
        assert django.execute("SELECT similarity('word', 'words') > 0.5").fetchone() == (True,)
        assert django.execute("SELECT unaccent('Hôtel')").fetchone() == ("Hotel",)
        django.execute("CREATE TABLE IF NOT EXISTS named (name citext)")
        django.execute("CREATE INDEX IF NOT EXISTS named_trgm ON named USING gin ((name::text) gin_trgm_ops)")
        # What Django's TrigramExtension() operation and Payload's migrations send.
        django.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    with platform.connect("payload_user", pooled=pooled_) as payload:
        assert payload.execute("SELECT uuid_generate_v4() IS NOT NULL").fetchone() == (True,)


def test_a_product_that_asks_for_none_does_not_find_them(platform: Platform) -> None:
    with platform.connect("createos_user") as createos, pytest.raises(psycopg.errors.UndefinedFunction):
        createos.execute("SELECT similarity('a', 'b')")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP EXTENSION pg_trgm",
        "CREATE EXTENSION hstore SCHEMA product_extensions",
        "CREATE TABLE product_extensions.mine (id int)",
        "CREATE FUNCTION product_extensions.similarity(text, text) RETURNS real LANGUAGE sql AS 'SELECT 1::real'",
    ],
)
def test_no_product_may_change_them(platform: Platform, statement: str) -> None:
    with platform.connect("django_user") as django, pytest.raises(psycopg.errors.InsufficientPrivilege):
        django.execute(statement.encode())


def test_verify_expects_them(platform: Platform) -> None:
    passwords = platform.state.passwords
    assert report.run(platform.settings, direct=direct(platform), pooled=pooled(platform), passwords=passwords) == 0

"""What limits a service's statements and its migrations: the role's settings, and those of the direct URL."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from components.services.env import EnvEntry
from ops.dev import env as env_files
from tests.integration.built import built_platform
from tests.integration.conftest import Platform


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Statements stop after a second, so that the tests need not wait for the real 30."""
    products: dict[str, Any] = {
        "payload": {"framework": "payload", "service": "website", "statementTimeoutMs": 1000},
        "django": {"framework": "django", "service": "api", "statementTimeoutMs": 1000},
    }
    with built_platform({"lightwave:products": products}) as built:
        yield built


def url(platform: Platform, product: str, name: str) -> str:
    entries: list[EnvEntry] = env_files.for_local(platform.settings, platform.settings.products[product])
    found = next(str(entry.value) for entry in entries if entry.name == name)
    return found.replace("?schema=payload", "")  # libpq refuses it


@pytest.mark.parametrize(("product", "name"), [("payload", "DATABASE_URI_DIRECT"), ("django", "DATABASE_URL_DIRECT")])
def test_a_migration_takes_as_long_as_it_needs(platform: Platform, product: str, name: str) -> None:
    with psycopg.connect(url(platform, product, name), autocommit=True) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert connection.execute("SHOW lock_timeout").fetchone() == ("5s",)
        connection.execute("SELECT pg_sleep(1.5)")
        connection.execute("CREATE TABLE migrated (id int)")
        owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'migrated'").fetchone()
        assert owner == (f"{product}_user",)


def test_a_migration_that_waits_for_a_lock_fails_instead_of_queueing_the_site_behind_it(platform: Platform) -> None:
    direct = url(platform, "django", "DATABASE_URL_DIRECT")
    with psycopg.connect(direct) as reader, psycopg.connect(direct, autocommit=True) as migration:
        migration.execute("CREATE TABLE busy (id int)")
        reader.execute("SELECT * FROM busy")
        migration.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migration.execute("ALTER TABLE busy ADD COLUMN name text")


@pytest.mark.parametrize(("product", "name"), [("payload", "DATABASE_URI"), ("django", "DATABASE_URL")])
def test_the_services_own_statements_still_stop_at_their_limit(platform: Platform, product: str, name: str) -> None:
    with (
        psycopg.connect(url(platform, product, name), autocommit=True, prepare_threshold=None) as connection,
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        connection.execute("SELECT pg_sleep(1.5)")


def test_the_limits_of_idle_transactions_are_the_frameworks(platform: Platform) -> None:
    with platform.connect() as admin:
        found = admin.execute(
            "SELECT rolname, setting FROM pg_roles, unnest(rolconfig) AS setting"
            " WHERE setting LIKE 'idle_in_transaction%' ORDER BY 1"
        ).fetchall()
    assert found == [
        ("django_user", "idle_in_transaction_session_timeout=120000"),
        ("payload_user", "idle_in_transaction_session_timeout=300000"),
    ]


def test_no_verifier_is_among_the_recorded_statements(platform: Platform) -> None:
    with platform.superuser() as superuser:
        superuser.execute("ALTER ROLE django_user PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b'")
        recorded = superuser.execute("SELECT query FROM extensions.pg_stat_statements").fetchall()
    assert recorded
    assert [query for (query,) in recorded if "ALTER ROLE" in query] == []

"""psycopg 3 and asyncpg through dev's pooler, which may know no prepared statements: what their settings must be.

Both drivers prepare by default. PgBouncer 1.18, Debian 12's, hands a client's next transaction to another server
connection, which knows nothing of what was prepared. Since 1.21 PgBouncer keeps track, as production's does.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

from ops.dev import packages
from settings import DATABASE
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

CLIENTS = 4
ROUNDS = 5


@pytest.fixture(scope="module")
def built() -> Iterator[Platform]:
    with built_platform() as platform:
        yield platform


def knows_prepared_statements() -> bool:
    binaries = packages.find()
    assert binaries is not None
    return binaries.pgbouncer_version >= (1, 21)


def with_psycopg(platform: Platform, **options: Any) -> None:
    """Clients that take turns, so that each finds another's server connection."""
    clients = [platform.connect("django_user", pooled=True, **options) for _ in range(CLIENTS)]
    try:
        for number in range(ROUNDS):
            for client in clients:
                assert client.execute("SELECT %s::int + 1", [number]).fetchone() == (number + 1,)
    finally:
        for client in clients:
            client.close()


async def with_asyncpg(platform: Platform, **options: Any) -> None:
    password = platform.state.passwords["django_user"].get_secret_value()
    running = platform.running
    clients = [
        await asyncpg.connect(
            host=running.host,
            port=running.pgbouncer_port,
            user="django_user",
            password=password,
            database=DATABASE,
            ssl=False,
            **options,
        )
        for _ in range(CLIENTS)
    ]
    try:
        for number in range(ROUNDS):
            found = await asyncio.gather(*(client.fetchval("SELECT $1::int + 1", number) for client in clients))
            assert found == [number + 1] * CLIENTS
    finally:
        for client in clients:
            client.terminate()


def test_psycopg_works_with_the_documented_setting(built: Platform) -> None:
    with_psycopg(built, prepare_threshold=None)


def test_asyncpg_works_with_the_documented_setting(built: Platform) -> None:
    asyncio.run(with_asyncpg(built, statement_cache_size=0))


def test_without_it_psycopg_works_where_the_pooler_knows_prepared_statements(built: Platform) -> None:
    if knows_prepared_statements():
        with_psycopg(built, prepare_threshold=0)
    else:
        with pytest.raises((psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName)):
            with_psycopg(built, prepare_threshold=0)


def test_without_it_asyncpg_works_where_the_pooler_knows_prepared_statements(built: Platform) -> None:
    if knows_prepared_statements():
        asyncio.run(with_asyncpg(built))
    else:
        with pytest.raises((asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)):
            asyncio.run(with_asyncpg(built))

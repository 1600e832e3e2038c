"""The database of Django's own tests, beside a local stack's: nothing that a test writes is in dev's data.

Django's test runner makes its database itself, which needs CREATEDB, and no product's role has that. So `make up` makes
it, and the runner keeps it (`keepdb`).
"""

from collections.abc import Collection
from contextlib import closing, suppress
from typing import Any

import psycopg
from psycopg import sql

from ops.dev import admin
from ops.dev.model import LocalStack
from settings import ADMIN, PRODUCT_EXTENSIONS_SCHEMA, TEST_DATABASE, Product

_NAME = sql.Identifier(TEST_DATABASE)


def drop_stale(stack: LocalStack, roles: Collection[str]) -> list[str]:
    """Drops the test database where PostgreSQL could not drop its owner otherwise, and where it has a new owner.

    `roles` are those that the coming update keeps. Gives what was done, at most one line.
    """
    product = stack.settings.tested_product
    kept = product.login_role if product and product.login_role in roles else None
    with closing(admin.connect(stack.state)) as connection:
        owner = _owner(connection)
        if owner in (None, kept):
            return []
        if owner != ADMIN:
            _take_back(stack, owner)
        # Emptied and the admin's, it is in nobody's way where a client is still connected.
        with suppress(psycopg.errors.ObjectInUse):
            connection.execute(sql.SQL("DROP DATABASE {}").format(_NAME))
    return [f"database {TEST_DATABASE} of {owner} dropped"]


def make(stack: LocalStack) -> list[str]:
    """Makes the test database where it is missing: the Django product's login role's, and closed to everybody else.

    Gives what was made, at most one line.
    """
    product = stack.settings.tested_product
    if product is None:
        return []
    with closing(admin.connect(stack.state)) as connection:
        owner = _owner(connection)
        if owner is None:
            # As RDS's master has it, and data from before this database existed have not. In PostgreSQL 15 CREATEROLE
            # is enough to set it.
            connection.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(ADMIN)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(_NAME))
    _fill(stack, product)
    return [] if owner == product.login_role else [f"database {TEST_DATABASE} made for the tests of {product.name}"]


def _owner(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute(
        "SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", [TEST_DATABASE]
    ).fetchone()
    return row[0] if row else None


def _fill(stack: LocalStack, product: Product) -> None:
    """Gives the database what dev's has for this product, its schema and its extensions, and nobody else a way in."""
    names = {
        "name": _NAME,
        "login": sql.Identifier(product.login_role),
        "schema": sql.Identifier(product.schema_name),
        "extensions": sql.Identifier(PRODUCT_EXTENSIONS_SCHEMA),
    }
    statements = [
        # Who hands something over must be a member of the new owner: the admin is no superuser.
        sql.SQL("GRANT {login} TO CURRENT_USER"),
        sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        sql.SQL("ALTER DATABASE {name} OWNER TO {login}"),
        # Afterwards: the old owner's own rights pass to the new one.
        sql.SQL("GRANT CONNECT ON DATABASE {name} TO CURRENT_USER"),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {login}"),
    ]
    if product.extensions:
        statements.append(sql.SQL("CREATE SCHEMA IF NOT EXISTS {extensions}"))
        statements.append(sql.SQL("GRANT USAGE ON SCHEMA {extensions} TO {login}"))
    with closing(admin.connect(stack.state, TEST_DATABASE)) as connection, connection.transaction():
        for statement in statements:
            connection.execute(statement.format(**names))
        for extension in product.extensions:
            create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}")
            connection.execute(create.format(sql.Identifier(extension), names["extensions"]))
        connection.execute(sql.SQL("REVOKE {login} FROM CURRENT_USER").format(**names))


def _take_back(stack: LocalStack, owner: str) -> None:
    """Takes the database and all that is in it from its owner."""
    role = sql.Identifier(owner)
    with closing(admin.connect(stack.state, TEST_DATABASE)) as connection, connection.transaction():
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(_NAME))
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(role))

"""The access matrix through the pooler's Service, from a pod with each product's own Secret, and past it."""

import json
from contextlib import closing

import pytest
from psycopg import sql

from tests.cluster.platform import Platform

SCHEMAS = ("payload", "django", "createos", "cineos", "photographyos")
VERBS = {
    "SELECT": "SELECT * FROM {}.attempt",
    "INSERT": "INSERT INTO {}.attempt VALUES (1)",
    "UPDATE": "UPDATE {}.attempt SET id = 2",
    "DELETE": "DELETE FROM {}.attempt",
    "TRUNCATE": "TRUNCATE {}.attempt",
    "DROP": "DROP TABLE {}.attempt",
    "CREATE": "CREATE TABLE {}.another (id integer)",
}
WELL, DENIED = "00000", "42501"
NOBODY_DOES = {
    "CREATE SCHEMA": "CREATE SCHEMA own",
    "CREATE ROLE": "CREATE ROLE other",
    "SET ROLE admin": "SET ROLE lightwave_admin",
    "SET ROLE other": "SET ROLE createos_user",
    "COPY PROGRAM": "COPY (SELECT 1) TO PROGRAM 'true'",
    "pg_read_file": "SELECT pg_read_file('/etc/passwd')",
    "pg_authid": "SELECT rolpassword FROM pg_authid",
}
PRODUCTS = {"payload": ("payload", "payload-cms", "DATABASE_URI"), "django": ("api", "django-api", "DATABASE_URL")}
"""By product: a pod of its, its namespace, and the variable with the pooled URL."""


@pytest.fixture(scope="module")
def tables(platform: Platform) -> None:
    """One table in each schema, of its product's."""
    with closing(platform.database.superuser()) as connection:
        for schema in SCHEMAS:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{schema}_user")))
            table = sql.Identifier(schema, "attempt")
            connection.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS id").format(table))


def states(platform: Platform, product: str, statements: dict[str, str]) -> dict[str, str]:
    """By statement's name, the SQLSTATE that the product's pod gets."""
    pod, namespace, variable = PRODUCTS[product]
    output = platform.run(pod, namespace, "statements", variable, given=json.dumps(list(statements.values())))
    return dict(zip(statements, json.loads(output), strict=True))


@pytest.mark.usefixtures("tables", "services")
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_has_its_own_schema_and_no_other(platform: Platform, product: str) -> None:
    attempts = {f"{verb} in {schema}": text.format(schema) for schema in SCHEMAS for verb, text in VERBS.items()}
    expected = {attempt: WELL if attempt.endswith(f" in {product}") else DENIED for attempt in attempts}
    assert states(platform, product, attempts) == expected


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_has_no_power_beside_its_schema(platform: Platform, product: str) -> None:
    assert states(platform, product, NOBODY_DOES) == dict.fromkeys(NOBODY_DOES, DENIED)


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_pooler_serves_each_product_as_its_own_role(platform: Platform, product: str) -> None:
    check = f"SELECT 1 / (current_user = '{product}_user' AND current_schema = '{product}')::int"
    assert states(platform, product, {"check": check}) == {"check": WELL}

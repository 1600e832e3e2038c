"""The Phase 0 report's access control matrix, written out by hand: independent of the product table.

Each attempt is made as the role itself, direct or through PgBouncer, and rolled back.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.integration.conftest import Platform

ROLES = ("payload_user", "django_user", "createos_user", "cineos_user", "photographyos_user")
SCHEMAS = ("payload", "django", "createos", "cineos", "photographyos", "public")
PATHS = pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])

ADMIN = "lightwave_admin"

ATTEMPTS = {
    "schema USAGE": "SELECT '{s}.{t}'::regclass",
    "schema CREATE": "CREATE TABLE {s}.attempt (id integer)",
    "CREATE VIEW": "CREATE VIEW {s}.attempt AS SELECT 1 AS one",
    "CREATE FUNCTION": "CREATE FUNCTION {s}.attempt() RETURNS integer LANGUAGE sql RETURN 1",
    "CREATE TYPE": "CREATE TYPE {s}.attempt AS ENUM ('draft', 'published')",
    "SELECT": "SELECT * FROM {s}.{t}",
    "INSERT": "INSERT INTO {s}.{t} (id, v) VALUES (0, 'x')",
    "UPDATE": "UPDATE {s}.{t} SET v = 'x'",
    "DELETE": "DELETE FROM {s}.{t}",
    "TRUNCATE": "TRUNCATE {s}.{t}",
    "REFERENCES": "CREATE TABLE {own}.attempt (id integer REFERENCES {s}.{t})",
    "TRIGGER": (
        "CREATE TRIGGER attempt BEFORE UPDATE ON {s}.{t} FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "ALTER TABLE": "ALTER TABLE {s}.{t} ADD COLUMN attempt integer",
    "DROP TABLE": "DROP TABLE {s}.{t}",
    "serial": "SELECT nextval('{s}.{t}_id_seq')",
    "identity": "INSERT INTO {s}.{t} (v) VALUES ('x')",
    "sequence SELECT": "SELECT last_value FROM {s}.{t}_id_seq",
    "sequence UPDATE": "SELECT setval('{s}.{t}_id_seq', 7)",
    "function": "SELECT {s}.{t}_f()",
}
FULL = frozenset(ATTEMPTS)
READ = frozenset({"schema USAGE", "SELECT"})
# PostgreSQL lets every role execute the admin's functions; those in public are shared.
PUBLIC_READ = READ | {"function"}
NONE: frozenset[str] = frozenset()

# The Phase 0 report's "Access Control Matrix" and its approved schemas; the optional reads are off.
SEED = {
    ("payload_user", "payload"): FULL,
    ("payload_user", "django"): NONE,
    ("payload_user", "createos"): NONE,
    ("payload_user", "cineos"): NONE,
    ("payload_user", "photographyos"): NONE,
    ("payload_user", "public"): PUBLIC_READ,
    ("django_user", "payload"): NONE,
    ("django_user", "django"): FULL,
    ("django_user", "createos"): NONE,
    ("django_user", "cineos"): NONE,
    ("django_user", "photographyos"): NONE,
    ("django_user", "public"): PUBLIC_READ,
    ("createos_user", "payload"): NONE,
    ("createos_user", "django"): NONE,
    ("createos_user", "createos"): FULL,
    ("createos_user", "cineos"): NONE,
    ("createos_user", "photographyos"): NONE,
    ("createos_user", "public"): PUBLIC_READ,
    ("cineos_user", "payload"): NONE,
    ("cineos_user", "django"): NONE,
    ("cineos_user", "createos"): NONE,
    ("cineos_user", "cineos"): FULL,
    ("cineos_user", "photographyos"): NONE,
    ("cineos_user", "public"): PUBLIC_READ,
    ("photographyos_user", "payload"): NONE,
    ("photographyos_user", "django"): NONE,
    ("photographyos_user", "createos"): NONE,
    ("photographyos_user", "cineos"): NONE,
    ("photographyos_user", "photographyos"): FULL,
    ("photographyos_user", "public"): PUBLIC_READ,
}

OWNERS = {
    "payload": "payload_user",
    "django": "django_user",
    "createos": "createos_user",
    "cineos": "cineos_user",
    "photographyos": "photographyos_user",
    "public": ADMIN,
}
OWN = {role: schema for schema, role in OWNERS.items()}

ALLOWED, REFUSED = "allowed", "refused"


def make_table(platform: Platform, table: str) -> None:
    """In every schema, made by its objects' owner: serial, identity, a row and a function."""
    for schema, owner in OWNERS.items():
        with closing(platform.connect(owner)) as session:
            session.execute(
                f"CREATE TABLE {schema}.{table}"
                " (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, v text)".encode()
            )
            session.execute(f"INSERT INTO {schema}.{table} (v) VALUES ('one')".encode())
            session.execute(f"CREATE FUNCTION {schema}.{table}_f() RETURNS integer LANGUAGE sql RETURN 1".encode())


def attempt(session: psycopg.Connection, statement: str) -> str:
    """Whether the statement is allowed; it is rolled back."""
    try:
        with session.transaction(force_rollback=True):
            session.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return REFUSED
    return ALLOWED


def able(session: psycopg.Connection, role: str, schema: str, table: str) -> frozenset[str]:
    """The attempts on one table that are allowed."""
    names = {"s": schema, "t": table, "own": OWN[role]}
    return frozenset(what for what, text in ATTEMPTS.items() if attempt(session, text.format(**names)) == ALLOWED)


def matrix(platform: Platform, table: str, *, pooled: bool) -> dict[tuple[str, str], frozenset[str]]:
    """What every role can do in every schema."""
    found = {}
    for role in ROLES:
        with closing(platform.connect(role, pooled=pooled)) as session:
            for schema in SCHEMAS:
                found[role, schema] = able(session, role, schema, table)
    return found


@contextmanager
def changed(platform: Platform, do: str, undo: str) -> Iterator[None]:
    """A change by the admin, undone afterwards."""
    with closing(platform.connect()) as admin:
        admin.execute(do.encode())
        try:
            yield
        finally:
            admin.execute(undo.encode())

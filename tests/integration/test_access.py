"""The seed's access control matrix on real servers, written out by hand: what it says, not what the product table says.

Each attempt is made as the role itself, direct and through PgBouncer, and rolled back.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg
import pytest

from components.secrets.scram import scram_verifier
from settings import ROOT
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

ROLES = ("payload_user", "django_user", "createos_user", "cineos_user", "photographyos_user")
SCHEMAS = ("payload", "django", "createos", "cineos", "photographyos", "public")
PATHS = pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])

ADMIN = "lightwave_admin"

APPENDIX = (ROOT / "tests/payload_tables.sql").read_text()
"""The seed's appendix, in an order in which it runs."""

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
# PostgreSQL lets everybody execute the admin's functions; what there is in public is for sharing.
PUBLIC_READ = READ | {"function"}
NONE: frozenset[str] = frozenset()

# The seed's "Access Control Matrix" and its approved schemas; the optional reads are off.
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
    """In every schema, by who makes objects there: serial, identity, a row and a function."""
    for schema, owner in OWNERS.items():
        with closing(platform.connect(owner)) as session:
            session.execute(
                f"CREATE TABLE {schema}.{table}"
                " (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, v text)".encode()
            )
            session.execute(f"INSERT INTO {schema}.{table} (v) VALUES ('one')".encode())
            session.execute(f"CREATE FUNCTION {schema}.{table}_f() RETURNS integer LANGUAGE sql RETURN 1".encode())


@pytest.fixture(scope="module")
def built() -> Iterator[Platform]:
    """The platform with a table in every schema and Payload's own beside it."""
    with built_platform() as platform:
        make_table(platform, "later")
        with closing(platform.connect("payload_user")) as session:
            session.execute(APPENDIX.encode())
        yield platform


def attempt(session: psycopg.Connection, statement: str) -> str:
    try:
        with session.transaction(force_rollback=True):
            session.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return REFUSED
    return ALLOWED


def able(session: psycopg.Connection, role: str, schema: str, table: str) -> frozenset[str]:
    names = {"s": schema, "t": table, "own": OWN[role]}
    return frozenset(what for what, text in ATTEMPTS.items() if attempt(session, text.format(**names)) == ALLOWED)


def matrix(platform: Platform, table: str, *, pooled: bool) -> dict[tuple[str, str], frozenset[str]]:
    found = {}
    for role in ROLES:
        with closing(platform.connect(role, pooled=pooled)) as session:
            for schema in SCHEMAS:
                found[role, schema] = able(session, role, schema, table)
    return found


@contextmanager
def told(platform: Platform, do: str, undo: str) -> Iterator[None]:
    with closing(platform.connect()) as admin:
        admin.execute(do.encode())
        try:
            yield
        finally:
            admin.execute(undo.encode())


# --- schemas, tables, sequences, functions ----------------------------------------------------------------------------


@PATHS
def test_the_seeds_matrix_holds(built: Platform, pooled: bool) -> None:
    assert matrix(built, "later", pooled=pooled) == SEED


APPENDIX_TABLES = ("pages", "media", "categories", "users", "posts", "posts_rels")


@PATHS
def test_payloads_own_tables_are_payloads_alone(built: Platform, pooled: bool) -> None:
    with closing(built.connect("payload_user", pooled=pooled)) as session, session.transaction(force_rollback=True):
        session.execute("INSERT INTO payload.users VALUES (gen_random_uuid(), 'A', 'a@example.com', 'hash')")
        session.execute("INSERT INTO payload.posts (id, title, slug) VALUES (gen_random_uuid(), 'T', 't')")
        session.execute("INSERT INTO payload.posts_rels (parent_id, path) SELECT id, 'authors' FROM payload.posts")
        row = session.execute("SELECT count(*) FROM posts_rels").fetchone()
        assert row == (1,), "found without its schema: the role's search_path"
        session.execute("ALTER TABLE payload.posts ADD COLUMN excerpt text")
        session.execute("DELETE FROM payload.posts")
    for role in ROLES[1:]:
        with closing(built.connect(role, pooled=pooled)) as session:
            assert {attempt(session, f"SELECT FROM payload.{table}") for table in APPENDIX_TABLES} == {REFUSED}


# --- the optional read ------------------------------------------------------------------------------------------------

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


@pytest.fixture(scope="module")
def with_read() -> Iterator[Platform]:
    """Django reads Payload, CineOS's limits are small, and the admin had a table in public before all that."""
    with built_platform({"lightwave:products": WITH_READ}, before=EXISTING) as platform:
        make_table(platform, "later")
        yield platform


@PATHS
def test_a_read_that_is_switched_on_gives_exactly_that(with_read: Platform, pooled: bool) -> None:
    assert matrix(with_read, "later", pooled=pooled) == {**SEED, ("django_user", "payload"): READ}


@PATHS
@pytest.mark.parametrize("role", ROLES)
def test_it_holds_for_a_table_that_existed_before_the_grants(with_read: Platform, role: str, pooled: bool) -> None:
    with closing(with_read.connect(role, pooled=pooled)) as session:
        assert able(session, role, "public", "existing") == PUBLIC_READ


@PATHS
def test_a_read_that_is_switched_off_again_takes_existing_and_later_tables(built: Platform, pooled: bool) -> None:
    # Memberships are part of the Role, so switching is this one change; payload_reader keeps its grants.
    with (
        told(built, "GRANT payload_reader TO django_user", "REVOKE payload_reader FROM django_user"),
        closing(built.connect("django_user", pooled=pooled)) as session,
    ):
        assert able(session, "django_user", "payload", "later") == READ
        assert attempt(session, "SELECT email FROM payload.users") == ALLOWED, "what the product table warns of"
    with closing(built.connect("payload_user")) as owner:
        owner.execute("CREATE TABLE payload.made_afterwards ()")
        try:
            with closing(built.connect("django_user", pooled=pooled)) as session:
                assert able(session, "django_user", "payload", "later") == NONE
                assert attempt(session, "SELECT FROM payload.made_afterwards") == REFUSED
                assert attempt(session, "SELECT FROM payload.users") == REFUSED
        finally:
            owner.execute("DROP TABLE payload.made_afterwards")


# --- the roles themselves ---------------------------------------------------------------------------------------------

GROUPS = ("payload_reader", "django_reader", "createos_reader", "cineos_reader", "photographyos_reader")
NEVER = (
    "CREATE SCHEMA attempt",
    "CREATE TEMPORARY TABLE attempt ()",
    "CREATE EXTENSION pg_trgm SCHEMA {own}",
    "CREATE EXTENSION hstore SCHEMA public",
    "CREATE ROLE attempt",
    "ALTER ROLE {other} SET search_path TO public",
    "ALTER ROLE {other} PASSWORD 'x'",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER CREATEDB",
    "ALTER DATABASE lightwave_platform SET search_path TO public",
    "DROP SCHEMA {own} CASCADE",
    "ALTER SCHEMA {own} RENAME TO attempt",
    "GRANT lightwave_login TO {other}",
    "GRANT {role} TO {other}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT SELECT ON TABLES TO PUBLIC",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "SET SESSION AUTHORIZATION {other}",
)


@PATHS
@pytest.mark.parametrize("role", ROLES)
def test_what_no_role_may_do(built: Platform, role: str, pooled: bool) -> None:
    other = "django_user" if role == "payload_user" else "payload_user"
    with closing(built.connect(role, pooled=pooled)) as session:
        allowed = []
        for text in NEVER:
            statement = text.format(role=role, own=OWN[role], other=other)
            if text.startswith("ALTER SYSTEM"):  # not in a transaction
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement.encode())
            elif attempt(session, statement) == ALLOWED:
                allowed.append(statement)
        assert allowed == []


@PATHS
@pytest.mark.parametrize("role", ROLES)
def test_set_role_reaches_no_login_role_and_no_other_group(built: Platform, role: str, pooled: bool) -> None:
    targets = (*ROLES, *GROUPS, ADMIN, "lightwave_login", "pg_read_all_data", "pg_write_all_data", "pg_monitor")
    with closing(built.connect(role, pooled=pooled)) as session:
        reached = {target for target in targets if attempt(session, f"SET LOCAL ROLE {target}") == ALLOWED}
    # Its own group carries CONNECT and SELECT on public, which it has anyway.
    assert reached == {role, "lightwave_login"}


@PATHS
def test_nothing_is_granted_onward(built: Platform, pooled: bool) -> None:
    with closing(built.connect("payload_user", pooled=pooled)) as session, session.transaction(force_rollback=True):
        session.execute("GRANT ALL ON SCHEMA payload TO django_user")
        session.execute("GRANT ALL ON DATABASE lightwave_platform TO django_user")
        session.execute("GRANT ALL ON SCHEMA public TO django_user")
        row = session.execute(
            "SELECT has_schema_privilege('django_user', 'payload', 'USAGE'),"
            " has_database_privilege('django_user', 'lightwave_platform', 'CREATE'),"
            " has_schema_privilege('django_user', 'public', 'CREATE')"
        ).fetchone()
    assert row == (False, False, False)


def test_attributes_of_every_role(built: Platform) -> None:
    with closing(built.connect()) as admin:
        rows = admin.execute(
            "SELECT rolname, rolcanlogin, rolconnlimit, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication"
            " OR rolbypassrls, rolinherit FROM pg_roles WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', %s)",
            (ADMIN,),
        ).fetchall()
        memberships = admin.execute(
            "SELECT member::regrole::text, roleid::regrole::text, admin_option FROM pg_auth_members"
            " WHERE member::regrole::text !~ '^pg_'"
        ).fetchall()
    assert sorted(rows) == sorted(
        [
            ("payload_user", True, 70, False, True),
            ("django_user", True, 80, False, True),
            ("createos_user", True, 40, False, True),
            ("cineos_user", True, 40, False, True),
            ("photographyos_user", True, 40, False, True),
            *((group, False, -1, False, True) for group in ("lightwave_login", *GROUPS)),
        ]
    )
    assert sorted(memberships) == sorted((role, "lightwave_login", False) for role in ROLES)


def test_public_has_nothing_on_the_database(built: Platform) -> None:
    with closing(built.connect()) as admin:
        row = admin.execute(
            "SELECT has_database_privilege('public', 'lightwave_platform', 'CONNECT'),"
            " has_database_privilege('public', 'lightwave_platform', 'TEMPORARY'),"
            " has_schema_privilege('public', 'public', 'CREATE'), has_schema_privilege('public', 'public', 'USAGE')"
        ).fetchone()
    assert row == (False, False, False, True)


def test_a_role_that_nobody_declared_does_not_get_in(built: Platform) -> None:
    with (
        told(built, "CREATE ROLE mallory LOGIN PASSWORD 'mallory'", "DROP ROLE mallory"),
        pytest.raises(psycopg.OperationalError, match="does not have CONNECT privilege"),
    ):
        built.connect("mallory", password="mallory")


# --- logging in -------------------------------------------------------------------------------------------------------


@PATHS
def test_a_wrong_password_and_an_unknown_user_are_refused(built: Platform, pooled: bool) -> None:
    built.connect("payload_user", pooled=pooled).close()
    for user, password in (("payload_user", "wrong"), ("payload_user", ""), ("nobody", "wrong")):
        with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no password|no such user"):
            built.connect(user, pooled=pooled, password=password)
    with pytest.raises(psycopg.OperationalError):
        built.connect("payload_user", pooled=pooled, password=built.state.passwords["django_user"].get_secret_value())


def test_the_pooler_refuses_the_options_parameter(built: Platform) -> None:
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        built.connect("django_user", pooled=True, options="-c search_path=django,public")


def test_the_pooler_serves_no_admin(built: Platform) -> None:
    with pytest.raises(psycopg.OperationalError):
        built.connect(ADMIN, pooled=True)


SESSIONS = {role: (f"{schema}, public", "30s", "1min") for role, schema in OWN.items() if role != ADMIN}


@PATHS
@pytest.mark.parametrize("role", ROLES)
def test_what_a_session_starts_with(built: Platform, role: str, pooled: bool) -> None:
    with closing(built.connect(role, pooled=pooled)) as session:
        row = session.execute(
            "SELECT current_setting('search_path'), current_setting('statement_timeout'),"
            " current_setting('idle_in_transaction_session_timeout')"
        ).fetchone()
        assert row == SESSIONS[role]


@PATHS
def test_a_long_statement_is_cancelled(with_read: Platform, pooled: bool) -> None:
    with closing(with_read.connect("cineos_user", pooled=pooled)) as session:
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            session.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - started < 10


@PATHS
def test_an_idle_transaction_is_ended(with_read: Platform, pooled: bool) -> None:
    with closing(with_read.connect("cineos_user", pooled=pooled, autocommit=False)) as session:
        session.execute("SELECT 1")
        time.sleep(3)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            session.execute("SELECT 1")


def test_the_connection_limit_holds_direct(with_read: Platform) -> None:
    def opened(sessions: ExitStack) -> None:
        # The pooler's sessions count too, so the eighth of these is refused at the latest.
        for _ in range(8):
            sessions.enter_context(closing(with_read.connect("cineos_user")))

    with ExitStack() as sessions, pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        opened(sessions)


def test_the_pooler_serves_more_clients_than_the_limit_on_fewer_connections(with_read: Platform) -> None:
    with ExitStack() as sessions:
        clients = [sessions.enter_context(closing(with_read.connect("cineos_user", pooled=True))) for _ in range(20)]
        assert [client.execute("SELECT 1").fetchone() for client in clients] == [(1,)] * 20
        with closing(with_read.connect()) as admin:
            row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'cineos_user'").fetchone()
        assert row is not None
        assert 1 <= row[0] <= 7


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_a_rotated_password_keeps_the_memberships(built: Platform) -> None:
    old = built.state.scram_verifiers["django_user"].get_secret_value()
    new = scram_verifier("rotated", b"0123456789abcdef")
    # As the provider does it: any update of a Role takes every membership away and grants those it lists.
    rotate = (
        "ALTER ROLE django_user PASSWORD '{}'; REVOKE lightwave_login, payload_reader FROM django_user;"
        " GRANT lightwave_login TO django_user{}"
    )
    with told(
        built,
        "GRANT payload_reader TO django_user;" + rotate.format(new, "; GRANT payload_reader TO django_user"),
        rotate.format(old, ""),
    ):
        with closing(built.connect("django_user", password="rotated")) as session:
            assert able(session, "django_user", "payload", "later") == READ
            assert able(session, "django_user", "django", "later") == FULL
        with pytest.raises(psycopg.OperationalError):
            built.connect("django_user")
    with closing(built.connect("django_user")) as session:
        assert able(session, "django_user", "payload", "later") == NONE

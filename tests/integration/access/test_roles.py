"""What no role may do, on real servers."""

from contextlib import closing

import psycopg
import pytest

from tests.integration.access.seed_matrix import ADMIN, ALLOWED, OWN, PATHS, ROLES, attempt, changed
from tests.integration.conftest import Platform

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
        changed(built, "CREATE ROLE mallory LOGIN PASSWORD 'mallory'", "DROP ROLE mallory"),
        pytest.raises(psycopg.OperationalError, match="does not have CONNECT privilege"),
    ):
        built.connect("mallory", password="mallory")

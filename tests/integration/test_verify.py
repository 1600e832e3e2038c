"""verify against real servers: silent on a clean platform, and loud about each thing that somebody changed by hand."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg
import pytest
from pydantic import SecretStr

from ops.verify import report as verify
from ops.verify.matrix import Matrix, matrix
from settings import ADMIN
from tests.integration.built import built_platform, direct, pooled
from tests.integration.conftest import Platform

PAGES = "CREATE TABLE payload.pages (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, slug text)"
APP_OBJECTS = {
    "payload_user": (
        PAGES,
        "INSERT INTO payload.pages (slug) VALUES ('home')",
        "CREATE VIEW payload.slugs AS SELECT slug FROM payload.pages",
        "CREATE FUNCTION payload.one() RETURNS integer LANGUAGE sql RETURN 1",
    ),
    "django_user": ("CREATE TABLE django.auth_user (id integer PRIMARY KEY)",),
    ADMIN: ("CREATE TABLE public.shared (id integer PRIMARY KEY)",),
}


PRODUCTS: dict[str, dict[str, Any]] = {
    name: {"connectionLimit": 12, "pool": {"size": 3, "reserve": 1}}
    for name in ("payload", "django", "createos", "cineos", "photographyos")
}
"""The dev stack's products, with a limit that takes less time to reach."""


@pytest.fixture(scope="module")
def built() -> Iterator[Platform]:
    """A platform whose schemas hold tables of real services already."""
    with built_platform({"lightwave:products": PRODUCTS}) as platform:
        for role, statements in APP_OBJECTS.items():
            with closing(platform.connect(role)) as session:
                for statement in statements:
                    session.execute(statement)
        yield platform


def report(platform: Platform, role: str = ADMIN) -> verify.Report:
    with closing(platform.connect(role)) as session:
        return verify.read_only(session, matrix(platform.settings))


def exit_status(platform: Platform, *, as_json: bool = False) -> int:
    return verify.run(
        platform.settings,
        direct=direct(platform),
        pooled=pooled(platform),
        passwords=dict(platform.state.passwords),
        as_json=as_json,
    )


CATALOG_TABLES = (
    "pg_authid",
    "pg_auth_members",
    "pg_database",
    "pg_db_role_setting",
    "pg_namespace",
    "pg_class",
    "pg_attribute",
    "pg_proc",
    "pg_default_acl",
    "pg_shdepend",
    "pg_description",
)


def catalog(platform: Platform) -> dict[str, list[str]]:
    """Every row of the catalogs that a trace could be in, and of the tables of the services."""
    ignored = {"pg_class": "- 'relpages' - 'reltuples' - 'relallvisible' - 'relfrozenxid' - 'relminmxid'"}
    ignored["pg_database"] = "- 'datfrozenxid' - 'datminmxid'"
    with closing(platform.superuser()) as session:
        rows = {
            name: [
                str(row[0])
                for row in session.execute(
                    f"SELECT to_jsonb(t) {ignored.get(name, '')} FROM {name} t ORDER BY 1".encode()
                )
            ]
            for name in CATALOG_TABLES
        }
        rows["pages"] = [str(row) for row in session.execute("SELECT *, xmin, ctid FROM payload.pages")]
    return rows


# --- nothing wrong ----------------------------------------------------------------------------------------------------


def test_a_clean_platform_passes_by_doing_on_both_paths(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = catalog(built)
    assert exit_status(built, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"stack": "dev", "ok": True, "checked": document["checked"], "wrong": [], "notes": []}
    assert document["checked"] > 1500
    assert catalog(built) == before, "probe objects are gone, and the services' tables as they were"


def test_every_role_and_schema_is_tried_on_both_paths(built: Platform) -> None:
    found = verify.by_doing(
        matrix(built.settings),
        direct=direct(built),
        pooled=pooled(built),
        passwords=dict(built.state.passwords),
        flood=False,
    )
    tried = {(cell.role, cell.schema, cell.path) for cell in found.cells if cell.privilege == "TRUNCATE"}
    assert len(tried) == 5 * 6 * 2
    assert not found.wrong


def test_the_read_only_verification_leaves_no_trace(built: Platform) -> None:
    before = catalog(built)
    found = report(built)
    assert not found.wrong
    assert not found.notes
    assert catalog(built) == before


def test_it_runs_where_a_write_would_fail(built: Platform) -> None:
    with closing(built.superuser()) as session:
        session.execute("ALTER ROLE createos_user SET default_transaction_read_only = on")
    try:
        found = report(built, "createos_user")
    finally:
        with closing(built.superuser()) as session:
            session.execute("ALTER ROLE createos_user RESET default_transaction_read_only")
    assert [cell.privilege for cell in found.wrong] == ["default_transaction_read_only"]
    assert found.notes == ["later tables in public: not tried, this role may not create there"]


def test_the_catalogs_are_read_in_a_read_only_transaction(built: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(connection: verify.Connection, *_: object, **__: object) -> list[verify.Cell]:
        connection.execute("CREATE TABLE public.trace ()")
        return []

    monkeypatch.setattr(verify, "check_catalog", write)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        report(built)


def test_probe_objects_go_when_the_verification_breaks_off(built: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[verify.Cell]:
        raise KeyboardInterrupt

    before = catalog(built)
    monkeypatch.setattr(verify, "_role_by_doing", broken)
    with pytest.raises(KeyboardInterrupt):
        exit_status(built)
    assert catalog(built) == before


def test_the_roles_of_the_servers_vendor_are_left_alone(built: Platform) -> None:
    made = (
        "CREATE ROLE rds_superuser ADMIN lightwave_admin; CREATE ROLE rdstopmgr LOGIN;"
        " GRANT CONNECT ON DATABASE lightwave_platform TO rdstopmgr"
    )
    with closing(built.superuser()) as session:
        session.execute(made.encode())
        try:
            with closing(built.connect()) as admin:
                found = verify.read_only(admin, matrix(built.settings), vendor="rds")
            elsewhere = report(built)
        finally:
            session.execute("DROP OWNED BY rdstopmgr; DROP ROLE rdstopmgr, rds_superuser")
    # This server speaks no TLS and knows nothing of rds.force_ssl: both are said.
    assert [(cell.object, cell.privilege, cell.actual) for cell in found.wrong] == [
        ("server", "rds.force_ssl", "None"),
        ("server", "TLS", "no"),
    ]
    assert {cell.role for cell in elsewhere.wrong} == {"rds_superuser", "rdstopmgr"}


# --- something wrong --------------------------------------------------------------------------------------------------


class Deviation(NamedTuple):
    """What somebody did by hand as the superuser, how to undo it, and the cell that must be named."""

    do: str
    undo: str
    cell: tuple[str, str, str, str, str, str]


DEVIATIONS = {
    "a table granted to a role": Deviation(
        "GRANT INSERT ON payload.pages TO django_user",
        "REVOKE INSERT ON payload.pages FROM django_user",
        ("django_user", "payload", "table pages", "INSERT", "absent", "granted"),
    ),
    "a view granted to a role": Deviation(
        "GRANT SELECT ON payload.slugs TO cineos_user",
        "REVOKE SELECT ON payload.slugs FROM cineos_user",
        ("cineos_user", "payload", "table slugs", "SELECT", "absent", "granted"),
    ),
    "a table granted to PUBLIC": Deviation(
        "GRANT SELECT ON payload.pages TO PUBLIC",
        "REVOKE SELECT ON payload.pages FROM PUBLIC",
        ("PUBLIC", "payload", "table pages", "SELECT", "absent", "granted"),
    ),
    "a column granted": Deviation(
        "GRANT UPDATE (slug) ON payload.pages TO django_user",
        "REVOKE UPDATE (slug) ON payload.pages FROM django_user",
        ("django_user", "payload", "column pages.slug", "UPDATE", "absent", "granted"),
    ),
    "a sequence granted": Deviation(
        "GRANT USAGE ON payload.pages_id_seq TO django_user",
        "REVOKE USAGE ON payload.pages_id_seq FROM django_user",
        ("django_user", "payload", "sequence pages_id_seq", "USAGE", "absent", "granted"),
    ),
    "a function granted": Deviation(
        "GRANT EXECUTE ON FUNCTION payload.one() TO django_user",
        "REVOKE EXECUTE ON FUNCTION payload.one() FROM django_user",
        ("django_user", "payload", "function payload.one()", "EXECUTE", "absent", "granted"),
    ),
    "a system function granted": Deviation(
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO django_user",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM django_user",
        ("django_user", "", "function pg_read_file(text)", "any", "absent", "granted"),
    ),
    "a parameter granted": Deviation(
        "GRANT SET ON PARAMETER log_statement TO django_user",
        "REVOKE SET ON PARAMETER log_statement FROM django_user",
        ("django_user", "", "parameter log_statement", "any", "absent", "granted"),
    ),
    "a schema granted to a role": Deviation(
        "GRANT USAGE ON SCHEMA payload TO cineos_user",
        "REVOKE USAGE ON SCHEMA payload FROM cineos_user",
        ("cineos_user", "payload", "schema", "USAGE", "absent", "granted"),
    ),
    "CREATE on public": Deviation(
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ("PUBLIC", "public", "schema", "CREATE", "absent", "granted"),
    ),
    "WITH GRANT OPTION": Deviation(
        "GRANT USAGE ON SCHEMA payload TO payload_user WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR USAGE ON SCHEMA payload FROM payload_user",
        ("payload_user", "payload", "schema", "USAGE WITH GRANT OPTION", "absent", "granted"),
    ),
    "a grant of the schema missing": Deviation(
        "REVOKE CREATE ON SCHEMA django FROM django_user",
        "GRANT CREATE ON SCHEMA django TO django_user",
        ("django_user", "django", "schema", "CREATE", "granted", "absent"),
    ),
    "a reader's grant missing": Deviation(
        "REVOKE SELECT ON payload.pages FROM payload_reader",
        "GRANT SELECT ON payload.pages TO payload_reader",
        ("payload_reader", "payload", "table pages", "SELECT", "granted", "absent"),
    ),
    "an owner's own right missing": Deviation(
        "REVOKE DELETE ON payload.pages FROM payload_user",
        "GRANT DELETE ON payload.pages TO payload_user",
        ("payload_user", "payload", "table pages", "DELETE", "granted", "absent"),
    ),
    "default privileges in a schema": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload GRANT SELECT ON TABLES TO django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload REVOKE SELECT ON TABLES FROM django_user",
        ("django_user", "payload", "later tables of payload_user", "SELECT", "absent", "granted"),
    ),
    "default privileges everywhere": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE SELECT ON TABLES FROM PUBLIC",
        ("PUBLIC", "", "later tables of payload_user", "SELECT", "absent", "granted"),
    ),
    "later functions for PUBLIC": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        ("PUBLIC", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "later functions for a role": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM django_user",
        ("django_user", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "later functions for PUBLIC and a role": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO PUBLIC, django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC, django_user",
        ("PUBLIC", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "a function left to PUBLIC": Deviation(
        "GRANT EXECUTE ON FUNCTION payload.one() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION payload.one() FROM PUBLIC",
        ("PUBLIC", "payload", "function payload.one()", "EXECUTE", "absent", "granted"),
    ),
    "default privileges missing": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload REVOKE SELECT ON TABLES FROM payload_reader",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload GRANT SELECT ON TABLES TO payload_reader",
        ("payload_reader", "payload", "later tables of payload_user", "SELECT", "granted", "absent"),
    ),
    "default privileges of the admin": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE lightwave_admin IN SCHEMA public GRANT INSERT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE lightwave_admin IN SCHEMA public REVOKE INSERT ON TABLES FROM PUBLIC",
        ("payload_user", "public", "later table", "INSERT", "refused", "allowed"),
    ),
    "CONNECT for PUBLIC": Deviation(
        "GRANT CONNECT ON DATABASE lightwave_platform TO PUBLIC",
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM PUBLIC",
        ("PUBLIC", "", "database lightwave_platform", "CONNECT", "absent", "granted"),
    ),
    "TEMP for PUBLIC": Deviation(
        "GRANT TEMPORARY ON DATABASE lightwave_platform TO PUBLIC",
        "REVOKE TEMPORARY ON DATABASE lightwave_platform FROM PUBLIC",
        ("PUBLIC", "", "database lightwave_platform", "TEMPORARY", "absent", "granted"),
    ),
    "CREATE on the database": Deviation(
        "GRANT CREATE ON DATABASE lightwave_platform TO payload_user",
        "REVOKE CREATE ON DATABASE lightwave_platform FROM payload_user",
        ("payload_user", "", "database lightwave_platform", "CREATE", "absent", "granted"),
    ),
    "no CONNECT for the login group": Deviation(
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM lightwave_login",
        "GRANT CONNECT ON DATABASE lightwave_platform TO lightwave_login",
        ("lightwave_login", "", "database lightwave_platform", "CONNECT", "granted", "absent"),
    ),
    "a reader that is not declared": Deviation(
        "GRANT payload_reader TO django_user",
        "REVOKE payload_reader FROM django_user",
        ("django_user", "", "membership", "payload_reader", "absent", "granted"),
    ),
    "a predefined role": Deviation(
        "GRANT pg_read_all_data TO django_user",
        "REVOKE pg_read_all_data FROM django_user",
        ("django_user", "payload", "table pages", "SELECT", "refused", "allowed"),
    ),
    "a membership with admin option": Deviation(
        "GRANT lightwave_login TO django_user WITH ADMIN OPTION",
        "REVOKE ADMIN OPTION FOR lightwave_login FROM django_user",
        ("django_user", "", "membership", "lightwave_login WITH ADMIN OPTION", "absent", "granted"),
    ),
    "a membership missing": Deviation(
        "REVOKE lightwave_login FROM cineos_user",
        "GRANT lightwave_login TO cineos_user",
        ("cineos_user", "", "membership", "lightwave_login", "granted", "absent"),
    ),
    "the admin left in a login role": Deviation(
        "GRANT payload_user TO lightwave_admin",
        "REVOKE payload_user FROM lightwave_admin",
        ("lightwave_admin", "", "membership", "payload_user", "absent", "granted"),
    ),
    "CREATEDB": Deviation(
        "ALTER ROLE django_user CREATEDB",
        "ALTER ROLE django_user NOCREATEDB",
        ("django_user", "", "role", "CREATEDB", "no", "yes"),
    ),
    "BYPASSRLS on a group": Deviation(
        "ALTER ROLE payload_reader BYPASSRLS",
        "ALTER ROLE payload_reader NOBYPASSRLS",
        ("payload_reader", "", "role", "BYPASSRLS", "no", "yes"),
    ),
    "an admin that is superuser": Deviation(
        "ALTER ROLE lightwave_admin SUPERUSER",
        "ALTER ROLE lightwave_admin NOSUPERUSER",
        ("lightwave_admin", "", "role", "SUPERUSER", "no", "yes"),
    ),
    "a group that may log in": Deviation(
        "ALTER ROLE payload_reader LOGIN",
        "ALTER ROLE payload_reader NOLOGIN",
        ("payload_reader", "", "role", "LOGIN", "no", "yes"),
    ),
    "NOINHERIT": Deviation(
        "ALTER ROLE django_user NOINHERIT",
        "ALTER ROLE django_user INHERIT",
        ("django_user", "", "role", "INHERIT", "yes", "no"),
    ),
    "an expiry date": Deviation(
        "ALTER ROLE django_user VALID UNTIL '2030-01-01'",
        "ALTER ROLE django_user VALID UNTIL 'infinity'",
        ("django_user", "", "role", "VALID UNTIL", "no", "yes"),
    ),
    "another connection limit": Deviation(
        "ALTER ROLE django_user CONNECTION LIMIT -1",
        "ALTER ROLE django_user CONNECTION LIMIT 12",
        ("django_user", "", "role", "CONNECTION LIMIT", "12", "-1"),
    ),
    "another search_path": Deviation(
        "ALTER ROLE django_user SET search_path TO public, django",
        "ALTER ROLE django_user SET search_path TO django, public",
        ("django_user", "", "setting", "search_path", "django, public", "public, django"),
    ),
    "a timeout for this database alone": Deviation(
        "ALTER ROLE django_user IN DATABASE lightwave_platform SET statement_timeout TO 0",
        "ALTER ROLE django_user IN DATABASE lightwave_platform RESET statement_timeout",
        ("django_user", "", "setting", "statement_timeout in lightwave_platform", "unset", "0"),
    ),
    "a timeout for everybody": Deviation(
        "ALTER DATABASE lightwave_platform SET lock_timeout TO '1s'",
        "ALTER DATABASE lightwave_platform RESET lock_timeout",
        ("PUBLIC", "", "setting", "lock_timeout in lightwave_platform", "unset", "1s"),
    ),
    "a schema that its service owns": Deviation(
        "ALTER SCHEMA payload OWNER TO payload_user",
        # The new owner's own grant went with the ownership.
        "ALTER SCHEMA payload OWNER TO lightwave_admin; GRANT USAGE, CREATE ON SCHEMA payload TO payload_user",
        ("lightwave_admin", "payload", "schema", "owner", "lightwave_admin", "payload_user"),
    ),
    "a table of another owner": Deviation(
        "ALTER TABLE payload.pages OWNER TO lightwave_admin",
        "ALTER TABLE payload.pages OWNER TO payload_user",
        ("payload_user", "payload", "table pages", "owner", "payload_user", "lightwave_admin"),
    ),
    "a database of another owner": Deviation(
        # The admin's own CONNECT goes with the ownership.
        "ALTER DATABASE lightwave_platform OWNER TO postgres;"
        " GRANT CONNECT ON DATABASE lightwave_platform TO lightwave_admin",
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM lightwave_admin;"
        " ALTER DATABASE lightwave_platform OWNER TO lightwave_admin",
        ("lightwave_admin", "", "database lightwave_platform", "owner", "lightwave_admin", "postgres"),
    ),
    "a stranger who may log in": Deviation(
        "CREATE ROLE mallory LOGIN",
        "DROP ROLE mallory",
        ("mallory", "", "role", "login", "undeclared", "exists"),
    ),
    "a schema that nobody declared": Deviation(
        "CREATE SCHEMA analytics AUTHORIZATION django_user",
        "DROP SCHEMA analytics",
        ("django_user", "analytics", "schema", "exists", "no", "yes"),
    ),
    "a role gone": Deviation(
        "ALTER ROLE cineos_reader RENAME TO cineos_readers",
        "ALTER ROLE cineos_readers RENAME TO cineos_reader",
        ("cineos_reader", "", "role", "exists", "yes", "no"),
    ),
    "a schema gone": Deviation(
        "ALTER SCHEMA cineos RENAME TO cinema",
        "ALTER SCHEMA cinema RENAME TO cineos",
        ("lightwave_admin", "cineos", "schema", "exists", "yes", "no"),
    ),
}


@pytest.fixture
def deviated(built: Platform, request: pytest.FixtureRequest) -> Iterator[Deviation]:
    deviation: Deviation = DEVIATIONS[request.param]
    # PgBouncer's sessions keep the settings that their role had when they began.
    end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '%_user'"
    with closing(built.superuser()) as session:
        session.execute(deviation.do.encode())
        session.execute(end_sessions)
        try:
            yield deviation
        finally:
            session.execute(deviation.undo.encode())
            session.execute(end_sessions)


@pytest.mark.parametrize("deviated", DEVIATIONS, indirect=True)
def test_each_deviation_is_named(built: Platform, deviated: Deviation) -> None:
    wrong = {(c.role, c.schema, c.object, c.privilege, c.expected, c.actual) for c in report(built).wrong}
    assert deviated.cell in wrong


WIRE = {
    "CREATE on public": ("payload_user", "public", "later schema", "CREATE", "refused", "allowed"),
    "a grant of the schema missing": ("django_user", "django", "later schema", "CREATE", "allowed", "refused"),
    "TEMP for PUBLIC": ("cineos_user", "", "database", "TEMPORARY", "refused", "allowed"),
    "CREATE on the database": ("payload_user", "", "database", "CREATE EXTENSION", "refused", "allowed"),
    "a predefined role": ("django_user", "", "SET ROLE", "pg_read_all_data", "refused", "allowed"),
    "a schema that its service owns": ("payload_user", "payload", "own schema", "ownership", "refused", "allowed"),
    "WITH GRANT OPTION": ("payload_user", "payload", "own schema", "USAGE, granted onward", "refused", "allowed"),
    "another search_path": ("django_user", "", "session", "search_path", "django, public", "public, django"),
}
"""What the same hand does on the wire, where an attempt can see it."""


@pytest.mark.parametrize(("deviated", "cell"), list(WIRE.items()), indirect=["deviated"], ids=str)
def test_a_deviation_shows_by_doing_on_both_paths(built: Platform, deviated: Deviation, cell: tuple[str, ...]) -> None:
    assert deviated
    expected = matrix(built.settings)
    # This role alone tries: the others take their time, and the clean platform's test has them all.
    alone = {name: role for name, role in expected.roles.items() if not role.login or name == cell[0]}
    found = verify.by_doing(
        replace(expected, roles=alone),
        direct=direct(built),
        pooled=pooled(built),
        passwords=dict(built.state.passwords),
        flood=False,
    )
    wrong = {(c.role, c.schema, c.object, c.privilege, c.expected, c.actual, c.path) for c in found.wrong}
    assert {(*cell, "direct"), (*cell, "pooled")} <= wrong


def test_sessions_of_the_pooler_from_before_a_change_are_explained(built: Platform) -> None:
    with closing(built.superuser()) as session, closing(built.connect("cineos_user", pooled=True)) as client:
        client.execute("SELECT 1")
        session.execute("ALTER ROLE cineos_user SET statement_timeout TO 31000")
        try:
            found = verify.by_doing(
                matrix_with_timeout(built, "cineos", 31000),
                direct=direct(built),
                pooled=pooled(built),
                passwords=dict(built.state.passwords),
                flood=False,
            )
        finally:
            session.execute("ALTER ROLE cineos_user SET statement_timeout TO 30000")
    assert {(c.role, c.privilege, c.path) for c in found.wrong} == {("cineos_user", "statement_timeout", "pooled")}
    assert [note.partition(":")[0] for note in found.notes] == ["cineos_user"]


def matrix_with_timeout(platform: Platform, product: str, milliseconds: int) -> Matrix:
    changed = platform.settings.products[product].model_copy(update={"statement_timeout_ms": milliseconds})
    return matrix(platform.settings.model_copy(update={"products": {**platform.settings.products, product: changed}}))


@pytest.mark.parametrize("deviated", ["a table granted to a role"], indirect=True)
def test_a_wrong_cell_exits_1_and_is_printed(
    built: Platform, deviated: Deviation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(built) == 1
    lines = capsys.readouterr().out.splitlines()
    (line,) = [
        text for text in lines if text.split()[:1] == ["django_user"] and "table pages" in text and "absent" in text
    ]
    assert line.split() == ["django_user", "payload", "table", "pages", "INSERT", "absent", "granted", "catalog"]
    assert any("none WRONG (2)" in text for text in lines)

    document = json.loads(verify.as_document(report(built), "dev"))
    assert document["ok"] is False
    assert tuple(list(document["wrong"][0].values())[:6]) == deviated.cell


@pytest.mark.parametrize("deviated", ["another connection limit"], indirect=True)
def test_a_role_without_its_limit_is_found_by_doing(built: Platform, deviated: Deviation) -> None:
    assert deviated
    found = verify.by_doing(
        matrix(built.settings), direct=direct(built), pooled=pooled(built), passwords=dict(built.state.passwords)
    )
    assert [(c.role, c.privilege, c.actual) for c in found.wrong] == [
        ("django_user", "more than 12 sessions", "13 sessions")
    ]


def test_the_platform_is_clean_again(built: Platform) -> None:
    """Runs last: every deviation above was undone, or the next ones would have been judged on a dirty platform."""
    assert not report(built).wrong


# --- no server --------------------------------------------------------------------------------------------------------


def test_an_unreachable_server_exits_2_with_the_cure(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = verify.Endpoint(host="127.0.0.1", port=9)
    assert verify.run(built.settings, direct=nowhere, passwords=dict(built.state.passwords)) == 2
    assert "127.0.0.1:9 cannot be reached" in (said := capsys.readouterr().err)
    assert said.endswith("run: make up\n")


def test_a_refused_admin_exits_2_and_tells_no_password(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    passwords = {ADMIN: SecretStr("not-the-password")}
    assert verify.run(built.settings, direct=direct(built), pooled=pooled(built), passwords=passwords) == 2
    said = capsys.readouterr()
    assert "does not let lightwave_admin in" in said.err
    assert "not-the-password" not in said.err + said.out

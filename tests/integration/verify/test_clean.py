"""verify on a clean platform: nothing wrong, and no trace left behind; and without a server."""

import json
from contextlib import closing

import psycopg
import pytest
from pydantic import SecretStr

from ops.errors import UnreachableError
from ops.verify import attempts, catalog
from ops.verify.catalog import read_only
from ops.verify.matrix import matrix
from ops.verify.model import Check, Connection, Endpoint
from ops.verify.report import run
from settings import ADMIN
from tests.integration.built import direct, pooled
from tests.integration.conftest import Platform
from tests.integration.verify.verified import attempted, exit_status, report

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


def catalog_rows(platform: Platform) -> dict[str, list[str]]:
    """Every row of the catalogs in which a trace could be, and of the services' tables."""
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


def test_a_clean_platform_passes_on_both_paths(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    before = catalog_rows(built)
    assert exit_status(built, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "stack": "dev",
        "ok": True,
        "checked": document["checked"],
        "wrong": [],
        "notes": [],
        "outside": [],
    }
    assert document["checked"] > 1500
    assert catalog_rows(built) == before, "probe objects are gone, and the services' tables as they were"


def test_every_role_and_schema_is_tried_on_both_paths(built: Platform) -> None:
    found = attempted(built)
    tried = {(check.role, check.schema, check.path) for check in found.checks if check.privilege == "TRUNCATE"}
    assert len(tried) == 5 * 6 * 2
    assert not found.wrong


def test_the_read_only_verification_leaves_no_trace(built: Platform) -> None:
    before = catalog_rows(built)
    found = report(built)
    assert not found.wrong
    assert not found.notes
    assert catalog_rows(built) == before


def test_it_runs_where_a_write_would_fail(built: Platform) -> None:
    with closing(built.superuser()) as session:
        session.execute("ALTER ROLE createos_user SET default_transaction_read_only = on")
    try:
        found = report(built, "createos_user")
    finally:
        with closing(built.superuser()) as session:
            session.execute("ALTER ROLE createos_user RESET default_transaction_read_only")
    assert [check.privilege for check in found.wrong] == ["default_transaction_read_only"]
    assert found.notes == ["later tables in public: not tried, this role may not create there"]


def test_the_catalogs_are_read_in_a_read_only_transaction(built: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(connection: Connection, *_: object, **__: object) -> list[Check]:
        connection.execute("CREATE TABLE public.trace ()")
        return []

    monkeypatch.setattr(catalog, "check_catalog", write)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        report(built)


def test_probe_objects_are_removed_when_the_verification_is_interrupted(
    built: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Check]:
        raise KeyboardInterrupt

    before = catalog_rows(built)
    monkeypatch.setattr(attempts, "_as_role", broken)
    with pytest.raises(KeyboardInterrupt):
        exit_status(built)
    assert catalog_rows(built) == before


def test_the_roles_of_the_servers_vendor_are_ignored(built: Platform) -> None:
    made = (
        "CREATE ROLE rds_superuser ADMIN lightwave_admin; CREATE ROLE rdstopmgr LOGIN;"
        " GRANT CONNECT ON DATABASE lightwave_platform TO rdstopmgr"
    )
    with closing(built.superuser()) as session:
        session.execute(made.encode())
        try:
            with closing(built.connect()) as admin:
                found = read_only(admin, matrix(built.settings), vendor="rds")
            elsewhere = report(built)
        finally:
            session.execute("DROP OWNED BY rdstopmgr; DROP ROLE rdstopmgr, rds_superuser")
    # This server has neither TLS nor rds.force_ssl: both are reported.
    assert [(check.object, check.privilege, check.actual) for check in found.wrong] == [
        ("server", "rds.force_ssl", "None"),
        ("server", "TLS", "no"),
    ]
    assert {check.role for check in elsewhere.wrong} == {"rds_superuser", "rdstopmgr"}


def test_an_unreachable_server_is_an_error_with_the_fix(built: Platform) -> None:
    nowhere = Endpoint(host="127.0.0.1", port=9)
    with pytest.raises(UnreachableError) as refused:
        run(built.settings, direct=nowhere, passwords=dict(built.state.passwords))
    (problem,) = refused.value.problems
    assert problem.what.startswith("PostgreSQL at 127.0.0.1:9 cannot be reached")
    assert problem.fix == "make up STACK=dev"


def test_an_unreachable_pooler_is_an_error_with_the_fix(built: Platform) -> None:
    nowhere = Endpoint(host="127.0.0.1", port=9)
    with pytest.raises(UnreachableError, match=r"PgBouncer at 127\.0\.0\.1:9 cannot be reached"):
        run(built.settings, direct=direct(built), pooled=nowhere, passwords=dict(built.state.passwords))


def test_a_refused_admin_is_an_error_without_the_password(built: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    passwords = {ADMIN: SecretStr("not-the-password")}
    with pytest.raises(UnreachableError, match="does not let lightwave_admin in") as refused:
        run(built.settings, direct=direct(built), pooled=pooled(built), passwords=passwords)
    output = capsys.readouterr()
    assert "not-the-password" not in f"{refused.value}{output.err}{output.out}"

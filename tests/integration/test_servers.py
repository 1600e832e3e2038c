"""The local servers as they really run: what they are, and whom they let in."""

import re
import stat
import subprocess
import time
from collections.abc import Iterator

import psycopg
import pytest

from ops.dev import servers
from ops.dev.model import Status
from settings import ADMIN, DATABASE
from tests.integration.conftest import Platform, running_platform

ROLE = "payload_user"


@pytest.fixture(scope="module")
def served() -> Iterator[Platform]:
    """A platform where the product roles can log in: nothing here is about their grants."""
    with running_platform() as platform:
        with platform.superuser() as connection:
            for role, verifier in platform.state.scram_verifiers.items():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{verifier.get_secret_value()}'")
        yield platform


# --- what runs --------------------------------------------------------------------------------------------------------


def test_the_first_start_says_what_it_did(platform: Platform) -> None:
    assert len(platform.running.actions) >= 3
    assert servers.status(platform.directory) == Status(kind="native", postgresql=True, pgbouncer=True)


def test_the_server_is_as_on_rds(platform: Platform) -> None:
    with platform.connect() as connection:
        version = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
        admin = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        owners = connection.execute(
            "SELECT pg_get_userbyid(datdba), pg_get_userbyid(nspowner) FROM pg_database, pg_namespace"
            " WHERE nspname = 'extensions' AND datname = current_database()"
        ).fetchone()
        extension = connection.execute(
            "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
        ).fetchone()
        connection.execute("SELECT count(*) FROM extensions.pg_stat_statements")
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("password_encryption", "listen_addresses", "max_connections", "superuser_reserved_connections")
        }
    assert version == (15,)
    assert admin == (False, True, True, False, False, True)
    assert owners == (ADMIN, ADMIN)
    assert extension == ("extensions",)
    assert shown == {
        "password_encryption": ("scram-sha-256",),
        "listen_addresses": ("127.0.0.1",),
        "max_connections": ("200",),
        "superuser_reserved_connections": ("3",),
    }


def test_every_way_in_over_tcp_is_scram_and_none_is_the_superusers(platform: Platform) -> None:
    with platform.superuser() as connection:
        rules = connection.execute(
            "SELECT type, user_name, auth_method FROM pg_hba_file_rules ORDER BY line_number"
        ).fetchall()
    assert rules == [
        ("local", ["postgres"], "peer"),
        ("host", ["postgres"], "reject"),
        ("host", ["all"], "scram-sha-256"),
    ]
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        platform.connect("postgres", password="x", database="postgres")


def test_no_other_users_process_can_read_the_state(platform: Platform) -> None:
    servers = platform.directory / "servers"
    secret = [platform.directory / "state.json", servers / "pgbouncer" / "userlist.txt"]
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (servers, servers / "postgresql", servers / "pgbouncer"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert platform.directory.stat().st_mode & 0o067 == 0  # at most a group may pass through


def test_no_process_shows_a_password(platform: Platform) -> None:
    shown = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    for secret in (*platform.state.passwords.values(), *platform.state.scram_verifiers.values()):
        assert secret.get_secret_value() not in shown


# --- whom they let in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_a_role_logs_in_with_its_own_password_alone(served: Platform, *, pooled: bool) -> None:
    with served.connect(ROLE, pooled=pooled) as connection:
        assert connection.execute("SELECT session_user, current_database()").fetchone() == (ROLE, DATABASE)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(ROLE, pooled=pooled, password="x" * 40)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(ROLE, pooled=pooled, password=served.state.passwords["django_user"].get_secret_value())


@pytest.mark.parametrize("role", ["nobody_user", ADMIN, "postgres", "pgbouncer_stats"])
def test_the_pooler_refuses_who_is_not_in_its_file(served: Platform, role: str) -> None:
    options = {} if role in served.state.passwords else {"password": "x"}
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        served.connect(role, pooled=True, **options)


def test_the_pooler_knows_one_database(served: Platform) -> None:
    with pytest.raises(psycopg.OperationalError, match="no such database"):
        served.connect(ROLE, pooled=True, database="postgres")


def test_nobody_reaches_the_poolers_console(served: Platform) -> None:
    with pytest.raises(psycopg.OperationalError, match="not allowed"):
        served.connect(ROLE, pooled=True, database="pgbouncer")


def test_the_options_parameter_holds_direct_and_is_refused_pooled(served: Platform) -> None:
    options = "-c search_path=payload,public"
    with served.connect(ROLE, options=options) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("payload,public",)
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        served.connect(ROLE, pooled=True, options=options)


def test_a_product_has_its_share_of_server_connections_and_no_more(served: Platform) -> None:
    """createos has a pool of 5 and a reserve of 2: of ten clients that each hold a transaction, seven are served."""
    clients = [served.connect("createos_user", pooled=True, autocommit=False) for _ in range(10)]
    try:
        for client in clients:
            # Sent and not waited for: the last three wait in the pooler.
            client.pgconn.send_query(b"BEGIN; SELECT 1")
        deadline = time.monotonic() + 10
        seen = 0
        with served.superuser() as connection:
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'createos_user'"
                ).fetchone()
                seen = max(seen, row[0] if row else 0)
                if seen == 7 and deadline - time.monotonic() > 1:
                    deadline = time.monotonic() + 1  # long enough for an eighth to show up
                time.sleep(0.05)
    finally:
        for client in clients:
            client.close()
    assert seen == 7


def test_the_pooler_knows_every_key_of_its_ini(served: Platform) -> None:
    log = (served.directory / "servers" / "pgbouncer" / "pgbouncer.log").read_text()
    assert "process up" in log
    assert not re.search(r"unrecogni[sz]ed|unknown|invalid|deprecated|cannot load", log)

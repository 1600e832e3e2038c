"""Logins, session settings, limits and rotation, on real servers."""

import time
from contextlib import ExitStack, closing

import psycopg
import pytest

from components.secrets.scram import scram_verifier
from tests.integration.access.seed_matrix import ADMIN, FULL, NONE, OWN, PATHS, READ, ROLES, able, changed
from tests.integration.conftest import Platform


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


IDLE = {"payload_user": "5min", "django_user": "2min"}
SESSIONS = {role: (f"{schema}, public", "30s", IDLE.get(role, "1min")) for role, schema in OWN.items() if role != ADMIN}


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


def test_a_rotated_password_keeps_the_memberships(built: Platform) -> None:
    old = built.state.scram_verifiers["django_user"].get_secret_value()
    new = scram_verifier("rotated", b"0123456789abcdef")
    # As the provider does it: any update of a Role takes every membership away and grants those it lists.
    rotate = (
        "ALTER ROLE django_user PASSWORD '{}'; REVOKE lightwave_login, payload_reader FROM django_user;"
        " GRANT lightwave_login TO django_user{}"
    )
    with changed(
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

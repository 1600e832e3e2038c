"""The access control matrix on real servers: schemas, tables, sequences, functions, and the optional read."""

from contextlib import closing

import pytest

from tests.integration.access.seed_matrix import (
    ALLOWED,
    NONE,
    PATHS,
    PUBLIC_READ,
    READ,
    REFUSED,
    ROLES,
    SEED,
    able,
    attempt,
    changed,
    matrix,
)
from tests.integration.conftest import Platform


@PATHS
def test_the_matrix_of_the_phase_0_report_holds(built: Platform, pooled: bool) -> None:
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
        changed(built, "GRANT payload_reader TO django_user", "REVOKE payload_reader FROM django_user"),
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

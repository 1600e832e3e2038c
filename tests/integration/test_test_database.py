"""The database of Django's own tests: made once, closed to everybody else, gone with its product."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import settings
from ops.dev import state as local_state
from ops.dev import test_database
from ops.dev.model import LocalStack
from ops.verify import report
from settings import TEST_DATABASE
from tests.integration.built import built_platform, direct, pooled
from tests.integration.conftest import Platform

PRODUCTS: dict[str, Any] = {
    "payload": {"framework": "payload", "service": "website"},
    "django": {"framework": "django", "service": "api", "schema": "orders", "extensions": ["pg_trgm"]},
    "createos": {},
}


ROLES = {"payload_user", "django_user", "createos_user"}


@pytest.fixture
def platform() -> Iterator[Platform]:
    with built_platform({"lightwave:products": PRODUCTS}) as built:
        yield built


def stack(platform: Platform, **products: Any) -> LocalStack:
    """The stack with other entries in its product table."""
    config = {**settings.stack_config("dev"), "lightwave:products": {**PRODUCTS, **products}}
    loaded = settings.load("dev", config, local=local_state.read(platform.directory))
    return LocalStack.of(loaded, platform.directory)


def owner(platform: Platform) -> str | None:
    with platform.connect() as admin:
        found = "SELECT datdba::regrole::text FROM pg_database WHERE datname = %s"
        row = admin.execute(found, [TEST_DATABASE]).fetchone()
        return row[0] if row else None


def test_it_is_made_once_and_is_its_products_alone(platform: Platform) -> None:
    with platform.connect() as admin:
        admin.execute("ALTER ROLE CURRENT_USER NOCREATEDB")  # as in data from before
    declared = stack(platform)
    assert test_database.make(declared) == [f"database {TEST_DATABASE} made for the tests of django"]
    assert test_database.make(declared) == test_database.drop_stale(declared, ROLES) == []
    assert owner(platform) == "django_user"
    for over in (False, True):
        with platform.connect("django_user", database=TEST_DATABASE, pooled=over) as django:
            assert django.execute("SELECT current_schema()").fetchone() == ("orders",)
            assert django.execute("SELECT similarity('word', 'words') > 0.5").fetchone() == (True,)
            django.execute("CREATE TABLE IF NOT EXISTS tested (id int)")
        for role in ("createos_user", "payload_user"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                platform.connect(role, database=TEST_DATABASE, pooled=over)
    with platform.connect("django_user") as django, pytest.raises(psycopg.errors.InsufficientPrivilege):
        django.execute("CREATE DATABASE another")
    # Nothing of it is in the platform's own database, and no membership stays.
    passwords = platform.state.passwords
    assert report.run(platform.settings, direct=direct(platform), pooled=pooled(platform), passwords=passwords) == 0


def test_it_goes_to_another_product_and_goes_away(platform: Platform) -> None:
    test_database.make(stack(platform))
    with platform.connect("django_user", database=TEST_DATABASE) as django:
        django.execute("CREATE TABLE tested (id int)")
    other = stack(platform, django={}, createos={"framework": "django", "service": "api"})
    assert test_database.drop_stale(other, ROLES) == [f"database {TEST_DATABASE} of django_user dropped"]
    assert test_database.make(other) == [f"database {TEST_DATABASE} made for the tests of createos"]
    assert owner(platform) == "createos_user"

    # A client that stays connected holds the database, and not the role that is removed.
    with platform.connect("createos_user", database=TEST_DATABASE) as createos:
        createos.execute("CREATE TABLE tested (id int)")
        assert test_database.drop_stale(stack(platform, django={}), ROLES) == [
            f"database {TEST_DATABASE} of createos_user dropped"
        ]
    assert owner(platform) == "lightwave_admin"
    with platform.superuser() as superuser:
        held = superuser.execute(
            "SELECT count(*) FROM pg_shdepend JOIN pg_database d ON d.oid = dbid"
            " WHERE datname = %s AND refobjid = 'createos_user'::regrole",
            [TEST_DATABASE],
        ).fetchone()
    assert held == (0,)
    test_database.drop_stale(stack(platform, django={}), ROLES)
    assert owner(platform) is None


def test_it_is_in_nobodys_way_where_the_role_is_made_again(platform: Platform) -> None:
    declared = stack(platform)
    test_database.make(declared)
    assert test_database.drop_stale(declared, ROLES - {"django_user"})
    assert owner(platform) is None

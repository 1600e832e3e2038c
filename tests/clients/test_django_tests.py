"""Django's own test runner, from the env file that `make env` writes: in the test database, never in dev's data."""

import psycopg
import pytest

from settings import TEST_DATABASE
from tests.clients.conftest import Service
from tests.integration.conftest import Platform

TEST = (".venv/bin/python", "manage.py", "test")


@pytest.mark.parametrize("path", ["DATABASE_URL", "DATABASE_URL_DIRECT"])
def test_the_examples_tests_pass_and_leave_devs_data_alone(django: Service, path: str) -> None:
    with psycopg.connect(django.env["DATABASE_URL_DIRECT"], autocommit=True) as session:
        session.execute(
            "INSERT INTO orders_order (page_slug, quantity, confirmed, created_at) VALUES ('a', 1, true, now())"
        )
        before = session.execute("SELECT count(*), max(id) FROM orders_order").fetchone()
        output = django.run(*TEST, DATABASE_URL=django.env[path])
        assert "Ran 3 tests" in output
        assert "OK" in output
        assert "Warning" not in output
        assert session.execute("SELECT count(*), max(id) FROM orders_order").fetchone() == before


@pytest.mark.parametrize("name", ["", "lightwave_platform"])
def test_tests_that_would_run_in_the_services_data_are_refused(django: Service, name: str) -> None:
    refused = django.fails(*TEST, DATABASE_TEST_NAME=name)
    assert "tests would run in lightwave_platform, the service's own data" in refused


def test_django_cannot_make_a_database_of_its_own(django: Service) -> None:
    assert "permission denied to create database" in django.fails(*TEST, DATABASE_TEST_NAME="test_another")


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_the_test_database_is_djangos_alone(platform: Platform, pooled: bool) -> None:
    with platform.connect("django_user", pooled=pooled, database=TEST_DATABASE) as django:
        owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
        assert django.execute(owner).fetchone() == ("django_user",)
        assert django.execute("SELECT current_schema()").fetchone() == ("django",)
    for role in ("payload_user", "createos_user"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            platform.connect(role, pooled=pooled, database=TEST_DATABASE)

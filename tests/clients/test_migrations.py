"""Migrations: an index that takes longer than an app's statements may, and a first connection that is lost."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.clients.conftest import Service, through
from tests.clients.proxy import proxied
from tests.integration.conftest import Platform

INDEX_SECONDS = 60
"""Twice the 30 s of statement_timeout."""

SLOW_INDEX = f"""
CREATE TABLE slow_index (id int);
INSERT INTO slow_index VALUES (1);
CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS 'BEGIN PERFORM pg_sleep({INDEX_SECONDS}); RETURN $1; END';
CREATE INDEX slow_index_slowly ON slow_index (slowly(id));
"""

DJANGO = f"""
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunSQL({SLOW_INDEX!r})]
"""

PAYLOAD = f"""
import {{ type MigrateUpArgs, sql }} from '@payloadcms/db-postgres'

export async function up({{ db }}: MigrateUpArgs): Promise<void> {{
  await db.execute(sql`SET LOCAL search_path = payload; {SLOW_INDEX}`)
}}
export async function down(): Promise<void> {{}}
"""


UNDO = """
DROP TABLE IF EXISTS slow_index;
DROP FUNCTION IF EXISTS slowly;
DELETE FROM {} WHERE name LIKE '%slow_index';
"""


@pytest.fixture
def undone(payload: Service, django: Service) -> Iterator[None]:
    """What the other tests find in the database is as the examples' own migrations leave it."""
    yield
    for url, migrations in (
        (payload.env["DATABASE_URI_DIRECT"], "payload_migrations"),
        (django.env["DATABASE_URL_DIRECT"], "django_migrations"),
    ):
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(UNDO.format(migrations).encode())


def copied(service: Service, folder: Path, *linked: str) -> Service:
    """The service in another folder; what is large is linked."""
    ignored = shutil.ignore_patterns(*linked, ".next")
    shutil.copytree(service.folder, folder, ignore=ignored)
    for name in linked:
        (folder / name).symlink_to(service.folder / name)
    return Service(folder=folder, env=service.env)


@pytest.mark.usefixtures("undone")
def test_an_index_takes_as_long_as_it_needs_while_apps_stop_at_their_limit(
    payload: Service, django: Service, platform: Platform, tmp_path: Path
) -> None:
    django_copy = copied(django, tmp_path / "django", ".venv")
    (django_copy.folder / "orders/migrations/0002_slow_index.py").write_text(DJANGO)
    payload_copy = copied(payload, tmp_path / "payload", "node_modules")
    (payload_copy.folder / "src/migrations/20261125_160000_slow_index.ts").write_text(PAYLOAD)
    migrate = (".venv/bin/python", "manage.py", "migrate")
    query = f"from django.db import connection; connection.cursor().execute('SELECT pg_sleep({INDEX_SECONDS})')"

    def app() -> str:
        return django.fails(".venv/bin/python", "manage.py", "shell", "-c", query)

    runs: list[Callable[[], str]] = [
        lambda: django_copy.run(*migrate, DATABASE_URL=django.env["DATABASE_URL_DIRECT"]),
        lambda: payload_copy.run("node", "migrate.mjs"),
        app,
    ]
    with ThreadPoolExecutor(len(runs)) as pool:
        migrated, also, stopped = pool.map(lambda run: run(), runs)
    assert "Applying orders.0002_slow_index... OK" in migrated
    assert "Migrated:  20261125_160000_slow_index" in also
    assert "canceling statement due to statement timeout" in stopped
    with platform.connect() as admin:
        indexes = admin.execute(
            "SELECT schemaname, tableowner FROM pg_indexes JOIN pg_tables USING (schemaname, tablename)"
            " WHERE indexname = 'slow_index_slowly' ORDER BY 1"
        ).fetchall()
    assert indexes == [("django", "django_user"), ("payload", "payload_user")]


def test_the_same_migration_on_the_pooled_url_is_cut_off(django: Service, tmp_path: Path) -> None:
    copy = copied(django, tmp_path / "django", ".venv")
    migration = DJANGO.replace("slow_index", "cut_off").replace("slowly", "cut_slowly")
    (copy.folder / "orders/migrations/0003_cut_off.py").write_text(migration)
    output = copy.fails(".venv/bin/python", "manage.py", "migrate")
    assert "canceling statement due to statement timeout" in output


def test_djangos_job_survives_a_lost_first_connection(django: Service, platform: Platform) -> None:
    port = platform.running.database_port
    migrate = (".venv/bin/python", "manage.py", "migrate")
    with proxied(port, lost_connections=1) as lossy:
        url = through(django.env["DATABASE_URL_DIRECT"], port, lossy.port)
        assert "OperationalError" in django.fails(*migrate, DATABASE_URL=url)
    with proxied(port, lost_connections=3) as lossy:
        url = through(django.env["DATABASE_URL_DIRECT"], port, lossy.port)
        waited = django.run(".venv/bin/python", "manage.py", "wait_for_database", DATABASE_URL=url)
        assert waited.count("the database does not answer yet") == 3
        django.run(*migrate, DATABASE_URL=url)


def test_payloads_job_survives_a_lost_first_connection(payload: Service, platform: Platform) -> None:
    port = platform.running.database_port
    direct = payload.env["DATABASE_URI_DIRECT"]
    with proxied(port, lost_connections=1) as lossy:
        url = through(direct, port, lossy.port)
        command = ("node", "node_modules/payload/bin.js", "migrate")
        assert "cannot connect to Postgres" in payload.fails(*command, DATABASE_URI=url)
    with proxied(port, lost_connections=3) as lossy:
        output = payload.run("node", "migrate.mjs", DATABASE_URI_DIRECT=through(direct, port, lossy.port))
    assert output.count("the database does not answer yet") == 3
    assert "Done." in output


def test_a_refusal_is_not_waited_for(payload: Service, django: Service) -> None:
    wrong = payload.env["DATABASE_URI_DIRECT"].replace("payload_user:", "payload_user:wrong")
    also = django.env["DATABASE_URL_DIRECT"].replace("django_user:", "django_user:wrong")
    for refused in (
        payload.fails("node", "migrate.mjs", DATABASE_URI_DIRECT=wrong),
        django.fails(".venv/bin/python", "manage.py", "wait_for_database", DATABASE_URL=also),
    ):
        assert "password authentication failed" in refused
        assert "does not answer yet" not in refused

"""Migrations: an index that takes longer than an app's statements may, and a first connection that is lost."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from settings import FRAMEWORKS
from tests.clients.builds import PAYLOAD_COMMAND
from tests.clients.conftest import Service, through
from tests.clients.proxy import proxied
from tests.integration.conftest import Platform

PAYLOAD_MIGRATE = (*PAYLOAD_COMMAND, "migrate")
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


def migration_job(service: Service, framework: str, direct: str) -> str:
    """What the command of the stack's migration Job prints, on a direct URL; fails where it fails."""
    migration = FRAMEWORKS[framework].migration
    path = f"{service.folder}/.venv/bin:{os.environ['PATH']}"
    return service.run(*migration.command, **dict.fromkeys(migration.url, direct), PATH=path)


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
    direct = django.env["DATABASE_URL_DIRECT"]
    with proxied(port, lost_connections=1) as lossy:
        url = through(direct, port, lossy.port)
        assert "OperationalError" in django.fails(".venv/bin/python", "manage.py", "migrate", DATABASE_URL=url)
    with proxied(port, lost_connections=3) as lossy:
        output = migration_job(django, "django", through(direct, port, lossy.port))
    assert output.count("the database does not answer yet") == 3
    assert "No migrations to apply." in output


def test_payloads_job_survives_a_lost_first_connection(payload: Service, platform: Platform) -> None:
    port = platform.running.database_port
    direct = payload.env["DATABASE_URI_DIRECT"]
    with proxied(port, lost_connections=1) as lossy:
        payload.fails(*PAYLOAD_MIGRATE, DATABASE_URI=through(direct, port, lossy.port))
    with proxied(port, lost_connections=3) as lossy:
        output = migration_job(payload, "payload", through(direct, port, lossy.port))
    assert output.count("the database does not answer yet") == 3
    assert "Done." in output


def test_a_refusal_is_not_waited_for(payload: Service, django: Service) -> None:
    wrong = payload.env["DATABASE_URI_DIRECT"].replace("payload_user:", "payload_user:wrong")
    also = django.env["DATABASE_URL_DIRECT"].replace("django_user:", "django_user:wrong")
    for service, framework, url in ((payload, "payload", wrong), (django, "django", also)):
        with pytest.raises(AssertionError, match="password authentication failed") as refused:
            migration_job(service, framework, url)
        assert "does not answer yet" not in str(refused.value)


def test_payloads_job_fails_where_the_command_ends_before_it_is_done(payload: Service, tmp_path: Path) -> None:
    copy = copied(payload, tmp_path / "payload", "node_modules")
    modules = tmp_path / "payload/node_modules"
    modules.unlink()
    (modules / "payload").mkdir(parents=True)
    (modules / "pg").symlink_to(payload.folder / "node_modules/pg")
    (modules / "payload/bin.js").write_text("console.log('Reading migration files')")
    with pytest.raises(AssertionError, match="payload migrate ended before it was done"):
        migration_job(copy, "payload", payload.env["DATABASE_URI_DIRECT"])

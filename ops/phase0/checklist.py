"""The success criteria of the Phase 0 report, measured on the running platform."""

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg

from ops import process
from ops.check import Check, check
from ops.phase0 import lockfile, workspace
from ops.phase0.media import media_files
from ops.phase0.subject import Subject
from ops.verify.catalog import read_only
from ops.verify.matrix import matrix
from ops.verify.model import Connection, connect
from settings import ADMIN
from settings.problems import OperatorError, Problem

COLLECTIONS = ("pages", "posts", "media", "categories")
"""What the public reads at /api/<name>."""
GLOBALS = ("header", "footer")
TABLES = frozenset({*COLLECTIONS, "users", "payload_preferences", "payload_migrations"})
"""Tables that the report expects in Payload's schema."""
MAX_MEDIA = 20
"""Newest media items whose files are asked for."""
BY_HAND = "Phase 0 audit report approved"
"""The criterion that no command can measure."""

_DEMO_SECONDS = 120
_MONGODB_URL = re.compile(r"mongodb(\+srv)?://")


def measure(subject: Subject, show: Callable[[Check], None]) -> list[Check]:
    """Every criterion, in the report's order; `show` is called with each as soon as it is measured."""
    done = []
    for criterion in CRITERIA:
        done.append(criterion(subject))
        show(done[-1])
    return done


def _expect(problems: list[Problem]) -> None:
    if problems:
        raise OperatorError(problems)


@check("Shared PostgreSQL database configured with schemas")
def database(subject: Subject) -> str:
    """Schemas, roles and grants are as the product table says."""
    settings = subject.settings
    endpoint, password = subject.admin
    with closing(connect(endpoint, ADMIN, password)) as connection:
        found = read_only(connection, matrix(settings), vendor=None if settings.is_local else "rds")
    if found.wrong:
        raise OperatorError(
            f"{len(found.wrong)} of {len(found.checks)} checks failed", f"make verify STACK={settings.stack}"
        )
    return f"{len(settings.products)} schemas, {len(found.checks)} checks"


@check("Payload migrated to PostgreSQL")
def payload_tables(subject: Subject) -> str:
    """Payload's tables are in its schema, none is in `public`, and every migration of the app is applied."""
    schema = subject.product("payload").schema_name
    with closing(subject.login("payload")) as connection:
        rows = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN (%s, 'public')", (schema,)
        ).fetchall()
        tables = {name for place, name in rows if place == schema}
        applied = _applied(connection, schema) if "payload_migrations" in tables else set()
    strays = sorted(name for place, name in rows if place == "public")
    written = {path.stem for path in _migrations(subject.checkout("payload"))}
    migrate = "in Payload's checkout, on DATABASE_URI_DIRECT: payload migrate"
    problems = []
    if missing := sorted(TABLES - tables):
        problems.append(Problem(what=f"schema {schema} lacks {', '.join(missing)}", fix=migrate))
    if strays:
        problems.append(Problem(what=f"public has tables: {', '.join(strays)}", fix=f"set schemaName: '{schema}'"))
    if pending := sorted(written - applied):
        problems.append(Problem(what=f"not applied: {', '.join(pending)}", fix=migrate))
    if unknown := sorted(applied - written):
        problems.append(Problem(what=f"applied, but not in the checkout: {', '.join(unknown)}", fix="git pull"))
    _expect(problems)
    return f"{len(tables)} tables in {schema}, none in public, {len(applied)} migrations applied"


def _migrations(checkout: Path) -> list[Path]:
    for folder in (checkout / "src" / "migrations", checkout / "migrations"):
        if found := [path for path in sorted(folder.glob("*.ts")) if path.stem != "index"]:
            return found
    raise OperatorError(f"{checkout} has no migrations in src/migrations or migrations", "payload migrate:create")


def _applied(connection: Connection, schema: str) -> set[str]:
    # Payload's development mode writes a row of its own, named dev.
    query = psycopg.sql.SQL("SELECT name FROM {}.payload_migrations WHERE name <> 'dev'")
    return {name for (name,) in connection.execute(query.format(psycopg.sql.Identifier(schema)))}


@check("Media storage migrated to S3/R2 with CDN")
def media(subject: Subject) -> str:
    """The files of the newest media items, all sizes, are reachable under the CDN's name."""
    base = subject.values("payload").get("CDN_BASE_URL", "")
    with closing(subject.login("payload")) as connection:
        files = [name for item in media_files(connection, subject.product("payload"), MAX_MEDIA) for name in item]
    if not files:
        raise OperatorError(
            "there is no media item yet", f"upload an image at {subject.payload_url.removesuffix('/api')}/admin"
        )
    urls = [f"{base}/{quote(name)}" for name in files]
    missing = [url for url in urls if subject.answer(url, "HEAD")[0] != 200]
    _expect([Problem(what=f"{url} is not there", fix="make media-sync FROM=<folder>") for url in missing[:5]])
    return f"{len(files)} files under {base}"


_PUBLIC = "declare it in Payload's config with access.read for the public, and run its migrations"


@check("All Payload collections working on PostgreSQL")
def rest_api(subject: Subject) -> str:
    """Every collection and global answers the public, and users do not."""
    wrong = []
    for name in COLLECTIONS:
        status, body = subject.answer(f"{subject.payload_url}/{name}?limit=1")
        if status != 200 or not isinstance(body, dict) or "docs" not in body:
            what = f"{subject.payload_url}/{name} answers {status}; expected: 200 with docs"
            wrong.append(Problem(what=what, fix=_PUBLIC))
    for name in GLOBALS:
        status, body = subject.answer(f"{subject.payload_url}/globals/{name}")
        if status != 200 or not isinstance(body, dict):
            what = f"{subject.payload_url}/globals/{name} answers {status}; expected: 200"
            wrong.append(Problem(what=what, fix=_PUBLIC))
    status, _ = subject.answer(f"{subject.payload_url}/users")
    if status not in (401, 403):
        wrong.append(Problem(what=f"the public gets {status} from /users; expected: 401 or 403", fix="access.read"))
    _expect(wrong)
    return f"{len(COLLECTIONS)} collections and {len(GLOBALS)} globals at {subject.payload_url}"


@check("Django connects to PostgreSQL")
def django_tables(subject: Subject) -> str:
    """Django's migrations table is in its schema."""
    schema = subject.product("django").schema_name
    with closing(subject.login("django")) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
    if ("django_migrations",) not in rows:
        raise OperatorError(f"schema {schema} has no django_migrations", "on DATABASE_URL_DIRECT: manage.py migrate")
    return f"{len(rows)} tables in {schema}"


@check("Django can query the Payload API")
def django_client(subject: Subject) -> str:
    """Django's own client reads published posts: `manage.py payload_demo` in its checkout."""
    checkout = subject.checkout("django")
    python = checkout / ".venv" / "bin" / "python"
    fix = f"in {checkout}: .venv/bin/python manage.py payload_demo"
    values = {**subject.values("django"), "PAYLOAD_API_URL": subject.payload_url}
    printed = process.output(
        [python if python.exists() else "python3", "manage.py", "payload_demo"],
        timeout=_DEMO_SECONDS,
        cwd=checkout if checkout.is_dir() else None,
        env=values,
        fix=fix,
    )
    return printed.strip().splitlines()[-1] if printed.strip() else "payload_demo ended without a word"


@check("Environment variables distributed across workspace")
def env_files(subject: Subject) -> str:
    """Every service's env file in the workspace is up to date."""
    files = workspace.distribute(subject.settings, subject.workspace, subject.env, check=True)
    fix = f"make env ALL=1 STACK={subject.settings.stack} WORKSPACE={subject.workspace}"
    _expect([Problem(what=str(file), fix=fix) for file in files if not file.ok])
    return f"{len(files)} services"


@check("No MongoDB dependencies remaining")
def no_mongodb(subject: Subject) -> str:
    """No env file has a MongoDB URL, and Payload's lock file has no adapter for it and a supported Payload."""
    packages = lockfile.locked(subject.checkout("payload"))
    problems = list(lockfile.problems(subject.checkout("payload"), packages))
    files = [path for framework in ("payload", "django") for path in sorted(subject.checkout(framework).glob(".env*"))]
    problems += [
        Problem(what=f"{path} has a MongoDB URL", fix="remove it, and what reads it")
        for path in files
        if path.is_file() and _MONGODB_URL.search(path.read_text(errors="replace"))
    ]
    _expect(problems)
    return f"{len(files)} env files, Payload {packages['payload']}"


CRITERIA: tuple[Callable[[Subject], Check], ...] = (
    database,
    payload_tables,
    media,
    rest_api,
    django_tables,
    django_client,
    env_files,
    no_mongodb,
)

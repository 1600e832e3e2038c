"""Verifies a running platform against the product table and reports every difference.

A local database is verified by attempts on the wire too; any other one is only read.
"""

import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import psycopg
from pydantic import SecretStr
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.check import Check as Visible
from ops.check import show as show_check
from ops.console import say, show
from ops.errors import ExitCode, UnreachableError
from ops.verify.attempts import attempt_all
from ops.verify.catalog import read_only
from ops.verify.matrix import Matrix, Role, matrix
from ops.verify.model import CONNECT_TIMEOUT, Connection, Endpoint, Report, connect, message
from settings import ADMIN, Settings

MAX_SHOWN = 40
"""Failed checks that the readable report lists; the JSON document has all of them."""


def run(
    settings: Settings,
    *,
    direct: Endpoint,
    pooled: Endpoint | None = None,
    passwords: Mapping[str, SecretStr],
    outside: Sequence[Visible] = (),
    as_json: bool = False,
) -> ExitCode:
    """Verifies the stack and prints what it found: FAILED where the database is not as the table says.

    `passwords` holds the admin's and, for a local database, every login role's; `outside` is what was checked from
    there, a section of its own. Raises UnreachableError when a server does not answer.
    """
    expected = matrix(settings)
    report = verify(settings, expected, direct=direct, pooled=pooled, passwords=passwords)
    if as_json:
        say(as_document(report, settings.stack, outside))
    else:
        show(as_output(report, expected, settings.stack))
        show_outside(outside)
    return ExitCode.FAILED if report.wrong else ExitCode.OK


def verify(
    settings: Settings,
    expected: Matrix,
    *,
    direct: Endpoint,
    pooled: Endpoint | None,
    passwords: Mapping[str, SecretStr],
) -> Report:
    """All checks that the stack's database allows. Raises UnreachableError."""
    local = settings.is_local
    fix = f"make up STACK={settings.stack}"
    if not local:
        fix = (
            f"run inside the VPC, or through a tunnel: make tunnel STACK={settings.stack}\n"
            f"without the database, from outside alone: make verify STACK={settings.stack} OUTSIDE=1"
        )
    _reach("PostgreSQL", direct, fix)
    if local and pooled:
        _reach("PgBouncer", pooled, fix)
    with closing(_admin(direct, passwords[ADMIN], fix)) as connection:
        report = read_only(connection, expected, vendor=None if local else "rds")
    if not local:
        return report
    attempted = attempt_all(expected, direct, pooled, passwords)
    return Report([*report.checks, *attempted.checks], [*report.notes, *attempted.notes])


def _reach(name: str, endpoint: Endpoint, fix: str) -> None:
    try:
        socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise UnreachableError(
            f"{name} at {endpoint.host}:{endpoint.port} cannot be reached ({error.strerror or error})", fix
        ) from error


def _admin(endpoint: Endpoint, password: SecretStr, fix: str) -> Connection:
    try:
        return connect(endpoint, ADMIN, password)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"PostgreSQL at {endpoint.host}:{endpoint.port} does not let {ADMIN} in ({message(error)})", fix
        ) from error


def as_document(report: Report | None, stack: str, outside: Sequence[Visible] = ()) -> str:
    """The report as JSON: whether all is as declared; of the database, without which `report` is None, the number of
    checks, each failed check and notes; from outside, every check.
    """
    wrong = report.wrong if report else []
    document: dict[str, Any] = {"stack": stack, "ok": not wrong and not any(check.problems for check in outside)}
    if report:
        document["checked"] = len(report.checks)
        document["wrong"] = [asdict(check) for check in wrong]
        document["notes"] = report.notes
    document["outside"] = [{"ok": check.ok, **asdict(check)} for check in outside]
    return json.dumps(document, indent=2)


def show_outside(outside: Sequence[Visible]) -> None:
    """Prints the section of what was checked from outside, one line per check; nothing where nothing was."""
    if outside:
        say("\nFrom outside:")
    width = max((len(check.name) for check in outside), default=0)
    for check in outside:
        show_check(check, width)


def as_output(report: Report, expected: Matrix, stack: str) -> RenderableType:
    """The report for a reader: the matrix with the failures in each field, then every failed check in full."""
    return Group(*_parts(report, expected, stack))


def _parts(report: Report, expected: Matrix, stack: str) -> Iterator[RenderableType]:
    wrong = report.wrong
    yield Text(f"{stack}: the platform against the product table\n")
    yield _matrix_table(report, expected)
    yield ""
    if wrong:
        yield _table(
            ["role", "schema", "object", "privilege", "expected", "actual", "seen"],
            [
                [c.role, c.schema or "-", c.object, c.privilege, c.expected, Text(c.actual, style="red"), c.path]
                for c in wrong[:MAX_SHOWN]
            ],
        )
        yield ""
    if len(wrong) > MAX_SHOWN:
        yield Text(f"and {len(wrong) - MAX_SHOWN} more: --json lists all of them")
    yield from (Text(f"note: {note}") for note in report.notes)
    yield Text(f"{len(report.checks)} checks, {len(wrong)} wrong", style="bold red" if wrong else "bold green")


def _matrix_table(report: Report, expected: Matrix) -> Table:
    schemas = list(expected.object_owners)
    count = Counter((check.role, check.schema) for check in report.wrong)

    def row(role: Role) -> Iterator[Text | str]:
        yield role.name
        for schema in schemas:
            yield _field(expected.access[role.name, schema].value, count[role.name, schema])
        yield _field("", count[role.name, ""])

    return _table(["login role", *schemas, "itself"], [list(row(role)) for role in expected.logins])


def _field(access: str, wrong: int) -> Text:
    result = f"WRONG ({wrong})" if wrong else "ok"
    return Text(f"{access} {result}".strip(), style="bold red" if wrong else "green")


def _table(header: list[str], rows: list[list[Text | str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        # On a narrow terminal the other columns wrap, so that a role's name stays whole.
        table.add_column(name, overflow="fold", no_wrap=name == header[0])
    for row in rows:
        # Text, because a plain string would be read as markup.
        table.add_row(*(Text(field) if isinstance(field, str) else field for field in row))
    return table

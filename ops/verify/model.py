"""What verify works with: where the servers are, what was checked and what was found."""

from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from pydantic import SecretStr

from settings import DATABASE

CONNECT_TIMEOUT = 10
"""Seconds to wait for a server to answer."""

GRANTED, ABSENT = "granted", "absent"
ALLOWED, REFUSED = "allowed", "refused"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a PostgreSQL or PgBouncer listens."""

    host: str
    port: int
    sslmode: str = "disable"
    sslrootcert: str = ""
    """File with the CA certificates, for verify-ca and verify-full."""


@dataclass(frozen=True, order=True, slots=True)
class Check:
    """One thing that was checked."""

    role: str
    schema: str
    object: str
    privilege: str
    expected: str
    actual: str
    path: str = "catalog"
    """How it was seen: in the catalog, or by an attempt on the direct or the pooled path."""

    @property
    def wrong(self) -> bool:
        """Whether the platform differs from the product table here."""
        return self.expected != self.actual


@dataclass(frozen=True, slots=True)
class Report:
    """What one verification found."""

    checks: list[Check]
    notes: list[str] = field(default_factory=list)
    """What could not be checked, and why."""

    @property
    def wrong(self) -> list[Check]:
        """The checks that failed, sorted, without duplicates."""
        return sorted({check for check in self.checks if check.wrong})


def yes(value: bool) -> str:
    """The value as a check shows it."""
    return "yes" if value else "no"


def able(value: bool) -> str:
    """Whether something may be done, as a check shows it."""
    return ALLOWED if value else REFUSED


def message(error: psycopg.Error) -> str:
    """The first line of the server's message, as a check shows it."""
    return f"error: {str(error).strip().splitlines()[0]}"


def one(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    """The query's first row."""
    return next(iter(connection.execute(query)))


def connect(endpoint: Endpoint, role: str, password: SecretStr, **options: Any) -> Connection:
    """A session in autocommit mode, without prepared statements, which a transaction pooler cannot keep."""
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        sslmode=endpoint.sslmode,
        sslrootcert=endpoint.sslrootcert or None,
        dbname=DATABASE,
        user=role,
        password=password.get_secret_value(),
        connect_timeout=CONNECT_TIMEOUT,
        application_name="verify",
        autocommit=True,
        prepare_threshold=None,
        **options,
    )

"""The way back from a killed update of a local stack."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from ops.deploy.pulumi_cli import Pending
from ops.dev.model import make
from ops.plan.recorder import Recording
from policies.tokens import ROLE, SCHEMA
from settings.problems import OperatorError


class RecoveryError(OperatorError):
    """A killed update left something that must not be dropped."""


def drop_unrecorded(
    connection: psycopg.Connection[Any], recording: Recording, pending: Iterable[Pending], recorded: set[str]
) -> list[str]:
    """Drops the roles and schemas that are in the database and not in the Pulumi state, where they own nothing.

    A killed update leaves them, and the next one would fail with `already exists`. Looks for what the stack declares
    and what was `pending`. Gives what it dropped; raises RecoveryError for what is in use, with nothing dropped.
    """
    declared = [(r.urn, r.type, r.inputs) for r in recording.resources]
    wanted = {
        (type_, str(inputs["name"]))
        for urn, type_, inputs in [*declared, *((p.urn, p.type, p.inputs) for p in pending)]
        if type_ in (ROLE, SCHEMA) and urn not in recorded and not inputs.get("ifNotExists")
    }
    dropped = []
    with connection.transaction():
        # Schemas before roles: a role that has rights in one cannot be dropped.
        for type_, name in sorted(wanted, reverse=True):
            kind, catalog = (
                ("ROLE", "pg_roles WHERE rolname") if type_ == ROLE else ("SCHEMA", "pg_namespace WHERE nspname")
            )
            if connection.execute(f"SELECT FROM {catalog} = %s".encode(), [name]).fetchone() is None:
                continue
            try:
                # RESTRICT, PostgreSQL's default: it refuses to drop what owns or holds something.
                connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name)))
            except psycopg.errors.DependentObjectsStillExist as error:
                raise RecoveryError(
                    f"{kind.lower()} {name} is in the database and not in the Pulumi state, and it is in use "
                    f"({(error.diag.message_detail or '').splitlines()[0]})",
                    f"{make(recording.stack, 'down WIPE=1')}, then {make(recording.stack, 'up')}",
                ) from error
            dropped.append(f"{kind.lower()} {name}")
    return dropped

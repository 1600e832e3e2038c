"""The way back from a killed update of a local stack, and what its Pulumi state knows."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

import settings
from ops.deploy.pulumi_cli import STATE_FOLDER, Pending
from ops.dev.model import make
from ops.plan.recorder import Recording
from settings.problems import OperatorError

_ROLE = "postgresql:index/role:Role"
_SCHEMA = "postgresql:index/schema:Schema"


class RecoveryError(OperatorError):
    """A killed update left something that must not be dropped."""


def drop_unrecorded(
    connection: psycopg.Connection[Any], recording: Recording, pending: Iterable[Pending], recorded: set[str]
) -> list[str]:
    """Drops the roles and schemas that are in the database and not in Pulumi's state, where they own nothing.

    A killed update leaves them, and the next one would fail with `already exists`. Looks for what the stack declares
    and what was `pending`. Gives what it dropped; raises RecoveryError for what is in use, with nothing dropped.
    """
    declared = [(r.urn, r.type, r.inputs) for r in recording.resources]
    wanted = {
        (type_, str(inputs["name"]))
        for urn, type_, inputs in [*declared, *((p.urn, p.type, p.inputs) for p in pending)]
        if type_ in (_ROLE, _SCHEMA) and urn not in recorded and not inputs.get("ifNotExists")
    }
    dropped = []
    with connection.transaction():
        # Schemas before roles: a role that has rights in one cannot be dropped.
        for type_, name in sorted(wanted, reverse=True):
            kind, catalog = (
                ("ROLE", "pg_roles WHERE rolname") if type_ == _ROLE else ("SCHEMA", "pg_namespace WHERE nspname")
            )
            if connection.execute(f"SELECT FROM {catalog} = %s".encode(), [name]).fetchone() is None:
                continue
            try:
                # RESTRICT, PostgreSQL's default: it refuses to drop what owns or holds something.
                connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name)))
            except psycopg.errors.DependentObjectsStillExist as error:
                raise RecoveryError(
                    f"{kind.lower()} {name} is in the database and not in Pulumi's state, and it is in use "
                    f"({(error.diag.message_detail or '').splitlines()[0]})",
                    f"{make(recording.stack, 'down WIPE=1')}, then {make(recording.stack, 'up')}",
                ) from error
            dropped.append(f"{kind.lower()} {name}")
    return dropped


def at_cloudflare(stack: str, root: Path = settings.ROOT) -> list[str]:
    """Names of what a local stack's state holds at Cloudflare; none where there is no state that can be read."""
    try:
        latest = json.loads(_backend(root, "stacks", f"{stack}.json").read_text())["checkpoint"]["latest"] or {}
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return [
        resource["urn"].rpartition("::")[2]
        for resource in latest.get("resources") or []
        if resource["type"].startswith("cloudflare:")
    ]


def forget(stack: str, root: Path = settings.ROOT) -> None:
    """Removes what the local backend keeps of one stack; the whole backend with its last stack."""
    stacks = _backend(root, "stacks")
    for file in stacks.glob(f"{stack}.json*"):
        file.unlink()
    if not list(stacks.glob("*.json")):
        shutil.rmtree(root / STATE_FOLDER, ignore_errors=True)
        return
    for folder in ("history", "backups", "locks/organization"):
        shutil.rmtree(_backend(root, folder, stack), ignore_errors=True)


def _backend(root: Path, part: str, *names: str) -> Path:
    """A path in Pulumi's file backend: `stacks`, `history`, `backups` or `locks/organization` of this project."""
    return root.joinpath(STATE_FOLDER, ".pulumi", part, settings.PROJECT, *names)

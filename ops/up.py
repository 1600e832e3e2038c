"""`make up` and `make down`: the dev stack from nothing to proven, and back.

How a database was built decides how it goes on: one that the engine manages needs the engine, one that was built from
the plan's SQL stays with it, and only an empty one takes what the machine has. The two ways are never mixed.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from ops.deploy import commands as deploy
from ops.deploy import pulumi_cli as engine
from ops.dev import admin, recovery, servers, state
from ops.dev import env as env_files
from ops.dev.files import locked
from ops.dev.model import Running, make
from ops.plan import recorder, sql
from ops.verify import report as verify
from settings import DATABASE, ROOT, LocalState, Settings

WIPE = "make down WIPE=1, then make up"


def up(stack: str) -> int:
    """Brings a local stack up: state, servers, schemas and roles, proof, env files. Every step can be run again.

    Gives the exit status: 0, or 1 where the proof found wrong cells. Raises OperatorError with the fix where a step
    refused, SettingsError where the config is wrong.
    """
    # Held for the whole run, so that a second `make up` waits; single steps also take the lock of the state.
    with locked(state.folder(stack), "up"):
        return _up(stack)


def down(stack: str, *, wipe: bool = False) -> int:
    """Stops what `up` started and nothing else; `wipe` removes everything of the stack, Pulumi's state of it too.

    Raises OperatorError where the stack is not local.
    """
    folder = state.folder(stack)
    state.require_local(stack)
    with locked(folder, "up"):
        if wipe:
            if kept := recovery.at_cloudflare(stack):
                raise engine.EngineError(
                    f"the state knows {', '.join(kept)} at Cloudflare, which would stay there and be forgotten",
                    f"take lightwave:media out of Pulumi.{stack}.yaml, run: {make(stack, 'up')}, then"
                    f" {make(stack, 'down WIPE=1')}",
                )
            # Before the data: what is left of a killed wipe is a database that the next `up` refuses or repairs.
            recovery.forget(stack)
        actions = servers.stop(folder, wipe=wipe)
    _say(*(actions or [f"nothing of stack {stack} runs"]))
    return 0


def _up(stack: str) -> int:
    folder = state.folder(stack)
    _say(*servers.end_orphans(folder))
    told = state.prepare(stack)
    assert told.local is not None  # noqa: S101 (state.prepare)
    running = servers.start(told, report=_say)
    _say(*running.actions, *running.notes)

    with closing(admin.connect(told.local)) as connection:
        by, changes = _build(told, told.local, connection)
    if changes:
        # Its server sessions began with what their roles were set to before.
        servers.stop_pooler(folder)
        servers.start(told, report=_say)

    direct = verify.Endpoint(host=running.host, port=running.database_port)
    pooled = verify.Endpoint(host=running.host, port=running.pgbouncer_port)
    _say("verifying every cell of the access matrix, direct and through PgBouncer")
    status = verify.run(told, direct=direct, pooled=pooled, passwords=told.local.passwords)
    if status:
        return status
    written = env_files.write_local(told, env_files.env_folder(stack), servers.extras(folder))
    _say(*(f"removed {_short(path)}: its product is gone" for path in written.removed))
    _report(told.stack, running, by, changes or list(running.actions), written.files)
    return 0


def _build(told: Settings, state: LocalState, connection: psycopg.Connection[Any]) -> tuple[str, list[str]]:
    """Schemas, roles and grants: how they were built, and what changed."""
    how = sql.built(connection)
    found = _engine(told, how)
    recording = recorder.record_stack(told.stack)
    if found is None:
        verifiers = {role: secret.get_secret_value() for role, secret in state.scram_verifiers.items()}
        created = sql.apply(connection, recording, verifiers)
        return "the plan's SQL", ["schemas, roles and grants created"] if created else []

    found.select()
    # Without a mark the database is a new one, and a state of it tells of another.
    pending = found.recover(stale=how is None)
    for name in recovery.drop_unrecorded(connection, recording, pending, found.recorded()):
        _say(f"dropped {name}: a killed update had made it and not recorded it")
    if how is None:
        sql.set_mark(connection, sql.ENGINE_MARK)
    changes = found.up()
    return "pulumi", [f"{count} resources: {what}" for what, count in _differences(changes).items()]


def _engine(told: Settings, how: str | None) -> engine.Engine | None:
    beyond = " and ".join(name for name in ("kubernetes", "media") if getattr(told, name))
    only = f"the stack declares {beyond}, which takes a Pulumi engine; "
    if how not in (None, sql.ENGINE_MARK):
        if beyond:
            raise engine.EngineError(f"{only}this database was {how}; with an engine, run: {WIPE}")
        return None
    try:
        found = engine.find(told.stack, providers=engine.providers(told))
    except engine.NoEngineError as reason:
        if how == sql.ENGINE_MARK:
            raise engine.EngineError(
                f"pulumi manages this database, and it can not be had ({reason}); bring it back, or run: {WIPE}"
            ) from reason
        if beyond:
            raise engine.EngineError(f"{only}{reason}") from reason
        _say(f"no Pulumi engine ({reason}): the database is built from the plan's SQL, with the same result")
        return None
    context = told.kubernetes.context if told.kubernetes else None
    for problem in (deploy.context_problem(context) if context else None, deploy.cloudflare_problem(told, os.environ)):
        if problem:
            raise engine.EngineError(f"{problem.what}; {problem.cure}")
    return found


def _differences(changes: Mapping[str, int]) -> dict[str, int]:
    return {what: count for what, count in changes.items() if what != "same" and count}


def _report(stack: str, running: Running, by: str, changes: list[str], files: Sequence[Path]) -> None:
    _say(
        "",
        f"Stack {stack} is up: {'; '.join(changes)}." if changes else f"Stack {stack} is up: no changes.",
        f"  PostgreSQL  {running.host}:{running.database_port}, database {DATABASE}, built by {by}",
        f"  PgBouncer   {running.host}:{running.pgbouncer_port}",
        f"  env files   {', '.join(str(_short(file)) for file in files)}",
        f"  next        {make(stack, 'verify')}; {make(stack, 'env SERVICE=<service>')}; {make(stack, 'down')}"
        " (WIPE=1 removes the data too)",
    )


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _say(*lines: str) -> None:
    # Flushed: the engine writes to the same place.
    for line in lines:
        print(line, flush=True)

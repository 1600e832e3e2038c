"""`make up` and `make down`: the dev stack from nothing to proven, and back.

How a database was built decides how it goes on: one that the engine manages needs the engine, one that was built from
the plan's SQL stays with it, and only an empty one takes what the machine has. The two ways are never mixed.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from ops.deploy import commands as deploy
from ops.deploy import pulumi_cli as engine
from ops.dev import env as env_files
from ops.dev import servers as services
from ops.dev import state as local_state
from ops.dev.state import FOLDER
from ops.plan import recorder, sql
from ops.verify import report as verify
from ops.verify.model import Endpoint
from settings import ADMIN, DATABASE, ROOT, LocalState, Settings

WIPE = "make down WIPE=1, then make up"

_REFUSALS = (
    engine.EngineError,
    engine.NoEngineError,
    env_files.EnvFileError,
    services.ServicesError,
    sql.NotEmptyError,
)


def up(stack: str = "dev") -> int:
    """Brings the stack up: state, servers, schemas and roles, proof, env files. Every step can be run again.

    Gives the exit status: 0, 1 where the proof found wrong cells, 2 with what to do where a step refused. Raises
    SettingsError when the config is wrong.
    """
    try:
        # Beside local_state's own lock, which the steps take: a second run waits for the first one.
        with local_state.locked(FOLDER / "up"):
            return _up(stack)
    except _REFUSALS as refusal:
        print(refusal, file=sys.stderr)
        return 2


def down(*, wipe: bool = False) -> int:
    """Stops what `up` started and nothing else; `wipe` removes the database and the engine's state of it too."""
    try:
        with local_state.locked(FOLDER / "up"):
            if wipe:
                if kept := engine.at_cloudflare():
                    raise engine.EngineError(
                        f"the state knows {', '.join(kept)} at Cloudflare, which would stay there and be forgotten;"
                        " take lightwave:media out of Pulumi.dev.yaml, run: make up, then make down WIPE=1"
                    )
                # Before the data: what is left of a killed wipe is a database that the next `up` refuses or mends.
                shutil.rmtree(ROOT / engine.STATE_FOLDER, ignore_errors=True)
            actions = services.stop(wipe=wipe)
    except (engine.EngineError, services.ServicesError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    _say(*(actions or ["nothing of the dev stack runs"]))
    return 0


def _up(stack: str) -> int:
    told = local_state.prepare(stack)
    if told.local is None:
        raise engine.EngineError(f"stack {stack} is not local; run: make deploy STACK={stack}")
    running = services.start(told, say=_say)
    _say(*running.actions, *running.notes)

    with closing(_admin(told.local, running)) as connection:
        by, changes = _build(told, told.local, connection)
    if changes:
        # Its server sessions began with what their roles were set to before.
        services.stop_pooler()
        services.start(told, say=_say)

    direct = Endpoint(host=running.host, port=running.database_port)
    pooled = Endpoint(host=running.host, port=running.pgbouncer_port)
    _say("verifying the access matrix, direct and through PgBouncer")
    status = verify.run(told, direct=direct, pooled=pooled, passwords=told.local.passwords)
    if status:
        return status
    files = env_files.write_local(told, extras=services.extras())
    _report(running, by, changes or list(running.actions), files)
    return 0


def _admin(state: LocalState, running: services.Running) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=running.host,
        port=running.database_port,
        dbname=DATABASE,
        user=ADMIN,
        password=state.passwords[ADMIN].get_secret_value(),
        connect_timeout=10,
        autocommit=True,
    )


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
    for name in engine.drop_unrecorded(connection, recording, pending, found.recorded()):
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


def _report(running: services.Running, by: str, changes: list[str], files: list[Path]) -> None:
    _say(
        "",
        f"The dev stack is up: {'; '.join(changes)}." if changes else "The dev stack is up: no changes.",
        f"  PostgreSQL  {running.host}:{running.database_port}, database {DATABASE}, built by {by}",
        f"  PgBouncer   {running.host}:{running.pgbouncer_port}",
        f"  env files   {', '.join(str(_short(file)) for file in files)}",
        "  next        make verify; make env SERVICE=<service>; make down (WIPE=1 removes the data too)",
    )


def _short(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _say(*lines: str) -> None:
    # Flushed: the engine writes to the same place.
    for line in lines:
        print(line, flush=True)

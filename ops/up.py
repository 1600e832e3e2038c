"""`make up` and `make down`: the dev stack from nothing to proven, and back.

How a database was built decides how it goes on: one that the engine manages needs the engine, one that was built from
the plan's SQL stays with it, and only an empty one takes what the machine has. The two ways are never mixed.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from ops.deploy import checks, file_backend, install, pulumi_cli
from ops.dev import env as env_files
from ops.dev import servers as services
from ops.dev import state as local_state
from ops.errors import ExitCode
from ops.plan import recorder, sql
from ops.verify import report as verify
from settings import ADMIN, DATABASE, ROOT, LocalState, Settings, state_file
from settings.problems import OperatorError

WIPE = "make down WIPE=1, then make up"


def up(stack: str = "dev") -> ExitCode:
    """Brings the stack up: state, servers, schemas and roles, proof, env files. Every step can be run again.

    FAILED where the proof found wrong cells. Raises OperatorError with what to do where a step refused, SettingsError
    when the config is wrong.
    """
    # Beside local_state's own lock, which the steps take: a second run waits for the first one.
    with local_state.locked(state_file(stack).parent / "up"):
        return _up(stack)


def down(stack: str = "dev", *, wipe: bool = False) -> ExitCode:
    """Stops what `up` started and nothing else; `wipe` removes the database and its Pulumi state too.

    Raises OperatorError where the stack is not local.
    """
    if not checks.declared_local(stack):
        raise OperatorError(f"stack {stack} is not local: there is nothing of it to stop here", "make down STACK=dev")
    folder = state_file(stack).parent
    with local_state.locked(folder / "up"):
        if wipe:
            if kept := file_backend.at_cloudflare(stack):
                raise OperatorError(
                    f"the state knows {', '.join(kept)} at Cloudflare, which would stay there and be forgotten",
                    f"take lightwave:media out of Pulumi.{stack}.yaml, run: make up, then make down WIPE=1",
                )
            # Before the data: what is left of a killed wipe is a database that the next `up` refuses or mends.
            shutil.rmtree(file_backend.folder(stack), ignore_errors=True)
        actions = services.stop(folder, wipe=wipe)
    _say(*(actions or [f"nothing of stack {stack} runs"]))
    return ExitCode.OK


def _up(stack: str) -> ExitCode:
    told = local_state.prepare(stack)
    if told.local is None:
        raise OperatorError(f"stack {stack} is not local", f"make deploy STACK={stack}")
    running = services.start(told, say=_say)
    _say(*running.actions, *running.notes)

    with closing(_admin(told.local, running)) as connection:
        by, changes = _build(told, told.local, connection)
    if changes:
        # Its server sessions began with what their roles were set to before.
        services.stop_pooler()
        services.start(told, say=_say)

    direct = verify.Endpoint(host=running.host, port=running.database_port)
    pooled = verify.Endpoint(host=running.host, port=running.pgbouncer_port)
    _say("verifying every cell of the access matrix, direct and through PgBouncer")
    status = verify.run(told, direct=direct, pooled=pooled, passwords=told.local.passwords)
    if status:
        return ExitCode(status)
    files = env_files.write_local(told, extras=services.extras())
    _report(running, by, changes or list(running.actions), files)
    return ExitCode.OK


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
    for name in pulumi_cli.drop_unrecorded(connection, recording, pending, found.recorded()):
        _say(f"dropped {name}: a killed update had made it and not recorded it")
    if how is None:
        sql.set_mark(connection, sql.ENGINE_MARK)
    changes = found.up()
    return "pulumi", [f"{count} resources: {what}" for what, count in _differences(changes).items()]


def _engine(told: Settings, how: str | None) -> pulumi_cli.PulumiCli | None:
    beyond = " and ".join(name for name in ("kubernetes", "media") if getattr(told, name))
    only = f"the stack declares {beyond}, which takes the Pulumi CLI; "
    if how not in (None, sql.ENGINE_MARK):
        if beyond:
            raise OperatorError(f"{only}this database was {how}", f"with the Pulumi CLI: {WIPE}")
        return None
    try:
        found = install.for_stack(told)
    except install.NoPulumiError as error:
        (reason,) = error.problems
        if how == sql.ENGINE_MARK:
            raise OperatorError(
                f"Pulumi manages this database, and its CLI cannot be had ({reason.what})", f"{reason.fix}; or: {WIPE}"
            ) from error
        if beyond:
            raise OperatorError(f"{only}{reason.what}", reason.fix) from error
        _say(f"no Pulumi CLI ({reason.what}): the database is built from the plan's SQL, with the same result")
        return None
    found_checks = [checks.cloudflare(told, os.environ)]
    if told.kubernetes and told.kubernetes.context:
        found_checks.append(checks.context(told.kubernetes.context))
    if problems := [problem for check in found_checks for problem in check.problems]:
        raise OperatorError(problems)
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

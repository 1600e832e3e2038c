"""`make up` and `make down`: a local stack from nothing to proven, and back.

How a database was built decides how it goes on: one that Pulumi manages needs Pulumi, one that was built from the
plan's SQL stays with it, and only an empty one takes what the machine has. The two ways are never mixed.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from ops.console import say, steps
from ops.deploy import checks, file_backend, install
from ops.deploy.pulumi_cli import PulumiCli
from ops.dev import admin, recovery, servers, state, test_database
from ops.dev import env as env_files
from ops.dev.files import locked
from ops.dev.model import LocalStack, Running, make
from ops.errors import ExitCode, FailedError
from ops.plan import recorder, sql
from ops.plan.removals import is_grant
from ops.verify import report as verify
from ops.verify.model import Endpoint
from policies.tokens import ROLE
from settings import DATABASE, HOST, ROOT, Settings
from settings.problems import OperatorError


def up(stack: str, *, remove: bool = False) -> ExitCode:
    """Brings a local stack up: state, servers, schemas and roles, proof, env files. Every step can be run again.

    `remove` lets the update delete roles, schemas without objects and grants that are no longer declared. Raises
    OperatorError with the fix where a step refused, FailedError where the proof found wrong checks that no update
    heals, SettingsError where the config is wrong.
    """
    state.require_own_folder(stack)
    # Held for the whole run, so that a second `make up` waits; single steps also take the lock of the state.
    with locked(state.folder(stack), "up"):
        return _up(stack, remove=remove)


def down(stack: str, *, wipe: bool = False) -> ExitCode:
    """Stops what `up` started and nothing else; `wipe` removes everything of the stack, its Pulumi state too.

    Raises OperatorError where the stack is not local.
    """
    state.require_own_folder(stack)
    folder = state.folder(stack)
    # The folder alone is enough: a stack whose config was removed or is wrong can still be stopped.
    if not checks.declared_local(stack) and not servers.started_from(folder):
        raise OperatorError(
            f"stack {stack} is not local: nothing of it runs on this machine",
            "name a stack with database.server: local, such as STACK=dev",
        )
    with locked(folder, "up"):
        if wipe:
            if kept := file_backend.at_cloudflare(stack):
                raise OperatorError(
                    f"the Pulumi state knows {', '.join(kept)} at Cloudflare, which would stay there and be forgotten",
                    f"take lightwave:media out of Pulumi.{stack}.yaml, run: {make(stack, 'up')}, then"
                    f" {make(stack, 'down WIPE=1')}",
                )
            # Before the data: what is left of a killed wipe is a database that the next `up` refuses or repairs.
            shutil.rmtree(file_backend.folder(stack), ignore_errors=True)
        actions = servers.stop(folder, wipe=wipe)
    say(*(actions or [f"nothing of stack {stack} runs"]))
    return ExitCode.OK


def _up(name: str, *, remove: bool) -> ExitCode:
    folder = state.folder(name)
    say(*servers.end_orphans(folder))
    settings = state.prepare(name)
    stack = LocalStack.of(settings, folder)
    with steps() as step:
        # The pooler follows the roles, as in production: a table that is refused must not reach it.
        database = servers.start(settings, report=step, pooler=False)
    say(*database.actions)

    with closing(admin.connect(stack.state)) as connection:
        try:
            built = _build(stack, connection, remove=remove)
        except FailedError:
            _restart_pooler(stack)  # roles may have changed before it failed
            raise
        if built.changes:
            servers.stop_pooler(stack.directory)
        with steps() as step:
            running = servers.start(settings, report=step)
        say(*running.actions, *running.notes)
        if not _verified(stack):
            built = _heal(stack, connection, built)
    say(*test_database.make(stack))

    written = env_files.write_local(settings, env_files.env_folder(name), running.extras)
    say(*(f"removed {_short(path)}: its product is gone" for path in written.removed))
    _report(name, running, built.by, built.changes or [*database.actions, *running.actions], written.files)
    return ExitCode.OK


class _Built(NamedTuple):
    """How schemas, roles and grants were built, and what changed."""

    by: str
    changes: list[str]
    pulumi: PulumiCli | None = None


def _build(stack: LocalStack, connection: psycopg.Connection[Any], *, remove: bool) -> _Built:
    how = sql.built(connection)
    pulumi = _pulumi(stack.settings, how)
    recording = recorder.record_stack(stack.settings.stack)
    if pulumi is None:
        verifiers = {role: secret.get_secret_value() for role, secret in stack.state.scram_verifiers.items()}
        created = sql.apply(connection, recording, verifiers)
        return _Built("the plan's SQL", ["schemas, roles and grants created"] if created else [])

    pulumi.select()
    found = pulumi.deployment()
    if how is not None:
        removals = recovery.require_nothing_lost(connection, recording, found.resources, remove=remove)
        say(*removals.lines())
        found = recovery.forget_grants(connection, pulumi, found, removals)
    # Without a mark the database is a new one, and the state describes another.
    recorded = pulumi.recover(found, stale=how is None).urns
    roles = {str(r.inputs["name"]) for r in recording.resources if r.type == ROLE and r.urn in recorded}
    say(*test_database.drop_stale(stack, roles))
    for name in recovery.drop_unrecorded(connection, recording, found.pending, recorded):
        say(f"dropped {name}: a killed update had made it and not recorded it")
    if how is None:
        sql.set_mark(connection, sql.ENGINE_MARK)
    return _update(stack, connection, pulumi)


def _update(stack: LocalStack, connection: psycopg.Connection[Any], pulumi: PulumiCli) -> _Built:
    changes = [f"{count} resources: {what}" for what, count in _differences(pulumi.up()).items()]
    changes += recovery.give_back(connection, stack.settings.products.values())
    return _Built("pulumi", changes, pulumi)


def _heal(stack: LocalStack, connection: psycopg.Connection[Any], built: _Built) -> _Built:
    """Makes roles and grants again as they are declared, where somebody changed them by hand.

    Raises FailedError where that does not help.
    """
    name = stack.settings.stack
    if built.pulumi:
        say("roles or grants differ from the product table: making them again")
        built.pulumi.refresh()
        # A refresh does not see what was granted or revoked beside a grant.
        recovery.forget(built.pulumi, built.pulumi.deployment(), is_grant)
        built = _update(stack, connection, built.pulumi)
        _restart_pooler(stack)
        if _verified(stack):
            return built
    raise FailedError(
        "the database differs from the product table; the table above lists every wrong check",
        f"undo what was changed by hand, then {make(name, 'up')};"
        f" or start anew: {make(name, 'down WIPE=1')}, then {make(name, 'up')}",
    )


def _verified(stack: LocalStack) -> bool:
    direct = Endpoint(host=HOST, port=stack.state.database_port)
    pooled = Endpoint(host=HOST, port=stack.state.pgbouncer_port)
    say("verifying the access matrix, direct and through PgBouncer")
    return verify.run(stack.settings, direct=direct, pooled=pooled, passwords=stack.state.passwords) is ExitCode.OK


def _restart_pooler(stack: LocalStack) -> None:
    """Its server sessions began with the settings that their roles had before."""
    servers.stop_pooler(stack.directory)
    with steps() as step:
        servers.start(stack.settings, report=step)


def _pulumi(settings: Settings, how: str | None) -> PulumiCli | None:
    """The Pulumi CLI; None where the database is built from the plan's SQL. Raises OperatorError where neither can."""
    wipe = f"{make(settings.stack, 'down WIPE=1')}, then {make(settings.stack, 'up')}"
    sections = " and ".join(name for name in ("kubernetes", "media") if getattr(settings, name))
    only = f"the stack declares {sections}, which takes the Pulumi CLI; "
    if how not in (None, sql.ENGINE_MARK):
        if sections:
            raise OperatorError(f"{only}this database was {how}", f"with the Pulumi CLI: {wipe}")
        return None
    try:
        pulumi = install.for_stack(settings)
    except install.NoPulumiError as error:
        (reason,) = error.problems
        if how == sql.ENGINE_MARK:
            raise OperatorError(
                f"Pulumi manages this database, and its CLI cannot be had ({reason.what})", f"{reason.fix}; or: {wipe}"
            ) from error
        if sections:
            raise OperatorError(f"{only}{reason.what}", reason.fix) from error
        say(f"no Pulumi CLI ({reason.what}): the database is built from the plan's SQL, with the same result")
        return None
    made = [checks.cloudflare(settings, os.environ)]
    if settings.kubernetes and settings.kubernetes.context:
        made.append(checks.context(settings.kubernetes.context))
    if problems := [problem for check in made for problem in check.problems]:
        raise OperatorError(problems)
    return pulumi


def _differences(changes: Mapping[str, int]) -> dict[str, int]:
    return {what: count for what, count in changes.items() if what != "same" and count}


def _report(stack: str, running: Running, by: str, changes: list[str], files: Sequence[Path]) -> None:
    say(
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

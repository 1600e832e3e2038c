"""What `make up` checks and repairs around an update of a local stack: removals, and what older runs left half done."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from ops.console import say
from ops.deploy.deployment import Deployment, Pending
from ops.deploy.pulumi_cli import PulumiCli
from ops.dev.model import make
from ops.plan.recorder import Recording
from ops.plan.removals import Removals, Resource, is_grant, schema_of, without
from policies.tokens import ROLE, SCHEMA
from settings import ADMIN, Product
from settings.problems import OperatorError


class RecoveryError(OperatorError):
    """A killed update left something that must not be dropped."""


class RemovalError(OperatorError):
    """The update would take away something that nobody confirmed, or that holds objects."""


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


_OBJECTS = b"""
  SELECT nspname, 'TABLE' AS kind, format('%I.%I', nspname, relname) AS name, relname AS short,
         relowner::regrole::text AS owner, 'pg_class'::regclass AS catalog, c.oid, relkind::text AS relkind
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT nspname, 'ROUTINE', p.oid::regprocedure::text, proname, proowner::regrole::text, 'pg_proc'::regclass, p.oid, ''
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  UNION ALL
  SELECT nspname, 'TYPE', format('%I.%I', nspname, typname), typname, typowner::regrole::text, 'pg_type'::regclass,
         t.oid, ''
    FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid
   WHERE typtype IN ('e', 'd', 'r') OR c.relkind = 'c'
"""
_HELD = (
    b"SELECT nspname, kind, name, short, owner FROM ("
    + _OBJECTS
    + b""") AS o WHERE nspname !~ '^pg_' AND NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid
     -- An extension's, and the sequence of a column: they go with it.
     AND (d.deptype = 'e' OR o.relkind = 'S' AND d.deptype IN ('a', 'i')))
   ORDER BY nspname, kind = 'TABLE' DESC, short"""
)
"""Objects of every schema, each as `ALTER <kind> <name>` takes it: tables and views, routines, types."""


def require_nothing_lost(
    connection: psycopg.Connection[Any], recording: Recording, resources: Iterable[Resource], *, remove: bool
) -> Removals:
    """Raises RemovalError where the update would take away what holds objects, or anything without `remove`."""
    found = Removals.of(resources, recording)
    objects: dict[str, list[str]] = {}
    for schema, _, _, short, _ in connection.execute(_HELD):
        objects.setdefault(schema, []).append(short)
    confirm = "" if remove else make(recording.stack, "up REMOVE=1")
    if problems := list(found.problems(objects, confirm=confirm, stack=recording.stack)):
        raise RemovalError(problems)
    return found


def forget_grants(
    connection: psycopg.Connection[Any], pulumi: PulumiCli, deployment: Deployment, found: Removals
) -> Deployment:
    """Takes out of the state what no provider can delete: grants on a schema that is renamed now, or is gone.

    Gives the state after that.

    PostgreSQL keeps a grant with its schema whatever the name is, and drops it with the schema. The provider looks for
    the old name, and every further update would fail.
    """
    schemas = {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}
    renamed = {rename.old for rename in found.renamed}

    def dead(resource: Resource) -> bool:
        schema = schema_of(resource)
        return is_grant(resource) and bool(schema) and (schema in renamed or schema not in schemas)

    gone = forget(pulumi, deployment, dead)
    for name in gone:
        say(f"{name}: its schema has another name now; it is granted anew")
    return pulumi.deployment() if gone else deployment


def forget(pulumi: PulumiCli, deployment: Deployment, which: Callable[[Resource], bool]) -> list[str]:
    """Takes resources out of the state, and nothing out of the database. Gives their names."""
    left, gone = without(deployment.document, which)
    if gone:
        pulumi.replace(left)
    return gone


def give_back(connection: psycopg.Connection[Any], products: Iterable[Product]) -> list[str]:
    """Gives each product the objects in its schema that the admin owns: where it was removed and put back.

    Dropping a login role hands its objects to the admin. Gives one line per product.
    """
    owners = {product.schema_name: product.login_role for product in products}
    given: dict[str, list[tuple[str, str]]] = {}
    for schema, kind, name, _, owner in connection.execute(_HELD):
        if schema in owners and owner == ADMIN:
            given.setdefault(schema, []).append((kind, name))
    for schema, objects in given.items():
        _give(connection, owners[schema], objects)
    return [f"{owners[schema]} owns {len(objects)} objects in {schema} again" for schema, objects in given.items()]


def _give(connection: psycopg.Connection[Any], role: str, objects: Sequence[tuple[str, str]]) -> None:
    login = sql.Identifier(role)
    with connection.transaction():
        # Who gives something away must be a member of the new owner: the admin is no superuser.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(login))
        for kind, name in objects:
            # Quoted by the query.
            connection.execute(f"ALTER {kind} {name} OWNER TO ".encode() + login.as_bytes(None))
        connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(login))

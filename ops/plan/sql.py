"""The plan's postgresql resources as SQL, for a machine that cannot get the Pulumi CLI.

It builds an empty database and does nothing else. A comment on the database records how it was built, written in the
transaction that builds it, so that the two ways are never mixed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

import psycopg
from psycopg import sql

import settings
from ops.plan.recorder import Recording
from policies import tokens
from settings.problems import OperatorError

ENGINE_MARK = "built by pulumi"
"""Comment of a database that the Pulumi CLI manages."""


_FIX = "make down WIPE=1, then make up"


class NotEmptyError(OperatorError):
    """The database is not empty, and it was not built from this SQL."""


def statements(recording: Recording, verifiers: Mapping[str, str] | None = None) -> list[str]:
    """The statements, each after those it depends on, in a stable order.

    `verifiers` holds each login role's SCRAM verifier; without it, psql variables named after the roles take their
    place. Raises KeyError for a postgresql resource that has no SQL here.
    """
    resources = {r.urn: r for r in recording.resources if r.type.startswith(tokens.POSTGRESQL)}
    order = TopologicalSorter({urn: [d for d in r.depends_on if d in resources] for urn, r in resources.items()})
    return [text for urn in _stable(order) for text in _RENDER[resources[urn].type](resources[urn].inputs, verifiers)]


def script(recording: Recording) -> str:
    """The statements as a script to read, or to run with psql -v <role>=<verifier>."""
    body = "".join(f"{text};\n" for text in statements(recording))
    return f"-- Stack {recording.stack}: what the provider creates. Run once, as the admin, in one transaction.\n{body}"


def mark(recording: Recording) -> str:
    """The comment of a database built from this recording's SQL."""
    return f"built from SQL {hashlib.sha256(script(recording).encode()).hexdigest()[:16]}"


def built(connection: psycopg.Connection[Any]) -> str | None:
    """How the connected database was built: `ENGINE_MARK`, a `mark`, or None while it is empty."""
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    return row[0] if row else None


def set_mark(connection: psycopg.Connection[Any], comment: str) -> None:
    """Writes how the connected database is built."""
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(connection.info.dbname), sql.Literal(comment))
    )


def apply(connection: psycopg.Connection[Any], recording: Recording, verifiers: Mapping[str, str]) -> bool:
    """Builds the connected database, as its admin, in one transaction; False when it is built already.

    Raises NotEmptyError when it was built another way, or from other SQL.
    """
    with connection.transaction():
        how = built(connection)
        if how == mark(recording):
            return False
        if how is not None:
            raise NotEmptyError(f"this database was {how}, and the plan has changed since", _FIX)
        try:
            for text in statements(recording, verifiers):
                connection.execute(text.encode())
        except (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateSchema) as error:
            raise NotEmptyError(f"this database is not empty ({error.diag.message_primary})", _FIX) from error
        set_mark(connection, mark(recording))
    return True


def _stable(order: TopologicalSorter[str]) -> Iterator[str]:
    order.prepare()
    while order.is_active():
        for urn in sorted(order.get_ready()):
            yield urn
            order.done(urn)


def _name(value: str) -> str:
    return "PUBLIC" if value == "public" else _quoted(value)


def _quoted(value: str) -> str:
    return sql.Identifier(value).as_string(None)


_Inputs = Mapping[str, Any]
_Verifiers = Mapping[str, str] | None


def _role(inputs: _Inputs, verifiers: _Verifiers) -> Iterator[str]:
    role = _quoted(inputs["name"])
    attributes = "LOGIN" if inputs["login"] else "NOLOGIN"
    attributes += " INHERIT" if inputs["inherit"] else " NOINHERIT"
    for key, word in (
        ("superuser", "SUPERUSER"),
        ("createDatabase", "CREATEDB"),
        ("createRole", "CREATEROLE"),
        ("replication", "REPLICATION"),
        ("bypassRowLevelSecurity", "BYPASSRLS"),
    ):
        if inputs.get(key):
            attributes += f" {word}"
    if "connectionLimit" in inputs:
        attributes += f" CONNECTION LIMIT {inputs['connectionLimit']:.0f}"
    if "password" in inputs:
        verifier = f":'{inputs['name']}'"
        if verifiers is not None:
            verifier = sql.Literal(verifiers[inputs["name"]]).as_string(None)
        attributes += f" PASSWORD {verifier}"
    yield f"CREATE ROLE {role} WITH {attributes}"
    for group in sorted(inputs.get("roles", [])):
        yield f"GRANT {_quoted(group)} TO {role}"
    if inputs.get("searchPaths"):
        yield f"ALTER ROLE {role} SET search_path TO {', '.join(map(_quoted, inputs['searchPaths']))}"
    for key, setting in (
        ("statementTimeout", "statement_timeout"),
        ("idleInTransactionSessionTimeout", "idle_in_transaction_session_timeout"),
    ):
        if key in inputs:
            yield f"ALTER ROLE {role} SET {setting} TO {inputs[key]:.0f}"


def _schema(inputs: _Inputs, _: _Verifiers) -> Iterator[str]:
    exists = "IF NOT EXISTS " if inputs.get("ifNotExists") else ""
    yield f"CREATE SCHEMA {exists}{_quoted(inputs['name'])} AUTHORIZATION {_quoted(inputs['owner'])}"


def _extension(inputs: _Inputs, _: _Verifiers) -> Iterator[str]:
    yield f"CREATE EXTENSION IF NOT EXISTS {_quoted(inputs['name'])} SCHEMA {_quoted(inputs['schema'])}"


def _grant(inputs: _Inputs, _: _Verifiers) -> Iterator[str]:
    on = {
        "database": lambda: f"DATABASE {_quoted(inputs['database'])}",
        "schema": lambda: f"SCHEMA {_quoted(inputs['schema'])}",
        "table": lambda: f"ALL TABLES IN SCHEMA {_quoted(inputs['schema'])}",
    }[inputs["objectType"]]()
    role = _name(inputs["role"])
    if inputs["privileges"]:
        yield f"GRANT {', '.join(sorted(inputs['privileges']))} ON {on} TO {role}"
    else:
        yield f"REVOKE ALL ON {on} FROM {role}"


def _default_privileges(inputs: _Inputs, _: _Verifiers) -> Iterator[str]:
    owner = _quoted(inputs["owner"])
    scope = f" IN SCHEMA {_quoted(inputs['schema'])}" if inputs.get("schema") else ""
    objects = {"table": "TABLES", "function": "FUNCTIONS"}[inputs["objectType"]]
    role = _name(inputs["role"])
    # Altering another role's default privileges requires membership in it: the admin is no superuser.
    another = inputs["owner"] != settings.ADMIN
    if another:
        yield f"GRANT {owner} TO CURRENT_USER"
    if inputs["privileges"]:
        privileges = ", ".join(sorted(inputs["privileges"]))
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner}{scope} GRANT {privileges} ON {objects} TO {role}"
    else:
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner}{scope} REVOKE ALL ON {objects} FROM {role}"
    if another:
        yield f"REVOKE {owner} FROM CURRENT_USER"


_RENDER: Mapping[str, Callable[[_Inputs, _Verifiers], Iterator[str]]] = {
    tokens.ROLE: _role,
    tokens.SCHEMA: _schema,
    tokens.EXTENSION: _extension,
    tokens.GRANT: _grant,
    tokens.DEFAULT_PRIVILEGES: _default_privileges,
}

"""Proves the running platform against the product table, cell by cell.

In dev by doing: every login role tries everything, direct and through PgBouncer, on objects made for it and removed
after. Anywhere else it only reads: catalogs and has_*_privilege in a READ ONLY transaction, then one table of its own
in a transaction that is rolled back. Both compare whole sets, so that grants made by hand, which a refresh does not
see, are found as well as missing ones.
"""

import json
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, errors, sql
from pydantic import SecretStr

from ops.verify.matrix import PRIVILEGES, PUBLIC, Matrix, Role, matrix
from settings import ADMIN, DATABASE, Settings
from settings.problems import OperatorError

CONNECT_TIMEOUT = 10
"""Seconds to wait for a server to answer."""

SHOWN = 40
"""Wrong cells that the readable report lists; the JSON form has them all."""

Connection = psycopg.Connection[tuple[Any, ...]]


class UnreachableError(OperatorError):
    """A server does not answer. The message says which, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a PostgreSQL or PgBouncer listens."""

    host: str
    port: int
    sslmode: str = "disable"
    sslrootcert: str = ""
    """File with the CA certificates, for verify-ca and verify-full."""


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """One thing that was checked."""

    role: str
    schema: str
    object: str
    privilege: str
    expected: str
    actual: str
    path: str = "catalog"
    """How it was seen: catalog, or by doing on the direct or the pooled path."""

    @property
    def wrong(self) -> bool:
        """Whether the platform differs from the table here."""
        return self.expected != self.actual


@dataclass(frozen=True, slots=True)
class Report:
    """What one verification found."""

    cells: list[Cell]
    notes: list[str] = field(default_factory=list)
    """What could not be checked, and why."""

    @property
    def wrong(self) -> list[Cell]:
        """The cells that differ, sorted, each once."""
        return sorted({cell for cell in self.cells if cell.wrong})


# --- the catalogs: reads alone ----------------------------------------------------------------------------------------

GRANTED, ABSENT = "granted", "absent"

_OBJECTS: LiteralString = """
WITH own_schemas AS (
  SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), objects (classid, objid, kind, schema, name, owner, acl) AS (
  SELECT 'pg_database'::regclass, oid, 'database', '', datname::text, datdba, coalesce(datacl, acldefault('d', datdba))
    FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT 'pg_namespace'::regclass, oid, 'schema', nspname, '', nspowner, coalesce(nspacl, acldefault('n', nspowner))
    FROM own_schemas
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, nspname, relname,
         relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner))
    FROM pg_class c JOIN own_schemas n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, 'column', nspname, relname || '.' || attname, relowner, attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN own_schemas n ON n.oid = relnamespace
   WHERE attacl IS NOT NULL
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid, 'function', nspname, p.oid::regprocedure::text, proowner,
         coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc p JOIN own_schemas n ON n.oid = pronamespace
), ours AS (
  SELECT * FROM objects o WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e')
)
"""
"""The database, its schemas and what is in them, without what belongs to an extension."""

_GRANTS: LiteralString = (
    _OBJECTS
    + """
SELECT kind, schema, name, owner::regrole::text,
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type, is_grantable
  FROM ours LEFT JOIN LATERAL aclexplode(acl) ON true
"""
)

# Grants on anything else (parameters, types, large objects, system catalogs, other databases) name their role here.
_OTHER_GRANTS: LiteralString = (
    _OBJECTS  # noqa: S608 (both parts are constants)
    + """
SELECT refobjid::regrole::text, pg_describe_object(s.classid, s.objid, s.objsubid)
  FROM pg_shdepend s
 WHERE refclassid = 'pg_authid'::regclass AND deptype = 'a' AND refobjid::regrole::text = ANY (%(roles)s)
   AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND s.classid <> 'pg_default_acl'::regclass
   AND NOT EXISTS (SELECT FROM ours o WHERE o.classid = s.classid AND o.objid = s.objid)
"""
)

_DEFAULTS: LiteralString = """
SELECT defaclrole::regrole::text, coalesce(nspname, ''),
       CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                          WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' END,
       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type, is_grantable
  FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl)
 -- Without a schema the row starts from PostgreSQL's own: the owner's rights, PUBLIC's on functions and types.
 WHERE grantee <> defaclrole AND NOT (defaclnamespace = 0 AND grantee = 0 AND (
   defaclobjtype = 'T' OR defaclobjtype = 'f' AND defaclrole::regrole::text <> ALL (%(logins)s)))
UNION ALL
SELECT rolname, '', 'functions', 'PUBLIC', 'EXECUTE', false
  FROM pg_roles r
 WHERE rolname = ANY (%(logins)s)
   AND NOT EXISTS (SELECT FROM pg_default_acl WHERE defaclrole = r.oid AND defaclnamespace = 0 AND defaclobjtype = 'f')
"""

_ROLES: LiteralString = """
SELECT rolname, rolcanlogin, rolconnlimit, rolinherit,
       rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
       coalesce(rolvaliduntil, 'infinity') <> 'infinity', oid = 10
  FROM pg_roles
"""

_MEMBERSHIPS: LiteralString = "SELECT member::regrole::text, roleid::regrole::text, admin_option FROM pg_auth_members"

_SETTINGS: LiteralString = """
SELECT CASE setrole WHEN 0 THEN '' ELSE setrole::regrole::text END, setdatabase <> 0, unnest(setconfig)
  FROM pg_db_role_setting
 WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

# Joined by oid: what does not exist has no row here, and is said where roles and schemas are compared.
_EFFECTIVE: LiteralString = (
    _OBJECTS  # noqa: S608 (both parts are constants)
    + """
SELECT rolname, kind, schema, name, privilege, CASE kind
         WHEN 'database' THEN has_database_privilege(r.oid, objid, privilege)
         WHEN 'schema' THEN has_schema_privilege(r.oid, objid, privilege)
         WHEN 'sequence' THEN has_sequence_privilege(r.oid, objid, privilege)
         ELSE has_table_privilege(r.oid, objid, privilege) END
  FROM ours
  JOIN (SELECT key AS kind, jsonb_array_elements_text(value) AS privilege FROM jsonb_each(%(privileges)s::jsonb)) p
       USING (kind)
  JOIN pg_roles r ON rolname = ANY (%(roles)s)
 WHERE schema = '' OR schema = ANY (%(schemas)s)
"""
)


def check_catalog(connection: Connection, expected: Matrix, *, vendor: str | None = None) -> list[Cell]:
    """Every cell that the catalogs show, read in the connection's current transaction.

    `vendor` is the prefix of the roles that the server's vendor made (`rds` on RDS); those are left alone, and so is
    the role that initdb made.
    """
    return [
        *_roles(connection, expected, vendor),
        *_memberships(connection, expected),
        *_settings(connection, expected),
        *_grants(connection, expected, vendor),
        *_defaults(connection, expected, vendor),
        *_effective(connection, expected),
    ]


def _compared(
    expected: Iterable[tuple[str, str, str, str]], actual: Iterable[tuple[str, str, str, str]]
) -> Iterator[Cell]:
    """(role, schema, object, privilege) that should be there against those that are: missing and extra ones both."""
    wanted, found = set(expected), set(actual)
    for key in sorted(wanted | found):
        yield Cell(*key, GRANTED if key in wanted else ABSENT, GRANTED if key in found else ABSENT)


def _roles(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Cell]:
    seen = set()
    for name, login, limit, inherit, *attributes, expires, initdb in connection.execute(_ROLES):
        seen.add(name)
        role = expected.roles.get(name)
        if role is None and (initdb or name.startswith("pg_") or (vendor and name.startswith(vendor))):
            continue
        if role is None and name != ADMIN:
            yield Cell(name, "", "role", "login" if login else "group", "undeclared", "exists")
            continue
        names = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
        # The master role of RDS makes roles and databases; nobody else does.
        may = {"CREATEROLE", "CREATEDB"} if role is None else set()
        for attribute, has in zip(names, attributes, strict=True):
            if attribute not in may:
                yield Cell(name, "", "role", attribute, "no", _yes(has))
        if role is not None:
            yield Cell(name, "", "role", "LOGIN", _yes(role.login), _yes(login))
            yield Cell(name, "", "role", "INHERIT", "yes", _yes(inherit))
            yield Cell(name, "", "role", "CONNECTION LIMIT", str(role.connection_limit), str(limit))
            yield Cell(name, "", "role", "VALID UNTIL", "no", _yes(expires))
    for name in sorted({ADMIN, *expected.roles} - seen):
        yield Cell(name, "", "role", "exists", "yes", "no")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _memberships(connection: Connection, expected: Matrix) -> Iterator[Cell]:
    wanted = {(role.name, group) for role in expected.roles.values() for group in role.member_of}
    found = {
        (member, f"{group} WITH ADMIN OPTION" if admin else group)
        for member, group, admin in connection.execute(_MEMBERSHIPS)
        if member in expected.roles or group in expected.roles
    }
    key = "membership"
    yield from _compared(((m, "", key, g) for m, g in wanted), ((m, "", key, g) for m, g in found))


def _settings(connection: Connection, expected: Matrix) -> Iterator[Cell]:
    found: dict[tuple[str, str], str] = {}
    for role, here_only, setting in connection.execute(_SETTINGS):
        name, _, value = setting.partition("=")
        if role in expected.roles or not role:
            found[role or PUBLIC, f"{name} in {DATABASE}" if here_only else name] = value
    wanted = {(role.name, name): value for role in expected.roles.values() for name, value in role.settings.items()}
    for role, name in sorted(wanted.keys() | found.keys()):
        yield Cell(role, "", "setting", name, wanted.get((role, name), "unset"), found.get((role, name), "unset"))


def _grants(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Cell]:
    owners: dict[tuple[str, str, str], str] = {}
    found: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
    for kind, schema, name, owner, grantee, privilege, grantable in connection.execute(_GRANTS):
        owners[kind, schema, name] = owner
        privileges_found = found.setdefault((kind, schema, name), set())
        if grantee is not None and not (vendor and grantee.startswith(vendor)):
            suffix = " WITH GRANT OPTION" if grantable and grantee != owner else ""
            privileges_found.add((grantee, privilege + suffix))

    for schema in sorted(expected.schema_owners.keys() - {s for kind, s, _ in owners if kind == "schema"}):
        yield Cell(expected.schema_owners[schema], schema, "schema", "exists", "yes", "no")
    for (kind, schema, name), owner in sorted(owners.items()):
        label = f"{kind} {name}".strip()
        if kind == "schema" and schema not in expected.schema_owners:
            yield Cell(owner, schema, label, "exists", "no", "yes")
        should_own = _owner(expected, kind, schema)
        if should_own is not None:
            yield Cell(should_own, schema, label, "owner", should_own, owner)
        wanted = _granted(expected, kind, schema)
        if kind != "column":
            wanted |= {(owner, privilege) for privilege in PRIVILEGES[kind]}
        if kind == "function" and expected.public_executes(schema):
            # PostgreSQL gives it, and an owner may take it away.
            found[kind, schema, name].discard((PUBLIC, "EXECUTE"))
        yield from _compared(
            ((role, schema, label, privilege) for role, privilege in wanted),
            ((role, schema, label, privilege) for role, privilege in found[kind, schema, name]),
        )
    for role, description in connection.execute(_OTHER_GRANTS, {"roles": list(expected.roles)}):
        yield Cell(role, "", description, "any", ABSENT, GRANTED)


def _owner(expected: Matrix, kind: str, schema: str) -> str | None:
    if kind == "database":
        return ADMIN
    return (
        None
        if kind == "column"
        else (expected.schema_owners if kind == "schema" else expected.object_owners).get(schema)
    )


def _granted(expected: Matrix, kind: str, schema: str) -> set[tuple[str, str]]:
    """(grantee, privilege) on one object, its owner's left out."""
    if kind == "database":
        return {(expected.login_group, "CONNECT")}
    if kind == "schema":
        return set(expected.grants.get(schema, ()))
    if kind == "table" and schema in expected.readers:
        return {(expected.readers[schema], "SELECT")}
    return set()


def _defaults(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Cell]:
    """Default privileges: a role's cell names who will create the object."""
    logins = [role.name for role in expected.logins]
    found = [
        (grantee, schema, f"later {kind} of {owner}", privilege + (" WITH GRANT OPTION" if grantable else ""))
        for owner, schema, kind, grantee, privilege, grantable in connection.execute(_DEFAULTS, {"logins": logins})
        if not (vendor and owner.startswith(vendor))
    ]
    wanted = [
        (expected.readers[schema], schema, f"later tables of {owner}", "SELECT")
        for schema, owner in expected.object_owners.items()
    ]
    yield from _compared(wanted, found)


def _effective(connection: Connection, expected: Matrix) -> Iterator[Cell]:
    """What each login role can do in the end, by whatever way: PUBLIC, memberships, predefined roles."""
    parameters = {
        "privileges": json.dumps({kind: PRIVILEGES[kind] for kind in ("database", "schema", "table", "sequence")}),
        "roles": [role.name for role in expected.logins],
        "schemas": list(expected.object_owners),
    }
    for role, kind, schema, name, privilege, has in connection.execute(_EFFECTIVE, parameters):
        may = {"CONNECT"} if kind == "database" else expected.privileges(role, schema, kind)
        yield Cell(role, schema, f"{kind} {name}".strip(), privilege, _able(privilege in may), _able(has))


ALLOWED, REFUSED = "allowed", "refused"


def _able(value: bool) -> str:
    return ALLOWED if value else REFUSED


def check_later_table(connection: Connection, expected: Matrix) -> Iterator[Cell]:
    """Makes one uniquely named table in `public` in a transaction that is rolled back, to see who could read it.

    The connection must be idle; its role needs CREATE on `public`.
    """
    name = f"verify_{uuid.uuid4().hex}"
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE TABLE public.{} ()").format(sql.Identifier(name)))
        for role in expected.logins:
            for privilege in PRIVILEGES["table"]:
                row = connection.execute(
                    "SELECT has_table_privilege(%s, %s, %s)", (role.name, f"public.{name}", privilege)
                ).fetchone()
                wanted = privilege in expected.privileges(role.name, "public", "table")
                yield Cell(role.name, "public", "later table", privilege, _able(wanted), _able(bool(row and row[0])))


def read_only(connection: Connection, expected: Matrix, *, vendor: str | None = None) -> Report:
    """The whole verification of a running platform without a lasting trace; the connection must be idle."""
    connection.read_only = True
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        cells = check_catalog(connection, expected, vendor=vendor)
        tls, forced = _one(
            connection,
            "SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), current_setting('rds.force_ssl', true)",
        )
        if vendor:
            cells.append(Cell(ADMIN, "", "server", "TLS", "yes", _yes(bool(tls))))
            cells.append(Cell(PUBLIC, "", "server", "rds.force_ssl", "1", str(forced)))
        (may_create,) = _one(connection, "SELECT has_schema_privilege('public', 'CREATE')")
    if not may_create:
        return Report(cells, ["later tables in public: not tried, this role may not create there"])
    connection.read_only = False
    return Report([*cells, *check_later_table(connection, expected)])


def _one(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    return next(iter(connection.execute(query)))


# --- by doing: dev alone ----------------------------------------------------------------------------------------------


def connect(endpoint: Endpoint, role: str, password: SecretStr, **options: Any) -> Connection:
    """A session in autocommit, without prepared statements, which a pooler in transaction mode cannot keep."""
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


@dataclass(frozen=True, slots=True)
class _Probe:
    """The objects made for one run, under one name in each schema."""

    name: str
    schemas: set[str] = field(default_factory=set)
    """Where they could be made."""

    def in_(self, schema: str, suffix: str = "") -> sql.Identifier:
        return sql.Identifier(schema, self.name + suffix)


_PROBE_OBJECTS: tuple[LiteralString, ...] = (
    "CREATE TABLE {table} (id serial PRIMARY KEY, n integer GENERATED BY DEFAULT AS IDENTITY, v text)",
    "INSERT INTO {table} (v) VALUES ('probe')",
    "CREATE FUNCTION {function}() RETURNS integer LANGUAGE sql RETURN 1",
)


@contextmanager
def _probe_objects(expected: Matrix, direct: Endpoint, passwords: Mapping[str, SecretStr]) -> Iterator[_Probe]:
    """A table with a serial and an identity column and a function in every schema, made by who makes objects there."""
    probe = _Probe(f"verify_{uuid.uuid4().hex[:16]}")
    with ExitStack() as stack:
        for schema, owner in expected.object_owners.items():
            session = stack.enter_context(closing(connect(direct, owner, passwords[owner])))
            names = {"table": probe.in_(schema), "function": probe.in_(schema, "_f")}
            try:
                with session.transaction():
                    for statement in _PROBE_OBJECTS:
                        _execute(session, statement, names)
            except (errors.InsufficientPrivilege, errors.InvalidSchemaName):
                continue  # nothing was made, and a cell says so: the schema's CREATE
            probe.schemas.add(schema)
            stack.callback(_execute, session, "DROP FUNCTION {function}", names)
            stack.callback(_execute, session, "DROP TABLE {table}", names)
        yield probe


def _execute(session: Connection, statement: LiteralString, names: Mapping[str, sql.Composable]) -> None:
    session.execute(sql.SQL(statement).format(**names))


_ATTEMPTS: Mapping[tuple[str, str], LiteralString] = {
    ("schema", "USAGE"): "SELECT {table_name}::regclass",
    ("schema", "CREATE"): "CREATE TABLE {new} ()",
    ("table", "SELECT"): "SELECT * FROM {table}",
    # The id is given: the sequence's own USAGE is another cell. The identity column takes no privilege.
    ("table", "INSERT"): "INSERT INTO {table} (id, v) VALUES (0, 'x')",
    ("table", "UPDATE"): "UPDATE {table} SET v = 'x'",
    ("table", "DELETE"): "DELETE FROM {table}",
    ("table", "TRUNCATE"): "TRUNCATE {table}",
    ("table", "REFERENCES"): "CREATE TABLE {referencing} (id integer REFERENCES {table})",
    ("table", "TRIGGER"): (
        "CREATE TRIGGER verify BEFORE UPDATE ON {table} FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    ("sequence", "USAGE"): "SELECT nextval({sequence_name})",
    ("sequence", "SELECT"): "SELECT last_value FROM {sequence}",
    ("sequence", "UPDATE"): "SELECT setval({sequence_name}, 1)",
    ("function", "EXECUTE"): "SELECT {function}()",
}
"""What proves a privilege, by kind and name. Each runs in a transaction that is rolled back."""


def _attempt(session: Connection, statement: sql.Composed, *, effect: sql.Composed | None = None) -> str:
    """ALLOWED or REFUSED; or the error, where it was neither. With `effect`, a query that must find the statement's."""
    try:
        with session.transaction(force_rollback=True):
            session.execute(statement)
            if effect is not None:
                row = session.execute(effect).fetchone()
                return _able(bool(row and row[0]))
    except errors.InsufficientPrivilege:
        return REFUSED
    except psycopg.Error as error:
        return _said(error)
    return ALLOWED


def _said(error: psycopg.Error) -> str:
    return f"error: {str(error).strip().splitlines()[0]}"


def _objects_by_doing(session: Connection, role: Role, expected: Matrix, probe: _Probe, path: str) -> Iterator[Cell]:
    own = next(schema for schema, owner in expected.object_owners.items() if owner == role.name)
    for schema in expected.object_owners:
        if schema not in probe.schemas:
            if schema == own:
                yield Cell(role.name, schema, "later schema", "CREATE", ALLOWED, REFUSED, path)
            continue
        table, sequence = probe.in_(schema), probe.in_(schema, "_id_seq")
        names: dict[str, sql.Composable] = {
            "table": table,
            "table_name": sql.Literal(table.as_string(None)),
            "sequence": sequence,
            "sequence_name": sql.Literal(sequence.as_string(None)),
            "function": probe.in_(schema, "_f"),
            "new": probe.in_(schema, "_new"),
            "referencing": probe.in_(own, "_referencing"),
        }
        for (kind, privilege), statement in _ATTEMPTS.items():
            wanted = privilege in expected.privileges(role.name, schema, kind)
            actual = _attempt(session, sql.SQL(statement).format(**names))
            yield Cell(role.name, schema, f"later {kind}", privilege, _able(wanted), actual, path)


_REFUSED: tuple[tuple[str, str, LiteralString, LiteralString | None], ...] = (
    ("database", "CREATE", "CREATE SCHEMA {name}", None),
    ("database", "TEMPORARY", "CREATE TEMPORARY TABLE {name} ()", None),
    ("database", "CREATE EXTENSION", "CREATE EXTENSION {extension} SCHEMA {own}", None),
    ("role", "CREATEROLE", "CREATE ROLE {name}", None),
    # A comment takes ownership, as DROP does, and touches nothing.
    ("own schema", "ownership", "COMMENT ON SCHEMA {own} IS 'verify'", None),
    # Without grant option GRANT only warns: what counts is whether something was granted.
    (
        "own schema",
        "USAGE, granted onward",
        "GRANT USAGE ON SCHEMA {own} TO PUBLIC",
        "SELECT has_schema_privilege('public', {own_name}, 'USAGE')",
    ),
    (
        "database",
        "CONNECT, granted onward",
        "GRANT CONNECT ON DATABASE {database} TO PUBLIC",
        "SELECT has_database_privilege('public', current_database(), 'CONNECT')",
    ),
    ("login group", "membership, granted onward", "GRANT {group} TO {another}", None),
)
"""What no login role may do: object, privilege, what would do it, the query for its effect where no error tells."""

_PREDEFINED = ("pg_read_all_data", "pg_write_all_data", "pg_monitor", "pg_signal_backend", "pg_execute_server_program")


def _role_by_doing(session: Connection, role: Role, expected: Matrix, path: str) -> Iterator[Cell]:
    (extension,) = _one(
        session,
        "SELECT coalesce(min(v.name), 'plpgsql') FROM pg_available_extension_versions v WHERE trusted AND NOT EXISTS ("
        "SELECT FROM pg_extension WHERE extname = v.name)",
    )
    own = _own_schema(role, expected)
    names: dict[str, sql.Composable] = {
        "name": sql.Identifier(f"verify_{uuid.uuid4().hex[:16]}"),
        "own": sql.Identifier(own),
        "own_name": sql.Literal(own),
        "database": sql.Identifier(DATABASE),
        "extension": sql.Identifier(extension),
        "group": sql.Identifier(expected.login_group),
        "another": sql.Identifier(ADMIN),
    }
    for label, privilege, statement, effect in _REFUSED:
        actual = _attempt(
            session,
            sql.SQL(statement).format(**names),
            effect=sql.SQL(effect).format(**names) if effect else None,
        )
        yield Cell(role.name, own if label == "own schema" else "", label, privilege, REFUSED, actual, path)

    for target in (ADMIN, *expected.roles, *_PREDEFINED):
        if target != role.name:
            actual = _attempt(session, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(target)))
            yield Cell(role.name, "", "SET ROLE", target, _able(target in role.member_of), actual, path)

    yield Cell(role.name, "", "session", "user", role.name, str(_one(session, "SELECT session_user")[0]), path)
    for name, value in role.settings.items():
        row = session.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,)).fetchone()
        yield Cell(role.name, "", "session", name, value, row[0] if row else "unset", path)


def _own_schema(role: Role, expected: Matrix) -> str:
    return next(schema for schema, owner in expected.object_owners.items() if owner == role.name)


def _logins_by_doing(role: Role, endpoint: Endpoint, password: SecretStr, path: str) -> Iterator[Cell]:
    """What must not get in."""
    wrong = SecretStr(password.get_secret_value() + "x")
    attempts: list[tuple[str, str, SecretStr, dict[str, str]]] = [
        ("wrong password", role.name, wrong, {}),
        ("unknown user", f"verify_{uuid.uuid4().hex[:16]}", password, {}),
    ]
    if path == "pooled":
        # A pooler that took `options` would hand one client's settings to the next.
        attempts.append(("options", role.name, password, {"options": "-c statement_timeout=0"}))
    for what, user, secret, options in attempts:
        try:
            connect(endpoint, user, secret, **options).close()
            actual = ALLOWED
        except psycopg.OperationalError:
            actual = REFUSED
        yield Cell(role.name, "", "login", what, REFUSED, actual, path)


def _connection_limit(role: Role, direct: Endpoint, password: SecretStr) -> Cell:
    """Opens sessions until one is refused; those that the role's service holds count too, so fewer are right."""
    with ExitStack() as sessions:
        for count in range(role.connection_limit + 1):
            try:
                sessions.enter_context(closing(connect(direct, role.name, password)))
            except psycopg.OperationalError as error:
                actual = (
                    "refused above" if "too many connections for role" in str(error) else f"{_said(error)} at {count}"
                )
                break
        else:
            actual = f"{role.connection_limit + 1} sessions"
    return Cell(
        role.name, "", "login", f"more than {role.connection_limit} sessions", "refused above", actual, "direct"
    )


def by_doing(
    expected: Matrix,
    direct: Endpoint,
    pooled: Endpoint | None,
    passwords: Mapping[str, SecretStr],
    *,
    flood: bool = True,
) -> Report:
    """Every cell on the wire. Needs every role's password; never for a database that serves anybody but its developer.

    `flood`: also open as many sessions as each role may hold and one more.
    """
    cells: list[Cell] = []
    paths = {"direct": direct, **({"pooled": pooled} if pooled else {})}
    for path, endpoint in paths.items():
        for role in expected.logins:
            try:
                connect(endpoint, role.name, passwords[role.name]).close()
                actual = ALLOWED
            except psycopg.OperationalError as error:
                actual = _said(error)
            cells.append(Cell(role.name, "", "login", "own password", ALLOWED, actual, path))
    if any(cell.wrong for cell in cells):
        return Report(cells, ["the matrix by doing: not tried, for not every role could log in"])

    with _probe_objects(expected, direct, passwords) as probe:
        for path, endpoint in paths.items():
            for role in expected.logins:
                with closing(connect(endpoint, role.name, passwords[role.name])) as session:
                    cells += _objects_by_doing(session, role, expected, probe, path)
                    cells += _role_by_doing(session, role, expected, path)
                cells += _logins_by_doing(role, endpoint, passwords[role.name], path)
    notes = _stale_sessions(cells)
    if not flood:
        return Report(cells, notes)
    with closing(connect(direct, ADMIN, passwords[ADMIN])) as session:
        (free,) = _one(
            session,
            "SELECT current_setting('max_connections')::integer"
            " - current_setting('superuser_reserved_connections')::integer"
            " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer",
        )
    for role in expected.logins:
        if role.connection_limit + 1 < free:
            cells.append(_connection_limit(role, direct, passwords[role.name]))
        else:
            notes.append(f"{role.name}: its connection limit was not tried, the server has {free} sessions free")
    return Report(cells, notes)


def _stale_sessions(cells: list[Cell]) -> list[str]:
    """A word about settings that are right on the direct path and old on the pooled one."""
    wrong = {(c.role, c.privilege, c.path) for c in cells if c.wrong and c.object == "session"}
    roles = sorted({role for role, name, path in wrong if path == "pooled" and (role, name, "direct") not in wrong})
    if not roles:
        return []
    names = ", ".join(roles)
    return [f"{names}: PgBouncer's sessions are older than these settings; to end them: make down, then make up"]


# --- the command ------------------------------------------------------------------------------------------------------


def run(
    settings: Settings,
    *,
    direct: Endpoint,
    pooled: Endpoint | None = None,
    passwords: Mapping[str, SecretStr],
    as_json: bool = False,
) -> int:
    """Verifies the stack and prints what it found: 0 as the table says, 1 with the wrong cells, 2 unreachable.

    `passwords` holds the admin's and, for a local server, every login role's. Whatever is not a local server is only
    read, through `direct`.
    """
    expected = matrix(settings)
    local = settings.database.server == "local"
    try:
        for name, endpoint in (("PostgreSQL", direct), *((("PgBouncer", pooled),) if local and pooled else ())):
            _reach(name, endpoint, settings.stack)
        with closing(_admin(direct, passwords[ADMIN], settings.stack)) as connection:
            report = read_only(connection, expected, vendor=None if local else "rds")
        if local:
            done = by_doing(expected, direct, pooled, passwords)
            report = Report([*report.cells, *done.cells], [*report.notes, *done.notes])
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 2
    print(as_document(report, settings.stack) if as_json else as_text(report, expected, settings.stack))
    return 1 if report.wrong else 0


def _cure(stack: str) -> str:
    if stack == "dev":
        return "run: make up"
    return f"run inside the VPC, or through a tunnel: make tunnel STACK={stack}"


def _reach(name: str, endpoint: Endpoint, stack: str) -> None:
    try:
        socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise UnreachableError(
            f"{name} at {endpoint.host}:{endpoint.port} cannot be reached ({error.strerror or error}); {_cure(stack)}"
        ) from error


def _admin(endpoint: Endpoint, password: SecretStr, stack: str) -> Connection:
    try:
        return connect(endpoint, ADMIN, password)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"PostgreSQL at {endpoint.host}:{endpoint.port} does not let {ADMIN} in ({_said(error)}); {_cure(stack)}"
        ) from error


def as_document(report: Report, stack: str) -> str:
    """The report as JSON: whether all is as the table says, how much was checked, each wrong cell, notes."""
    document = {
        "stack": stack,
        "ok": not report.wrong,
        "checked": len(report.cells),
        "wrong": [asdict(cell) for cell in report.wrong],
        "notes": report.notes,
    }
    return json.dumps(document, indent=2)


def as_text(report: Report, expected: Matrix, stack: str) -> str:
    """The report as a person reads it: the matrix with what is wrong in each cell, then every wrong cell in full."""
    wrong = report.wrong
    schemas = list(expected.object_owners)
    header = ["login role", *schemas, "role itself"]
    count = Counter((cell.role, cell.schema) for cell in wrong)
    rows = [
        [
            role.name,
            *(_marked(expected.access[role.name, schema].value, count[role.name, schema]) for schema in schemas),
            _marked("", count[role.name, ""]),
        ]
        for role in expected.logins
    ]
    lines = [f"{stack}: the platform against the product table", "", *_columns([header, *rows]), ""]
    if wrong:
        shown = [["role", "schema", "object", "privilege", "expected", "actual", "seen"]]
        shown += [[c.role, c.schema or "-", c.object, c.privilege, c.expected, c.actual, c.path] for c in wrong[:SHOWN]]
        lines += [*_columns(shown), ""]
        if len(wrong) > SHOWN:
            lines.append(f"and {len(wrong) - SHOWN} more: --json names them all")
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"{len(report.cells)} cells checked, {len(wrong)} wrong")
    return "\n".join(lines)


def _marked(text: str, wrong: int) -> str:
    return f"{text} {f'WRONG ({wrong})' if wrong else 'ok'}".strip()


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]

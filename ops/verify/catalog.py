"""The catalog checks. They only read, so they run against production too.

They compare whole sets: a grant made by hand, which a refresh does not see, is found as well as a missing one.
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import LiteralString

from psycopg import IsolationLevel, sql

from ops.verify.matrix import PRIVILEGES, PUBLIC, Matrix
from ops.verify.model import ABSENT, GRANTED, Check, Connection, Report, able, one, yes
from settings import ADMIN, DATABASE

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
"""The database, its schemas and their contents, without the objects of extensions."""

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

# Joined by oid: what does not exist has no row here; `_roles` and `_grants` report it.
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


def check_catalog(connection: Connection, expected: Matrix, *, vendor: str | None = None) -> list[Check]:
    """All checks of the catalogs, read in the connection's current transaction.

    `vendor` is the prefix of the roles that the server's vendor made (`rds` on RDS). Those are ignored, and so is the
    role that initdb made.
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
) -> Iterator[Check]:
    """Compares sets of (role, schema, object, privilege): missing and extra ones both."""
    wanted, found = set(expected), set(actual)
    for key in sorted(wanted | found):
        yield Check(*key, GRANTED if key in wanted else ABSENT, GRANTED if key in found else ABSENT)


def _roles(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Check]:
    seen = set()
    for name, login, limit, inherit, *attributes, expires, initdb in connection.execute(_ROLES):
        seen.add(name)
        role = expected.roles.get(name)
        if role is None and (initdb or name.startswith("pg_") or (vendor and name.startswith(vendor))):
            continue
        if role is None and name != ADMIN:
            yield Check(name, "", "role", "login" if login else "group", "undeclared", "exists")
            continue
        names = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
        # RDS's master role makes roles and databases; no other role does.
        may = {"CREATEROLE", "CREATEDB"} if role is None else set()
        for attribute, has in zip(names, attributes, strict=True):
            if attribute not in may:
                yield Check(name, "", "role", attribute, "no", yes(has))
        if role is not None:
            yield Check(name, "", "role", "LOGIN", yes(role.login), yes(login))
            yield Check(name, "", "role", "INHERIT", "yes", yes(inherit))
            yield Check(name, "", "role", "CONNECTION LIMIT", str(role.connection_limit), str(limit))
            yield Check(name, "", "role", "VALID UNTIL", "no", yes(expires))
    for name in sorted({ADMIN, *expected.roles} - seen):
        yield Check(name, "", "role", "exists", "yes", "no")


def _memberships(connection: Connection, expected: Matrix) -> Iterator[Check]:
    wanted = {(role.name, group) for role in expected.roles.values() for group in role.member_of}
    found = {
        (member, f"{group} WITH ADMIN OPTION" if admin else group)
        for member, group, admin in connection.execute(_MEMBERSHIPS)
        if member in expected.roles or group in expected.roles
    }
    key = "membership"
    yield from _compared(((m, "", key, g) for m, g in wanted), ((m, "", key, g) for m, g in found))


def _settings(connection: Connection, expected: Matrix) -> Iterator[Check]:
    found: dict[tuple[str, str], str] = {}
    for role, here_only, setting in connection.execute(_SETTINGS):
        name, _, value = setting.partition("=")
        if role in expected.roles or not role:
            found[role or PUBLIC, f"{name} in {DATABASE}" if here_only else name] = value
    wanted = {(role.name, name): value for role in expected.roles.values() for name, value in role.settings.items()}
    for role, name in sorted(wanted.keys() | found.keys()):
        yield Check(role, "", "setting", name, wanted.get((role, name), "unset"), found.get((role, name), "unset"))


def _grants(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Check]:
    owners: dict[tuple[str, str, str], str] = {}
    found: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
    for kind, schema, name, owner, grantee, privilege, grantable in connection.execute(_GRANTS):
        owners[kind, schema, name] = owner
        privileges_found = found.setdefault((kind, schema, name), set())
        if grantee is not None and not (vendor and grantee.startswith(vendor)):
            suffix = " WITH GRANT OPTION" if grantable and grantee != owner else ""
            privileges_found.add((grantee, privilege + suffix))

    for schema in sorted(expected.schema_owners.keys() - {s for kind, s, _ in owners if kind == "schema"}):
        yield Check(expected.schema_owners[schema], schema, "schema", "exists", "yes", "no")
    for (kind, schema, name), owner in sorted(owners.items()):
        label = f"{kind} {name}".strip()
        if kind == "schema" and schema not in expected.schema_owners:
            yield Check(owner, schema, label, "exists", "no", "yes")
        should_own = _owner(expected, kind, schema)
        if should_own is not None:
            yield Check(should_own, schema, label, "owner", should_own, owner)
        wanted = _granted(expected, kind, schema)
        if kind != "column":
            wanted |= {(owner, privilege) for privilege in PRIVILEGES[kind]}
        if kind == "function" and expected.public_executes(schema):
            # PostgreSQL grants it by default, and an owner may revoke it.
            found[kind, schema, name].discard((PUBLIC, "EXECUTE"))
        yield from _compared(
            ((role, schema, label, privilege) for role, privilege in wanted),
            ((role, schema, label, privilege) for role, privilege in found[kind, schema, name]),
        )
    for role, description in connection.execute(_OTHER_GRANTS, {"roles": list(expected.roles)}):
        yield Check(role, "", description, "any", ABSENT, GRANTED)


def _owner(expected: Matrix, kind: str, schema: str) -> str | None:
    if kind == "database":
        return ADMIN
    if kind == "column":
        return None
    return (expected.schema_owners if kind == "schema" else expected.object_owners).get(schema)


def _granted(expected: Matrix, kind: str, schema: str) -> set[tuple[str, str]]:
    """(grantee, privilege) on one object, without its owner's."""
    if kind == "database":
        return {(expected.login_group, "CONNECT")}
    if kind == "schema":
        return set(expected.grants.get(schema, ()))
    if kind == "table" and schema in expected.readers:
        return {(expected.readers[schema], "SELECT")}
    return set()


def _defaults(connection: Connection, expected: Matrix, vendor: str | None) -> Iterator[Check]:
    """Default privileges. Each check names the role that will create the object."""
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


def _effective(connection: Connection, expected: Matrix) -> Iterator[Check]:
    """What each login role can do in effect: by its own grants, PUBLIC, memberships and predefined roles."""
    parameters = {
        "privileges": json.dumps({kind: PRIVILEGES[kind] for kind in ("database", "schema", "table", "sequence")}),
        "roles": [role.name for role in expected.logins],
        "schemas": list(expected.object_owners),
    }
    for role, kind, schema, name, privilege, has in connection.execute(_EFFECTIVE, parameters):
        may = {"CONNECT"} if kind == "database" else expected.privileges(role, schema, kind)
        yield Check(role, schema, f"{kind} {name}".strip(), privilege, able(privilege in may), able(has))


def check_later_table(connection: Connection, expected: Matrix) -> Iterator[Check]:
    """Who could use a table made later in `public`: makes one in a transaction that is rolled back.

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
                yield Check(role.name, "public", "later table", privilege, able(wanted), able(bool(row and row[0])))


def read_only(connection: Connection, expected: Matrix, *, vendor: str | None = None) -> Report:
    """All checks that leave no trace in the database. The connection must be idle."""
    connection.read_only = True
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        checks = check_catalog(connection, expected, vendor=vendor)
        tls, forced = one(
            connection,
            "SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), current_setting('rds.force_ssl', true)",
        )
        if vendor:
            checks.append(Check(ADMIN, "", "server", "TLS", "yes", yes(bool(tls))))
            checks.append(Check(PUBLIC, "", "server", "rds.force_ssl", "1", str(forced)))
        (may_create,) = one(connection, "SELECT has_schema_privilege('public', 'CREATE')")
    if not may_create:
        return Report(checks, ["later tables in public: not tried, this role may not create there"])
    connection.read_only = False
    return Report([*checks, *check_later_table(connection, expected)])

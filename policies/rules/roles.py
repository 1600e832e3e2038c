"""PostgreSQL roles and grants: no superuser-like roles, no grants to PUBLIC."""

from collections.abc import Iterator, Sequence
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Resource,
    ResourceRule,
    StackRule,
    Violation,
    expect,
    is_not_true,
    items_at,
    value_at,
)

ATTRIBUTES = ("superuser", "createDatabase", "createRole", "replication", "bypassRowLevelSecurity")
PREDEFINED = ("pg_", "rds")
"""Prefixes of the roles that PostgreSQL and RDS bring along."""
MOST_CONNECTIONS = 1000
TRUSTED_EXTENSIONS = (
    *("btree_gin", "btree_gist", "citext", "cube", "dict_int", "fuzzystrmatch", "hstore", "intarray", "isn", "lo"),
    *("ltree", "pg_stat_statements", "pg_trgm", "pgcrypto", "plpgsql", "seg", "tablefunc", "tcn"),
    *("tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector"),
)
"""What PostgreSQL 15 marks as trusted, pg_stat_statements, and pgvector: none reaches files, networks or programs."""


def _no_attributes(role: Resource) -> Iterator[Answer]:
    for attribute in ATTRIBUTES:
        yield from expect(role.inputs, attribute, is_not_true, "expected false")


def _groups(resource: Resource) -> tuple[str, Any]:
    """Where the roles are that the resource makes somebody a member of, and which."""
    if resource.kind == tokens.ROLE:
        return "roles", items_at(resource.inputs, "roles")
    return "grantRole", [value_at(resource.inputs, "grantRole")]


def _no_predefined_group(resource: Resource) -> Iterator[Answer]:
    path, groups = _groups(resource)
    if groups is UNKNOWN or UNKNOWN in groups:
        yield NotCheckable(path)
        return
    yield from (Violation(f"is a member of {group}") for group in groups if _is_predefined(group))


def _is_predefined(role: Any) -> bool:
    return isinstance(role, str) and role.lower().startswith(PREDEFINED)


def _group_declared(resources: Sequence[Resource]) -> Iterator[Finding]:
    logins = {value_at(r.inputs, "name"): value_at(r.inputs, "login") for r in resources if r.kind == tokens.ROLE}
    for resource in resources:
        if resource.kind not in (tokens.ROLE, tokens.GRANT_ROLE):
            continue
        path, groups = _groups(resource)
        if not groups:
            continue
        member = value_at(resource.inputs, "name" if resource.kind == tokens.ROLE else "role")
        if groups is UNKNOWN or UNKNOWN in (member, *groups, *logins):
            yield Finding(resource, NotCheckable(path))
            continue
        for group in groups:
            is_group = group in logins and not logins[group]
            # The product's own second login, such as its migrations'.
            is_own = group in logins and str(member).startswith(f"{group.removesuffix('_user')}_")
            if not (is_group or is_own or _is_predefined(group)):
                yield Finding(resource, Violation(f"is a member of {group}, which is no group role of this program"))


def _connection_limit(role: Resource) -> Iterator[Answer]:
    login = value_at(role.inputs, "login")
    if login is UNKNOWN:
        yield NotCheckable("login")
    elif login:
        yield from expect(
            role.inputs,
            "connectionLimit",
            lambda limit: limit is not None and 1 <= limit <= MOST_CONNECTIONS,
            f"expected 1 to {MOST_CONNECTIONS}",
        )


def _nothing_for_public(grant: Resource) -> Iterator[Answer]:
    role, privileges = value_at(grant.inputs, "role"), items_at(grant.inputs, "privileges")
    if role is UNKNOWN:
        yield NotCheckable("role")
    elif isinstance(role, str) and role.lower() == "public":
        if privileges is UNKNOWN:
            yield NotCheckable("privileges")
        elif privileges:
            yield Violation(f"grants {', '.join(map(str, privileges))} to PUBLIC")


def _no_grant_option(grant: Resource) -> Iterator[Answer]:
    yield from expect(grant.inputs, "withGrantOption", is_not_true, "expected false")


def _narrow_grant(grant: Resource) -> Iterator[Answer]:
    privileges = items_at(grant.inputs, "privileges")
    object_type, schema = value_at(grant.inputs, "objectType"), value_at(grant.inputs, "schema")
    if UNKNOWN in (privileges, object_type, schema) or UNKNOWN in privileges:
        yield NotCheckable("privileges")
        return
    names = {str(privilege).upper() for privilege in privileges}
    if found := names & {"ALL", "ALL PRIVILEGES"}:
        yield Violation(f"grants {', '.join(found)}; expected each privilege by its name")
    elif object_type == "database" and names - {"CONNECT"}:
        yield Violation(f"grants {', '.join(sorted(names))} on the database; expected CONNECT")
    elif object_type == "schema" and schema == "public" and names - {"USAGE"}:
        yield Violation(f"grants {', '.join(sorted(names))} on the schema public; expected USAGE")
    elif object_type in ("foreign_data_wrapper", "foreign_server") and names:
        yield Violation(f"lets the role connect to other servers through a {object_type}")


def _trusted_extension(extension: Resource) -> Iterator[Answer]:
    yield from expect(
        extension.inputs, "name", lambda name: name in TRUSTED_EXTENSIONS, "expected an extension that is trusted"
    )


RULES = (
    ResourceRule(
        name="role-attributes",
        description="No role has superuser-like attributes.",
        types=(tokens.ROLE,),
        check=_no_attributes,
        why="one leaked password of such a role opens every product's data",
        fix="remove the attribute; the master role does what needs it",
    ),
    ResourceRule(
        name="role-groups",
        description="No role is a member of a role that PostgreSQL or RDS brings along.",
        types=(tokens.ROLE, tokens.GRANT_ROLE),
        check=_no_predefined_group,
        why="they read or write all data, end sessions, watch queries or log in past the password",
        fix="name the product in `readers` of the schema that it needs",
    ),
    ResourceRule(
        name="role-connection-limit",
        description="Every login role has a connection limit.",
        types=(tokens.ROLE,),
        check=_connection_limit,
        why="one service that leaks connections would lock out all others and the pooler",
        fix="set connectionLimit of the product",
    ),
    ResourceRule(
        name="no-grant-to-public",
        description="Nothing is granted to PUBLIC.",
        types=(tokens.GRANT, tokens.DEFAULT_PRIVILEGES),
        check=_nothing_for_public,
        why="PUBLIC means every role, including those created later",
        fix="grant to the login group or to the product's reader role",
    ),
    ResourceRule(
        name="no-grant-option",
        description="No grant has WITH GRANT OPTION.",
        types=(tokens.GRANT, tokens.DEFAULT_PRIVILEGES),
        check=_no_grant_option,
        why="a grant passed on by a role is in no config and no access matrix",
        fix="remove with_grant_option",
    ),
    ResourceRule(
        name="narrow-grant",
        description="No grant gives all privileges, or creates objects in the database or in public.",
        types=(tokens.GRANT, tokens.DEFAULT_PRIVILEGES),
        check=_narrow_grant,
        why="a role that creates in public can put its own function in front of every other role's",
        fix="name the privileges; objects belong into the product's own schema",
    ),
    ResourceRule(
        name="trusted-extension",
        description="Every extension is a trusted one.",
        types=(tokens.EXTENSION,),
        check=_trusted_extension,
        why="others reach files, networks or programs of the server: dblink, postgres_fdw, aws_lambda",
        fix="do without it, or add it to TRUSTED_EXTENSIONS with what it can reach",
    ),
)
STACK_RULES = (
    StackRule(
        name="role-groups-declared",
        description="Roles are members of this program's group roles only.",
        check=_group_declared,
        why="membership in another product's login role, or in the admin, is all of its rights",
        fix="name the product in `readers` of the schema that it needs",
    ),
)

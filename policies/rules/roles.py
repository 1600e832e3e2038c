"""PostgreSQL roles and grants: no superuser-like roles, no grants to PUBLIC."""

from collections.abc import Iterator

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Violation,
    expect,
    is_not_true,
    items_at,
    value_at,
)

ATTRIBUTES = ("superuser", "createDatabase", "createRole", "replication", "bypassRowLevelSecurity")
POWERFUL_GROUPS = ("rds_superuser", "rds_replication", "rds_password", "pg_read_all_data", "pg_write_all_data")
POWERFUL_PREFIXES = ("pg_execute_", "pg_read_server_", "pg_write_server_")


def _no_attributes(role: Resource) -> Iterator[Answer]:
    for attribute in ATTRIBUTES:
        yield from expect(role.inputs, attribute, is_not_true, "expected false")


def _powerful(group: object) -> bool:
    return isinstance(group, str) and (group in POWERFUL_GROUPS or group.startswith(POWERFUL_PREFIXES))


def _no_powerful_group(resource: Resource) -> Iterator[Answer]:
    path = "roles" if resource.type == tokens.ROLE else "grantRole"
    groups = items_at(resource.inputs, path) if resource.type == tokens.ROLE else [value_at(resource.inputs, path)]
    if groups is UNKNOWN or UNKNOWN in groups:
        yield NotCheckable(path)
        return
    yield from (Violation(f"is a member of {group}") for group in groups if _powerful(group))


def _connection_limit(role: Resource) -> Iterator[Answer]:
    login = value_at(role.inputs, "login")
    if login is UNKNOWN:
        yield NotCheckable("login")
    elif login:
        yield from expect(
            role.inputs, "connectionLimit", lambda limit: limit is not None and limit >= 1, "expected 1 or more"
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
        description="No role is a member of a predefined role that reads or writes everything.",
        types=(tokens.ROLE, tokens.GRANT_ROLE),
        check=_no_powerful_group,
        why="membership bypasses every schema's grants",
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
)

"""The access matrix: what every role may do, derived from the product table. It queries no server."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from components.database.access import EXTENSIONS_SCHEMA, LOGIN_GROUP
from settings import ADMIN, PRODUCT_EXTENSIONS_SCHEMA, Settings

PUBLIC = "PUBLIC"
"""Every role, as GRANT names it."""

DATABASE_OWNER = "pg_database_owner"
"""PostgreSQL 15's owner of `public`. The owner of the database is its implicit member."""


class Access(StrEnum):
    """What a login role may do in one schema."""

    FULL = "full"
    """Makes objects and owns them. The schema itself belongs to the admin."""
    READ = "read"
    """SELECT on every table, including those made later."""
    NONE = "none"


PRIVILEGES: Mapping[str, tuple[str, ...]] = {
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "function": ("EXECUTE",),
    "database": ("CONNECT", "CREATE", "TEMPORARY"),
}
"""Every privilege of PostgreSQL 15 by kind of object, in the order of its documentation."""

_READ: Mapping[str, frozenset[str]] = {"schema": frozenset({"USAGE"}), "table": frozenset({"SELECT"})}


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One declared role. All attributes except LOGIN and INHERIT are off."""

    name: str
    login: bool
    connection_limit: int = -1
    """-1 means no limit, as in pg_roles."""
    settings: Mapping[str, str]
    """Parameters that the role's sessions start with (search_path as `a, b`; times in ms)."""
    member_of: frozenset[str] = frozenset()
    """Its groups, which are also the only roles it may SET ROLE to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Everything `verify` expects of the database."""

    login_group: str
    """The group that carries CONNECT and SELECT on `public`."""
    roles: Mapping[str, Role]
    """Login roles and groups by name; the admin is not among them."""
    access: Mapping[tuple[str, str], Access]
    """By login role and schema: every product's and `public`."""
    schema_owners: Mapping[str, str]
    object_owners: Mapping[str, str]
    """By schema: who must own the tables, sequences, views and functions in it."""
    readers: Mapping[str, str]
    """By schema: the group role that carries SELECT on its tables."""
    grants: Mapping[str, frozenset[tuple[str, str]]]
    """By schema: (grantee, privilege) on the schema itself, without its owner's."""

    def privileges(self, role: str, schema: str, kind: str) -> frozenset[str]:
        """What a login role can do with objects of that kind in the schema, by whatever means."""
        access = self.access[role, schema]
        if access is Access.FULL:
            return frozenset(PRIVILEGES[kind])
        if kind == "function":
            # PostgreSQL grants it to PUBLIC. It is revoked for products' functions; the admin's are shared.
            return frozenset({"EXECUTE"} if self.public_executes(schema) else ())
        return _READ.get(kind, frozenset()) if access is Access.READ else frozenset()

    def public_executes(self, schema: str) -> bool:
        """Whether PUBLIC keeps EXECUTE on functions in the schema: everywhere but in the products' schemas."""
        return self.object_owners.get(schema) not in self.roles

    def own_schema(self, role: str) -> str:
        """The schema whose objects belong to the login role."""
        return next(schema for schema, owner in self.object_owners.items() if owner == role)

    @property
    def logins(self) -> tuple[Role, ...]:
        """The login roles, in the product table's order."""
        return tuple(role for role in self.roles.values() if role.login)


def matrix(settings: Settings) -> Matrix:
    """The matrix of a stack, from its product table."""
    products = settings.products.values()
    roles = {LOGIN_GROUP: Role(name=LOGIN_GROUP, login=False, settings={})}
    access: dict[tuple[str, str], Access] = {}
    for product in products:
        readable = settings.readable_by(product)
        roles[product.login_role] = Role(
            name=product.login_role,
            login=True,
            connection_limit=product.connection_limit,
            settings={
                "search_path": ", ".join(product.search_path),
                "statement_timeout": str(product.statement_timeout_ms),
                "idle_in_transaction_session_timeout": str(product.idle_in_transaction_timeout_ms),
            },
            member_of=frozenset({LOGIN_GROUP, *(other.reader_role for other in readable)}),
        )
        for other in products:
            level = Access.FULL if other is product else Access.READ if other in readable else Access.NONE
            access[product.login_role, other.schema_name] = level
        access[product.login_role, "public"] = Access.READ
        roles[product.reader_role] = Role(name=product.reader_role, login=False, settings={})

    by_schema = {p.schema_name: p for p in products}
    shared = {PRODUCT_EXTENSIONS_SCHEMA} if any(product.extensions for product in products) else set()
    return Matrix(
        login_group=LOGIN_GROUP,
        roles=roles,
        access=access,
        schema_owners={
            "public": DATABASE_OWNER,
            EXTENSIONS_SCHEMA: ADMIN,
            **dict.fromkeys([*shared, *by_schema], ADMIN),
        },
        object_owners={"public": ADMIN, **{schema: p.login_role for schema, p in by_schema.items()}},
        readers={"public": LOGIN_GROUP, **{schema: p.reader_role for schema, p in by_schema.items()}},
        grants={
            "public": frozenset({(PUBLIC, "USAGE")}),
            EXTENSIONS_SCHEMA: frozenset(),
            **dict.fromkeys(shared, frozenset({(LOGIN_GROUP, "USAGE")})),
            **{
                schema: frozenset({(p.login_role, "USAGE"), (p.login_role, "CREATE"), (p.reader_role, "USAGE")})
                for schema, p in by_schema.items()
            },
        },
    )


def table(settings: Settings) -> dict[str, dict[str, str]]:
    """The matrix in words, by login role and column: one column per schema, then the role's limits."""
    expected = matrix(settings)
    schemas = list(expected.object_owners)
    schemas.append(schemas.pop(schemas.index("public")))
    return {
        role.name: {
            **{schema: expected.access[role.name, schema].value for schema in schemas},
            "connections": str(role.connection_limit),
            "statement timeout": _seconds(role.settings["statement_timeout"]),
            "idle in transaction": _seconds(role.settings["idle_in_transaction_session_timeout"]),
        }
        for role in expected.logins
    }


def markdown(settings: Settings) -> str:
    """The matrix as a Markdown table, one row per login role and one column per schema, with a legend."""
    rows = table(settings)
    header = ["login role", *next(iter(rows.values()))]
    lines = [header, ["---"] * len(header), *([f"`{role}`", *columns.values()] for role, columns in rows.items())]
    return (
        "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + "\nfull: makes objects and owns them; cannot drop the schema. read: SELECT on every table, later ones too. "
        + "No login role: CREATE or TEMP on the database, CREATE on `public`, SET ROLE to "
        + "another login role. PUBLIC: nothing on the database.\n"
    )


def _seconds(milliseconds: str) -> str:
    return f"{int(milliseconds) / 1000:g} s"

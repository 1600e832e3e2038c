"""Schemas, roles and grants of every product in one PostgreSQL database, the same in dev and prod."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_postgresql as postgresql

from settings import Product

LOGIN_GROUP = "lightwave_login"
"""NOLOGIN group of every login role: it carries CONNECT on the database and SELECT on `public`."""

EXTENSIONS_SCHEMA = "extensions"
"""Holds pg_stat_statements away from `public`, where every product may read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAccessArgs:
    """What `DatabaseAccess` needs."""

    database: str
    """The database, which exists already: RDS's `db_name` or the local server made it."""
    admin: str
    """The master role: it owns every schema. No superuser, as on RDS."""
    products: Sequence[Product]
    password_verifiers: Mapping[str, pulumi.Input[str]]
    """By login role: the `SCRAM-SHA-256$…` verifier of its password. The password itself never reaches the server, so
    `log_statement=ddl` has none to log."""
    protect: bool
    """Whether every role, schema, grant and default privilege is protected from deletion."""

    def __post_init__(self) -> None:
        missing = [p.login_role for p in self.products if p.login_role not in self.password_verifiers]
        if missing:
            raise pulumi.InputPropertyError("password_verifiers", f"no verifier for {', '.join(missing)}")


class DatabaseAccess(pulumi.ComponentResource):
    """Every product's schema, login role and reader group, and who may do what.

    Concurrent grants on one catalog row fail with `tuple concurrently updated`, and the provider runs its resources in
    parallel. So no two resources that may run together touch one row: read access goes to a group role a product rather
    than to each reader, CONNECT to one login group, and what must share a row (the grants on one schema, those on the
    database) is chained by `depends_on`.
    """

    login_roles: pulumi.Output[dict[str, str]]
    """By product: the role its service logs in with."""

    def __init__(self, name: str, args: DatabaseAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:database:DatabaseAccess", name, {}, opts)
        self._name = name
        self._args = args

        extensions = postgresql.Schema(
            f"{name}-extensions",
            name=EXTENSIONS_SCHEMA,
            database=args.database,
            owner=args.admin,
            if_not_exists=True,
            # Where the admin can not create the extension (a local server), who set the server up did: never drop it.
            opts=self._options(retain_on_delete=True),
        )
        postgresql.Extension(
            f"{name}-pg-stat-statements",
            name="pg_stat_statements",
            database=args.database,
            schema=EXTENSIONS_SCHEMA,
            opts=self._options(extensions, retain_on_delete=True),
        )
        login_group = self._group_role("login-group", LOGIN_GROUP)
        self._grants_on_database(login_group)
        self._grants_on_public(login_group)

        readers = {
            product.name: self._group_role(f"{product.name}-reader", product.reader_role) for product in args.products
        }
        logins: dict[str, pulumi.Output[str]] = {}
        for product in args.products:
            groups = [readers[other.name] for other in args.products if product.name in other.readers]
            login = self._login_role(product, [login_group, *groups])
            self._schema(product, login, readers[product.name])
            logins[product.name] = login.name

        self.login_roles = pulumi.Output.all(**logins)
        self.register_outputs({"login_roles": self.login_roles})

    def _options(
        self, *after: pulumi.Resource, retain_on_delete: bool = False, delete_before_replace: bool = False
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=list(after),
            protect=self._args.protect,
            retain_on_delete=retain_on_delete,
            delete_before_replace=delete_before_replace,
        )

    def _group_role(self, suffix: str, role: str) -> postgresql.Role:
        return postgresql.Role(f"{self._name}-{suffix}", name=role, login=False, inherit=True, opts=self._options())

    def _login_role(self, product: Product, groups: Sequence[postgresql.Role]) -> postgresql.Role:
        return postgresql.Role(
            f"{self._name}-{product.name}-login",
            name=product.login_role,
            login=True,
            password=pulumi.Output.secret(self._args.password_verifiers[product.login_role]),
            # Memberships belong here, never in GrantRole: any update of a Role takes away those it does not list.
            roles=[group.name for group in groups],
            inherit=True,
            search_paths=[product.schema_name, "public"],
            connection_limit=product.connection_limit,
            statement_timeout=product.statement_timeout_ms,
            idle_in_transaction_session_timeout=product.idle_in_transaction_timeout_ms,
            superuser=False,
            create_database=False,
            create_role=False,
            replication=False,
            bypass_row_level_security=False,
            opts=self._options(),
        )

    def _grants_on_database(self, login_group: postgresql.Role) -> None:
        from_public = postgresql.Grant(
            f"{self._name}-public-database",
            database=self._args.database,
            role="public",
            object_type="database",
            privileges=[],
            opts=self._options(),
        )
        postgresql.Grant(
            f"{self._name}-login-connect",
            database=self._args.database,
            role=login_group.name,
            object_type="database",
            privileges=["CONNECT"],
            opts=self._options(from_public),
        )

    def _grants_on_public(self, login_group: postgresql.Role) -> None:
        """Read on `public`: PostgreSQL 15 itself gives everybody USAGE there and nobody CREATE."""
        tables = postgresql.Grant(
            f"{self._name}-login-public-tables",
            database=self._args.database,
            role=login_group.name,
            schema="public",
            object_type="table",
            privileges=["SELECT"],
            opts=self._options(),
        )
        self._default_privileges(
            "login-public-default",
            login_group.name,
            ["SELECT"],
            on="table",
            owner=self._args.admin,
            schema="public",
            after=tables,
        )

    def _schema(self, product: Product, login: postgresql.Role, reader: postgresql.Role) -> None:
        """The product's schema, owned by the admin: an owner could drop it, and every grant with it."""
        prefix = f"{self._name}-{product.name}"
        schema = postgresql.Schema(
            f"{prefix}-schema",
            name=product.schema_name,
            database=self._args.database,
            owner=self._args.admin,
            drop_cascade=False,
            opts=self._options(),
        )
        own = postgresql.Grant(
            f"{prefix}-own",
            database=self._args.database,
            role=login.name,
            schema=schema.name,
            object_type="schema",
            privileges=["CREATE", "USAGE"],
            opts=self._options(),
        )
        usage = postgresql.Grant(
            f"{prefix}-reader-usage",
            database=self._args.database,
            role=reader.name,
            schema=schema.name,
            object_type="schema",
            privileges=["USAGE"],
            opts=self._options(own),
        )
        tables = postgresql.Grant(
            f"{prefix}-reader-tables",
            database=self._args.database,
            role=reader.name,
            schema=schema.name,
            object_type="table",
            privileges=["SELECT"],
            opts=self._options(usage),
        )
        default_read = self._default_privileges(
            f"{product.name}-reader-default",
            reader.name,
            ["SELECT"],
            on="table",
            owner=login.name,
            schema=schema.name,
            after=tables,
        )
        # PostgreSQL lets everybody execute a new function, and a reader has USAGE on the schema: it shall only read.
        # No schema here: what is granted for all schemas can not be revoked for one.
        self._default_privileges(
            f"{product.name}-functions", "public", [], on="function", owner=login.name, after=default_read
        )

    def _default_privileges(
        self,
        suffix: str,
        role: pulumi.Input[str],
        privileges: Sequence[str],
        *,
        on: Literal["table", "function"],
        owner: pulumi.Input[str],
        after: pulumi.Resource,
        schema: pulumi.Input[str] | None = None,
    ) -> postgresql.DefaultPrivileges:
        """What `role` may do with what `owner` will still create in `schema`; without one, in any."""
        return postgresql.DefaultPrivileges(
            f"{self._name}-{suffix}",
            database=self._args.database,
            role=role,
            owner=owner,
            schema=schema,
            object_type=on,
            privileges=list(privileges),
            # Created first, the replacement would lose its grant to the old one's deletion.
            opts=self._options(after, delete_before_replace=True),
        )

"""Schemas, roles and grants of every product in one PostgreSQL database: the same in every stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_postgresql as postgresql

from settings import PRODUCT_EXTENSIONS_SCHEMA, Product

LOGIN_GROUP = "lightwave_login"
"""NOLOGIN group of every login role. It holds CONNECT on the database and SELECT on `public`."""

EXTENSIONS_SCHEMA = "extensions"
"""Schema of pg_stat_statements: not `public`, where every product may read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAccessArgs:
    """Arguments of `DatabaseAccess`."""

    database: str
    """Name of the database, which exists already: RDS or the local server's setup created it."""
    admin: str
    """The master role, which owns every schema. It is no superuser, as on RDS."""
    products: Sequence[Product]
    password_verifiers: Mapping[str, pulumi.Input[str]]
    """The `SCRAM-SHA-256$…` verifier of each login role's password, by role. The password itself never reaches the
    server, so `log_statement=ddl` cannot log it."""
    protect: bool
    """Whether every role, schema, grant and default privilege is protected from deletion."""

    def __post_init__(self) -> None:
        missing = [p.login_role for p in self.products if p.login_role not in self.password_verifiers]
        if missing:
            raise pulumi.InputPropertyError("password_verifiers", f"no verifier for {', '.join(missing)}")


class DatabaseAccess(pulumi.ComponentResource):
    """The schema, login role and reader group of every product, with their grants.

    Concurrent grants on one catalog row fail with `tuple concurrently updated`, and Pulumi creates resources in
    parallel. So no two resources that may run at the same time touch one row: read access goes to one group role per
    product instead of to each reader, CONNECT goes to one login group, and the grants that must share a row (those on
    one schema, those on the database) are chained with `depends_on`.
    """

    login_roles: pulumi.Output[dict[str, str]]
    """The role that a product's service logs in with, by product."""

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
            # On a local server the admin cannot create the extension: the server's setup did. Never drop it.
            opts=self._child(retain_on_delete=True),
        )
        postgresql.Extension(
            f"{name}-pg-stat-statements",
            name="pg_stat_statements",
            database=args.database,
            schema=EXTENSIONS_SCHEMA,
            opts=self._child(extensions, retain_on_delete=True),
        )
        login_group = self._group_role("login-group", LOGIN_GROUP)
        self._grants_on_database(login_group)
        self._grants_on_public(login_group)
        self._product_extensions(login_group)

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

    def _child(
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
        return postgresql.Role(f"{self._name}-{suffix}", name=role, login=False, inherit=True, opts=self._child())

    def _login_role(self, product: Product, groups: Sequence[postgresql.Role]) -> postgresql.Role:
        return postgresql.Role(
            f"{self._name}-{product.name}-login",
            name=product.login_role,
            login=True,
            password=pulumi.Output.secret(self._args.password_verifiers[product.login_role]),
            # Memberships are listed here, never in GrantRole: any update of a Role revokes those that it does not list.
            roles=[group.name for group in groups],
            inherit=True,
            search_paths=list(product.search_path),
            connection_limit=product.connection_limit,
            statement_timeout=product.statement_timeout_ms,
            idle_in_transaction_session_timeout=product.idle_in_transaction_timeout_ms,
            superuser=False,
            create_database=False,
            create_role=False,
            replication=False,
            bypass_row_level_security=False,
            opts=self._child(),
        )

    def _grants_on_database(self, login_group: postgresql.Role) -> None:
        from_public = postgresql.Grant(
            f"{self._name}-public-database",
            database=self._args.database,
            role="public",
            object_type="database",
            privileges=[],
            opts=self._child(),
        )
        postgresql.Grant(
            f"{self._name}-login-connect",
            database=self._args.database,
            role=login_group.name,
            object_type="database",
            privileges=["CONNECT"],
            opts=self._child(from_public),
        )

    def _grants_on_public(self, login_group: postgresql.Role) -> None:
        """Read access on `public`: PostgreSQL 15 itself grants USAGE there to every role, and CREATE to none."""
        tables = postgresql.Grant(
            f"{self._name}-login-public-tables",
            database=self._args.database,
            role=login_group.name,
            schema="public",
            object_type="table",
            privileges=["SELECT"],
            opts=self._child(),
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

    def _product_extensions(self, login_group: postgresql.Role) -> None:
        """The extensions that products ask for: a database has each of them once, so they share a schema."""
        wanted = sorted({extension for product in self._args.products for extension in product.extensions})
        if not wanted:
            return
        schema = postgresql.Schema(
            f"{self._name}-product-extensions",
            name=PRODUCT_EXTENSIONS_SCHEMA,
            database=self._args.database,
            owner=self._args.admin,
            drop_cascade=False,
            opts=self._child(),
        )
        postgresql.Grant(
            f"{self._name}-product-extensions-usage",
            database=self._args.database,
            role=login_group.name,
            schema=schema.name,
            object_type="schema",
            privileges=["USAGE"],
            opts=self._child(),
        )
        for extension in wanted:
            postgresql.Extension(
                f"{self._name}-extension-{extension}",
                name=extension,
                database=self._args.database,
                schema=schema.name,
                # Without cascade: PostgreSQL refuses to drop what a column or an index still uses.
                drop_cascade=False,
                opts=self._child(),
            )

    def _schema(self, product: Product, login: postgresql.Role, reader: postgresql.Role) -> None:
        """The product's schema. The admin owns it: an owner could drop it, and every grant with it."""
        prefix = f"{self._name}-{product.name}"
        schema = postgresql.Schema(
            f"{prefix}-schema",
            name=product.schema_name,
            database=self._args.database,
            owner=self._args.admin,
            drop_cascade=False,
            opts=self._child(),
        )
        own = postgresql.Grant(
            f"{prefix}-own",
            database=self._args.database,
            role=login.name,
            schema=schema.name,
            object_type="schema",
            privileges=["CREATE", "USAGE"],
            opts=self._child(),
        )
        usage = postgresql.Grant(
            f"{prefix}-reader-usage",
            database=self._args.database,
            role=reader.name,
            schema=schema.name,
            object_type="schema",
            privileges=["USAGE"],
            opts=self._child(own),
        )
        tables = postgresql.Grant(
            f"{prefix}-reader-tables",
            database=self._args.database,
            role=reader.name,
            schema=schema.name,
            object_type="table",
            privileges=["SELECT"],
            opts=self._child(usage),
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
        # By default every role may execute a new function, and readers have USAGE on the schema; they must only read.
        # No schema here: a privilege that is granted for all schemas cannot be revoked for one.
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
        """Privileges of `role` on objects that `owner` creates later, in `schema` or, without one, in any schema."""
        return postgresql.DefaultPrivileges(
            f"{self._name}-{suffix}",
            database=self._args.database,
            role=role,
            owner=owner,
            schema=schema,
            object_type=on,
            privileges=list(privileges),
            # If the replacement were created first, deleting the old one would revoke its privileges.
            opts=self._child(after, delete_before_replace=True),
        )

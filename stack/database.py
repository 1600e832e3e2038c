"""PostgreSQL: RDS, or the server of `make up` in a local stack."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pulumi
import pulumi_postgresql as postgresql

from components.database.connection_budget import Budget
from components.secrets.generated import GeneratedSecrets
from components.server import Server
from settings import ADMIN, DATABASE, HOST, Settings

if TYPE_CHECKING:
    from stack.rds import OnAws


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """PostgreSQL, as the rest of the platform uses it."""

    provider: postgresql.Provider
    """Logs in as the admin, from where this program runs."""
    server: Server
    """Where pods reach it."""
    port: int
    """The server's port, known before the server exists."""
    cidrs: pulumi.Input[Sequence[str]]
    """IPv4 networks in which it listens."""
    aws: "OnAws | None" = None
    """RDS and what surrounds it; None for a local server."""


def postgres(settings: Settings, secrets: GeneratedSecrets, budget: Budget) -> Database:
    """Declares the stack's PostgreSQL, and the provider for what is inside it."""
    provider = partial(
        postgresql.Provider,
        "postgres",
        database=DATABASE,
        username=ADMIN,
        password=secrets.passwords[ADMIN],
        superuser=False,
    )
    if on_rds := settings.on_rds:
        from stack.rds import rds  # noqa: PLC0415 (its SDK takes seconds to import)

        aws = rds(settings, on_rds, secrets, budget)
        server = Server(host=aws.instance.address, port=aws.instance.port)
        tunnel = on_rds.rds.admin_endpoint
        return Database(
            provider=provider(
                host=tunnel.host if tunnel else server.host,
                port=tunnel.port if tunnel else server.port,
                sslmode=tunnel.ssl_mode if tunnel else "verify-full",
                sslrootcert=on_rds.rds.ca_file,
                connect_timeout=30,
            ),
            server=server,
            port=5432,
            cidrs=aws.eks.database_cidrs,
            aws=aws,
        )
    if settings.local is None:
        raise ValueError(f"stack {settings.stack} has neither RDS nor a local server")
    port = settings.local.database_port
    kubernetes = settings.kubernetes
    return Database(
        provider=provider(host=HOST, port=port, sslmode="disable"),
        server=Server(host=(kubernetes and kubernetes.database_host) or HOST, port=port),
        port=port,
        cidrs=kubernetes.database_cidrs if kubernetes else (),
    )

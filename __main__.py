"""The Lightwave platform: wiring and exports, nothing else."""

import pulumi
import pulumi_postgresql as postgresql

import settings as config
from components.database_access import DatabaseAccess, DatabaseAccessArgs

settings = config.from_engine(pulumi.get_stack())
assert settings.local is not None

postgres = postgresql.Provider(
    "postgres",
    host="127.0.0.1",
    port=settings.local.database_port,
    database=config.DATABASE,
    username=config.ADMIN,
    password=pulumi.Output.secret(settings.local.passwords[config.ADMIN].get_secret_value()),
    superuser=False,
    sslmode="disable",
)
access = DatabaseAccess(
    "access",
    DatabaseAccessArgs(
        database=config.DATABASE,
        admin=config.ADMIN,
        products=list(settings.products.values()),
        password_verifiers={k: v.get_secret_value() for k, v in settings.local.scram_verifiers.items()},
        protect=settings.protect,
    ),
    pulumi.ResourceOptions(provider=postgres),
)
pulumi.export("login_roles", access.login_roles)

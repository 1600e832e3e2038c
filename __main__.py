"""The Lightwave platform: its parts, and what each of them gets from the others."""

import gc
import signal

import pulumi

import settings as config
from components.database.access import DatabaseAccess, DatabaseAccessArgs
from components.database.connection_budget import connection_budget
from components.secrets.generated import GeneratedSecrets, GeneratedSecretsArgs
from stack.certificates import ca_certificates
from stack.database import postgres

if __name__ == "__main__":  # Pulumi interrupts it when a resource fails: no traceback may bury the cause
    signal.signal(signal.SIGINT, signal.SIG_DFL)

gc.set_threshold(10_000)  # Nearly every object lives until the end: at Python's own 700, collections take a fifth.
settings = config.from_pulumi(pulumi.get_stack())
products = tuple(settings.products.values())
certificates = ca_certificates(settings)
budget = connection_budget(settings)
for warning in settings.warnings():
    pulumi.warn(warning)

secrets = GeneratedSecrets(
    "secrets",
    GeneratedSecretsArgs(
        admin=config.ADMIN,
        login_roles=settings.login_roles,
        application_secrets=settings.application_secrets,
        rotations=settings.rotations,
        protect=settings.protect,
        given=settings.local,
    ),
)

database = postgres(settings, secrets, budget)
pulumi.export("connection_budget", budget.lines())
if database.aws:
    instance = database.aws.instance
    pulumi.export("database", {"host": instance.address, "port": instance.port, "name": config.DATABASE})
    pulumi.export("database_admin_secret", instance.admin_secret_arn)

access = DatabaseAccess(
    "access",
    DatabaseAccessArgs(
        database=config.DATABASE,
        admin=config.ADMIN,
        products=products,
        password_verifiers=secrets.verifiers,
        protect=settings.protect,
    ),
    pulumi.ResourceOptions(provider=database.provider),
)
pulumi.export("login_roles", access.login_roles)

if settings.media:
    # Here and below, imports stand where their SDK is needed: it takes seconds to import.
    from components.media import Media, MediaArgs

    media = Media("media", MediaArgs(settings=settings.media, protect=settings.protect))
    pulumi.export("media", {"bucket": media.bucket, "endpoint": media.endpoint, "base_url": media.base_url})

if settings.kubernetes:
    from components.kubernetes.network_flows import SHARED_NAMESPACE
    from components.pgbouncer.deployment import PgBouncer, PgBouncerArgs
    from stack import shared
    from stack.cluster import cluster

    kubernetes = cluster(settings, settings.kubernetes, database)
    pulumi.export("network_policies_enforced", settings.kubernetes.network_policy_enforced)

    pgbouncer = PgBouncer(
        "pgbouncer",
        PgBouncerArgs(
            namespace=SHARED_NAMESPACE,
            settings=settings.pgbouncer,
            products=products,
            server=database.server,
            ca_pem=certificates.database,
            verifiers=secrets.verifiers,
            stats_password=secrets.passwords[config.STATS_USER],
            rotations=settings.rotations,
            wait_for_rollout=settings.kubernetes.wait_for_rollout,
        ),
        # After the roles: a rotated password must be on the server before PgBouncer uses it.
        kubernetes.shared(access),
    )
    pulumi.export("pgbouncer", pgbouncer.address)

    valkey = shared.valkey(settings, settings.kubernetes, kubernetes, secrets)
    if valkey:
        pulumi.export("valkey", valkey.address)
    if settings.monitoring:
        from stack.monitoring import monitoring

        monitoring(settings.monitoring, settings, settings.kubernetes, kubernetes, budget)

    if settings.edge and settings.media:
        from stack.edge import edge

        edge(settings, settings.edge, settings.media, kubernetes)

    if settings.media:
        from stack.services import Platform, services

        platform = Platform(
            certificates=certificates,
            secrets=secrets,
            database=database,
            media=media,
            cluster=kubernetes,
            pgbouncer=pgbouncer,
            valkey=valkey,
        )
        pulumi.export("service_env", pulumi.Output.secret(services(settings, settings.media, platform)))

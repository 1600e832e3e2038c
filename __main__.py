"""The Lightwave platform: wiring and exports, nothing else."""

import pulumi
import pulumi_postgresql as postgresql

import settings as config
from components.database.access import DatabaseAccess, DatabaseAccessArgs
from components.database.connection_budget import connection_budget
from components.secrets.generated import GeneratedSecrets, GeneratedSecretsArgs

settings = config.from_engine(pulumi.get_stack())
products = list(settings.products.values())
rds = settings.database if isinstance(settings.database, config.RdsSettings) else None
budget = connection_budget(settings)
database_authorities = config.ca_bundle(rds) if rds else None
pooler_authorities = config.client_ca_bundle(settings.pgbouncer)

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

# --- the database -----------------------------------------------------------------------------------------------------

if rds:
    import pulumi_aws as aws

    from components.database.alarms import DatabaseAlarms, DatabaseAlarmsArgs
    from components.database.server import DatabaseServer, DatabaseServerArgs
    from components.kubernetes.cluster_facts import cluster_facts

    assert settings.aws
    assert settings.kubernetes
    in_aws = aws.Provider(
        "aws",
        region=settings.aws.region,
        allowed_account_ids=[settings.aws.account_id],
        default_tags={"tags": {"project": config.PROJECT, "stack": settings.stack, "managed-by": "pulumi"}},
    )
    cluster = cluster_facts(settings.kubernetes.cluster, settings.aws, settings.kubernetes.database_cidrs, in_aws)
    server = DatabaseServer(
        "database",
        DatabaseServerArgs(
            settings=rds,
            database=config.DATABASE,
            admin=config.ADMIN,
            password=secrets.passwords[config.ADMIN],
            secret_name=config.admin_secret(settings.stack),
            account_id=settings.aws.account_id,
            vpc_id=cluster.vpc_id,
            private_subnet_ids=cluster.private_subnet_ids,
            client_security_group_id=cluster.security_group_id,
            protect=settings.protect,
        ),
        pulumi.ResourceOptions(provider=in_aws),
    )
    alarms = DatabaseAlarms(
        "alarms",
        DatabaseAlarmsArgs(
            identifier=rds.identifier,
            instance=server.identifier,
            instance_class=rds.instance_class,
            allocated_storage_gib=rds.allocated_storage_gib,
            connection_budget=budget.available,
            account_id=settings.aws.account_id,
            email=rds.alarm_email,
        ),
        pulumi.ResourceOptions(provider=in_aws),
    )
    tunnel = rds.admin_endpoint
    postgres = postgresql.Provider(
        "postgres",
        host=tunnel.host if tunnel else server.address,
        port=tunnel.port if tunnel else server.port,
        database=config.DATABASE,
        username=config.ADMIN,
        password=secrets.passwords[config.ADMIN],
        superuser=False,
        sslmode=tunnel.ssl_mode if tunnel else "verify-full",
        sslrootcert=rds.ca_bundle,
        connect_timeout=30,
    )
else:
    assert settings.local
    postgres = postgresql.Provider(
        "postgres",
        host="127.0.0.1",
        port=settings.local.database_port,
        database=config.DATABASE,
        username=config.ADMIN,
        password=secrets.passwords[config.ADMIN],
        superuser=False,
        sslmode="disable",
    )

access = DatabaseAccess(
    "access",
    DatabaseAccessArgs(
        database=config.DATABASE,
        admin=config.ADMIN,
        products=products,
        password_verifiers={p.login_role: secrets.verifiers[p.login_role] for p in products},
        protect=settings.protect,
    ),
    pulumi.ResourceOptions(provider=postgres),
)

# --- media ------------------------------------------------------------------------------------------------------------

if settings.media:
    # Its SDK costs seconds to import: a stack without media does not pay for it.
    from components.media import Media, MediaArgs

    media = Media("media", MediaArgs(media=settings.media, protect=settings.protect))
    pulumi.export("media", {"bucket": media.bucket, "endpoint": media.endpoint, "base_url": media.base_url})

# --- the cluster ------------------------------------------------------------------------------------------------------

if settings.kubernetes:
    import pulumi_kubernetes as kubernetes

    from components.kubernetes.kubeconfig import eks_kubeconfig
    from components.kubernetes.namespace import Namespace, NamespaceArgs
    from components.kubernetes.network_flows import PGBOUNCER_PORT, POSTGRES_PORT, SHARED_NAMESPACE, platform_flows
    from components.kubernetes.valkey import Valkey, ValkeyArgs
    from components.pgbouncer.deployment import PgBouncer, PgBouncerArgs
    from components.services.env import ObjectStore, Server, ServiceEnvArgs, service_env
    from components.services.resources import DATABASE_CA_PATH, PAYLOAD_SERVICE, ServiceIdentity, ServiceIdentityArgs

    on_eks = settings.aws if settings.kubernetes.context is None else None
    on_cluster = kubernetes.Provider(
        "kubernetes",
        kubeconfig=eks_kubeconfig(cluster, on_eks.region) if on_eks else None,
        context=settings.kubernetes.context,
        # Set and kept: without it a changed kubeconfig would replace the provider and everything it made.
        cluster_identifier=settings.kubernetes.context or settings.kubernetes.cluster,
        upsert_existing_objects=True,
        # Without these a change would delete the ConfigMap or Secret that running pods mount, and make it again.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )
    flows = platform_flows(
        products=products,
        edge_namespace=settings.kubernetes.edge_namespace,
        database_cidrs=cluster.database_cidrs if rds else settings.kubernetes.database_cidrs,
        database_port=settings.local.database_port if settings.local else POSTGRES_PORT,
    )
    namespaces = {
        name: Namespace(
            name,
            NamespaceArgs(
                namespace=name,
                settings=namespace,
                flows=flows,
                cluster=settings.kubernetes.cluster if on_eks else None,
                protect=settings.protect,
            ),
            pulumi.ResourceOptions(providers=[on_cluster, in_aws] if on_eks else [on_cluster]),
        )
        for name, namespace in settings.kubernetes.namespaces.items()
    }
    pulumi.export("network_policies_enforced", settings.kubernetes.network_policy_enforced)

    if rds:
        database = Server(host=server.address, port=server.port)
    else:
        assert settings.local
        assert settings.kubernetes.database_host
        database = Server(host=settings.kubernetes.database_host, port=settings.local.database_port)
    pgbouncer = PgBouncer(
        "pgbouncer",
        PgBouncerArgs(
            namespace=SHARED_NAMESPACE,
            settings=settings.pgbouncer,
            products=products,
            server_host=database.host,
            server_port=database.port,
            ca_bundle=database_authorities,
            verifiers=secrets.verifiers,
            stats_password=secrets.passwords[config.STATS_USER],
            rotations=settings.rotations,
            wait_for_rollout=settings.kubernetes.wait_for_rollout,
        ),
        # The roles first: a rotated password is on the server before the pooler serves with it.
        pulumi.ResourceOptions(provider=on_cluster, depends_on=[namespaces[SHARED_NAMESPACE], access]),
    )
    pulumi.export("pgbouncer", pgbouncer.address)

    valkey = None
    if settings.valkey:
        valkey = Valkey(
            "valkey",
            ValkeyArgs(
                namespace=SHARED_NAMESPACE,
                settings=settings.valkey,
                user=next(p.name for p in products if p.framework == "django"),
                password=secrets.application[config.VALKEY_PASSWORD],
                metrics_password=secrets.application[config.VALKEY_METRICS_PASSWORD],
                rotations=settings.rotations,
                wait_for_rollout=settings.kubernetes.wait_for_rollout,
            ),
            pulumi.ResourceOptions(provider=on_cluster, depends_on=[namespaces[SHARED_NAMESPACE]]),
        )
        pulumi.export("valkey", valkey.address)

# --- what the services are told ---------------------------------------------------------------------------------------

if settings.kubernetes and settings.media:
    authorities = [bundle for bundle in (database_authorities, pooler_authorities) if bundle]
    payload_namespace = next((p.namespace for p in products if p.framework == "payload"), None)
    store = ObjectStore(
        endpoint=media.endpoint,
        account_id=settings.media.account_id,
        access_key_id=media.access_key_id,
        secret_access_key=media.secret_access_key,
        bucket=media.bucket,
    )
    service_envs = {}
    for product in products:
        if product.framework is None or product.namespace is None:
            continue
        broker = valkey if product.framework == "django" else None
        env = service_env(
            ServiceEnvArgs(
                product=product,
                database=config.DATABASE,
                pooled=Server(host=f"pgbouncer.{SHARED_NAMESPACE}", port=PGBOUNCER_PORT),
                direct=database,
                password=secrets.passwords[product.login_role],
                application_secret=secrets.application[config.APPLICATION_SECRETS[product.framework]],
                store=store if product.framework == "payload" else None,
                cdn_base_url=f"https://{settings.media.domain}",
                direct_ca_bundle=DATABASE_CA_PATH if database_authorities else None,
                pooled_ca_bundle=DATABASE_CA_PATH if pooler_authorities else None,
                payload_api_url=f"http://{PAYLOAD_SERVICE}:3000/api" if product.framework == "django" else None,
                redis_url=broker.url if broker else None,
            )
        )
        service_envs[product.name] = {entry.name: entry.value for entry in env}
        ServiceIdentity(
            product.name,
            ServiceIdentityArgs(
                product=product,
                env=service_envs[product.name],
                ca_bundle="\n".join(authorities) or None,
                payload_namespace=payload_namespace if product.framework == "django" else None,
            ),
            # The servers first: a client that knows a new password must find it there.
            pulumi.ResourceOptions(
                provider=on_cluster,
                depends_on=[namespaces[product.namespace], pgbouncer, *([broker] if broker else [])],
            ),
        )
    pulumi.export("service_env", pulumi.Output.secret(service_envs))

if rds:
    pulumi.export("database", {"host": server.address, "port": server.port, "name": config.DATABASE})
    pulumi.export("database_admin_secret", server.admin_secret_arn)
pulumi.export("login_roles", access.login_roles)
pulumi.export("connection_budget", budget.lines())

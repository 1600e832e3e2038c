"""What each product's service is given: its environment, and the objects in its namespace."""

from dataclasses import dataclass

import pulumi

from components.kubernetes.network_flows import PGBOUNCER_PORT, SHARED_NAMESPACE
from components.kubernetes.valkey import Valkey
from components.media import Media
from components.pgbouncer.deployment import PgBouncer
from components.secrets.generated import GeneratedSecrets
from components.server import Server
from components.services.env import ObjectStore, ServiceEnvArgs, service_env
from components.services.resources import DATABASE_CA_PATH, PAYLOAD_API_URL, ServiceResources, ServiceResourcesArgs
from settings import APPLICATION_SECRETS, DATABASE, MediaSettings, Settings
from stack.certificates import CaCertificates
from stack.cluster import Cluster
from stack.database import Database
from stack.workloads import workloads


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What services run on and connect to."""

    certificates: CaCertificates
    secrets: GeneratedSecrets
    database: Database
    media: Media
    cluster: Cluster
    pgbouncer: PgBouncer
    valkey: Valkey | None


def services(settings: Settings, media: MediaSettings, platform: Platform) -> dict[str, dict[str, pulumi.Input[str]]]:
    """Declares the objects of every service on the cluster. Returns the services' environments, by product."""
    products = settings.products.values()
    payload_namespace = next((product.namespace for product in products if product.framework == "payload"), None)
    store = ObjectStore(
        endpoint=platform.media.endpoint,
        account_id=media.account_id,
        access_key_id=platform.media.access_key_id,
        secret_access_key=platform.media.secret_access_key,
        bucket=platform.media.bucket,
    )
    envs = {}
    for product in products:
        if product.framework is None or product.namespace is None:
            continue
        entries = service_env(
            ServiceEnvArgs(
                product=product,
                database=DATABASE,
                pooled=Server(host=f"pgbouncer.{SHARED_NAMESPACE}", port=PGBOUNCER_PORT),
                direct=platform.database.server,
                password=platform.secrets.passwords[product.login_role],
                application_secret=platform.secrets.application[APPLICATION_SECRETS[product.framework]],
                store=store,
                cdn_base_url=f"https://{media.domain}",
                direct_ca_path=DATABASE_CA_PATH if platform.certificates.database else None,
                pooled_ca_path=DATABASE_CA_PATH if platform.certificates.pgbouncer else None,
                payload_api_url=PAYLOAD_API_URL,
                redis_url=platform.valkey.url if platform.valkey else None,
            )
        )
        env = envs[product.name] = {entry.name: entry.value for entry in entries}
        # The servers first: a client that gets a new password must be able to log in with it.
        servers = [platform.pgbouncer, *([platform.valkey] if platform.valkey and "REDIS_URL" in env else [])]
        resources = ServiceResources(
            product.name,
            ServiceResourcesArgs(
                product=product, env=env, ca_pem=platform.certificates.of_all, payload_namespace=payload_namespace
            ),
            pulumi.ResourceOptions(
                provider=platform.cluster.provider,
                depends_on=[platform.cluster.namespaces[product.namespace], *servers],
            ),
        )
        service = settings.services.get(product.name)
        if service:
            workloads(
                product,
                service,
                resources,
                env=env,
                ca_pem=platform.certificates.of_all,
                provider=platform.cluster.provider,
                wait_for_rollout=platform.cluster.wait_for_rollout,
            )
    return envs

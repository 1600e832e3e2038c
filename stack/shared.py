"""The shared services beside PgBouncer: Valkey and monitoring, each where the stack has its section."""

from components.database.connection_budget import Budget
from components.kubernetes.network_flows import SHARED_NAMESPACE
from components.kubernetes.valkey import Valkey, ValkeyArgs
from components.monitoring.prometheus import Prometheus, PrometheusArgs
from components.secrets.generated import GeneratedSecrets
from components.services.env import valkey_user
from settings import VALKEY_METRICS_PASSWORD, VALKEY_PASSWORD, KubernetesSettings, Settings
from stack.cluster import Cluster


def valkey(settings: Settings, on: KubernetesSettings, cluster: Cluster, secrets: GeneratedSecrets) -> Valkey | None:
    """Declares Valkey; None where the stack has none."""
    if settings.valkey is None:
        return None
    return Valkey(
        "valkey",
        ValkeyArgs(
            namespace=SHARED_NAMESPACE,
            settings=settings.valkey,
            user=valkey_user(settings.products.values()),
            password=secrets.application[VALKEY_PASSWORD],
            metrics_password=secrets.application[VALKEY_METRICS_PASSWORD],
            rotations=settings.rotations,
            wait_for_rollout=on.wait_for_rollout,
        ),
        cluster.shared(),
    )


def monitoring(settings: Settings, on: KubernetesSettings, cluster: Cluster, budget: Budget) -> Prometheus | None:
    """Declares Prometheus and Alertmanager; None where the stack has none."""
    if settings.monitoring is None:
        return None
    return Prometheus(
        "monitoring",
        PrometheusArgs(
            namespace=SHARED_NAMESPACE,
            settings=settings.monitoring,
            pooled_connections=budget.pooled,
            valkey=settings.valkey is not None,
            wait_for_rollout=on.wait_for_rollout,
        ),
        cluster.shared(),
    )

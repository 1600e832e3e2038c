"""The shared services beside PgBouncer: Valkey, where the stack has its section."""

from components.kubernetes.network_flows import SHARED_NAMESPACE
from components.kubernetes.valkey import Valkey, ValkeyArgs
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

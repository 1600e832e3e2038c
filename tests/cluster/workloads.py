"""The pods that belong to other repositories, as docs/services.md tells those to write them, and strangers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kubernetes.network_flows import API, MIGRATION, MONITORING, NAME_LABEL, PAYLOAD, SHARED_NAMESPACE
from components.services.resources import DATABASE_CA, DATABASE_CA_PATH

SCRIPTS = Path(__file__).parent / "pods"
EDGE_NAMESPACE = "ingress-nginx"
STRANGE_NAMESPACE = "elsewhere"
CONTAINER = "agent"
RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Pods that policies do not tell apart."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    account: str = "default"
    secret: str | None = None
    """Of the service whose pod it is."""
    ours: bool = False
    """Whether the platform declares the pod itself."""


KINDS = (
    Kind(name="payload", namespace="payload-cms", labels=PAYLOAD, account="payload", secret="payload-env"),
    Kind(
        name="payload-migration", namespace="payload-cms", labels=MIGRATION, account="migration", secret="payload-env"
    ),
    Kind(name="payload-other", namespace="payload-cms", account="payload", secret="payload-env"),
    Kind(name="api", namespace="django-api", labels=API, account="api", secret="django-env"),
    Kind(name="worker", namespace="django-api", labels={NAME_LABEL: "worker"}, account="worker", secret="django-env"),
    Kind(name="api-migration", namespace="django-api", labels=MIGRATION, account="migration", secret="django-env"),
    Kind(name="pgbouncer", namespace=SHARED_NAMESPACE, labels={NAME_LABEL: "pgbouncer"}, ours=True),
    Kind(name="valkey", namespace=SHARED_NAMESPACE, labels={NAME_LABEL: "redis"}, ours=True),
    Kind(name="prometheus", namespace=SHARED_NAMESPACE, labels=MONITORING),
    Kind(name="edge", namespace=EDGE_NAMESPACE),
    Kind(name="stranger", namespace=STRANGE_NAMESPACE),
)
"""Every kind that a policy tells apart from another, and one that no policy knows in each namespace."""


def agent_command(ports: Sequence[str], host: str = "0.0.0.0") -> list[str]:  # noqa: S104 (the pod's address)
    """The command line of a container that listens on the ports."""
    return ["python3", "-c", (SCRIPTS / "agent.py").read_text(), host, *ports]


def pod(kind: Kind, image: str, ports: Sequence[str] = (), *, name: str | None = None, node: str | None = None) -> Any:
    """A pod of that kind that listens on the ports; with its service's environment and CA, if it is one's."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": agent_command(ports),
        "securityContext": RESTRICTED,
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
    }
    spec: dict[str, Any] = {
        "serviceAccountName": kind.account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    if kind.secret:
        container["envFrom"] = [{"secretRef": {"name": kind.secret}}]
        folder = str(Path(DATABASE_CA_PATH).parent)
        container["volumeMounts"] = [{"name": DATABASE_CA, "mountPath": folder, "readOnly": True}]
        spec["volumes"] = [{"name": DATABASE_CA, "configMap": {"name": DATABASE_CA}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name or kind.name, "namespace": kind.namespace, "labels": dict(kind.labels)},
        "spec": spec,
    }

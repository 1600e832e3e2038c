"""Parts that the Kubernetes objects of this program have in common."""

import hashlib
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core.v1 import (
    ContainerArgsDict,
    EnvVarArgsDict,
    PersistentVolumeClaimArgsDict,
    PodSpecArgsDict,
    ProbeArgsDict,
    ResourceRequirementsArgsDict,
    SecurityContextArgsDict,
    ServiceSpecArgsDict,
    TopologySpreadConstraintArgsDict,
    VolumeArgsDict,
    VolumeMountArgsDict,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict
from pulumi_kubernetes.policy.v1 import PodDisruptionBudgetSpecArgsDict

LOCKED_DOWN: SecurityContextArgsDict = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "run_as_non_root": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Security context of every container; the namespaces' Pod Security level `restricted` requires most of it."""

NOBODY = 65534
"""User and group of a container that owns no file; the official images of Prometheus run as it."""


def metadata(
    name: str,
    namespace: str,
    labels: Mapping[str, str] | None = None,
    *,
    wait: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> ObjectMetaArgsDict:
    """Metadata of an object. Without `wait`, the provider does not wait until the object is ready."""
    noted = {**(annotations or {}), **({} if wait else {"pulumi.com/skipAwait": "true"})}
    return {
        "name": name,
        "namespace": namespace,
        **({"labels": dict(labels)} if labels else {}),
        **({"annotations": noted} if noted else {}),
    }


def service(port_name: str, port: int, labels: Mapping[str, str]) -> ServiceSpecArgsDict:
    """Spec of a Service for the pods with `labels`.

    Service and container have the same port: the VPC CNI applies network policies wrongly where the two differ.
    """
    return {
        "type": "ClusterIP",
        "selector": dict(labels),
        "ports": [{"name": port_name, "port": port, "target_port": port, "protocol": "TCP"}],
    }


def headless_service(port_name: str, port: int, labels: Mapping[str, str]) -> ServiceSpecArgsDict:
    """The same without an address of its own: DNS answers with the pods' addresses."""
    return {**service(port_name, port, labels), "cluster_ip": "None"}


def disruption_budget(labels: Mapping[str, str]) -> PodDisruptionBudgetSpecArgsDict:
    """Spec of a PodDisruptionBudget: one pod at a time leaves its node."""
    return {
        "max_unavailable": 1,
        # Otherwise a pod that never becomes ready keeps its node from being drained.
        "unhealthy_pod_eviction_policy": "AlwaysAllow",
        "selector": {"match_labels": dict(labels)},
    }


def data_claim(
    labels: Mapping[str, str], *, storage_gib: int, storage_class: str | None
) -> PersistentVolumeClaimArgsDict:
    """Claim of a StatefulSet's volume `data`, in GiB; of the cluster's default class without `storage_class`."""
    return {
        "metadata": {"name": "data", "labels": dict(labels)},
        "spec": {
            "access_modes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{storage_gib}Gi"}},
            **({"storage_class_name": storage_class} if storage_class else {}),
        },
    }


def locked_down_pod(
    account: str, user_id: int, *containers: ContainerArgsDict, fs_group_change_policy: str | None = None
) -> PodSpecArgsDict:
    """A pod without a token and without variables of other Services, with an unprivileged user and group."""
    return {
        "service_account_name": account,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": user_id,
            "run_as_group": user_id,
            "fs_group": user_id,
            **({"fs_group_change_policy": fs_group_change_policy} if fs_group_change_policy else {}),
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
    }


def secret_file(volume: str, secret: str, key: str) -> VolumeArgsDict:
    """A volume with one key of a Secret as a file of that name, which owner and group can read."""
    return {
        "name": volume,
        "secret": {"secret_name": secret, "items": [{"key": key, "path": key}], "default_mode": 0o440},
    }


def mount(volume: str, path: str, *, read_only: bool = True) -> VolumeMountArgsDict:
    """Mounts a volume on a path."""
    return {"name": volume, "mount_path": path, "read_only": read_only}


def secret_env(variable: str, secret: pulumi.Input[str], key: str) -> EnvVarArgsDict:
    """An environment variable with the value of one key of a Secret."""
    return {"name": variable, "value_from": {"secret_key_ref": {"name": secret, "key": key}}}


def probe(
    action: ProbeArgsDict, *, period_seconds: int, failure_threshold: int, timeout_seconds: int = 2
) -> ProbeArgsDict:
    """A probe that does `action`, such as `{"tcp_socket": {"port": 6432}}`."""
    return {
        **action,
        "period_seconds": period_seconds,
        "failure_threshold": failure_threshold,
        "timeout_seconds": timeout_seconds,
    }


def spread(topology_key: str, when_unsatisfiable: str, labels: Mapping[str, str]) -> TopologySpreadConstraintArgsDict:
    """Spreads a Deployment's pods, those with `labels`, over the values of a node label."""
    return {
        "max_skew": 1,
        "topology_key": topology_key,
        "when_unsatisfiable": when_unsatisfiable,
        "label_selector": {"match_labels": dict(labels)},
        # Each revision is spread by itself: the pods that it replaces do not count.
        "match_label_keys": ["pod-template-hash"],
    }


def resources(*, requests: tuple[str, str], limits: tuple[str, str]) -> ResourceRequirementsArgsDict:
    """Requests and limits, each as (cpu, memory)."""
    return {"requests": {"cpu": requests[0], "memory": requests[1]}, "limits": {"cpu": limits[0], "memory": limits[1]}}


def rollout_annotations(
    *, config: pulumi.Input[str], rotations: Mapping[str, int], secrets: Sequence[str], container: str
) -> dict[str, pulumi.Input[str]]:
    """Annotations of a pod template that replace the pods when their configuration or a secret changes, which a changed
    ConfigMap or Secret alone does not do.

    They hold the configuration's checksum and, by secret, its rotation counter: a checksum of a secret would leak
    something about it. `container` is kubectl's default container.
    """
    return {
        "lightwave.media/config-sha256": pulumi.Output.from_input(config).apply(
            lambda text: hashlib.sha256(text.encode()).hexdigest()
        ),
        "lightwave.media/rotations": " ".join(f"{name}={rotations.get(name, 0)}" for name in sorted(secrets)),
        "kubectl.kubernetes.io/default-container": container,
    }


def metrics_exporter(
    *, image: pulumi.Input[str] | None, port: int, path: str, env: Sequence[EnvVarArgsDict]
) -> ContainerArgsDict:
    """A Prometheus exporter beside the server.

    The probes call `path`, which must not ask the server, as /metrics does: the exporter would be restarted for the
    server's failure.
    """
    health: ProbeArgsDict = {"http_get": {"path": path, "port": port}}
    return {
        "name": "exporter",
        "image": image,
        "args": [f"--web.listen-address=:{port}"],
        "env": env,
        "ports": [{"name": "metrics", "container_port": port, "protocol": "TCP"}],
        "startup_probe": probe(health, period_seconds=2, failure_threshold=30),
        "readiness_probe": probe(health, period_seconds=10, failure_threshold=3),
        "liveness_probe": probe(health, period_seconds=30, failure_threshold=3),
        "resources": resources(requests=("20m", "32Mi"), limits=("100m", "64Mi")),
        "security_context": {**LOCKED_DOWN, "run_as_user": NOBODY, "run_as_group": NOBODY},
    }

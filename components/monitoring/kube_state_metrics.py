"""kube-state-metrics for the platform's namespaces: the state of pods, quotas and Jobs as metrics."""

import itertools
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ContainerArgsDict, PodSpecArgsDict, ProbeArgsDict, ServiceAccount
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgsDict, Role, RoleBinding

from components.kubernetes.network_flows import KUBE_STATE_METRICS, KUBE_STATE_METRICS_PORT
from components.kubernetes.pods import LOCKED_DOWN, NOBODY, locked_down_pod, metadata, probe, resources
from components.monitoring.model import KUBE_STATE_METRICS_JOB, Watched
from settings import KubeStateMetricsSettings

TELEMETRY_PORT = 8081
"""Default of its metrics about itself. No network policy allows it: see `DENIED_JOB`."""

KINDS = {"": ("pods", "resourcequotas"), "batch": ("jobs",)}
"""By API group, all that it asks for and may read, in each of the platform's namespaces."""

_NAME = KUBE_STATE_METRICS_JOB


@dataclass(frozen=True, kw_only=True, slots=True)
class KubeStateMetricsArgs:
    """Arguments of `KubeStateMetrics`."""

    settings: KubeStateMetricsSettings
    watched: Watched
    wait_for_rollout: bool = True
    """Whether an update waits until the pod is ready; False where the API server runs no pods."""


class KubeStateMetrics(pulumi.ComponentResource):
    """A Deployment of one pod with a Role in each namespace. It has no right outside of them."""

    def __init__(self, name: str, args: KubeStateMetricsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:monitoring:KubeStateMetrics", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        home = args.watched.namespace
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata(_NAME, home, KUBE_STATE_METRICS),
            automount_service_account_token=False,
            opts=child,
        )
        bound: list[pulumi.Resource] = [account]
        rules: list[PolicyRuleArgsDict] = [
            {"api_groups": [group], "resources": list(kinds), "verbs": ["list", "watch"]}
            for group, kinds in KINDS.items()
        ]
        for namespace in args.watched.namespaces:
            about = metadata(_NAME, namespace, KUBE_STATE_METRICS)
            role = Role(f"{name}-{namespace}-role", metadata=about, rules=rules, opts=child)
            bound.append(
                RoleBinding(
                    f"{name}-{namespace}-binding",
                    metadata=about,
                    role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": _NAME},
                    subjects=[{"kind": "ServiceAccount", "name": _NAME, "namespace": home}],
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
                )
            )
        Deployment(
            f"{name}-deployment",
            metadata=metadata(_NAME, home, KUBE_STATE_METRICS, wait=args.wait_for_rollout),
            spec={
                "replicas": 1,
                "revision_history_limit": 5,
                "selector": {"match_labels": dict(KUBE_STATE_METRICS)},
                # Two at once would give each series twice.
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": dict(KUBE_STATE_METRICS)}, "spec": _pod(args)},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=bound),
        )
        self.register_outputs({})


def _pod(args: KubeStateMetricsArgs) -> PodSpecArgsDict:
    alive: ProbeArgsDict = {"http_get": {"path": "/healthz", "port": KUBE_STATE_METRICS_PORT}}
    container: ContainerArgsDict = {
        "name": _NAME,
        "image": args.settings.image,
        "args": [
            f"--port={KUBE_STATE_METRICS_PORT}",
            f"--telemetry-port={TELEMETRY_PORT}",
            f"--namespaces={','.join(args.watched.namespaces)}",
            f"--resources={','.join(itertools.chain(*KINDS.values()))}",
        ],
        "ports": [{"name": "metrics", "container_port": KUBE_STATE_METRICS_PORT, "protocol": "TCP"}],
        "startup_probe": probe(alive, period_seconds=2, failure_threshold=30),
        "readiness_probe": probe(alive, period_seconds=10, failure_threshold=3),
        "liveness_probe": probe(alive, period_seconds=30, failure_threshold=4),
        "resources": resources(requests=("20m", "64Mi"), limits=("100m", "128Mi")),
        "security_context": LOCKED_DOWN,
    }
    # It asks the API server, so it alone has a token.
    return {**locked_down_pod(_NAME, NOBODY, container), "automount_service_account_token": True}

"""cloudflared, the cluster's end of the tunnel."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgsDict
from pulumi_kubernetes.core.v1 import ContainerArgsDict, PodSpecArgsDict, ProbeArgsDict, Secret, ServiceAccount
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.kubernetes.network_flows import CLOUDFLARED, CLOUDFLARED_METRICS_PORT
from components.kubernetes.pods import (
    LOCKED_DOWN,
    disruption_budget,
    locked_down_pod,
    metadata,
    probe,
    resources,
    rollout_annotations,
    secret_env,
    spread,
)
from settings import TUNNEL_SECRET

_NAME = "cloudflared"
_SECRET = "cloudflared-token"  # noqa: S105 (a name)
_TOKEN = "token"  # noqa: S105 (a name)
_USER_ID = 65532
"""The image's own user."""
GRACE_SECONDS = 30
"""How long a stopping pod finishes the requests that it has. It takes no new ones: Cloudflare sends them to others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudflaredArgs:
    """Arguments of `Cloudflared`."""

    namespace: str
    image: str | None
    """By tag and digest."""
    replicas: int
    tunnel_id: pulumi.Input[str]
    token: pulumi.Input[str]
    rotations: Mapping[str, int]
    """Rotation counters. Raising the one of TUNNEL_SECRET replaces the pods, which read the token when they start."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pods are ready; False where the API server runs no pods."""


class Cloudflared(pulumi.ComponentResource):
    """A Deployment with the tunnel's token and a disruption budget. It listens for probes and metrics alone."""

    def __init__(self, name: str, args: CloudflaredArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Cloudflared", name, {}, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)
        about = metadata(_NAME, args.namespace, CLOUDFLARED)
        token = Secret(
            f"{name}-token",
            metadata=metadata(_SECRET, args.namespace, CLOUDFLARED),
            type="Opaque",
            # The SDK marks string_data as secret, whatever its values are.
            string_data={_TOKEN: args.token},
            opts=child,
        )
        account = ServiceAccount(f"{name}-account", metadata=about, automount_service_account_token=False, opts=child)
        Deployment(
            f"{name}-deployment",
            metadata=metadata(_NAME, args.namespace, CLOUDFLARED, wait=args.wait_for_rollout),
            spec=self._deployment(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[token, account]),
        )
        PodDisruptionBudget(f"{name}-disruption", metadata=about, spec=disruption_budget(CLOUDFLARED), opts=child)
        self.register_outputs({})

    def _deployment(self) -> DeploymentSpecArgsDict:
        args = self._args
        # Another tunnel has another token.
        annotations = rollout_annotations(
            config=args.tunnel_id, rotations=args.rotations, secrets=[TUNNEL_SECRET], container=_NAME
        )
        return {
            "replicas": args.replicas,
            "revision_history_limit": 5,
            "selector": {"match_labels": dict(CLOUDFLARED)},
            "strategy": {"type": "RollingUpdate", "rolling_update": {"max_surge": 1, "max_unavailable": 0}},
            "template": {"metadata": {"labels": dict(CLOUDFLARED), "annotations": annotations}, "spec": self._pod()},
        }

    def _pod(self) -> PodSpecArgsDict:
        # 200 with one or more connections to Cloudflare.
        connected: ProbeArgsDict = {"http_get": {"path": "/ready", "port": CLOUDFLARED_METRICS_PORT}}
        container: ContainerArgsDict = {
            "name": _NAME,
            "image": self._args.image,
            "args": [
                "tunnel",
                "--no-autoupdate",
                f"--metrics=0.0.0.0:{CLOUDFLARED_METRICS_PORT}",
                f"--grace-period={GRACE_SECONDS}s",
                "run",
            ],
            "env": [secret_env("TUNNEL_TOKEN", _SECRET, _TOKEN)],
            "ports": [{"name": "metrics", "container_port": CLOUDFLARED_METRICS_PORT, "protocol": "TCP"}],
            "startup_probe": probe(connected, period_seconds=2, failure_threshold=60),
            "readiness_probe": probe(connected, period_seconds=5, failure_threshold=2),
            # Patient: cloudflared reconnects by itself, and a restart does not shorten an outage of Cloudflare's.
            "liveness_probe": probe(connected, period_seconds=10, failure_threshold=30),
            "resources": resources(requests=("100m", "64Mi"), limits=("500m", "256Mi")),
            "security_context": LOCKED_DOWN,
        }
        return {
            **locked_down_pod(_NAME, _USER_ID, container),
            "termination_grace_period_seconds": GRACE_SECONDS + 15,
            "topology_spread_constraints": [
                spread("topology.kubernetes.io/zone", "ScheduleAnyway", CLOUDFLARED),
                spread("kubernetes.io/hostname", "ScheduleAnyway", CLOUDFLARED),
            ],
        }

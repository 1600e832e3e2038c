"""The pods of a service whose image the stack names: one component for every kind of them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgsDict
from pulumi_kubernetes.autoscaling.v2 import HorizontalPodAutoscaler
from pulumi_kubernetes.core.v1 import ContainerArgsDict, PodSpecArgsDict, ProbeArgsDict
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.kubernetes.network_flows import NAME_LABEL
from components.kubernetes.pods import disruption_budget, metadata, probe, spread
from components.services.pods import service_pod
from settings import PodKind, Pods, Product

PRE_STOP_SECONDS = 15
"""How long a stopping pod still serves: until the edge and other pods no longer send it requests."""
START_SECONDS = 300
"""How long a pod may take to start. One that is not ready by then is broken, and is started again."""
MIN_READY_SECONDS = 10
"""A pod that dies sooner than this after it was ready does not count as available."""


def env_checksum(env: Mapping[str, pulumi.Input[str]], ca_pem: pulumi.Input[str] | None) -> pulumi.Output[str]:
    """Changes with every value that the pods read at their start.

    It is no secret: the environment always holds a generated password, so nobody can guess what was hashed.
    """
    return pulumi.Output.unsecret(
        pulumi.Output.all(ca=ca_pem or "", **env).apply(
            lambda values: hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        )
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadArgs:
    """Arguments of `Workload`."""

    product: Product
    pods: Pods
    image: str
    """By tag and digest."""
    env_secret: pulumi.Input[str]
    """Name of the Secret with the service's environment."""
    checksum: pulumi.Input[str]
    """Of everything that the pods read at their start: a changed one replaces them."""
    ca: bool
    """Whether there are CA certificates to mount."""
    priority_class: str | None = None
    wait_for_rollout: bool = True
    """Whether an update waits until the pods are ready; False where the API server runs no pods."""

    def __post_init__(self) -> None:
        if self.product.namespace is None:
            raise pulumi.InputPropertyError("product", f"{self.product.name} has no namespace")

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pods: the Service and the network flows select by them."""
        return {NAME_LABEL: self.pods.kind.name}

    @property
    def grace_seconds(self) -> int:
        """How long a stopping pod may finish its work: one statement and one pause, as long as its role allows."""
        work = self.product.statement_timeout_ms + self.product.idle_in_transaction_timeout_ms
        return PRE_STOP_SECONDS + -(-work // 1000)


class Workload(pulumi.ComponentResource):
    """A Deployment with its disruption budget and, where it scales by load, its autoscaler.

    The Service, the service account, the Secret and the CA certificates are `ServiceResources`'. A release whose pods
    do not start leaves the old ones serving.
    """

    deployment: pulumi.Output[str]
    """Name of the Deployment."""

    def __init__(self, name: str, args: WorkloadArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:services:Workload", name, {}, opts)
        self._args = args
        kind, namespace = args.pods.kind, str(args.product.namespace)
        child = pulumi.ResourceOptions(parent=self)
        seconds = START_SECONDS * 2 + 60 * args.pods.most
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata(kind.name, namespace, args.labels, wait=args.wait_for_rollout),
            spec=self._deployment(),
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s")
            ),
        )
        PodDisruptionBudget(
            f"{name}-disruption",
            metadata=metadata(kind.name, namespace, args.labels),
            spec=disruption_budget(args.labels),
            opts=child,
        )
        scaling = args.pods.autoscaling
        if scaling:
            HorizontalPodAutoscaler(
                f"{name}-autoscaler",
                metadata=metadata(kind.name, namespace, args.labels, wait=args.wait_for_rollout),
                spec={
                    "scale_target_ref": {"api_version": "apps/v1", "kind": "Deployment", "name": kind.name},
                    "min_replicas": scaling.min,
                    "max_replicas": scaling.max,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {
                                "name": "cpu",
                                "target": {"type": "Utilization", "average_utilization": scaling.cpu_percent},
                            },
                        }
                    ],
                },
                opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
            )
        self.deployment = deployment.metadata.apply(lambda metadata: str(metadata.name))
        self.register_outputs({"deployment": self.deployment})

    def _deployment(self) -> DeploymentSpecArgsDict:
        args = self._args
        kind = args.pods.kind
        spec: DeploymentSpecArgsDict = {
            "revision_history_limit": 5,
            "min_ready_seconds": MIN_READY_SECONDS,
            "progress_deadline_seconds": START_SECONDS + 60,
            "selector": {"match_labels": args.labels},
            "strategy": {"type": "Recreate"}
            if kind.single
            else {"type": "RollingUpdate", "rolling_update": {"max_surge": kind.surge, "max_unavailable": 0}},
            "template": {
                "metadata": {
                    "labels": args.labels,
                    "annotations": {
                        "lightwave.media/env-sha256": args.checksum,
                        "kubectl.kubernetes.io/default-container": kind.name,
                    },
                },
                "spec": self._pod(),
            },
        }
        # The autoscaler owns the number of pods: every update would set it back.
        return spec if args.pods.autoscaling else {**spec, "replicas": args.pods.replicas}

    def _pod(self) -> PodSpecArgsDict:
        args = self._args
        kind = args.pods.kind
        started, alive = _checks(kind)
        container: ContainerArgsDict = {
            "name": kind.name,
            "image": args.image,
            "readiness_probe": probe(alive, period_seconds=5, failure_threshold=3, timeout_seconds=5),
            "liveness_probe": probe(alive, period_seconds=10, failure_threshold=6, timeout_seconds=5),
            # While it runs, the two others do not: a pod that is starting is not a broken one.
            "startup_probe": probe(started, period_seconds=5, failure_threshold=START_SECONDS // 5, timeout_seconds=10),
        }
        if args.pods.command:
            container["command"] = list(args.pods.command)
        if kind.port:
            container["ports"] = [{"name": "http", "container_port": kind.port, "protocol": "TCP"}]
            # The kubelet's own sleep (Kubernetes 1.30 and newer) needs no shell in the image.
            container["lifecycle"] = {"pre_stop": {"sleep": {"seconds": PRE_STOP_SECONDS}}}
        pod = service_pod(
            container,
            account=kind.account,
            env_secret=args.env_secret,
            env=[{"name": name, "value": value} for name, value in kind.env.items()],
            ca=args.ca,
            given=args.pods.resources,
            writable=kind.writable,
        )
        if args.priority_class:
            pod["priority_class_name"] = args.priority_class
        pod["termination_grace_period_seconds"] = args.grace_seconds
        pod["topology_spread_constraints"] = [
            spread("topology.kubernetes.io/zone", "ScheduleAnyway", args.labels),
            spread("kubernetes.io/hostname", "ScheduleAnyway", args.labels),
        ]
        return pod


def _checks(kind: PodKind) -> tuple[ProbeArgsDict, ProbeArgsDict]:
    """What shows that a pod has started, and that it works."""
    if kind.port:
        return (
            {"http_get": {"path": kind.start_path, "port": kind.port}},
            {"http_get": {"path": kind.health_path, "port": kind.port}},
        )
    find = f"find /tmp -maxdepth 1 -name '{kind.alive_file}' -mmin -{kind.alive_minutes}"
    fresh: ProbeArgsDict = {"exec_": {"command": ["sh", "-c", f"{find} | grep -q ."]}}
    return fresh, fresh

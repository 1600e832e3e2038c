"""A namespace on the shared cluster and its limits: quota, network policies, Pod Security, deployer."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_kubernetes.core.v1 import LimitRange, ResourceQuota
from pulumi_kubernetes.core.v1 import Namespace as CoreNamespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgsDict, Role, RoleBinding

from components.kubernetes.network_flows import DENY_ALL, Flow, policy_specs
from components.kubernetes.pods import metadata
from settings import NamespaceSettings

POD_SECURITY_VERSION = "v1.33"
"""Version of the Pod Security Standards. Pinned, so that a cluster upgrade does not start to refuse running pods."""

DEFAULT_REQUEST = {"cpu": "100m", "memory": "128Mi"}
DEFAULT_LIMIT = {"cpu": "500m", "memory": "512Mi"}
"""For containers that state none: the quota would refuse their pods."""

_READ = ["get", "list", "watch"]
_WRITE = [*_READ, "create", "update", "patch", "delete"]
DEPLOYER_RULES: list[PolicyRuleArgsDict] = [
    {"api_groups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": _WRITE},
    # For `kubectl rollout status` and `undo`.
    {"api_groups": ["apps"], "resources": ["replicasets"], "verbs": _READ},
    {"api_groups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": _WRITE},
    {"api_groups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": _WRITE},
    {"api_groups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _WRITE},
    {"api_groups": [""], "resources": ["configmaps"], "verbs": _WRITE},
    {"api_groups": [""], "resources": ["pods", "pods/log", "services", "events"], "verbs": _READ},
]
"""What a service's own deploy job may do: roll out its workloads and watch them. It has no access to Secrets, exec,
attach, port-forward, ServiceAccount tokens, Roles, NetworkPolicies and quotas.

It can still mount Secrets into the pods that it creates, so a namespace holds no Secret of another service.
"""


def deployer_group(namespace: str) -> str:
    """The Kubernetes group that the namespace's deployer Role is bound to."""
    return f"lightwave:{namespace}:deployers"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceArgs:
    """Arguments of `Namespace`."""

    namespace: str
    settings: NamespaceSettings
    flows: Sequence[Flow]
    """The whole table; the namespace selects its own flows."""
    cluster: str | None
    """Name of the EKS cluster, for the deployer's access entry; None on another cluster."""
    protect: bool
    """Whether the namespace, and with it everything in it, is protected from deletion."""

    def __post_init__(self) -> None:
        if self.settings.deployer_principal is not None and self.cluster is None:
            raise pulumi.InputPropertyError("cluster", "is missing: the deployer's EKS access entry needs its name")


class Namespace(pulumi.ComponentResource):
    """The namespace with its Pod Security level, quota, default limits, network policies and deployer Role.

    An existing namespace is adopted where the Kubernetes provider has `upsert_existing_objects`; without it the API
    server answers AlreadyExists, and the namespace must be imported once (`pulumi import`, id: its name).

    The access entry requires a cluster with the authentication mode API or API_AND_CONFIG_MAP.
    """

    namespace: pulumi.Output[str]
    """Name of the namespace, known once objects can be created in it."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:Namespace", name, {}, opts)
        self._name = name
        self._args = args

        level = args.settings.pod_security
        namespace = CoreNamespace(
            f"{name}-namespace",
            metadata={
                "name": args.namespace,
                "labels": {
                    "pod-security.kubernetes.io/enforce": level,
                    "pod-security.kubernetes.io/enforce-version": POD_SECURITY_VERSION,
                    "pod-security.kubernetes.io/warn": "restricted",
                    "pod-security.kubernetes.io/warn-version": POD_SECURITY_VERSION,
                    "pod-security.kubernetes.io/audit": "restricted",
                    "pod-security.kubernetes.io/audit-version": POD_SECURITY_VERSION,
                },
            },
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        child = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        self._limits(child)
        self._network_policies(child)
        self._deployer(child)

        self.namespace = namespace.metadata.apply(lambda metadata: str(metadata.name))
        self.register_outputs({"namespace": self.namespace})

    def _limits(self, child: pulumi.ResourceOptions) -> None:
        quota = self._args.settings.quota
        ResourceQuota(
            f"{self._name}-quota",
            metadata=metadata("quota", self._args.namespace),
            spec={
                "hard": {
                    "requests.cpu": quota.requests_cpu,
                    "requests.memory": quota.requests_memory,
                    "limits.cpu": quota.limits_cpu,
                    "limits.memory": quota.limits_memory,
                    "pods": str(quota.pods),
                    # The ingress controller is the only entry point.
                    "services.loadbalancers": "0",
                    "services.nodeports": "0",
                }
            },
            opts=child,
        )
        LimitRange(
            f"{self._name}-limits",
            metadata=metadata("limits", self._args.namespace),
            spec={"limits": [{"type": "Container", "default": DEFAULT_LIMIT, "default_request": DEFAULT_REQUEST}]},
            opts=child,
        )

    def _network_policies(self, child: pulumi.ResourceOptions) -> None:
        allowing = [
            NetworkPolicy(
                f"{self._name}-{policy}", metadata=metadata(policy, self._args.namespace), spec=spec, opts=child
            )
            for policy, spec in policy_specs(self._args.namespace, self._args.flows).items()
        ]
        NetworkPolicy(
            f"{self._name}-default-deny",
            metadata=metadata("default-deny", self._args.namespace),
            spec=DENY_ALL,
            # Last: the flows of services that already run are allowed before everything else is denied.
            opts=pulumi.ResourceOptions(parent=self, depends_on=allowing),
        )

    def _deployer(self, child: pulumi.ResourceOptions) -> None:
        namespace = self._args.namespace
        cluster, principal = self._args.cluster, self._args.settings.deployer_principal
        role = Role(
            f"{self._name}-deployer", metadata=metadata("deployer", namespace), rules=DEPLOYER_RULES, opts=child
        )
        RoleBinding(
            f"{self._name}-deployers",
            metadata=metadata("deployers", namespace),
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            subjects=[{"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": deployer_group(namespace)}],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
        )
        if principal is not None and cluster is not None:
            # No AWS access policy: EKS's own edit policy would grant Secrets and exec.
            aws.eks.AccessEntry(
                f"{self._name}-deployer-access",
                cluster_name=cluster,
                principal_arn=principal,
                kubernetes_groups=[deployer_group(namespace)],
                opts=pulumi.ResourceOptions(parent=self),
            )

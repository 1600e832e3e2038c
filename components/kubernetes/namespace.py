"""One namespace on the shared cluster with its guard rails."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_kubernetes.core.v1 import LimitRange, ResourceQuota
from pulumi_kubernetes.core.v1 import Namespace as CoreNamespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgsDict, Role, RoleBinding

from components.kubernetes.network_flows import DENY_ALL, Flow, policy_specs
from settings import NamespaceSettings

POD_SECURITY_VERSION = "v1.33"
"""Whose Pod Security Standards hold. Pinned: an upgrade of the cluster must not begin to refuse pods that run today."""

DEFAULT_REQUEST = {"cpu": "100m", "memory": "128Mi"}
DEFAULT_LIMIT = {"cpu": "500m", "memory": "512Mi"}
"""For a container that states none: the quota would refuse its pod."""

_READ = ["get", "list", "watch"]
_WRITE = [*_READ, "create", "update", "patch", "delete"]
DEPLOYER_RULES: list[PolicyRuleArgsDict] = [
    {"api_groups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": _WRITE},
    # Rollout status and undo read them.
    {"api_groups": ["apps"], "resources": ["replicasets"], "verbs": _READ},
    {"api_groups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": _WRITE},
    {"api_groups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": _WRITE},
    {"api_groups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _WRITE},
    {"api_groups": [""], "resources": ["configmaps"], "verbs": _WRITE},
    {"api_groups": [""], "resources": ["pods", "pods/log", "services", "events"], "verbs": _READ},
]
"""What a service's own deploy job may do: roll its workloads out and watch them. No Secret, no exec, attach or
port-forward, no ServiceAccount token, no Role, no NetworkPolicy, no quota.

Whoever may create pods can mount their namespace's Secrets all the same: so it holds its own service's and no other's.
"""


def deployer_group(namespace: str) -> str:
    """The Kubernetes group that the namespace's deployer Role is bound to."""
    return f"lightwave:{namespace}:deployers"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceArgs:
    """What `Namespace` needs."""

    namespace: str
    settings: NamespaceSettings
    flows: Sequence[Flow]
    """The whole table: each namespace takes what concerns it."""
    cluster: str | None
    """The EKS cluster, for the deployer's access entry; None where the cluster is not EKS."""
    protect: bool
    """Whether the namespace is protected from deletion, and with it everything that runs in it."""

    def __post_init__(self) -> None:
        if self.settings.deployer_principal is not None and self.cluster is None:
            raise pulumi.InputPropertyError("cluster", "a deployer principal is an EKS access entry: name the cluster")


class Namespace(pulumi.ComponentResource):
    """The namespace, what its pods may use, be and reach, and who may deploy there.

    A namespace that exists already is adopted when the Kubernetes provider has `upsert_existing_objects`; without it
    the API server answers AlreadyExists and it has to be imported once (`pulumi import`, id: the namespace's name).

    The access entry needs a cluster whose authentication mode is API or API_AND_CONFIG_MAP.
    """

    namespace: pulumi.Output[str]
    """Its name, known when everything in it may be created."""

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
        self._inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        self._limits()
        self._network_policies()
        self._deployer()

        self.namespace = namespace.metadata.apply(lambda metadata: str(metadata.name))
        self.register_outputs({"namespace": self.namespace})

    def _limits(self) -> None:
        quota = self._args.settings.quota
        ResourceQuota(
            f"{self._name}-quota",
            metadata={"name": "quota", "namespace": self._args.namespace},
            spec={
                "hard": {
                    "requests.cpu": quota.requests_cpu,
                    "requests.memory": quota.requests_memory,
                    "limits.cpu": quota.limits_cpu,
                    "limits.memory": quota.limits_memory,
                    "pods": str(quota.pods),
                    # The edge is the one way in.
                    "services.loadbalancers": "0",
                    "services.nodeports": "0",
                }
            },
            opts=self._inside,
        )
        LimitRange(
            f"{self._name}-limits",
            metadata={"name": "limits", "namespace": self._args.namespace},
            spec={
                "limits": [{"type": "Container", "default": DEFAULT_LIMIT, "default_request": DEFAULT_REQUEST}],
            },
            opts=self._inside,
        )

    def _network_policies(self) -> None:
        allowing = [
            NetworkPolicy(
                f"{self._name}-{policy}",
                metadata={"name": policy, "namespace": self._args.namespace},
                spec=spec,
                opts=self._inside,
            )
            for policy, spec in policy_specs(self._args.namespace, self._args.flows).items()
        ]
        NetworkPolicy(
            f"{self._name}-default-deny",
            metadata={"name": "default-deny", "namespace": self._args.namespace},
            spec=DENY_ALL,
            # Last: where services run already, their flows are let through before the rest is cut.
            opts=pulumi.ResourceOptions(parent=self, depends_on=allowing),
        )

    def _deployer(self) -> None:
        namespace = self._args.namespace
        cluster, principal = self._args.cluster, self._args.settings.deployer_principal
        role = Role(
            f"{self._name}-deployer",
            metadata={"name": "deployer", "namespace": namespace},
            rules=DEPLOYER_RULES,
            opts=self._inside,
        )
        RoleBinding(
            f"{self._name}-deployers",
            metadata={"name": "deployers", "namespace": namespace},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            subjects=[
                {"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": deployer_group(namespace)},
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
        )
        if principal is not None and cluster is not None:
            # No AWS access policy: EKS's own edit policy would hand out Secrets and exec.
            aws.eks.AccessEntry(
                f"{self._name}-deployer-access",
                cluster_name=cluster,
                principal_arn=principal,
                kubernetes_groups=[deployer_group(namespace)],
                opts=pulumi.ResourceOptions(parent=self),
            )

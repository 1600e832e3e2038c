"""What CI's previews may read of the cluster outside namespaces."""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding, PolicyRuleArgsDict

_READ = ["get", "list", "watch"]

RULES: list[PolicyRuleArgsDict] = [
    {"api_groups": [""], "resources": ["namespaces"], "verbs": _READ},
    {"api_groups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles", "clusterrolebindings"], "verbs": _READ},
    {"api_groups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": _READ},
    {"api_groups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": _READ},
]
"""The kinds that the platform declares outside namespaces: a refresh reads them, and no AWS access policy without
Secrets includes them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewersArgs:
    """What `Previewers` needs."""

    group: str
    """The Kubernetes group of the AWS role that previews; its EKS access entry names it."""


class Previewers(pulumi.ComponentResource):
    """A ClusterRole to read what is outside namespaces, bound to the group of previews."""

    role: pulumi.Output[str]
    """Name of the ClusterRole."""

    def __init__(self, name: str, args: PreviewersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:Previewers", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        object_name = args.group.replace(":", "-")
        role = ClusterRole(f"{name}-role", metadata={"name": object_name}, rules=RULES, opts=child)
        ClusterRoleBinding(
            f"{name}-binding",
            metadata={"name": object_name},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": object_name},
            subjects=[{"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": args.group}],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),
        )
        self.role = role.metadata.apply(lambda metadata: str(metadata.name))
        self.register_outputs({"role": self.role})

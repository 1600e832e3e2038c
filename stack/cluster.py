"""The Kubernetes cluster: how the program reaches it, and the platform's namespaces."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.kubernetes.kubeconfig import eks_kubeconfig
from components.kubernetes.namespace import Namespace, NamespaceArgs
from components.kubernetes.network_flows import SHARED_NAMESPACE, platform_flows
from components.kubernetes.previewers import Previewers, PreviewersArgs
from settings import KubernetesSettings, Settings
from stack.database import Database

PREVIEWERS = "lightwave:previewers"
"""Kubernetes group of CI's preview role: `bootstrap` puts the role into it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The cluster, as the components in it use it."""

    provider: kubernetes.Provider
    namespaces: Mapping[str, Namespace]
    wait_for_rollout: bool
    """Whether an update waits until pods are ready."""

    def shared(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of a component in the shared namespace that is created after others."""
        return pulumi.ResourceOptions(provider=self.provider, depends_on=[self.namespaces[SHARED_NAMESPACE], *after])


def cluster(settings: Settings, on: KubernetesSettings, database: Database) -> Cluster:
    """Declares the provider and the namespaces with their network policies."""
    aws = database.aws if on.context is None else None
    provider = kubernetes.Provider(
        "kubernetes",
        kubeconfig=eks_kubeconfig(aws.eks) if aws else None,
        context=on.context,
        # Explicit: by default a changed kubeconfig would replace the provider and everything on the cluster.
        cluster_identifier=on.context or on.cluster,
        upsert_existing_objects=True,
        # By default a change would delete and recreate the ConfigMap or Secret that running pods mount.
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
    )
    flows = platform_flows(
        products=settings.products.values(),
        edge_namespace=on.edge_namespace,
        database_cidrs=database.cidrs,
        database_port=database.port,
        dns_cidrs=on.dns_cidrs or (),
        monitoring=settings.monitoring,
        tunnelled=settings.edge.hostnames if settings.edge else (),
    )
    namespaces = {
        name: Namespace(
            name,
            NamespaceArgs(
                namespace=name,
                settings=namespace,
                flows=flows,
                cluster=on.cluster if aws else None,
                protect=settings.protect,
            ),
            pulumi.ResourceOptions(providers=[provider, aws.provider] if aws else [provider]),
        )
        for name, namespace in on.namespaces.items()
    }
    if aws:
        Previewers("previewers", PreviewersArgs(group=PREVIEWERS), pulumi.ResourceOptions(provider=provider))
    return Cluster(provider=provider, namespaces=namespaces, wait_for_rollout=on.wait_for_rollout)

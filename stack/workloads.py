"""The pods of a service whose image the stack names: its migration, then every kind of its pods."""

from collections.abc import Mapping

import pulumi

from components.services.migration import Migration, MigrationArgs
from components.services.resources import ServiceResources
from components.services.workload import Workload, WorkloadArgs, env_checksum
from settings import FRAMEWORKS, Product, ServiceSettings, pods


def workloads(
    product: Product,
    service: ServiceSettings,
    resources: ServiceResources,
    *,
    env: Mapping[str, pulumi.Input[str]],
    ca_pem: pulumi.Input[str] | None,
    provider: pulumi.ProviderResource,
    wait_for_rollout: bool,
) -> None:
    """Declares the Job and the Deployments of one service. All of them are in its namespace."""
    framework = FRAMEWORKS[str(product.framework)]
    after: list[pulumi.Resource] = [resources]
    if service.migration.enabled:
        migration = Migration(
            f"{product.name}-migration",
            MigrationArgs(
                product=product,
                kind=framework.migration,
                settings=service.migration,
                image=service.migration.image or service.image,
                env_secret=resources.env_secret,
                ca=ca_pem is not None,
                wait_for_rollout=wait_for_rollout,
            ),
            pulumi.ResourceOptions(provider=provider, depends_on=after),
        )
        after = [resources, migration]
    checksum = env_checksum(env, ca_pem)
    for group in pods(framework, service):
        Workload(
            f"{product.name}-{group.kind.name}",
            WorkloadArgs(
                product=product,
                pods=group,
                image=service.image,
                env_secret=resources.env_secret,
                checksum=checksum,
                ca=ca_pem is not None,
                priority_class=service.priority_class,
                wait_for_rollout=wait_for_rollout,
            ),
            pulumi.ResourceOptions(provider=provider, depends_on=after),
        )

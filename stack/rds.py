"""RDS and its alarms, in the network of the EKS cluster.

Import this module only where a stack runs on AWS: importing `pulumi_aws` takes seconds.
"""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.database.alarms import DatabaseAlarms, DatabaseAlarmsArgs
from components.database.connection_budget import Budget
from components.database.server import DatabaseServer, DatabaseServerArgs
from components.kubernetes.cluster_facts import ClusterFacts, cluster_facts
from components.secrets.generated import GeneratedSecrets
from settings import ADMIN, DATABASE, PROJECT, OnRds, Settings, admin_secret


@dataclass(frozen=True, kw_only=True, slots=True)
class OnAws:
    """What a stack on RDS has on AWS."""

    provider: aws.Provider
    eks: ClusterFacts
    instance: DatabaseServer


def rds(settings: Settings, on_rds: OnRds, secrets: GeneratedSecrets, budget: Budget) -> OnAws:
    """Declares the instance and its alarms, and looks up the cluster that uses it."""
    account_id = on_rds.aws.account_id
    provider = aws.Provider(
        "aws",
        region=on_rds.aws.region,
        allowed_account_ids=[account_id],
        # The policies read the tier here.
        default_tags={
            "tags": {"project": PROJECT, "stack": settings.stack, "tier": settings.tier, "managed-by": "pulumi"}
        },
    )
    opts = pulumi.ResourceOptions(provider=provider)
    kubernetes = on_rds.kubernetes
    eks = cluster_facts(kubernetes.cluster, on_rds.aws, kubernetes.database_cidrs, provider)
    instance = DatabaseServer(
        "database",
        DatabaseServerArgs(
            settings=on_rds.rds,
            database=DATABASE,
            admin=ADMIN,
            password=secrets.passwords[ADMIN],
            secret_name=admin_secret(settings.stack),
            account_id=account_id,
            vpc_id=eks.vpc_id,
            private_subnet_ids=eks.private_subnet_ids,
            client_security_group_id=eks.security_group_id,
            protect=settings.protect,
        ),
        opts,
    )
    DatabaseAlarms(
        "alarms",
        DatabaseAlarmsArgs(
            settings=on_rds.rds,
            instance=instance.identifier,
            resource_id=instance.resource_id,
            connection_budget=budget.available,
            account_id=account_id,
        ),
        opts,
    )
    return OnAws(provider=provider, eks=eks, instance=instance)

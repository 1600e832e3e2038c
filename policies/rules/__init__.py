"""Every rule of the policy pack: pure functions over the resources in `model`."""

from policies.rules import (
    aws,
    cluster_access,
    database,
    iam,
    media,
    namespaces,
    network,
    protection,
    roles,
    secrets,
    workloads,
)
from policies.rules.model import ResourceRule, StackRule

RESOURCE_RULES: tuple[ResourceRule, ...] = (
    *database.RULES,
    *roles.RULES,
    *media.RULES,
    *workloads.RULES,
    *namespaces.RULES,
    *network.RULES,
    *cluster_access.RULES,
    *aws.RULES,
    *iam.RULES,
    *secrets.RULES,
    *protection.RULES,
)
STACK_RULES: tuple[StackRule, ...] = (
    *roles.STACK_RULES,
    *media.STACK_RULES,
    *namespaces.STACK_RULES,
    *network.STACK_RULES,
    *cluster_access.STACK_RULES,
    *aws.STACK_RULES,
    *protection.STACK_RULES,
)
RULES: tuple[ResourceRule | StackRule, ...] = (*RESOURCE_RULES, *STACK_RULES)

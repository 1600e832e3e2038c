"""Every rule of the policy pack: pure functions over the resources in `model`."""

from policies.rules import aws, cluster_access, database, media, namespaces, protection, roles, workloads
from policies.rules.model import ResourceRule, StackRule

RESOURCE_RULES: tuple[ResourceRule, ...] = (
    *database.RULES,
    *roles.RULES,
    *media.RULES,
    *workloads.RULES,
    *namespaces.RULES,
    *cluster_access.RULES,
    *aws.RULES,
    *protection.RULES,
)
STACK_RULES: tuple[StackRule, ...] = (*media.STACK_RULES, *namespaces.STACK_RULES, *protection.STACK_RULES)
RULES: tuple[ResourceRule | StackRule, ...] = (*RESOURCE_RULES, *STACK_RULES)

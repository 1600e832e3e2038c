"""Every rule of the policy pack: pure functions over the neutral view in `model`."""

from policies.rules import aws, database, kubernetes, media, protection, roles
from policies.rules.model import ResourceRule, StackRule

RESOURCE_RULES: tuple[ResourceRule, ...] = (
    *database.RULES,
    *roles.RULES,
    *media.RULES,
    *kubernetes.RULES,
    *aws.RULES,
    *protection.RULES,
)
STACK_RULES: tuple[StackRule, ...] = (*media.STACK_RULES, *kubernetes.STACK_RULES, *protection.STACK_RULES)
RULES: tuple[ResourceRule | StackRule, ...] = (*RESOURCE_RULES, *STACK_RULES)

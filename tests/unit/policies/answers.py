"""Asks one rule by its name."""

from policies.rules import RULES
from policies.rules.model import Finding, Resource

BY_NAME = {rule.name: rule for rule in RULES}


def answers(name: str, resources: list[Resource]) -> list[Finding]:
    """What the rule finds."""
    return list(BY_NAME[name].findings(resources))

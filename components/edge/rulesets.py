"""What the rulesets of the edge have in common."""

from collections.abc import Sequence

import pulumi

from components.cloudflare_sdk import cloudflare


def hosts(hostnames: Sequence[str]) -> str:
    """The expression that a request is for one of the hostnames."""
    quoted = " ".join(f'"{hostname}"' for hostname in hostnames)
    return f"http.host in {{{quoted}}}"


def zone_ruleset(
    resource_name: str, zone_id: str, phase: str, rule: cloudflare.RulesetRuleArgs, parent: pulumi.Resource
) -> None:
    """Declares the zone's ruleset of a phase, with one rule. A zone has one ruleset per phase."""
    cloudflare.Ruleset(
        resource_name,
        zone_id=zone_id,
        name=f"Edge: {rule.ref}",
        kind="zone",
        phase=phase,
        rules=[rule],
        opts=pulumi.ResourceOptions(parent=parent),
    )

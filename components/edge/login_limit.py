"""How many requests to log in an address may make.

A zone has one ruleset of this phase, so exactly one stack may declare it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.cloudflare_sdk import cloudflare
from components.edge.rulesets import hosts, zone_ruleset

LOGIN_PATH = "/api/users/login"
"""Payload's; its admin pages use it too."""

FREE_SECONDS, SECONDS = 10, 60
"""How long logins are counted, and then refused. Cloudflare's free plan takes no other value than the first:
https://developers.cloudflare.com/waf/rate-limiting-rules/#availability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginLimitArgs:
    """Arguments of `LoginLimit`."""

    zone_id: str
    hostnames: Sequence[str]
    requests: int
    """What an address may make in each of Cloudflare's data centres while they are counted."""
    free: bool
    """Whether the zone is on Cloudflare's free plan."""


class LoginLimit(pulumi.ComponentResource):
    """Refuses an address that makes more requests to log in.

    What it needs depends on the zone's plan. A plan that refuses it stops a deploy, so let it come after all that
    visitors need.
    """

    def __init__(self, name: str, args: LoginLimitArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:LoginLimit", name, {}, opts)
        seconds = FREE_SECONDS if args.free else SECONDS
        # In a rate limit the free plan knows the path alone.
        ours = "" if args.free else f"{hosts(args.hostnames)} and "
        rule = cloudflare.RulesetRuleArgs(
            ref="logins",
            description="Few attempts to log in",
            enabled=True,
            # A path that only begins so costs nothing, and no trailing slash gets around it.
            expression=f'({ours}starts_with(lower(http.request.uri.path), "{LOGIN_PATH}"))',
            action="block",
            ratelimit=cloudflare.RulesetRuleRatelimitArgs(
                # Cloudflare requires the data centre: it counts in each of them.
                characteristics=["cf.colo.id", "ip.src"],
                period=seconds,
                requests_per_period=args.requests,
                mitigation_timeout=seconds,
            ),
        )
        zone_ruleset(f"{name}-ruleset", args.zone_id, "http_ratelimit", rule, self)
        self.register_outputs({})

"""What Cloudflare does with each request for the hostnames: https only, security headers, few logins.

A zone has one ruleset per phase, so exactly one stack may declare them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.cloudflare_sdk import cloudflare
from components.edge.responses import FRAMES, REDIRECT_STATUS, SECURITY_HEADERS

LOGIN_PATH = "/api/users/login"
"""Payload's; its admin pages use it too."""


FREE_SECONDS, SECONDS = 10, 60
"""How long logins are counted, and then refused. Cloudflare's free plan takes no other value than the first:
https://developers.cloudflare.com/waf/rate-limiting-rules/#availability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtectionArgs:
    """Arguments of `Protection`."""

    zone_id: str
    hostnames: Sequence[str]


class Protection(pulumi.ComponentResource):
    """The zone's rulesets for redirects, response headers and rate limits."""

    before_names: Sequence[pulumi.Resource]
    """What must be there before a hostname resolves."""

    def __init__(self, name: str, args: ProtectionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Protection", name, {}, opts)
        self._name = name
        self._zone_id = args.zone_id
        quoted = " ".join(f'"{hostname}"' for hostname in args.hostnames)
        self._ours = f"http.host in {{{quoted}}}"
        self.before_names = (
            self._ruleset("https", "http_request_dynamic_redirect", _redirect(self._ours)),
            self._ruleset("headers", "http_response_headers_transform", _headers(self._ours)),
        )
        self.register_outputs({})

    def limit_logins(self, requests: int, *, free: bool, after: Sequence[pulumi.Resource]) -> None:
        """Refuses an address that makes more requests to log in, in each of Cloudflare's data centres.

        What it needs depends on the zone's plan. A plan that refuses it stops a deploy, so it comes after all that
        visitors need.
        """
        # In a rate limit the free plan knows the path alone.
        ours = "" if free else f"{self._ours} and "
        rule = _limit(ours, requests, FREE_SECONDS if free else SECONDS)
        self._ruleset("logins", "http_ratelimit", rule, after)

    def _ruleset(
        self, name: str, phase: str, rule: cloudflare.RulesetRuleArgs, after: Sequence[pulumi.Resource] = ()
    ) -> cloudflare.Ruleset:
        return cloudflare.Ruleset(
            f"{self._name}-{name}",
            zone_id=self._zone_id,
            name=f"Edge: {name}",
            kind="zone",
            phase=phase,
            rules=[rule],
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )


def _redirect(ours: str) -> cloudflare.RulesetRuleArgs:
    return cloudflare.RulesetRuleArgs(
        ref="https",
        description="Redirect http to https",
        enabled=True,
        expression=f"(not ssl and {ours})",
        action="redirect",
        action_parameters=cloudflare.RulesetRuleActionParametersArgs(
            from_value=cloudflare.RulesetRuleActionParametersFromValueArgs(
                status_code=REDIRECT_STATUS,
                target_url=cloudflare.RulesetRuleActionParametersFromValueTargetUrlArgs(
                    expression='concat("https://", http.host, http.request.uri.path)'
                ),
                preserve_query_string=True,
            )
        ),
    )


def _limit(ours: str, requests: int, seconds: int) -> cloudflare.RulesetRuleArgs:
    return cloudflare.RulesetRuleArgs(
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
            requests_per_period=requests,
            mitigation_timeout=seconds,
        ),
    )


def _headers(ours: str) -> cloudflare.RulesetRuleArgs:
    header = cloudflare.RulesetRuleActionParametersHeadersArgs
    frames, value = FRAMES
    return cloudflare.RulesetRuleArgs(
        ref="headers",
        description="Security headers",
        enabled=True,
        expression=f"({ours})",
        action="rewrite",
        action_parameters=cloudflare.RulesetRuleActionParametersArgs(
            headers={
                **{name: header(operation="set", value=value) for name, value in SECURITY_HEADERS.items()},
                frames: header(operation="add", value=value),
            }
        ),
    )

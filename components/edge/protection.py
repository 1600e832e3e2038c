"""What Cloudflare does with each request for the hostnames: https only, few logins, security headers.

A zone has one ruleset per phase, so exactly one stack may declare them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.cloudflare_sdk import cloudflare

LOGIN_PATH = "/api/users/login"
"""Payload's; its admin pages use it too."""

SECURITY_HEADERS = {
    # One year. Without includeSubDomains: other names of the zone are not this stack's.
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every response, whatever the service set."""
FRAMES = ("Content-Security-Policy", "frame-ancestors 'self'")
"""Added to a policy of the service's own: browsers apply both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtectionArgs:
    """Arguments of `Protection`."""

    zone_id: str
    hostnames: Sequence[str]
    logins_per_minute: int
    """Per address and data centre of Cloudflare's."""


class Protection(pulumi.ComponentResource):
    """The zone's rulesets for redirects, rate limits and response headers, each for the hostnames alone."""

    def __init__(self, name: str, args: ProtectionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Protection", name, {}, opts)
        self._name = name
        self._zone_id = args.zone_id
        quoted = " ".join(f'"{hostname}"' for hostname in args.hostnames)
        ours = f"http.host in {{{quoted}}}"
        self._ruleset("https", "http_request_dynamic_redirect", _redirect(ours))
        self._ruleset("logins", "http_ratelimit", _limit(ours, args.logins_per_minute))
        self._ruleset("headers", "http_response_headers_transform", _headers(ours))
        self.register_outputs({})

    def _ruleset(self, name: str, phase: str, rule: cloudflare.RulesetRuleArgs) -> None:
        cloudflare.Ruleset(
            f"{self._name}-{name}",
            zone_id=self._zone_id,
            name=f"Edge: {name}",
            kind="zone",
            phase=phase,
            rules=[rule],
            opts=pulumi.ResourceOptions(parent=self),
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
                status_code=301,
                target_url=cloudflare.RulesetRuleActionParametersFromValueTargetUrlArgs(
                    expression='concat("https://", http.host, http.request.uri.path)'
                ),
                preserve_query_string=True,
            )
        ),
    )


def _limit(ours: str, logins_per_minute: int) -> cloudflare.RulesetRuleArgs:
    return cloudflare.RulesetRuleArgs(
        ref="logins",
        description="Few attempts to log in",
        enabled=True,
        # A path that only begins so costs nothing, and no trailing slash gets around it.
        expression=f'({ours} and starts_with(lower(http.request.uri.path), "{LOGIN_PATH}"))',
        action="block",
        ratelimit=cloudflare.RulesetRuleRatelimitArgs(
            # Cloudflare requires the data centre: it counts in each of them.
            characteristics=["cf.colo.id", "ip.src"],
            period=60,
            requests_per_period=logins_per_minute,
            mitigation_timeout=60,
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

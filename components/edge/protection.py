"""What Cloudflare does with each request for the hostnames: https only, security headers.

A zone has one ruleset per phase, so exactly one stack may declare them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.cloudflare_sdk import cloudflare
from components.edge.responses import FRAMES, REDIRECT_STATUS, SECURITY_HEADERS
from components.edge.rulesets import hosts, zone_ruleset


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtectionArgs:
    """Arguments of `Protection`."""

    zone_id: str
    hostnames: Sequence[str]


class Protection(pulumi.ComponentResource):
    """The zone's rulesets for redirects and response headers, each for the hostnames alone."""

    def __init__(self, name: str, args: ProtectionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Protection", name, {}, opts)
        ours = hosts(args.hostnames)
        zone_ruleset(f"{name}-https", args.zone_id, "http_request_dynamic_redirect", _redirect(ours), self)
        zone_ruleset(f"{name}-headers", args.zone_id, "http_response_headers_transform", _headers(ours), self)
        self.register_outputs({})


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

"""Cloudflare Access in front of the services' `/admin`: only people that the stack names get as far as its login."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.cloudflare_sdk import cloudflare
from components.edge.responses import ADMIN_PATH

SESSION = "24h"
"""How long a browser stays admitted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessArgs:
    """Arguments of `Access`."""

    account_id: str
    hostnames: Sequence[str]
    admins: Sequence[str]
    """E-mail addresses, and domains that stand for every address in them."""

    def __post_init__(self) -> None:
        if not self.admins:
            raise pulumi.InputPropertyError("admins", "is empty: nobody could reach /admin")


class Access(pulumi.ComponentResource):
    """One policy with the people, and an application for each hostname that applies it."""

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Access", name, {}, opts)
        policy = cloudflare.ZeroTrustAccessPolicy(
            f"{name}-admins",
            account_id=args.account_id,
            name=f"Administrators of {', '.join(args.hostnames)}",
            decision="allow",
            includes=[_person(admin) for admin in args.admins],
            opts=pulumi.ResourceOptions(parent=self),
        )
        for hostname in args.hostnames:
            cloudflare.ZeroTrustAccessApplication(
                f"{name}-{hostname}",
                account_id=args.account_id,
                name=f"{hostname}/{ADMIN_PATH}",
                type="self_hosted",
                domain=f"{hostname}/{ADMIN_PATH}",
                session_duration=SESSION,
                policies=[cloudflare.ZeroTrustAccessApplicationPolicyArgs(id=policy.id, precedence=1)],
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})


def _person(admin: str) -> cloudflare.ZeroTrustAccessPolicyIncludeArgs:
    if "@" in admin:
        return cloudflare.ZeroTrustAccessPolicyIncludeArgs(
            email=cloudflare.ZeroTrustAccessPolicyIncludeEmailArgs(email=admin)
        )
    return cloudflare.ZeroTrustAccessPolicyIncludeArgs(
        email_domain=cloudflare.ZeroTrustAccessPolicyIncludeEmailDomainArgs(domain=admin)
    )

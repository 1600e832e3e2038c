"""The Cloudflare Tunnel: connections from the cluster to Cloudflare, through which requests for the hostnames arrive.

Import this module only where the stack has an edge: Cloudflare's SDK is a large one.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.cloudflare_sdk import cloudflare

SECRET_LENGTH = 43
"""Letters and digits, 256 bits. Cloudflare asks for 32 bytes or more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TunnelArgs:
    """Arguments of `Tunnel`."""

    account_id: str
    zone_id: str
    tunnel: str
    """The tunnel's name in the account."""
    origins: Mapping[str, str]
    """By hostname, the URL of its service inside the cluster."""
    rotation: int
    """Rotation counter of the tunnel's secret."""


class Tunnel(pulumi.ComponentResource):
    """The tunnel with its secret, its routes, and the DNS records that lead to it."""

    tunnel_id: pulumi.Output[str]
    token: pulumi.Output[str]
    """Secret: who has it receives the hostnames' requests."""

    def __init__(self, name: str, args: TunnelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:edge:Tunnel", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        generated = random.RandomPassword(
            # Not RandomBytes: their id is their value, and an id is plain text in the state.
            f"{name}-secret",
            length=SECRET_LENGTH,
            special=False,
            keepers={"rotation": str(args.rotation)},
            opts=child,
        )
        secret = generated.result.apply(lambda text: base64.b64encode(text.encode()).decode())
        tunnel = cloudflare.ZeroTrustTunnelCloudflared(
            f"{name}-tunnel",
            account_id=args.account_id,
            name=args.tunnel,
            config_src="cloudflare",
            tunnel_secret=secret,
            opts=child,
        )
        ingress = [
            cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressArgs(hostname=hostname, service=origin)
            for hostname, origin in args.origins.items()
        ]
        config = cloudflare.ZeroTrustTunnelCloudflaredConfig(
            f"{name}-config",
            account_id=args.account_id,
            tunnel_id=tunnel.id,
            config=cloudflare.ZeroTrustTunnelCloudflaredConfigConfigArgs(
                # Cloudflare wants a last rule without a hostname.
                ingresses=[
                    *ingress,
                    cloudflare.ZeroTrustTunnelCloudflaredConfigConfigIngressArgs(service="http_status:404"),
                ]
            ),
            opts=child,
        )
        for hostname in args.origins:
            cloudflare.DnsRecord(
                f"{name}-{hostname}",
                zone_id=args.zone_id,
                name=hostname,
                type="CNAME",
                content=pulumi.Output.concat(tunnel.id, ".cfargotunnel.com"),
                proxied=True,
                # Automatic: a proxied record has no other.
                ttl=1,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[config]),
            )
        self.tunnel_id = tunnel.id
        # As Cloudflare composes it. Asking Cloudflare for it would give the old one while a rotation is under way.
        self.token = pulumi.Output.secret(
            pulumi.Output.all(a=args.account_id, t=tunnel.id, s=secret).apply(
                lambda parts: base64.b64encode(json.dumps(parts).encode()).decode()
            )
        )
        self.register_outputs({"tunnel_id": self.tunnel_id, "token": self.token})

"""The way in from the internet: what guards the hostnames, then the tunnel, then its end in the cluster."""

import pulumi

from components.edge.access import Access, AccessArgs
from components.edge.cloudflared import Cloudflared, CloudflaredArgs
from components.edge.login_limit import LoginLimit, LoginLimitArgs
from components.edge.protection import Protection, ProtectionArgs
from components.edge.tunnel import Tunnel, TunnelArgs
from components.kubernetes.network_flows import SHARED_NAMESPACE
from settings import FRAMEWORKS, PROJECT, TUNNEL_SECRET, EdgeSettings, MediaSettings, Product, Settings
from stack.cluster import Cluster


def edge(settings: Settings, section: EdgeSettings, media: MediaSettings, cluster: Cluster) -> None:
    """Declares the edge of the hostnames in `section`, in the account and zone of `media`."""
    hostnames = tuple(section.hostnames.values())
    guards: list[pulumi.Resource] = []
    if section.admins:
        guards.append(
            Access("edge-access", AccessArgs(account_id=media.account_id, hostnames=hostnames, admins=section.admins))
        )
    if media.zone_singletons:
        guards.append(Protection("edge-protection", ProtectionArgs(zone_id=media.zone_id, hostnames=hostnames)))
    tunnel = Tunnel(
        "edge-tunnel",
        TunnelArgs(
            account_id=media.account_id,
            zone_id=media.zone_id,
            tunnel=f"{PROJECT}-{settings.stack}",
            origins={name: _origin(settings.products[product]) for product, name in section.hostnames.items()},
            rotation=settings.rotations.get(TUNNEL_SECRET, 0),
        ),
        # No hostname resolves before it is guarded.
        pulumi.ResourceOptions(depends_on=guards),
    )
    pods = Cloudflared(
        "edge-cloudflared",
        CloudflaredArgs(
            namespace=SHARED_NAMESPACE,
            image=section.image,
            replicas=section.replicas,
            tunnel_id=tunnel.tunnel_id,
            token=tunnel.token,
            rotations=settings.rotations,
            wait_for_rollout=cluster.wait_for_rollout,
        ),
        cluster.shared(tunnel),
    )
    if media.zone_singletons:
        limit = LoginLimitArgs(
            zone_id=media.zone_id, hostnames=hostnames, requests=section.login_limit, free=section.plan == "free"
        )
        # Last: a plan that refuses it stops the deploy.
        LoginLimit("edge-login-limit", limit, pulumi.ResourceOptions(depends_on=[tunnel, pods]))


def _origin(product: Product) -> str:
    """URL of the product's service inside the cluster."""
    serving = FRAMEWORKS[str(product.framework)].serving
    return f"http://{serving.name}.{product.namespace}:{serving.port}"

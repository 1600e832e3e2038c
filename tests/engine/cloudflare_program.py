"""The Cloudflare half of the platform: a Pulumi program of its own, which a test copies beside its settings."""

import json
from pathlib import Path

import pulumi

from components.edge.access import Access, AccessArgs
from components.edge.login_limit import LoginLimit, LoginLimitArgs
from components.edge.protection import Protection, ProtectionArgs
from components.edge.tunnel import Tunnel, TunnelArgs
from components.media import Media, MediaArgs
from settings import MediaSettings

given = json.loads(Path(__file__).with_name("given.json").read_text())
if "media" in given:
    media = Media(
        "media", MediaArgs(settings=MediaSettings.model_validate_json(json.dumps(given["media"])), protect=True)
    )
    pulumi.export("secret_access_key", media.secret_access_key)
if "edge" in given:
    edge = given["edge"]
    account, zone = edge["account"], edge["zone"]
    Access("access", AccessArgs(account_id=account, hostnames=edge["hostnames"], admins=edge["admins"]))
    Protection("protection", ProtectionArgs(zone_id=zone, hostnames=edge["hostnames"]))
    limit = LoginLimitArgs(zone_id=zone, hostnames=edge["hostnames"], requests=edge["logins"], free=True)
    LoginLimit("login-limit", limit)
    tunnel = Tunnel(
        "tunnel",
        TunnelArgs(
            account_id=account,
            zone_id=zone,
            tunnel="lightwave-prod",
            origins=dict.fromkeys(edge["hostnames"], "http://payload.payload-cms:3000"),
            rotation=edge["rotation"],
        ),
    )
    pulumi.export("token", tunnel.token)

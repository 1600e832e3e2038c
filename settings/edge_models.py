"""The way in from the internet, as frozen, typed values: the section `edge`.

The docstrings are the meanings in docs/configuration.md (`.venv/bin/python -m settings.reference`).
"""

from typing import Annotated, Literal

from pydantic import Field

from settings import values
from settings.models import Section


class EdgeSettings(Section):
    """A Cloudflare Tunnel to the services, in the account and zone of `media`; none without this section."""

    hostnames: dict[values.SqlName, values.Domain]
    """By product, the name under which its service is reached: `media.zone`, or one label below it, which is what
    Cloudflare's certificate covers."""
    image: values.ImageDigest | None = None
    """cloudflared's image; required."""
    replicas: Annotated[int, Field(ge=2, le=10)] = 2
    """Number of cloudflared's pods; each holds four connections to Cloudflare. With one, each moved pod would be an
    outage."""
    admins: tuple[values.Admin, ...] = ()
    """Who passes Cloudflare Access in front of `/admin`; without any, the services' own login alone guards it."""
    plan: Literal["free", "pro", "business", "enterprise"] = "free"
    """Cloudflare's plan of the zone. On free, the limit on logins counts for 10 seconds, and on every hostname of the
    zone; on the others for a minute, and on `hostnames` alone."""
    login_limit: Annotated[int, Field(ge=1, le=1000)] = 5
    """Requests to `/api/users/login` that one address may make in the time that `plan` allows for; more are refused for
    as long. Goes with `media.zoneSingletons`, as the security headers and the redirect to https do."""

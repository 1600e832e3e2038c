"""The way in from the internet, as frozen, typed values: the section `edge`.

The docstrings are the meanings in docs/configuration.md (`.venv/bin/python -m settings.reference`).
"""

from typing import Annotated

from pydantic import Field

from settings import values
from settings.models import Section


class EdgeSettings(Section):
    """A Cloudflare Tunnel to the services, in the account and zone of `media`; none without this section."""

    hostnames: dict[values.SqlName, values.Domain]
    """By product, the name under which its service is reached: in `media.zone`, and with Cloudflare's free certificate
    at most one label below it."""
    image: values.ImageDigest | None = None
    """cloudflared's image; required."""
    replicas: Annotated[int, Field(ge=1, le=10)] = 2
    """Number of cloudflared's pods; each holds four connections to Cloudflare."""
    admins: tuple[values.Admin, ...] = ()
    """Who passes Cloudflare Access in front of `/admin`; without any, the services' own login alone guards it."""
    logins_per_minute: Annotated[int, Field(ge=1, le=1000)] = 10
    """Requests to `/api/users/login` that one address may make per minute; more are refused for a minute. Goes with
    `media.zoneSingletons`, as the security headers and the redirect to https do."""

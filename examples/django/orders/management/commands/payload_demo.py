"""Shows that Django can query Payload: `manage.py payload_demo`."""

import asyncio
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError

from lightwave.payload import PayloadCMSClient


class Command(BaseCommand):
    """Reads the latest published posts from Payload."""

    help = "Read the latest published posts from Payload's REST API."

    def handle(self, *_: Any, **__: Any) -> None:
        """Prints one line. Raises CommandError where Payload gives no good answer."""
        client = PayloadCMSClient()
        try:
            posts = asyncio.run(client.get_latest_posts(limit=3))
        except httpx.HTTPError as error:
            raise CommandError(f"{client.base_url} gives no good answer: {error}") from error
        self.stdout.write(f"{len(posts)} published posts read from {client.base_url}")

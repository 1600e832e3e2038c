"""The client of Payload's REST API: published content only, with timeouts, retries and a cache."""

from typing import Any

import httpx
from django.conf import settings
from django.core.cache import cache
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

TIMEOUT = httpx.Timeout(5.0, connect=2.0)
"""Seconds; Payload answers a warm request in well under one."""
ATTEMPTS = 4
CACHE_SECONDS = 60

_PUBLISHED = {"where[_status][equals]": "published"}


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError)


class PayloadCMSClient:
    """Reads published content from Payload as an unauthenticated client.

    Raises `httpx.HTTPError` when Payload gives no good answer in `ATTEMPTS` attempts.
    """

    def __init__(self, base_url: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.base_url = (base_url or settings.PAYLOAD_API_URL).rstrip("/")
        self._transport = transport

    async def get_page_by_slug(self, slug: str) -> dict[str, Any] | None:
        """The published page with this slug, its relations populated; None where there is none."""
        params = {"where[slug][equals]": slug, **_PUBLISHED, "depth": 2, "limit": 1}
        documents = (await self._get("/pages", params))["docs"]
        return documents[0] if documents else None

    async def get_latest_posts(self, limit: int = 10) -> list[dict[str, Any]]:
        """The latest published posts, newest first."""
        params = {**_PUBLISHED, "sort": "-publishedAt", "limit": limit, "depth": 2}
        documents: list[dict[str, Any]] = (await self._get("/posts", params))["docs"]
        return documents

    async def get_media_by_id(self, media_id: str) -> dict[str, Any] | None:
        """Metadata and CDN addresses of a media item; None where there is none."""
        try:
            return await self._get(f"/media/{media_id}", {})
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    async def _get(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        key = f"payload:{path}?{httpx.QueryParams(params)}"
        found: dict[str, Any] | None = await cache.aget(key)
        if found is not None:
            return found
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception(_is_transient),
            reraise=True,
        ):
            with attempt:
                async with httpx.AsyncClient(timeout=TIMEOUT, transport=self._transport) as client:
                    response = await client.get(f"{self.base_url}{path}", params=params)
                response.raise_for_status()
                found = response.json()
        assert found is not None
        await cache.aset(key, found, CACHE_SECONDS)
        return found

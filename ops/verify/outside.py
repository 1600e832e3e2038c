"""What a stack's visitors see, asked from this machine: names, certificates, redirects, headers, media, Payload's REST.

It needs neither a password nor the cluster, and goes through no proxy, which would answer in the edge's place.
"""

import math
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urljoin

import httpx

from components.edge.responses import ADMIN_PATH, FRAMES, REDIRECT_STATUS, SECURITY_HEADERS
from ops.check import Check, check
from settings import MediaSettings, Settings
from settings.problems import OperatorError, Problem

TIMEOUT_SECONDS = 10
CERTIFICATE_DAYS = 14
"""The fewest left. Cloudflare renews its certificates 30 days before they end, so below this a renewal has failed."""
FIRST_BYTE_MS = 100
"""The seed's "sub-100ms delivery times": the 95th percentile's bound, on a connection that is open already."""
REQUESTS = 20
"""Requests for the time to first byte."""
CACHE_ATTEMPTS = 3
"""Requests after which a media object must come from the cache: the first ones may bring it there."""
ACCESS = ".cloudflareaccess.com"
"""Where Cloudflare Access asks who somebody is, below the name of the account's team."""

_CERTIFICATES = "Cloudflare's dashboard, SSL/TLS > Edge Certificates, says what the certificate of the name waits for"
_RUNBOOK = "docs/runbooks/edge.md"


def look(settings: Settings) -> list[Check]:
    """Every check that the stack's `edge` and `media` allow; none without these sections."""
    if settings.media is None:
        return []
    tls = httpx.create_ssl_context()
    headers = {"user-agent": "lightwave-verify"}
    with httpx.Client(verify=tls, trust_env=False, timeout=TIMEOUT_SECONDS, headers=headers) as client:
        return _Visitor(settings, settings.media, client, tls).look()


class _Visitor:
    """Makes the checks in order; one that depends on a failed one is skipped."""

    def __init__(self, settings: Settings, media: MediaSettings, client: httpx.Client, tls: ssl.SSLContext) -> None:
        self._settings = settings
        self._media = media
        self._client = client
        self._tls = tls
        self._made: list[Check] = []
        self._media_url = ""
        self._drift = f"make drift STACK={settings.stack} shows what differs from what is declared"

    def look(self) -> list[Check]:
        edge = self._settings.edge
        media = None
        for product, name in edge.hostnames.items() if edge else ():
            resolved, trusted = self._reached(name)
            if self._media.zone_singletons:
                self._add(f"redirect {name}", partial(self._redirect, name), resolved)
                self._add(f"headers {name}", partial(self._headers, name), trusted)
            if edge and edge.admins:
                self._add(f"admin {name}", partial(self._admin, name), trusted)
            if self._settings.products[product].framework == "payload":
                rest = self._add(f"REST {name}", partial(self._rest, name), trusted)
                media = self._add(f"media {name}", partial(self._object, name), rest)
        domain = self._media.domain
        _, trusted = self._reached(domain)
        if media is None:
            self._skip(f"cache {domain}", "a hostname of Payload's, which names a media object")
        elif self._media.zone_singletons and (self._media_url or not media.ok):  # the cache's rules are the zone's
            cached = self._add(f"cache {domain}", self._cache, media, trusted)
            self._add(f"first byte {domain}", self._first_byte, cached)
        return self._made

    def _reached(self, name: str) -> tuple[Check, Check]:
        """Whether the name resolves, and whether it shows a certificate that this machine trusts."""
        resolved = self._add(f"DNS {name}", partial(self._resolve, name))
        trusted = self._add(f"TLS {name}", partial(self._handshake, name), resolved)
        self._add(f"certificate {name}", partial(self._days_left, name), trusted)
        return resolved, trusted

    def _add(self, name: str, find: Callable[[], str], *needed: Check) -> Check:
        for other in needed:
            if not other.ok:
                return self._skip(name, other.name)
        self._made.append(check(name)(find)())
        return self._made[-1]

    def _skip(self, name: str, needed: str) -> Check:
        self._made.append(Check(name=name, detail=f"depends on: {needed}", skipped=True))
        return self._made[-1]

    # --- each hostname ------------------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> str:
        try:
            found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _wrong(
                f"{name} does not resolve ({error.strerror})",
                "an address",
                f"make deploy STACK={self._settings.stack} makes the record; others know of it some minutes later",
            ) from error
        return ", ".join(dict.fromkeys(str(address[0]) for *_, address in found))

    def _certificate(self, name: str) -> dict[str, Any]:
        with (
            socket.create_connection((name, 443), TIMEOUT_SECONDS) as connection,
            self._tls.wrap_socket(connection, server_hostname=name) as wrapped,
        ):
            return dict(wrapped.getpeercert() or {})

    def _handshake(self, name: str) -> str:
        try:
            issuer = {key: value for part in self._certificate(name)["issuer"] for key, value in part}
        except ssl.SSLCertVerificationError as error:
            what = f"the certificate of {name} is not trusted: {error.verify_message}"
            raise _wrong(what, "one for this name, of a known CA", _CERTIFICATES) from error
        except OSError as error:
            raise _wrong(f"{name} does not answer on port 443: {error}", "a TLS server", _RUNBOOK) from error
        return f"issued by {issuer.get('organizationName') or issuer.get('commonName')}"

    def _days_left(self, name: str) -> str:
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(self._certificate(name)["notAfter"]), UTC)
        days = (ends - datetime.now(UTC)).days
        if days < CERTIFICATE_DAYS:
            raise _wrong(
                f"the certificate of {name} ends in {days} days, on {ends:%Y-%m-%d}",
                f"{CERTIFICATE_DAYS} days or more",
                _CERTIFICATES,
            )
        return f"{days} days left"

    def _redirect(self, name: str) -> str:
        path = "/any/path?and=query"
        response = self._get(f"http://{name}{path}")
        seen = f"{response.status_code} to {response.headers.get('location', 'nowhere')}"
        expected = f"{REDIRECT_STATUS} to https://{name}{path}"
        if seen != expected:
            raise _wrong(f"http://{name} answers {seen}", expected, self._drift)
        return seen

    def _headers(self, name: str) -> str:
        found = self._get(f"https://{name}/").headers
        wrong = [(header, value) for header, value in SECURITY_HEADERS.items() if found.get(header) != value]
        if FRAMES[1] not in found.get(FRAMES[0], ""):
            wrong.append(FRAMES)
        if wrong:
            raise OperatorError(
                Problem(
                    what=f"{header} of https://{name}/ is {found.get(header, 'missing')}",
                    expected=value,
                    fix=self._drift,
                )
                for header, value in wrong
            )
        return f"all {len(SECURITY_HEADERS) + 1} security headers"

    def _admin(self, name: str) -> str:
        response = self._get(f"https://{name}/{ADMIN_PATH}")
        to = response.headers.get("location", "")
        if not (response.is_redirect and httpx.URL(to).host.endswith(ACCESS)):
            seen = f"{response.status_code}{f' to {to}' if to else ''}"
            raise _wrong(f"https://{name}/{ADMIN_PATH} answers {seen}", f"a redirect to *{ACCESS}", self._drift)
        return f"{response.status_code} to {httpx.URL(to).host}"

    # --- Payload and its media ----------------------------------------------------------------------------------------

    def _rest(self, name: str) -> str:
        return f"/api/pages answers with {len(self._documents(f'https://{name}/api/pages?limit=1'))} of its pages"

    def _documents(self, url: str) -> list[dict[str, Any]]:
        response = self._get(url)
        expected = "200 with JSON and docs"
        if response.status_code != 200:
            raise _wrong(f"{url} answers {response.status_code}", expected, _RUNBOOK)
        try:
            return [dict(document) for document in response.json()["docs"]]
        except (ValueError, KeyError, TypeError) as error:
            kind = response.headers.get("content-type", "no content type")
            raise _wrong(f"{url} answers 200 with {kind} without docs", expected, _RUNBOOK) from error

    def _object(self, name: str) -> str:
        documents = self._documents(f"https://{name}/api/media?limit=1")
        if not documents:
            return "Payload has no media: cache and time to first byte are not checked"
        url = urljoin(f"https://{name}", str(documents[0].get("url")))
        if httpx.URL(url).host != self._media.domain:
            raise _wrong(
                f"Payload names {url} as a media object's URL",
                f"one of https://{self._media.domain}",
                "set generateFileURL of Payload's S3 storage plugin as docs/services.md says",
            )
        self._media_url = url
        return url

    def _cache(self) -> str:
        seen = ""
        for _ in range(CACHE_ATTEMPTS):
            response = self._get(self._media_url)
            seen = f"{response.status_code}, cf-cache-status {response.headers.get('cf-cache-status', 'missing')}"
            if seen == "200, cf-cache-status HIT":
                return seen
        raise _wrong(
            f"{self._media_url} answers {seen} after {CACHE_ATTEMPTS} requests", "200, cf-cache-status HIT", self._drift
        )

    def _first_byte(self) -> str:
        times = []
        for _ in range(REQUESTS):
            started = time.perf_counter()
            with self._client.stream("GET", self._media_url) as response:
                took = (time.perf_counter() - started) * 1000
                response.read()
            if response.headers.get("cf-cache-status") == "HIT":
                times.append(took)
        if not times:
            raise _wrong("no request was answered from the cache", "cf-cache-status HIT", self._drift)
        p95 = percentile(times, 95)
        seen = f"p95 of {len(times)} requests from the cache is {p95:.0f} ms"
        if p95 >= FIRST_BYTE_MS:
            fix = "verify from another network: if it is slow there too, look at https://www.cloudflarestatus.com"
            raise _wrong(f"time to first byte: {seen}", f"below {FIRST_BYTE_MS} ms", fix)
        return seen

    def _get(self, url: str) -> httpx.Response:
        try:
            return self._client.get(url)
        except httpx.HTTPError as error:
            raise _wrong(f"{url} does not answer: {error or type(error).__name__}", "an answer", _RUNBOOK) from error


def percentile(values: list[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def _wrong(what: str, expected: str, fix: str) -> OperatorError:
    return OperatorError(Problem(what=what, expected=expected, fix=fix))

"""What a slow upload costs inside Payload's transaction, with the stack's own limit and with one that is too low."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.clients.conftest import Service, first_user, migrated_payload, served_payload, through
from tests.clients.proxy import Proxy, proxied
from tests.clients.test_payload import image
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

UPLOAD_SECONDS = 65
"""Longer than the 60 s at which PostgreSQL once ended Payload's session."""

LOW_LIMIT_SECONDS = 3


def create(client: httpx.Client, name: str) -> httpx.Response:
    files = {"file": (name, image(64, 64), "image/jpeg")}
    return client.post("/media", files=files, data={"_payload": '{"alt": "slow"}'})


def slow_store(payload: Service, seconds: float) -> AbstractContextManager[Proxy]:
    port = urlsplit(payload.env["S3_ENDPOINT"]).port
    assert port is not None
    return proxied(port, delays={b"PUT /lightwave-media/slow.jpg": seconds})


def found(client: httpx.Client, name: str) -> int:
    count: int = client.get("/media", params={"where[filename][equals]": name}).json()["totalDocs"]
    return count


def test_an_upload_of_65_seconds_is_kept(payload: Service, editor: httpx.Client, tmp_path: Path) -> None:
    with (
        slow_store(payload, UPLOAD_SECONDS) as store,
        served_payload(payload, tmp_path / "log", S3_ENDPOINT=f"http://127.0.0.1:{store.port}") as (url, _),
        httpx.Client(base_url=f"{url}/api", headers=editor.headers, timeout=120) as client,
    ):
        began = time.monotonic()
        created = create(client, "slow.jpg")
        assert created.status_code == 201, created.text
        assert time.monotonic() - began > UPLOAD_SECONDS
        assert found(client, "slow.jpg") == 1


@pytest.fixture
def strict() -> Iterator[Platform]:
    """A platform whose config gives Payload's transactions a few seconds."""
    products = {
        "payload": {
            "framework": "payload",
            "service": "website",
            "idleInTransactionTimeoutMs": LOW_LIMIT_SECONDS * 1000,
        },
        "django": {"framework": "django", "service": "api"},
    }
    with built_platform({"lightwave:products": products}, extras=True) as built:
        yield built


COMMIT = b"Q\0\0\0\x0bcommit\0"
"""As node-postgres sends what drizzle writes."""


def test_what_takes_longer_than_the_limit_is_an_error_and_no_silent_loss(strict: Platform, tmp_path: Path) -> None:
    payload, log, seconds = migrated_payload(strict), tmp_path / "log", 2.0 * LOW_LIMIT_SECONDS
    database = strict.running.pgbouncer_port
    with (
        slow_store(payload, seconds) as store,
        proxied(database) as slow_pooler,
        served_payload(
            payload,
            log,
            S3_ENDPOINT=f"http://127.0.0.1:{store.port}",
            DATABASE_URI=through(payload.env["DATABASE_URI"], database, slow_pooler.port),
        ) as (url, process),
        first_user(url) as client,
    ):
        # A slow upload: Payload reads the row again after it.
        assert create(client, "slow.jpg").status_code == 500
        assert found(client, "slow.jpg") == 0, "the limit did not end the transaction"
        # A slow hook, the last step before COMMIT.
        slow_pooler.delays[COMMIT] = seconds
        page = client.post("/pages", json={"title": "Lost"})
        assert not slow_pooler.delays, "no COMMIT was delayed"
        assert client.get("/pages", params={"where[slug][equals]": "lost"}).json()["totalDocs"] == 0
        assert page.status_code == 500, page.text
        # The process serves on.
        assert process.poll() is None, log.read_text()
        assert create(client, "next.jpg").status_code == 201

"""The real Django and Celery on the platform: the pooler under concurrent requests, Valkey, Payload's client."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from ops.dev import ports
from settings import FRAMEWORKS, HOST
from tests.clients.conftest import Service, answers, created

_WORKER = (".venv/bin/python", "-m", "celery", "-A", "lightwave", "worker", "--loglevel", "info", "--concurrency", "2")


@pytest.fixture(scope="module")
def api(django: Service, payload_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Django's API behind gunicorn with a Celery worker beside it."""
    logs, port = tmp_path_factory.mktemp("django"), ports.free_port()
    overrides = {"PAYLOAD_API_URL": f"{payload_url}/api"}
    server = (
        ".venv/bin/python",
        "-m",
        "gunicorn",
        "--bind",
        f"{HOST}:{port}",
        "--threads",
        "8",
        "--no-control-socket",
        "lightwave.wsgi",
    )
    with (
        django.running(server, logs / "api", **overrides) as process,
        django.running(_WORKER, logs / "worker", **overrides),
        httpx.Client(base_url=f"http://{HOST}:{port}", timeout=60) as client,
    ):
        answers(f"http://{HOST}:{port}/healthz", process, logs / "api")
        yield client


def test_fifty_concurrent_requests_through_the_pooler(api: httpx.Client) -> None:
    def order(number: int) -> int:
        response = api.post("/api/orders", json={"page": f"page-{number}", "quantity": number})
        assert response.status_code == 201, response.text
        found: int = response.json()["id"]
        return found

    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(order, range(1, 51)))
    assert len(set(ids)) == 50
    assert len(api.get("/api/orders").json()["orders"]) == 50


def test_a_celery_task_runs_through_valkey(api: httpx.Client) -> None:
    order = api.post("/api/orders", json={"page": "celery"}).json()
    deadline = time.monotonic() + 60
    while not api.get(f"/api/orders/{order['id']}").json()["confirmed"]:
        assert time.monotonic() < deadline, "the worker did not confirm the order"
        time.sleep(0.2)


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_celery_writes_the_file_that_its_probe_looks_for(django: Service, tmp_path: Path, name: str) -> None:
    framework = FRAMEWORKS["django"]
    kind = framework.worker if name == "worker" else framework.beat
    assert kind
    # The pod's command, with its /tmp where the test looks.
    command = [word.replace("/tmp/", f"{tmp_path}/") for word in kind.command]  # noqa: S108 (in the container)
    with django.running([".venv/bin/python", "-m", *command], tmp_path / "log", TMPDIR=str(tmp_path)) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(kind.alive_file)):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)


def test_payloads_client_reads_what_is_published(api: httpx.Client, editor: httpx.Client) -> None:
    created(editor, "/pages", json={"title": "Home of Django", "_status": "published"})
    created(editor, "/pages", json={"title": "Secret of Django", "_status": "draft"})
    found = api.get("/api/pages/home-of-django")
    assert (found.status_code, found.json()["title"]) == (200, "Home of Django")
    assert api.get("/api/pages/secret-of-django").status_code == 404
    created(editor, "/posts", json={"title": "News of Django", "_status": "published"})
    assert "News of Django" in {post["title"] for post in api.get("/api/posts").json()["posts"]}


def test_djangos_login_reaches_no_other_schema(django: Service, payload: Service) -> None:
    assert "payload_user" in payload.env["DATABASE_URI"]
    with (
        psycopg.connect(django.env["DATABASE_URL"], prepare_threshold=None) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM payload.users")

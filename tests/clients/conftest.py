"""The example services, for real: built, migrated and served before a platform of the test process's own."""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops.dev import env as env_files
from ops.dev import ports, test_database
from ops.dev.model import LocalStack
from settings import HOST
from tests.clients import builds
from tests.integration.built import built_platform
from tests.integration.conftest import Platform
from tests.required import not_here

_START_SECONDS = 60
_SERVER = ("node", ".next/standalone/server.js")


@dataclass(kw_only=True, slots=True)
class Service:
    """An example service, its environment that of the env file which `make env` writes."""

    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str, **overrides: str) -> str:
        """Runs a command of the service and gives what it printed; fails where it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(overrides),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def fails(self, *command: str, **overrides: str) -> str:
        """Runs a command that fails, and gives what it printed."""
        with pytest.raises(AssertionError) as failed:
            self.run(*command, **overrides)
        return str(failed.value)

    def environment(self, overrides: Mapping[str, str]) -> dict[str, str]:
        """The env file's variables beside what any program needs."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, **self.env, **overrides}

    @contextmanager
    def running(self, command: Sequence[str], log: Path, **overrides: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command in the background; killed afterwards where it still runs."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(overrides),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)


def answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the URL answers; fails with the log where the process ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def service(platform: Platform, name: str, folder: Path) -> Service:
    entries = env_files.for_local(platform.settings, platform.settings.products[name], platform.running.extras)
    return Service(folder=folder, env={entry.name: str(entry.value) for entry in entries})


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """PostgreSQL with every schema and role of the dev stack, its pooler, Valkey and the S3 store."""
    for program in ("node", "npm", "go", "redis-server"):
        if shutil.which(program) is None and not (program == "redis-server" and shutil.which("valkey-server")):
            not_here(f"{program} is not on this machine", "REQUIRE_CLIENTS")
    with built_platform(extras=True) as built:
        test_database.make(LocalStack.of(built.settings, built.directory))
        yield built


@pytest.fixture(scope="session")
def payload(platform: Platform) -> Service:
    """Payload, migrated on the direct URL."""
    return migrated_payload(platform)


def migrated_payload(platform: Platform) -> Service:
    """The same on any platform."""
    payload = service(platform, "payload", builds.payload())
    output = payload.run("node", "migrate.mjs")
    assert "Migrated:" in output, output
    return payload


def payload_command(service: Service, *arguments: str, **overrides: str) -> str:
    """Runs Payload's command line and gives its output."""
    return service.run(*builds.PAYLOAD_COMMAND, *arguments, **overrides)


@pytest.fixture(scope="session")
def payload_url(payload: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Payload's server answers."""
    with served_payload(payload, tmp_path_factory.mktemp("payload") / "log") as (url, _):
        yield url


@contextmanager
def served_payload(
    payload: Service, log: Path, command: Sequence[str] = _SERVER, **overrides: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of Payload: its URL and its process."""
    port = ports.free_port()
    given = {"PORT": str(port), "HOSTNAME": HOST, "NODE_ENV": "production", **overrides}
    with payload.running(command, log, **given) as process:
        answers(f"http://{HOST}:{port}/healthz", process, log)
        yield f"http://{HOST}:{port}", process


@pytest.fixture(scope="session")
def editor(payload_url: str) -> Iterator[httpx.Client]:
    """A client of Payload's API, logged in as the first user, an editor."""
    with first_user(payload_url) as client:
        yield client


@contextmanager
def first_user(payload_url: str, *, timeout: float = 60) -> Iterator[httpx.Client]:
    """A client that registers and logs in on a Payload without users."""
    account = {"email": "editor@example.com", "password": "a-password-for-tests", "name": "Ada Editor"}
    with httpx.Client(base_url=f"{payload_url}/api", timeout=timeout) as client:
        client.post("/users/first-register", json=account).raise_for_status()
        login = client.post("/users/login", json=account).raise_for_status().json()
        client.headers["Authorization"] = f"JWT {login['token']}"
        yield client


@pytest.fixture(scope="session")
def public(payload_url: str) -> Iterator[httpx.Client]:
    """The same without a login."""
    with httpx.Client(base_url=f"{payload_url}/api", timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def django(platform: Platform) -> Service:
    """Django, migrated on the direct URL."""
    django = service(platform, "django", builds.django())
    django.run(".venv/bin/python", "manage.py", "migrate", DATABASE_URL=django.env["DATABASE_URL_DIRECT"])
    return django


def through(url: str, port: int, proxy: int) -> str:
    """The URL with the proxy's port in place of the server's."""
    assert f":{port}/" in url
    return url.replace(f":{port}/", f":{proxy}/")


def created(client: httpx.Client, path: str, **request: Any) -> dict[str, Any]:
    """The document that a request created."""
    response = client.post(path, **request)
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.json()["doc"]
    return document

"""Valkey and the S3 store (versitygw) of a local stack, run natively; local/s3.sh is what compose.yaml runs too."""

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ops.dev import env as env_files
from ops.dev import extras as beside
from ops.dev import packages, servers
from ops.dev.files import write_private
from ops.dev.model import ServersError
from settings import HOST
from tests.integration.conftest import Platform, running_platform
from tests.required import not_here


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    if packages.versitygw(print) is None:
        not_here("versitygw is not on this machine, and Go is not there to build it", "REQUIRE_SERVERS")
    if packages.find_valkey() is None:
        not_here("neither Valkey nor Redis is on this machine", "REQUIRE_SERVERS")
    with running_platform(extras=True) as started:
        yield started


def env_of(platform: Platform, name: str) -> dict[str, str]:
    """The variables of a service's env file."""
    entries = env_files.for_local(platform.settings, platform.settings.products[name], platform.running.extras)
    return {entry.name: str(entry.value) for entry in entries}


@pytest.fixture(scope="module")
def env(platform: Platform) -> dict[str, str]:
    """Payload's environment."""
    return env_of(platform, "payload")


def _curl(env: dict[str, str], key: str, *arguments: str) -> str:
    """What the store answers, and its status, to a request signed as an S3 client signs it."""
    done = subprocess.run(
        [
            "curl",
            "--silent",
            *("--aws-sigv4", f"aws:amz:{env['S3_REGION']}:s3"),
            *("--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"),
            *("--write-out", "%{http_code}"),
            # Where the key is in no process list.
            *("--config", "-"),
            *arguments,
            f"{env['S3_ENDPOINT']}/{env['S3_BUCKET']}/{key}",
        ],
        input=f'user = "{env["S3_ACCESS_KEY_ID"]}:{env["S3_SECRET_ACCESS_KEY"]}"\n',
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


def _status(request: urllib.request.Request | str) -> int:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_payload_may_write_and_everybody_may_read(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "image").write_text("an image")
    assert _curl(env, "hero.jpg", "--upload-file", str(tmp_path / "image")) == "200"
    assert _curl(env, "hero.jpg") == "an image200"
    with urllib.request.urlopen(f"{env['CDN_BASE_URL']}/hero.jpg", timeout=10) as answer:
        assert answer.read() == b"an image"


def test_nobody_else_may_write(env: dict[str, str]) -> None:
    url = f"{env['CDN_BASE_URL']}/intruder.jpg"
    assert _status(urllib.request.Request(url, data=b"x", method="PUT")) == 403
    assert _status(url) == 404
    stranger = {**env, "S3_SECRET_ACCESS_KEY": "wrong"}
    assert _curl(stranger, "hero.jpg").endswith("403")
    elsewhere = {**env, "S3_BUCKET": "another-bucket"}
    assert _curl(elsewhere, "hero.jpg").endswith("404")


# --- Valkey -----------------------------------------------------------------------------------------------------------


def _valkey(env: dict[str, str], *command: str) -> str:
    url = urlsplit(env["REDIS_URL"])
    cli = shutil.which("valkey-cli") or shutil.which("redis-cli")
    assert cli is not None
    assert url.username is not None
    done = subprocess.run(
        [cli, "-h", str(url.hostname), "-p", str(url.port), "--user", url.username, *command],
        env={**os.environ, "REDISCLI_AUTH": str(url.password)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


def test_djangos_url_opens_valkey_with_productions_access_rules(platform: Platform) -> None:
    env = env_of(platform, "django")
    assert _valkey(env, "SET", "key", "value", "EX", "60") == "OK"
    assert _valkey(env, "GET", "key") == "value"
    assert "NOPERM" in _valkey(env, "CONFIG", "GET", "*")
    assert "WRONGPASS" in _valkey({"REDIS_URL": env["REDIS_URL"].replace("@", "x@")}, "PING")


def test_a_second_start_changes_nothing_and_a_stop_ends_them(platform: Platform) -> None:
    before = platform.running.extras
    again = servers.start(platform.settings, platform.directory, kind="native", report=lambda _: None)
    assert (again.actions, again.notes, again.extras) == ((), (), before)
    assert servers.stop(platform.directory) == (
        "S3 store stopped",
        "Valkey stopped",
        "PgBouncer stopped",
        "PostgreSQL stopped",
    )
    started = servers.start(platform.settings, platform.directory, kind="native", report=lambda _: None)
    assert len(started.actions) == 4
    assert started.extras == before
    # Queues outlive a restart.
    assert _valkey(env_of(platform, "django"), "GET", "key") == "value"


@pytest.mark.parametrize(("key", "data"), [("valkeyPort", "valkey/appendonlydir"), ("s3Port", "s3/lightwave-media")])
def test_a_port_that_was_taken_before_the_first_start_is_chosen_again(platform: Platform, key: str, data: str) -> None:
    """As PostgreSQL's: nothing refers to it yet. Once there are data, services do, and it stays."""
    servers.stop(platform.directory)
    file = platform.directory / beside.FILE
    kept = json.loads(file.read_text())
    there = platform.directory / "servers" / data
    aside = there.with_name("aside")
    with socket.create_server((HOST, 0)) as taken:
        write_private(file, json.dumps({**kept, key: taken.getsockname()[1]}))
        with pytest.raises(ServersError, match=f"port {taken.getsockname()[1]} is taken by another process"):
            servers.start(platform.settings, platform.directory, kind="native", report=lambda _: None)
        there.rename(aside)
        try:
            started = servers.start(platform.settings, platform.directory, kind="native", report=lambda _: None)
            chosen = json.loads(file.read_text())
            assert chosen.keys() == kept.keys()
            assert chosen[key] not in {taken.getsockname()[1], *(kept[other] for other in kept if other != key)}
            assert {name: value for name, value in chosen.items() if name != key} == {
                name: value for name, value in kept.items() if name != key
            }
            assert f":{chosen[key]}" in f"{started.extras.redis_url} {started.extras.store}"
        finally:
            servers.stop(platform.directory)
            shutil.rmtree(there)
            aside.rename(there)
            write_private(file, json.dumps(kept))

"""The S3 store of compose.yaml by its own command, without a container; and whether Payload's env opens it.

versitygw is no package of Debian's: where it is not on PATH this skips (it is a Go module's command).
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ops.dev import containers
from ops.dev import env as env_files
from ops.dev import state as local_state
from ops.dev.model import LocalStack
from settings import HOST


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Payload's environment, its store running."""
    if shutil.which("versitygw") is None or shutil.which("curl") is None:
        pytest.skip("versitygw or curl is not on PATH")
    folder = tmp_path_factory.mktemp("s3")
    told = local_state.prepare("dev", folder)
    containers.generate(LocalStack.of(told, folder))
    extras = containers.extras(folder)
    assert extras is not None
    entries = env_files.for_local(told, told.products["payload"], extras)

    declared = yaml.safe_load(containers.COMPOSE_FILE.read_text())["services"]["s3"]
    shell, flag, command = declared["entrypoint"]
    port = str(extras.store.endpoint).rpartition(":")[2]
    command = command.replace("$$", "$").replace(" :9000 ", f" {HOST}:{port} ").replace("/data", str(folder / "data"))
    given = {
        "ROOT_ACCESS_KEY": str(extras.store.access_key_id),
        "ROOT_SECRET_KEY": str(extras.store.secret_access_key),
    }
    assert {key for key, value in declared["environment"].items() if value.startswith("${")} == given.keys()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [shell, flag, command],
            env={**os.environ, **declared["environment"], **given},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = declared["healthcheck"]["test"][-1].replace("127.0.0.1:9000", f"{HOST}:{port}")
        deadline = time.monotonic() + 30
        while not _answers(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield {entry.name: str(entry.value) for entry in entries}
    finally:
        # On SIGTERM it waits for its clients' idle connections.
        process.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (of the compose file)
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


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


def test_payload_may_write_and_read(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "image").write_text("an image")
    assert _curl(env, "hero.jpg", "--upload-file", str(tmp_path / "image")) == "200"
    assert _curl(env, "hero.jpg") == "an image200"


def test_nobody_else_may(env: dict[str, str]) -> None:
    assert _curl({**env, "S3_SECRET_ACCESS_KEY": "another"}, "hero.jpg").endswith("403")

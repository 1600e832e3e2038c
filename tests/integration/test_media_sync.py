"""`make media-sync` against a real S3 store: what is there is left, what is damaged is found, a broken copy goes on."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings
from ops import __main__ as commands
from ops.dev import env as env_files
from ops.dev import servers
from ops.phase0.media import Bucket
from tests.integration.built import built_platform
from tests.integration.conftest import Platform
from tests.required import not_here

UMLAUTS = "Über uns/hero image ü&1.png"
LARGE_MIB = 101


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    if shutil.which("rclone") is None:
        not_here("rclone is not on this machine", "REQUIRE_SERVERS")
    with built_platform(extras=True) as built, pytest.MonkeyPatch.context() as patch:
        if built.running.extras.store is None:
            not_here("versitygw is not on this machine", "REQUIRE_SERVERS")
        patch.setattr(settings, "of_stack", lambda _: built.settings)
        patch.setattr(servers, "extras_of", lambda _: built.running.extras)
        with built.connect("payload_user") as payload:
            payload.execute(
                "CREATE TABLE payload.media (filename text, sizes_thumbnail_filename text, created_at timestamptz)"
            )
        yield built


@pytest.fixture
def bucket(platform: Platform) -> Bucket:
    return Bucket(env_files.values_of(platform.settings, platform.settings.products["payload"]))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a.jpg", UMLAUTS, "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(2000))
    return tmp_path


def rclone(bucket: Bucket, *arguments: str) -> str:
    command = ["rclone", "--config=", *arguments]
    return subprocess.run(
        command, env=bucket.environment, capture_output=True, text=True, timeout=120, check=True
    ).stdout


@pytest.fixture(autouse=True)
def empty(bucket: Bucket) -> Iterator[None]:
    yield
    rclone(bucket, "delete", bucket.name)


def sync(source: Path, *flags: str) -> int:
    return commands.main(["media-sync", "--from", str(source), *flags])


def test_every_file_arrives_with_its_headers_and_is_not_sent_twice(
    bucket: Bucket, source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sync(source, "--dry-run") == 1
    assert bucket.object_keys() == set()
    assert f"{UMLAUTS} is not in the bucket" in capfd.readouterr().err
    assert sync(source) == 0
    assert bucket.object_keys() == {"a.jpg", UMLAUTS, "notes.txt"}
    assert "compared by checksum: 3 files, 0 different or missing" in capfd.readouterr().out
    listed = rclone(bucket, "lsjson", "--metadata", bucket.name)
    assert '"MimeType":"image/jpeg"' in listed
    assert '"cache-control":"public, max-age=14400"' in listed
    before = rclone(bucket, "lsl", bucket.name)
    assert sync(source) == 0
    assert rclone(bucket, "lsl", bucket.name) == before


def test_a_damaged_object_is_found_and_replaced(
    bucket: Bucket, source: Path, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sync(source) == 0
    other = tmp_path_factory.mktemp("other") / "a.jpg"
    other.write_bytes(os.urandom(2000))
    rclone(bucket, "copyto", "--ignore-times", str(other), f"{bucket.name}/a.jpg")
    assert sync(source, "--dry-run") == 1
    assert "a.jpg differs" in capfd.readouterr().err
    assert sync(source) == 0


def test_a_row_without_its_object_is_named(
    bucket: Bucket, source: Path, platform: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bucket.object_keys() == set()
    with platform.connect("payload_user") as payload:
        payload.execute(
            "INSERT INTO payload.media VALUES ('a.jpg', 'a-300x200.jpg', now()), (%s, NULL, now())", [UMLAUTS]
        )
        assert sync(source) == 1
        output = capfd.readouterr()
        payload.execute("TRUNCATE payload.media")
    assert "media rows: 2, files without an object: 1" in output.out
    assert output.err.splitlines()[0].endswith("a media row names a-300x200.jpg, which is not in the bucket")


def test_a_copy_that_was_killed_goes_on(bucket: Bucket, source: Path) -> None:
    large = source / "film.mp4"
    with large.open("wb") as file:
        for _ in range(LARGE_MIB):
            file.write(os.urandom(1 << 20))
    command = ["rclone", "--config=", "copy", "--bwlimit=4M", "--transfers=1", str(source), bucket.name]
    process = subprocess.Popen(command, env=bucket.environment)
    deadline = time.monotonic() + 60
    while not bucket.object_keys():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.wait(10)
    there = rclone(bucket, "lsl", bucket.name)
    assert "film.mp4" not in bucket.object_keys(), "it is whole or not there"
    assert sync(source) == 0
    assert bucket.object_keys() >= {"a.jpg", "film.mp4", UMLAUTS}
    after = rclone(bucket, "lsl", bucket.name)
    assert set(there.splitlines()) <= set(after.splitlines()), "what had arrived is not sent again"

"""Objects that are copied have the headers that Payload's get from the CDN."""

import shutil

import pytest

from components.media import BROWSER_TTL_SECONDS
from ops.phase0 import media
from settings.problems import OperatorError

VALUES = {
    "S3_BUCKET": "lightwave-media",
    "S3_ENDPOINT": "https://acc.r2.cloudflarestorage.com",
    "S3_REGION": "auto",
    "S3_ACCESS_KEY_ID": "key-id",
    "S3_SECRET_ACCESS_KEY": "key-secret",
}


def test_browsers_keep_objects_as_long_as_the_cdn_says() -> None:
    assert f"public, max-age={BROWSER_TTL_SECONDS}" == media.CACHE_CONTROL


def test_without_rclone_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OperatorError, match=r"rclone is not on this machine\n.*apt-get install rclone"):
        media.Bucket(VALUES)


def test_settings_for_another_account_do_not_reach_rclone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-company")
    monkeypatch.setenv("RCLONE_BWLIMIT", "1M")
    environment = media.Bucket(VALUES).environment
    assert not [name for name in environment if name.startswith("AWS_")]
    assert environment["RCLONE_BWLIMIT"] == "1M"
    assert environment["RCLONE_CONFIG_MEDIA_ENDPOINT"] == VALUES["S3_ENDPOINT"]

"""What a local stack's Pulumi state knows, and what a wipe leaves of it."""

import json
from pathlib import Path

import pytest

from ops import up
from ops.deploy.pulumi_cli import STATE_FOLDER
from ops.dev import recovery, servers, state
from settings.problems import OperatorError


def test_what_the_state_holds_at_cloudflare_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recovery.at_cloudflare("dev", tmp_path) == []
    file = tmp_path / STATE_FOLDER / ".pulumi" / "stacks" / "lightwave" / "dev.json"
    file.parent.mkdir(parents=True)
    resources = [
        {"urn": "urn:pulumi:dev::lightwave::postgresql:index/role:Role::login", "type": "postgresql:index/role:Role"},
        {"urn": "urn:pulumi:dev::lightwave::x::media-bucket", "type": "cloudflare:index/r2Bucket:R2Bucket"},
    ]
    file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
    assert recovery.at_cloudflare("dev", tmp_path) == ["media-bucket"]
    assert recovery.at_cloudflare("alice", tmp_path) == []

    monkeypatch.setattr(state, "folder", lambda stack: tmp_path / ".local" / stack)
    monkeypatch.setattr(recovery, "at_cloudflare", lambda _: ["media-bucket"])
    monkeypatch.setattr(servers, "stop", lambda *_, **__: pytest.fail("stopped"))
    with pytest.raises(OperatorError, match="the state knows media-bucket at Cloudflare"):
        up.down("dev", wipe=True)
    assert file.exists()

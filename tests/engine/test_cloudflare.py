"""Cloudflare's own provider on the real Pulumi CLI, before a double of Cloudflare's API (`cloudflare_api.py` says what
that does not prove).

The tests share one stack and run in the order in which they stand.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudflare import Cloudflare

from settings import ROOT
from tests.engine.cloudflare_api import Api, serving
from tests.engine.cloudflare_models import read, unexpected
from tests.engine.conftest import require_provider

pytestmark = pytest.mark.timeout(600)

ACCOUNT, ZONE = "a" * 32, "b" * 32
API_TOKEN = "sentinel-token-of-the-deployer-000000000"
CMS, API = "cms.lightwave-media.site", "api.lightwave-media.site"
EVERYTHING: dict[str, dict[str, Any]] = {
    "media": {
        "accountId": ACCOUNT,
        "zoneId": ZONE,
        "zone": "lightwave-media.site",
        "bucket": "lightwave-media",
        "domain": "cdn.lightwave-media.site",
        "corsOrigins": ["https://lightwave-media.site"],
    },
    "edge": {
        "account": ACCOUNT,
        "zone": ZONE,
        "hostnames": [CMS],
        "admins": ["ops@lightwave-media.site"],
        "logins": 10,
        "rotation": 0,
    },
}


@dataclass
class Stack:
    """A stack of Cloudflare's resources, and the API before which it stands."""

    folder: Path
    environment: dict[str, str]
    api: Api
    url: str
    printed: str = ""
    """Everything that the CLI has printed."""

    def given(self, **changes: dict[str, Any] | None) -> None:
        """Sets what the program declares: `EVERYTHING`, with these changes; None leaves a half out."""
        given = {name: {**half, **(changes.get(name) or {})} for name, half in EVERYTHING.items()}
        kept = {name: half for name, half in given.items() if changes.get(name, half) is not None}
        (self.folder / "given.json").write_text(json.dumps(kept))

    def pulumi(self, *arguments: str, expect: int = 0) -> str:
        """Runs the CLI and gives what it printed."""
        ended = subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        output = ended.stdout + ended.stderr
        self.printed += output
        assert (ended.returncode == 0) is (expect == 0), output
        return ended.stdout if "--json" in arguments else output

    def steps(self) -> Counter[tuple[str, str]]:
        """What an update would do: operation and type of each resource that it would change."""
        document = json.loads(self.pulumi("preview", "--json"))
        changed = ((step["op"], step["newState"]["type"]) for step in document["steps"] if step["op"] != "same")
        return Counter((op, kind.rpartition(":")[2]) for op, kind in changed)

    def update(self) -> str:
        return self.pulumi("up", "--yes", "--skip-preview")


@pytest.fixture(scope="module")
def stack(pulumi_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without resources; skips without Cloudflare's plugin."""
    require_provider("cloudflare", pulumi_home)
    require_provider("random", pulumi_home)
    folder = tmp_path_factory.mktemp("cloudflare")
    options = {"toolchain": "pip", "virtualenv": str(Path(sys.executable).parent.parent)}
    project = {"name": "cloudflare-half", "runtime": {"name": "python", "options": options}}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
    shutil.copy(Path(__file__).with_name("cloudflare_program.py"), folder / "__main__.py")
    api = Api(API_TOKEN)
    with serving(api) as url:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI", "CLOUDFLARE"))},
            "PULUMI_HOME": str(pulumi_home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_BACKEND_URL": f"file://{folder}",
            "PULUMI_CONFIG_PASSPHRASE": "of-a-test-stack",
            "PYTHONPATH": str(ROOT),
            "CLOUDFLARE_API_TOKEN": API_TOKEN,
            "CLOUDFLARE_BASE_URL": url,
        }
        stack = Stack(folder, environment, api, url)
        stack.pulumi("stack", "init", "prod")
        yield stack


def test_a_refused_change_says_what_cloudflare_said(stack: Stack) -> None:
    stack.given()
    stack.api.refused["ruleset"] = "not entitled to use the period 60"
    assert "not entitled to use the period 60" in stack.pulumi("up", "--yes", "--skip-preview", expect=1)
    stack.api.refused.clear()


def test_everything_is_created(stack: Stack) -> None:
    stack.update()
    for name in ("bucket", "domain", "token", "tunnel", "configuration", "record", "policy", "application"):
        assert len(stack.api.of_kind(name)) == 1, name
    assert {ruleset["phase"] for ruleset in stack.api.of_kind("ruleset")} == {
        "http_request_cache_settings",
        "http_request_dynamic_redirect",
        "http_ratelimit",
        "http_response_headers_transform",
    }
    (domain,), (record,), (tunnel,) = (stack.api.of_kind(name) for name in ("managed domain", "record", "tunnel"))
    assert domain["enabled"] is False
    assert (record["name"], record["content"]) == (CMS, f"{tunnel['id']}.cfargotunnel.com")


def test_the_token_may_touch_the_buckets_objects_and_nothing_else(stack: Stack) -> None:
    ((policy,),) = (token["policies"] for token in stack.api.of_kind("token"))
    assert policy["resources"] == {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_default_lightwave-media": "*"}
    assert [group["id"] for group in policy["permission_groups"]] == ["2efd5506f9c8494dacb1fa10a3e7d5b6"]


def test_requests_and_answers_have_the_shapes_of_cloudflares_sdk(stack: Stack) -> None:
    found = {problem for request in stack.api.requests for problem in unexpected(request)}
    # The SDK asks for a hostname in every rule; Cloudflare's documentation wants the last one without, so
    # neither the request nor the answer has the SDK's shape there.
    assert found == {"configuration.config.ingress[1].hostname: is missing"}
    client = Cloudflare(api_token=API_TOKEN, base_url=stack.url, _strict_response_validation=True)
    for path in list(stack.api.objects):
        if not path.endswith("/configurations"):
            assert read(client, path), path


def test_a_second_update_and_a_refresh_change_nothing(stack: Stack) -> None:
    before = len(stack.api.requests)
    stack.pulumi("preview", "--expect-no-changes")
    stack.pulumi("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes")
    assert stack.api.requests[before:] == []


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"media": {"corsOrigins": ["https://www.lightwave-media.site"]}}, {("update", "R2BucketCors"): 1}),
        ({"media": {"minTls": "1.3"}}, {("update", "R2CustomDomain"): 1}),
        ({"edge": {"logins": 20}}, {("update", "Ruleset"): 1}),
        ({"edge": {"admins": ["lightwave-media.site"]}}, {("update", "ZeroTrustAccessPolicy"): 1}),
        (
            {"edge": {"rotation": 1}},
            {("replace", "RandomPassword"): 1, ("update", "ZeroTrustTunnelCloudflared"): 1},
        ),
    ],
    ids=["cors", "tls", "logins", "admins", "rotation"],
)
def test_an_operators_change_is_an_update_in_place(
    stack: Stack, changes: dict[str, dict[str, Any]], steps: dict[tuple[str, str], int]
) -> None:
    objects = set(stack.api.objects)
    stack.given(**changes)
    assert stack.steps() == steps
    stack.update()
    assert set(stack.api.objects) == objects
    stack.pulumi("preview", "--expect-no-changes")
    stack.given()
    stack.update()
    assert set(stack.api.objects) == objects


def test_a_hostname_more_keeps_the_others(stack: Stack) -> None:
    stack.given(edge={"hostnames": [CMS, API]})
    assert not {op for op, _ in stack.steps()} - {"create", "update"}
    stack.update()
    assert sorted(record["name"] for record in stack.api.of_kind("record")) == [API, CMS]
    stack.given()
    stack.update()


def test_what_was_changed_by_hand_is_found_and_undone(stack: Stack) -> None:
    (record,) = stack.api.of_kind("record")
    record["proxied"] = False
    assert "proxied" in stack.pulumi("preview", "--refresh", "--diff")
    stack.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert [record["proxied"] for record in stack.api.of_kind("record")] == [True]


def test_the_bucket_is_not_deleted(stack: Stack) -> None:
    stack.given(media=None)
    assert "protected" in stack.pulumi("preview", expect=1)
    assert [bucket["name"] for bucket in stack.api.of_kind("bucket")] == ["lightwave-media"]
    stack.given()


def test_no_secret_is_printed_or_kept_in_the_open(stack: Stack) -> None:
    printed = stack.printed
    outputs = json.loads(stack.pulumi("stack", "output", "--json", "--show-secrets"))
    sent = {request.body["tunnel_secret"] for request in stack.api.requests if "tunnel_secret" in request.body}
    kept = "".join(path.read_text(errors="replace") for path in (stack.folder / ".pulumi").rglob("*") if path.is_file())
    assert len(sent) > 1
    assert "lightwave-media" in kept
    for secret in (API_TOKEN, *sent, *outputs.values()):
        assert secret not in printed
        assert secret not in kept

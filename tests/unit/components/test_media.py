"""The R2 bucket, its CDN domain and the credentials scoped to it, by their exact inputs."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import SecretStr

import settings
from components.media import Media, MediaArgs
from ops.plan import recorder
from ops.plan.recorder import RecordedResource, Recording
from policies.rules.model import Secret

ACCOUNT = "a" * 32
ZONE = "b" * 32
PREFIX = "cloudflare:index/"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:media:Media::media"
SATELLITES = ["r2CustomDomain", "r2ManagedDomain", "r2BucketCors", "r2BucketLifecycle"]
SINGLETONS = ["ruleset", "argoTieredCaching", "tieredCache"]
SHARED = {"accountId": ACCOUNT, "bucketName": "lightwave-media", "jurisdiction": "default"}


def media_settings(**changes: Any) -> settings.MediaSettings:
    return settings.MediaSettings.model_validate(
        {
            "accountId": ACCOUNT,
            "zoneId": ZONE,
            "zone": "lightwave-media.site",
            "domain": "cdn.lightwave-media.site",
            "corsOrigins": ("https://lightwave-media.site", "https://cms.lightwave-media.site"),
            **changes,
        }
    )


def given_settings(**changes: Any) -> settings.MediaSettings:
    keys = {"accessKeyId": SecretStr("given-id"), "secretAccessKey": SecretStr("given-secret")}
    return media_settings(credentials="given", **{**keys, **changes})


def recording(
    media: settings.MediaSettings | None = None, *, protect: bool = True, facts: dict[str, Any] | None = None
) -> Recording:
    args = MediaArgs(settings=media or media_settings(), protect=protect)
    return recorder.record(lambda: Media("media", args), stack="prod", facts=facts)


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def only(recorded: Recording, kind: str) -> RecordedResource:
    found = [r for r in recorded.resources if r.type.startswith(f"{PREFIX}{kind}:")]
    assert len(found) == 1, kind
    return found[0]


def declared(recorded: Recording) -> list[tuple[str, str]]:
    """Kind and name of every provider resource."""
    return sorted((r.type.removeprefix(PREFIX).split(":")[0], r.name) for r in recorded.resources if r.custom)


def test_declares_exactly_these(recorded: Recording) -> None:
    assert declared(recorded) == [
        ("accountToken", "media-token"),
        ("argoTieredCaching", "media-tiered-caching"),
        ("r2Bucket", "media-bucket"),
        ("r2BucketCors", "media-cors"),
        ("r2BucketLifecycle", "media-lifecycle"),
        ("r2CustomDomain", "media-domain"),
        ("r2ManagedDomain", "media-managed-domain"),
        ("ruleset", "media-cache-rules"),
        ("tieredCache", "media-tiered-cache"),
    ]


def test_everything_is_the_components_child(recorded: Recording) -> None:
    assert {r.parent for r in recorded.resources if r.custom} == {COMPONENT}
    assert {r.urn for r in recorded.resources if not r.custom} == {COMPONENT}


def test_bucket(recorded: Recording) -> None:
    bucket = only(recorded, "r2Bucket")
    assert bucket.inputs == {
        "accountId": ACCOUNT,
        "name": "lightwave-media",
        "jurisdiction": "default",
        "storageClass": "Standard",
    }
    assert bucket.ignore_changes == ("location",)


@pytest.mark.parametrize("protect", [True, False])
def test_the_bucket_alone_is_protected(protect: bool) -> None:
    protected = [r.name for r in recording(protect=protect).resources if r.protect]
    assert protected == (["media-bucket"] if protect else [])


def test_location_is_passed_on() -> None:
    assert only(recording(media_settings(location="weur")), "r2Bucket").inputs["location"] == "weur"


def test_domain(recorded: Recording) -> None:
    assert only(recorded, "r2CustomDomain").inputs == {
        **SHARED,
        "zoneId": ZONE,
        "domain": "cdn.lightwave-media.site",
        "enabled": True,
        "minTls": "1.2",
    }


def test_min_tls_is_passed_on() -> None:
    assert only(recording(media_settings(minTls="1.3")), "r2CustomDomain").inputs["minTls"] == "1.3"


def test_r2_dev_is_off(recorded: Recording) -> None:
    assert only(recorded, "r2ManagedDomain").inputs == {**SHARED, "enabled": False}


def test_cors_lets_the_sites_pages_read(recorded: Recording) -> None:
    assert only(recorded, "r2BucketCors").inputs == {
        **SHARED,
        "rules": [
            {
                "id": "site-reads",
                "allowed": {
                    "methods": ["GET", "HEAD"],
                    "origins": ["https://lightwave-media.site", "https://cms.lightwave-media.site"],
                },
                "maxAgeSeconds": 7200,
            }
        ],
    }


def test_no_origin_no_cors() -> None:
    kinds = [kind for kind, _ in declared(recording(media_settings(corsOrigins=())))]
    assert "r2BucketCors" not in kinds
    assert len(kinds) == 8


def test_lifecycle_aborts_uploads_and_expires_nothing(recorded: Recording) -> None:
    assert only(recorded, "r2BucketLifecycle").inputs == {
        **SHARED,
        "rules": [
            {
                "id": "abort-unfinished-uploads",
                "enabled": True,
                "conditions": {"prefix": ""},
                "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 604_800}},
            }
        ],
    }


def test_cache_rules(recorded: Recording) -> None:
    assert only(recorded, "ruleset").inputs == {
        "zoneId": ZONE,
        "name": "Media cache",
        "description": "Long edge cache for media",
        "kind": "zone",
        "phase": "http_request_cache_settings",
        "rules": [
            {
                "ref": "media",
                "description": "Keep cdn.lightwave-media.site at the edge",
                "enabled": True,
                "expression": '(http.host eq "cdn.lightwave-media.site")',
                "action": "set_cache_settings",
                "actionParameters": {
                    "cache": True,
                    "edgeTtl": {
                        "mode": "override_origin",
                        "default": 2_592_000,
                        "statusCodeTtls": [{"statusCodeRange": {"from": 400, "to": 599}, "value": -1}],
                    },
                    "browserTtl": {"mode": "override_origin", "default": 14_400},
                },
            }
        ],
    }


def test_tiered_cache_follows_tiered_caching(recorded: Recording) -> None:
    tiers, topology = only(recorded, "argoTieredCaching"), only(recorded, "tieredCache")
    assert tiers.inputs == topology.inputs == {"zoneId": ZONE, "value": "on"}
    assert topology.depends_on == (tiers.urn,)


def test_a_stack_that_does_not_own_the_zone_leaves_its_singletons_alone() -> None:
    kinds = [kind for kind, _ in declared(recording(media_settings(zoneSingletons=False)))]
    assert not set(kinds) & set(SINGLETONS)
    assert len(kinds) == 9 - len(SINGLETONS)


def test_token_reaches_this_bucket_alone(recorded: Recording) -> None:
    token = only(recorded, "accountToken")
    resources = token.inputs["policies"][0]["resources"]
    assert token.inputs == {
        "accountId": ACCOUNT,
        "name": "lightwave-media objects",
        "policies": [
            {"effect": "allow", "permissionGroups": [{"id": settings.KNOWN_AT_DEPLOY}], "resources": resources}
        ],
    }
    assert json.loads(resources) == {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_default_lightwave-media": "*"}


LOOKUP = f"{PREFIX}getAccountApiTokenPermissionGroupsList:getAccountApiTokenPermissionGroupsList"
GROUP = "Workers R2 Storage Bucket Item Write"


def test_the_permission_group_is_looked_up_by_name() -> None:
    """Cloudflare filters by a part of the name as well, so a near miss in the answer must not be taken."""
    answer = {"results": [{"name": f"{GROUP} All", "id": "wrong"}, {"name": GROUP, "id": "right"}]}
    recorded = recording(facts={LOOKUP: answer})
    assert recorded.calls == (
        (LOOKUP, {"accountId": ACCOUNT, "name": "Workers%20R2%20Storage%20Bucket%20Item%20Write"}),
    )
    assert only(recorded, "accountToken").inputs["policies"][0]["permissionGroups"] == [{"id": "right"}]


@pytest.mark.parametrize("names", [[], ["Workers R2 Storage Write"], [GROUP, GROUP]])
def test_no_single_permission_group_is_refused(names: list[str]) -> None:
    answer = {"results": [{"name": name, "id": "x"} for name in names]}
    with pytest.raises(Exception, match=f"named '{GROUP}'; expected one"):
        recording(facts={LOOKUP: answer})


def test_outputs(recorded: Recording) -> None:
    assert recorded.component_outputs[COMPONENT] == {
        "endpoint": f"https://{ACCOUNT}.r2.cloudflarestorage.com",
        "bucket": "lightwave-media",
        "base_url": "https://cdn.lightwave-media.site",
        "access_key_id": Secret("media-token-id"),
        "secret_access_key": Secret(hashlib.sha256(settings.KNOWN_AT_DEPLOY.encode()).hexdigest()),
    }


def test_credentials_stay_secret_where_the_provider_does_not_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider marks the token's value; the program does not rely on it."""
    monkeypatch.setattr(recorder, "COMPUTED", {f"{PREFIX}accountToken:AccountToken": lambda _: {"value": "sesame"}})
    outputs = recording().component_outputs[COMPONENT]
    assert outputs["secret_access_key"] == Secret("d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272")
    assert isinstance(outputs["access_key_id"], Secret)


def test_given_credentials_make_no_token() -> None:
    recorded = recording(given_settings())
    assert "accountToken" not in [kind for kind, _ in declared(recorded)]
    assert recorded.calls == ()
    outputs = recorded.component_outputs[COMPONENT]
    assert outputs["access_key_id"] == Secret("given-id")
    assert outputs["secret_access_key"] == Secret("given-secret")


@pytest.mark.parametrize("jurisdiction", ["eu", "fedramp"])
def test_jurisdiction_is_on_every_satellite(jurisdiction: str) -> None:
    recorded = recording(media_settings(jurisdiction=jurisdiction))
    for kind in ["r2Bucket", *SATELLITES]:
        assert only(recorded, kind).inputs["jurisdiction"] == jurisdiction, kind
    scope = json.loads(only(recorded, "accountToken").inputs["policies"][0]["resources"])
    assert scope == {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_{jurisdiction}_lightwave-media": "*"}
    endpoint = recorded.component_outputs[COMPONENT]["endpoint"]
    assert endpoint == f"https://{ACCOUNT}.{jurisdiction}.r2.cloudflarestorage.com"


def test_satellites_wait_for_the_bucket(recorded: Recording) -> None:
    bucket = only(recorded, "r2Bucket").urn
    for kind in [*SATELLITES, "accountToken"]:
        assert bucket in only(recorded, kind).depends_on, kind

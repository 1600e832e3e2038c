"""Services that a stack runs: what is refused, in which words, and what the quota has to hold."""

import copy
from typing import Any

import pytest

import settings
from settings import FRAMEWORKS, pods
from tests.configs import ON_KIND, SERVICES
from tests.unit.conftest import full_config
from tests.unit.settings.changes import check_refused, load, problems, put

_IMAGE = SERVICES["django"]["image"]
_BIG = {"requestsCpu": "1", "requestsMemory": "1Gi", "limitsCpu": "2", "limitsMemory": "2Gi"}


def services(**changes: Any) -> dict[str, Any]:
    """The config's services with values changed at dotted paths; `...` takes a key out."""
    found: dict[str, Any] = {"lightwave:services": copy.deepcopy(SERVICES)}
    for path, value in changes.items():
        put(found, f"services.{path}", value)
    return dict(found["lightwave:services"])


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("services.nobody", {"nobody": {"image": _IMAGE}}, "is not a product; expected: payload, django"),
    ("services.createos", {"createos": {"image": _IMAGE}},
     "has no framework or no namespace; expected: payload, django"),
    ("services.payload.image", {"payload.image": ...}, "is missing; expected: an image by tag and digest"),
    ("services.payload.image", {"payload.image": "ghcr.io/example/payload:1.4.0"},
     "is malformed; expected: an image by tag and digest"),
    ("services.payload.migration.image", {"payload.migration": {}},
     "is missing; expected: the image of the Dockerfile's target `migrate`, by tag and digest; or migration.enabled"),
    ("services.django.migration.minutes", {"django.migration": {"enabled": False, "minutes": 5}},
     "is not used; expected: nothing, or migration.enabled: true"),
    ("services.django.replicas", {"django.replicas": 2}, "is there with autoscaling; expected: one of the two"),
    ("services.django.worker.replicas", {"django.worker": {"replicas": 2, "autoscaling": {"min": 1, "max": 2}}},
     "is there with autoscaling; expected: one of the two"),
    ("services.django.autoscaling.max", {"django.autoscaling": {"min": 3, "max": 2}},
     "is less than min; expected: 3 or more"),
    ("services.payload.resources.requestsCpu", {"payload.resources": {**_BIG, "requestsCpu": "2100m"}},
     "is more than limitsCpu; expected: 2 or less"),
    ("services.django.beat.resources.requestsMemory",
     {"django.beat": {"resources": {**_BIG, "requestsMemory": "2049Mi"}}},
     "is more than limitsMemory; expected: 2Gi or less"),
    ("services.payload.migration.resources.requestsCpu",
     {"payload.migration.resources": {**_BIG, "limitsCpu": "999m"}},
     "is more than limitsCpu; expected: 999m or less"),
    ("services.payload.worker", {"payload.worker": {}},
     "does not exist for payload; expected: nothing: Celery goes with Django"),
    ("services.payload.beat", {"payload.beat": {}},
     "does not exist for payload; expected: nothing: Celery goes with Django"),
    ("services.django.beat", {"django.worker": ...}, "has no worker for its tasks; expected: nothing, or worker as"),
    ("services.django.beat.replicas", {"django.beat": {"replicas": 2}}, "is not a key; expected: command, resources"),
    # The quota of payload-cms: 4 and 8Gi of requests, 8 and 16Gi of limits, 20 pods.
    ("kubernetes.namespaces.payload-cms.quota.requestsCpu", {"payload.replicas": 15},
     "is too small for services.payload; expected: 4100m or more: 16 payload x 250m + 1 migration x 100m"),
    ("kubernetes.namespaces.payload-cms.quota.limitsMemory", {"payload.replicas": 15},
     "is too small for services.payload; expected: 17408Mi or more: 16 payload x 1Gi + 1 migration x 1Gi"),
    ("kubernetes.namespaces.payload-cms.quota.pods", {"payload.replicas": 19},
     "is too small for services.payload; expected: 21 or more: 20 payload + 1 migration"),
    ("kubernetes.namespaces.django-api.quota.limitsCpu", {"django.autoscaling.max": 6},
     "; expected: 12200m or more: 7 api x 1 + 4 worker x 1 + 1 beat x 200m + 1 migration x 1"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "changes", "what"), REFUSED)
def test_what_is_refused_and_in_which_words(key: str, changes: dict[str, Any], what: str) -> None:
    check_refused("prod", f"services > {key}", services(**changes), what)


def test_workers_need_valkey() -> None:
    (text, fix) = problems("prod", {"services": SERVICES, "valkey": {}})["lightwave:services.django.worker"]
    assert text == "has no queue; expected: nothing, or valkey as well"
    assert fix == "pulumi config rm --stack prod --path lightwave:services.django.worker"


def test_a_service_is_deployed_from_one_place() -> None:
    key = "kubernetes.namespaces.payload-cms.deployerPrincipal"
    text, fix = problems("prod", {"services": SERVICES, key: "arn:aws:iam::1:role/x"})[f"lightwave:{key}"]
    what = "would let another deploy job roll back what services.payload declares"
    assert text == f"{what}; expected: nothing, or no services.payload"
    assert fix == f"pulumi config rm --stack prod --path lightwave:{key}"


def test_services_need_a_cluster_and_a_bucket() -> None:
    payload = {"payload": SERVICES["payload"]}
    text, _ = problems("dev", {"services": payload})["lightwave:services"]
    assert text.splitlines() == [
        "has no bucket for its environment; expected: nothing, or media as well",
        "has no cluster to run in; expected: nothing, or kubernetes as well",
    ]
    text, _ = problems("dev", {**ON_KIND, "services": payload})["lightwave:services"]
    assert text == "has no bucket for its environment; expected: nothing, or media as well"


def test_the_largest_release_that_the_quota_holds_is_accepted() -> None:
    """limitsCpu is 8: seven pods, one of them in the rollout, and a migration."""
    config = full_config("prod")
    put(config, "services", services(**{"payload.replicas": 6}))
    assert load("prod", config).services["payload"].replicas == 6
    check_refused(
        "prod",
        "services > kubernetes.namespaces.payload-cms.quota.limitsCpu",
        services(**{"payload.replicas": 7}),
        "is too small for services.payload; expected: 9000m or more: 8 payload x 1 + 1 migration x 1",
    )


def test_a_placeholder_of_the_offline_plan_has_no_size() -> None:
    config = full_config("prod")
    put(config, "services", SERVICES)
    put(config, "kubernetes.namespaces.payload-cms.quota.limitsCpu", settings.KNOWN_AT_DEPLOY)
    with settings.offline():
        assert load("prod", config).services.keys() == SERVICES.keys()


def test_the_defaults_of_each_kind() -> None:
    config = full_config("prod")
    put(config, "services", services(**{"payload.replicas": 0, "django.autoscaling": ..., "django.command": ["x"]}))
    loaded = load("prod", config).services
    found = {
        group.kind.name: (group.key, group.replicas, group.most, group.command[:1])
        for product in ("payload", "django")
        for group in pods(FRAMEWORKS[product], loaded[product])
    }
    assert found == {
        "payload": ((), 0, 1, ()),
        "api": ((), 2, 3, ("x",)),
        "worker": (("worker",), 3, 4, ("celery",)),
        "beat": (("beat",), 1, 1, ("celery",)),
    }


def test_an_autoscaler_counts_with_its_most_pods() -> None:
    config = full_config("prod")
    put(config, "services", SERVICES)
    (api, *_) = pods(FRAMEWORKS["django"], load("prod", config).services["django"])
    assert (api.replicas, api.most, api.replicas_given) == (5, 6, False)

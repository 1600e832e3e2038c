"""Services that a stack runs: each by itself, in its own namespace, and all of it from its entry alone."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import settings
from ops.plan import policy
from ops.plan.recorder import RecordedResource, Recording, record_stack
from policies.rules.model import Violation
from tests.configs import SERVICES
from tests.unit.conftest import PROD_WITH_SERVICES
from tests.unit.policies.deep_change import GONE, changed_at
from tests.unit.settings.changes import put

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
BIG = {"requestsCpu": "300m", "requestsMemory": "600Mi", "limitsCpu": "1", "limitsMemory": "1Gi"}


@pytest.fixture(scope="module")
def released(recording_of: Callable[[str], Recording]) -> Recording:
    return recording_of(PROD_WITH_SERVICES)


def with_change(path: str, value: Any) -> Recording:
    config: dict[str, Any] = {"lightwave:services": copy.deepcopy(SERVICES)}
    put(config, f"services.{path}", value)
    return record_stack("prod", overrides=config)


def by_urn(recording: Recording) -> dict[str, RecordedResource]:
    # How long the Pulumi CLI waits is no part of the resource: a change of it alone updates nothing.
    return {resource.urn: replace(resource, custom_timeouts={}) for resource in recording.resources}


def different(before: Recording, after: Recording) -> list[RecordedResource]:
    """What was added, removed or changed."""
    old, new = by_urn(before), by_urn(after)
    changed = [resource for urn, resource in new.items() if resource != old.get(urn)]
    return [*changed, *(resource for urn, resource in old.items() if urn not in new)]


def test_a_stack_that_names_no_image_declares_the_guard_rails_alone(released: Recording) -> None:
    prod = record_stack("prod", overrides={"lightwave:services": {}})
    assert {r.name for r in prod.of_type(DEPLOYMENT)} == {"pgbouncer-deployment", "edge-cloudflared-deployment"}
    assert not prod.of_type(JOB)
    added = different(prod, released)
    assert {r.urn for r in prod.resources} & {r.urn for r in added} == set()
    assert {r.type for r in added if not r.custom} == {"lightwave:services:Workload", "lightwave:services:Migration"}


def test_what_a_release_of_both_services_declares(released: Recording) -> None:
    workloads = [r for r in released.resources if ":services:" in r.parent]
    assert sorted((r.type.rpartition(":")[2], r.inputs["metadata"]["name"]) for r in workloads) == [
        ("Deployment", "api"),
        ("Deployment", "beat"),
        ("Deployment", "payload"),
        ("Deployment", "worker"),
        ("HorizontalPodAutoscaler", "api"),
        ("Job", "migration-222222222222"),
        ("Job", "migration-333333333333"),
        ("PodDisruptionBudget", "api"),
        ("PodDisruptionBudget", "beat"),
        ("PodDisruptionBudget", "payload"),
        ("PodDisruptionBudget", "worker"),
    ]
    images = {
        r.inputs["metadata"]["name"]: r.inputs["spec"]["template"]["spec"]["containers"][0]["image"]
        for r in workloads
        if r.type in (DEPLOYMENT, JOB)
    }
    payload, django = SERVICES["payload"], SERVICES["django"]
    assert images == {
        "payload": payload["image"],
        "migration-222222222222": payload["migration"]["image"],
        **dict.fromkeys(("api", "worker", "beat", "migration-333333333333"), django["image"]),
    }


@pytest.mark.parametrize(("product", "kinds"), [("payload", ["payload"]), ("django", ["api", "worker", "beat"])])
def test_the_migration_comes_before_the_pods_and_the_secret_before_both(
    released: Recording, product: str, kinds: list[str]
) -> None:
    migration = released.one("lightwave:services:Migration", f"{product}-migration")
    before_it = {urn.rpartition("::")[2] for urn in migration.depends_on}
    assert {f"{product}-env", f"{product}-database-ca", f"{product}-account-migration"} <= before_it
    for kind in kinds:
        workload = released.one("lightwave:services:Workload", f"{product}-{kind}")
        before = {urn.rpartition("::")[2] for urn in workload.depends_on}
        assert {f"{product}-env", f"{product}-migration-job"} <= before


CHANGES = [
    ("payload.image", f"ghcr.io/example/payload:1.5.0@sha256:{'9' * 64}", ["payload-payload-deployment"]),
    ("payload.replicas", 3, ["payload-payload-deployment"]),
    ("payload.resources", BIG, ["payload-payload-deployment"]),
    ("payload.migration.image", f"ghcr.io/example/migrate:1.5.0@sha256:{'9' * 64}", ["payload-migration-job"]),
    (
        "django.image",
        f"ghcr.io/example/django:2.1.0@sha256:{'9' * 64}",
        [*(f"django-{kind}-deployment" for kind in ("api", "beat", "worker")), "django-migration-job"],
    ),
    ("django.worker.replicas", 2, ["django-worker-deployment"]),
    ("django.beat.resources", BIG, ["django-beat-deployment"]),
    ("django.autoscaling.max", 4, ["django-api-autoscaler"]),
    ("django.migration", {"minutes": 60}, ["django-migration-job"]),
    ("django.priorityClass", "content", [f"django-{kind}-deployment" for kind in ("api", "beat", "worker")]),
]
NAMESPACES = {"payload": "payload-cms", "django": "django-api"}


@pytest.mark.parametrize(("path", "value", "changed"), CHANGES)
def test_a_service_changes_by_itself(released: Recording, path: str, value: Any, changed: list[str]) -> None:
    found = different(released, with_change(path, value))
    assert sorted(resource.name for resource in found) == sorted(changed)
    assert {r.inputs["metadata"]["namespace"] for r in found} == {NAMESPACES[path.partition(".")[0]]}


def test_a_services_last_release_can_be_taken_out_alone(released: Recording) -> None:
    found = different(released, with_change("payload", ...))
    assert {r.inputs["metadata"]["namespace"] for r in found if r.custom} == {"payload-cms"}
    assert {r.name for r in found if not r.custom} == {"payload-payload", "payload-migration"}


def test_a_new_value_in_the_environment_replaces_its_services_pods() -> None:
    media = settings.stack_config("prod")["lightwave:media"]
    checksums = [
        record_stack("prod", overrides={"lightwave:services": SERVICES, "lightwave:media": {**media, "domain": domain}})
        .one(DEPLOYMENT, "payload-payload-deployment")
        .inputs["spec"]["template"]["metadata"]["annotations"]["lightwave.media/env-sha256"]
        for domain in ("cdn.lightwave-media.site", "media.lightwave-media.site")
    ]
    assert checksums[0] != checksums[1]


def test_a_new_django_product_gets_everything_from_its_entries() -> None:
    """Its row in the product table, its namespace, and its release: nothing in the program names it."""
    products = copy.deepcopy(settings.stack_config("prod")["lightwave:products"])
    del products["django"]
    products["orders"] = {"framework": "django", "service": "lightwave-orders", "namespace": "orders"}
    kubernetes = copy.deepcopy(settings.stack_config("prod")["lightwave:kubernetes"])
    kubernetes["namespaces"]["orders"] = kubernetes["namespaces"].pop("django-api")
    recorded = record_stack(
        "prod",
        overrides={
            "lightwave:products": products,
            "lightwave:kubernetes": kubernetes,
            "lightwave:services": {"orders": SERVICES["django"]},
        },
    )
    own = [r for r in recorded.resources if r.type.startswith("kubernetes:") and r.name.startswith("orders-")]
    kinds = {(r.type.rpartition(":")[2], r.inputs["metadata"]["name"]) for r in own}
    assert kinds >= {
        *(("Deployment", kind) for kind in ("api", "worker", "beat")),
        *(("PodDisruptionBudget", kind) for kind in ("api", "worker", "beat")),
        *(("ServiceAccount", account) for account in ("api", "worker", "migration")),
        ("HorizontalPodAutoscaler", "api"),
        ("Job", "migration-333333333333"),
        ("Secret", "orders-env"),
        ("Service", "api"),
        ("Service", "payload"),
        ("ConfigMap", "database-ca"),
        ("NetworkPolicy", "egress-orders-migrations-to-database"),
        ("NetworkPolicy", "egress-worker-to-internet-443"),
    }
    spec = recorded.one(DEPLOYMENT, "orders-api-deployment").inputs["spec"]["template"]["spec"]
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "orders-env"}}]


def violations(resources: list[RecordedResource]) -> list[tuple[str, str]]:
    return [
        (verdict.rule.name, verdict.resource.name)
        for verdict in policy.verdicts(resources)
        if isinstance(verdict.answer, Violation)
    ]


def test_no_policy_is_violated(released: Recording) -> None:
    assert violations(list(released.resources)) == []


C = "spec.template.spec.containers.0"
DANGEROUS = [
    ("image", "ghcr.io/example/payload:latest", "k8s-no-latest"),
    ("readinessProbe", GONE, "k8s-probes"),
    ("livenessProbe", GONE, "k8s-probes"),
    ("resources.limits.memory", GONE, "k8s-resources"),
    ("securityContext.readOnlyRootFilesystem", False, "k8s-read-only-root"),
    ("securityContext.runAsNonRoot", False, "k8s-non-root"),
    ("securityContext.capabilities.drop", [], "k8s-no-privilege-escalation"),
    ("env", [{"name": "DATABASE_URI", "value": "postgresql://a:b@c/d"}], "k8s-no-plain-secret"),
]


@pytest.mark.parametrize(("path", "value", "rule"), DANGEROUS)
def test_the_rules_hold_for_a_services_pods(released: Recording, path: str, value: Any, rule: str) -> None:
    name = "payload-payload-deployment"
    pods = released.one(DEPLOYMENT, name)
    changed = replace(pods, inputs=changed_at(pods.inputs, f"{C}.{path}", value))
    others = [resource for resource in released.resources if resource is not pods]
    assert violations([*others, changed]) == [(rule, name)]

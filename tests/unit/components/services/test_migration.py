"""The Job that migrates a service's schema: exact inputs and options."""

from typing import Any

import pulumi
import pytest

from components.kubernetes.network_flows import MIGRATION, Networks, Pods, platform_flows
from components.services.env import MIGRATION_OPTIONS
from components.services.migration import Migration, MigrationArgs
from ops.plan import recorder
from ops.plan.recorder import RecordedResource
from settings import FRAMEWORKS, MigrationSettings, ResourceSettings
from tests.unit.components.services.test_resources import DJANGO, PAYLOAD

IMAGE = f"ghcr.io/example/migrate:1.0.0@sha256:0123456789abcdef{'0' * 48}"


def job(framework: str = "payload", **changes: Any) -> RecordedResource:
    given: dict[str, Any] = {
        "product": PAYLOAD if framework == "payload" else DJANGO,
        "kind": FRAMEWORKS[framework].migration,
        "settings": MigrationSettings(),
        "image": IMAGE,
        "env_secret": f"{framework}-env",
        "ca": True,
    }
    args = MigrationArgs(**{**given, **changes})
    recorded = recorder.record(lambda: Migration("x-migration", args), stack="prod")
    assert list(recorded.component_outputs.values()) == [{"job": "migration-0123456789ab"}]
    return recorded.one("kubernetes:batch/v1:Job", "x-migration-job")


def container(found: RecordedResource) -> dict[str, Any]:
    (only,) = found.inputs["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_the_job() -> None:
    found = job()
    assert found.inputs["metadata"] == {
        "name": "migration-0123456789ab",
        "namespace": "payload-cms",
        "labels": {"app.kubernetes.io/component": "migration"},
        "annotations": {"pulumi.com/replaceUnready": "true"},
    }
    spec = found.inputs["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (2, 900)
    # Pulumi would create one that the cluster removed again.
    assert "ttlSecondsAfterFinished" not in spec
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["serviceAccountName"]) == ("Never", "migration")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsUser"] == 1000
    assert [volume["name"] for volume in pod["volumes"]] == ["writable-0", "database-ca"]


@pytest.mark.parametrize(
    ("framework", "pooled", "direct"),
    [("payload", "DATABASE_URI", "DATABASE_URI_DIRECT"), ("django", "DATABASE_URL", "DATABASE_URL_DIRECT")],
)
def test_it_connects_directly(framework: str, pooled: str, direct: str) -> None:
    found = container(job(framework))
    assert found["env"] == [
        {"name": pooled, "valueFrom": {"secretKeyRef": {"name": f"{framework}-env", "key": direct}}}
    ]
    assert found["envFrom"] == [{"secretRef": {"name": f"{framework}-env"}}]
    assert "statement_timeout=0" in MIGRATION_OPTIONS


@pytest.mark.parametrize("product", [PAYLOAD, DJANGO])
def test_network_flows_let_its_pods_reach_the_database(product: Any) -> None:
    labels = job(product.framework).inputs["spec"]["template"]["metadata"]["labels"]
    flows = platform_flows(products=[product], edge_namespace=None, database_cidrs=["10.0.0.0/16"])
    source = Pods(namespace=product.namespace, labels=labels)
    assert [flow.port for flow in flows if flow.source == source and isinstance(flow.destination, Networks)] == [5432]
    assert labels == MIGRATION


def test_its_commands_wait_for_the_database() -> None:
    assert container(job("payload"))["command"] == ["node", "migrate.mjs"]
    assert container(job("django"))["command"] == [
        "sh",
        "-c",
        "python manage.py wait_for_database && exec python manage.py migrate --noinput",
    ]


def test_what_a_stack_can_set() -> None:
    resources = ResourceSettings(requestsCpu="1", requestsMemory="1Gi", limitsCpu="2", limitsMemory="2Gi")
    found = job(settings=MigrationSettings(command=("./migrate",), minutes=60, resources=resources))
    assert found.inputs["spec"]["activeDeadlineSeconds"] == 3600
    assert container(found)["command"] == ["./migrate"]
    assert container(found)["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "2Gi"},
    }
    assert found.custom_timeouts.keys() == {"create", "update"}


def test_nobody_waits_where_the_api_server_runs_no_pods() -> None:
    assert job(wait_for_rollout=False).inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_a_product_without_a_namespace_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="payload has no namespace"):
        job(product=PAYLOAD.model_copy(update={"namespace": None}))

"""Services that a stack runs before a real kube-apiserver: validation, Pod Security, service accounts, quota."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from ops.plan.manifests import manifests
from ops.plan.recorder import Recording, record_stack
from tests.configs import SERVICES
from tests.integration.kubernetes.conftest import ApiServer, running_api_server
from tests.unit.conftest import full_config

NAMESPACES = ("django-api", "payload-cms")


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Prod with releases of both services, Payload's the largest that its namespace's quota holds."""
    config = full_config("prod")
    services = copy.deepcopy(SERVICES)
    services["payload"]["replicas"] = 6
    facts = {key: config[key] for key in ("lightwave:kubernetes", "lightwave:valkey")}
    return record_stack("prod", overrides={**facts, "lightwave:services": services})


@pytest.fixture(scope="module")
def applied(recording: Recording) -> Iterator[ApiServer]:
    """An API server that took every manifest, with the namespaces' quotas in force."""
    with running_api_server() as server:
        answer = server.apply(*manifests(recording).values())
        assert (answer.ok, answer.warnings) == (True, ""), answer.output
        for namespace in NAMESPACES:
            server.open_quota(namespace)
        yield server


def documents(recording: Recording, *kinds: str) -> list[dict[str, Any]]:
    """The manifests of some kinds in the services' namespaces."""
    found = [yaml.safe_load(text) for text in manifests(recording).values()]
    return [d for d in found if d["kind"] in kinds and d["metadata"].get("namespace") in NAMESPACES]


def pod(controller: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The pod that a Deployment or a Job would make."""
    metadata, template = controller["metadata"], controller["spec"]["template"]
    name = f"{metadata['name']}-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "namespace": metadata["namespace"]},
        "spec": template["spec"],
    }


def pods_at_once(recording: Recording, controller: Mapping[str, Any]) -> int:
    """Its pods in the middle of a rollout."""
    if controller["kind"] == "Job":
        return 1
    name, namespace = controller["metadata"]["name"], controller["metadata"]["namespace"]
    replicas = controller["spec"].get("replicas")
    if replicas is None:
        (replicas,) = [
            scaler["spec"]["maxReplicas"]
            for scaler in documents(recording, "HorizontalPodAutoscaler")
            if (scaler["metadata"]["name"], scaler["metadata"]["namespace"]) == (name, namespace)
        ]
    return int(replicas) + int(controller["spec"]["strategy"].get("rollingUpdate", {}).get("maxSurge", 0))


def test_the_server_holds_what_a_release_declares(recording: Recording, applied: ApiServer) -> None:
    wanted = documents(recording, "Deployment", "HorizontalPodAutoscaler", "Job", "PodDisruptionBudget")
    assert len(wanted) == 11
    for document in wanted:
        metadata = document["metadata"]
        held = applied.get(document["kind"].lower(), metadata["name"], f"--namespace={metadata['namespace']}")
        assert held["metadata"]["labels"].items() >= metadata["labels"].items()
    autoscaled = applied.get("deployment", "api", "--namespace=django-api")
    assert autoscaled["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_second_apply_is_accepted(recording: Recording, applied: ApiServer) -> None:
    answer = applied.apply(*manifests(recording).values())
    assert answer.ok, answer.output


def test_the_services_find_their_pods_and_no_migration(recording: Recording, applied: ApiServer) -> None:
    for name, namespace in (("payload", "payload-cms"), ("api", "django-api")):
        service = applied.get("service", name, f"--namespace={namespace}")["spec"]
        own = {
            controller["kind"]: controller["spec"]["template"]
            for controller in documents(recording, "Deployment", "Job")
            if controller["metadata"]["namespace"] == namespace and controller["metadata"]["name"] in (name, *_jobs())
        }
        assert service["selector"].items() <= own["Deployment"]["metadata"]["labels"].items()
        assert not service["selector"].items() <= own["Job"]["metadata"]["labels"].items()
        (container,) = own["Deployment"]["spec"]["containers"]
        assert [p["targetPort"] for p in service["ports"]] == [p["containerPort"] for p in container["ports"]]


def _jobs() -> tuple[str, ...]:
    return ("migration-222222222222", "migration-333333333333")


def test_every_pod_of_a_rollout_is_admitted_and_one_more_is_not(recording: Recording, applied: ApiServer) -> None:
    """What the settings accept as the largest release is what the real quota holds."""
    controllers = documents(recording, "Deployment", "Job")
    assert len(controllers) == 6
    for controller in controllers:
        for number in range(pods_at_once(recording, controller)):
            answer = applied.create(pod(controller, number))
            # `warn: restricted` holds in both namespaces, and is silent.
            assert (answer.ok, answer.warnings) == (True, ""), answer.output
    (payload,) = [c for c in controllers if c["metadata"]["name"] == "payload"]
    answer = applied.create(pod(payload, 99))
    assert not answer.ok
    assert "exceeded quota: quota" in answer.output
    used = applied.get("resourcequota", "quota", "--namespace=payload-cms")["status"]["used"]
    assert (used["pods"], used["limits.cpu"], used["requests.cpu"]) == ("8", "8", "1850m")


def test_the_environment_that_pods_name_is_there(recording: Recording, applied: ApiServer) -> None:
    for controller in documents(recording, "Deployment", "Job"):
        namespace, spec = controller["metadata"]["namespace"], controller["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        (source,) = container["envFrom"]
        keys = set(applied.get("secret", source["secretRef"]["name"], f"--namespace={namespace}")["data"])
        named = {e["valueFrom"]["secretKeyRef"]["key"] for e in container.get("env", ()) if "valueFrom" in e}
        assert named <= keys
        applied.get("serviceaccount", spec["serviceAccountName"], f"--namespace={namespace}")
        applied.get("configmap", "database-ca", f"--namespace={namespace}")

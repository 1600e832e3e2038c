"""kube-state-metrics: what it may read, and how it runs."""

import json

import pytest

from components.monitoring.kube_state_metrics import KubeStateMetrics, KubeStateMetricsArgs
from ops.plan import recorder
from ops.plan.recorder import Recording
from settings import KubeStateMetricsSettings
from tests.configs import KUBE_STATE_METRICS
from tests.unit.conftest import container_of, workload_pod
from tests.watched import OWN

NAMESPACES = ["django-api", "payload-cms", "shared"]


@pytest.fixture(scope="module")
def recorded() -> Recording:
    given = KubeStateMetricsSettings.model_validate_json(json.dumps(KUBE_STATE_METRICS))
    args = KubeStateMetricsArgs(settings=given, watched=OWN)
    return recorder.record(lambda: KubeStateMetrics("kube-state-metrics", args), stack="prod")


def test_it_reads_three_kinds_in_the_platforms_namespaces_and_nothing_else(recorded: Recording) -> None:
    assert [r.type for r in recorded.resources if "Cluster" in r.type] == []
    roles = recorded.of_type("kubernetes:rbac.authorization.k8s.io/v1:Role")
    assert [role.inputs["metadata"]["namespace"] for role in roles] == NAMESPACES
    for role in roles:
        assert role.inputs["rules"] == [
            {"apiGroups": [""], "resources": ["pods", "resourcequotas"], "verbs": ["list", "watch"]},
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch"]},
        ]
    bindings = recorded.of_type("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
    assert [binding.inputs["metadata"]["namespace"] for binding in bindings] == NAMESPACES
    for binding in bindings:
        assert binding.inputs["roleRef"]["name"] == "kube-state-metrics"
        assert binding.inputs["subjects"] == [
            {"kind": "ServiceAccount", "name": "kube-state-metrics", "namespace": "shared"}
        ]


def test_it_asks_for_what_it_may_read(recorded: Recording) -> None:
    arguments = container_of(workload_pod(recorded, "Deployment"), "kube-state-metrics")["args"]
    assert arguments == [
        "--port=8080",
        "--telemetry-port=8081",
        "--namespaces=django-api,payload-cms,shared",
        "--resources=pods,resourcequotas,jobs",
    ]


def test_its_pod_is_locked_down_but_for_the_token(recorded: Recording) -> None:
    pod = workload_pod(recorded, "Deployment")
    assert pod["automountServiceAccountToken"] is True
    assert pod["securityContext"]["runAsUser"] == 65534
    container = container_of(pod, "kube-state-metrics")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= container.keys()
    assert container["image"] == KUBE_STATE_METRICS["image"]
    assert (
        recorded.one("kubernetes:core/v1:ServiceAccount", "kube-state-metrics-account").inputs[
            "automountServiceAccountToken"
        ]
        is False
    )


def test_there_are_never_two_of_it(recorded: Recording) -> None:
    spec = recorded.one("kubernetes:apps/v1:Deployment", "kube-state-metrics-deployment").inputs["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})

"""The pods of a service: exact inputs and options of its Deployment, disruption budget and autoscaler."""

from typing import Any

import pulumi
import pytest

from components.services.workload import Workload, WorkloadArgs, env_checksum
from ops.plan import recorder
from ops.plan.recorder import Recording
from settings import FRAMEWORKS, AutoscalingSettings, Pods, Product
from tests.unit.components.services.test_resources import DJANGO, PAYLOAD
from tests.unit.conftest import container_of, workload_pod

IMAGE = f"ghcr.io/example/service:1.0.0@sha256:{'a' * 64}"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
SCHEDULE = "/tmp/celerybeat-schedule"  # noqa: S108 (in the container)
KINDS = {
    "payload": (PAYLOAD, FRAMEWORKS["payload"].serving),
    "api": (DJANGO, FRAMEWORKS["django"].serving),
    "worker": (DJANGO, FRAMEWORKS["django"].worker),
    "beat": (DJANGO, FRAMEWORKS["django"].beat),
}


def arguments(name: str, *, scaling: AutoscalingSettings | None = None, **changes: Any) -> WorkloadArgs:
    product, kind = KINDS[name]
    assert kind
    group = Pods(
        kind=kind,
        key=(),
        replicas=1 if kind.single else 3,
        replicas_given=False,
        autoscaling=scaling,
        resources=kind.resources,
        command=kind.command,
    )
    given: dict[str, Any] = {
        "product": product,
        "pods": group,
        "image": IMAGE,
        "env_secret": f"{product.name}-env",
        "checksum": "c0ffee",
        "ca": True,
    }
    return WorkloadArgs(**{**given, **changes})


def recording(name: str, **changes: Any) -> Recording:
    args = arguments(name, **changes)
    return recorder.record(lambda: Workload(f"x-{name}", args), stack="prod")


def spec(recorded: Recording) -> dict[str, Any]:
    (deployment,) = recorded.of_type(DEPLOYMENT)
    return dict(deployment.inputs["spec"])


def test_payloads_deployment() -> None:
    found = spec(recording("payload"))
    labels = {"app.kubernetes.io/name": "payload"}
    assert (found["replicas"], found["minReadySeconds"], found["progressDeadlineSeconds"]) == (3, 10, 360)
    assert found["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert found["selector"] == {"matchLabels": labels}
    assert found["template"]["metadata"] == {
        "labels": labels,
        "annotations": {
            "lightwave.media/env-sha256": "c0ffee",
            "kubectl.kubernetes.io/default-container": "payload",
        },
    }


def test_payloads_container() -> None:
    container = container_of(workload_pod(recording("payload"), "Deployment"), "payload")
    assert container == {
        "name": "payload",
        "image": IMAGE,
        "env": [{"name": "HOSTNAME", "value": "0.0.0.0"}, {"name": "PORT", "value": "3000"}],  # noqa: S104
        "envFrom": [{"secretRef": {"name": "payload-env"}}],
        "ports": [{"name": "http", "containerPort": 3000, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
        "startupProbe": {
            "httpGet": {"path": "/api/access", "port": 3000},
            "periodSeconds": 5,
            "failureThreshold": 60,
            "timeoutSeconds": 10,
        },
        "readinessProbe": {
            "httpGet": {"path": "/healthz", "port": 3000},
            "periodSeconds": 5,
            "failureThreshold": 3,
            "timeoutSeconds": 5,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 3000},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "writable-0", "mountPath": "/tmp", "readOnly": False},  # noqa: S108
            {"name": "writable-1", "mountPath": "/app/.next/cache", "readOnly": False},
            {"name": "database-ca", "mountPath": "/etc/database-ca", "readOnly": True},
        ],
    }


def test_payloads_pod() -> None:
    pod = workload_pod(recording("payload"), "Deployment")
    assert pod["serviceAccountName"] == "payload"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["volumes"] == [
        {"name": "writable-0", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "writable-1", "emptyDir": {"sizeLimit": "512Mi"}},
        {"name": "database-ca", "configMap": {"name": "database-ca"}},
    ]
    assert "priorityClassName" not in pod
    assert [(s["topologyKey"], s["whenUnsatisfiable"]) for s in pod["topologySpreadConstraints"]] == [
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),
        ("kubernetes.io/hostname", "ScheduleAnyway"),
    ]
    assert {str(s["labelSelector"]) for s in pod["topologySpreadConstraints"]} == {
        "{'matchLabels': {'app.kubernetes.io/name': 'payload'}}"
    }


@pytest.mark.parametrize(
    ("name", "account", "command", "listens"),
    [
        ("payload", "payload", None, True),
        ("api", "api", None, True),
        (
            "worker",
            "worker",
            ["celery", "-A", "lightwave", "worker", "--loglevel", "info", "--concurrency", "2"],
            False,
        ),
        ("beat", "worker", ["celery", "-A", "lightwave", "beat", "--schedule", SCHEDULE], False),
    ],
)
def test_each_kind(name: str, account: str, command: list[str] | None, listens: bool) -> None:
    pod = workload_pod(recording(name), "Deployment")
    container = container_of(pod, name)
    assert pod["serviceAccountName"] == account
    assert container.get("command") == command
    assert ("ports" in container, "lifecycle" in container) == (listens, listens)
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_a_kind_that_does_not_listen_is_alive_while_it_writes_its_file() -> None:
    container = container_of(workload_pod(recording("worker"), "Deployment"), "worker")
    (command,) = {str(container[f"{probe}Probe"]["exec"]["command"]) for probe in ("startup", "readiness", "liveness")}
    assert command == str(["sh", "-c", "find /tmp -maxdepth 1 -name 'celery-worker-alive' -mmin -5 | grep -q ."])


def test_there_is_never_a_second_beat() -> None:
    found = spec(recording("beat"))
    assert (found["replicas"], found["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize(
    ("product", "seconds"),
    [
        (PAYLOAD, 15 + 30 + 300),
        (DJANGO, 15 + 30 + 120),
        (PAYLOAD.model_copy(update={"statement_timeout_ms": 1500, "idle_in_transaction_timeout_ms": 1000}), 15 + 3),
    ],
)
def test_a_stopping_pod_may_finish_its_transaction(product: Product, seconds: int) -> None:
    pod = workload_pod(recording("payload", product=product), "Deployment")
    assert pod["terminationGracePeriodSeconds"] == seconds


def test_an_autoscaler_owns_the_number_of_pods() -> None:
    recorded = recording("api", scaling=AutoscalingSettings(min=2, max=5, cpuPercent=60))
    assert "replicas" not in spec(recorded)
    assert recorded.one(AUTOSCALER, "x-api-autoscaler").inputs["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
            }
        ],
    }
    assert not recording("api").of_type(AUTOSCALER)


def test_a_node_can_always_be_drained() -> None:
    budget = recording("api").one("kubernetes:policy/v1:PodDisruptionBudget", "x-api-disruption").inputs
    assert budget["metadata"]["name"] == "api"
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"app.kubernetes.io/name": "api"}},
    }


def test_what_is_optional() -> None:
    pod = workload_pod(recording("payload", ca=False, priority_class="content"), "Deployment")
    assert pod["priorityClassName"] == "content"
    assert [volume["name"] for volume in pod["volumes"]] == ["writable-0", "writable-1"]
    assert [m["name"] for m in container_of(pod, "payload")["volumeMounts"]] == ["writable-0", "writable-1"]
    (deployment,) = recording("payload", wait_for_rollout=False).of_type(DEPLOYMENT)
    assert deployment.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    (deployment,) = recording("payload").of_type(DEPLOYMENT)
    assert "annotations" not in deployment.inputs["metadata"]
    # A start, a rollback's margin of the same length, and a minute for each of the four pods.
    assert deployment.custom_timeouts == {"create": "840s", "update": "840s"}


def test_outputs() -> None:
    assert list(recording("worker").component_outputs.values()) == [{"deployment": "worker"}]


def test_a_product_without_a_namespace_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="payload has no namespace"):
        arguments("payload", product=PAYLOAD.model_copy(update={"namespace": None}))


def checksum(generated: str = "a", plain: str = "b", ca_pem: str | None = None) -> str:
    def program() -> None:
        env: dict[str, pulumi.Input[str]] = {"PASSWORD": pulumi.Output.secret(generated), "PLAIN": plain}
        pulumi.export("sum", env_checksum(env, ca_pem))

    return str(recorder.record(program, stack="prod").outputs["sum"])


def test_the_checksum_changes_with_every_value_and_is_no_secret() -> None:
    sums = [checksum(), checksum(generated="rotated"), checksum(plain="c"), checksum(ca_pem="a certificate")]
    assert len(set(sums)) == 4
    assert all(len(found) == 64 for found in sums)
    assert checksum() == sums[0]

"""The Prometheus operator's objects: exact inputs."""

import json

import pytest

from components.monitoring.operator import OperatorObjects, OperatorObjectsArgs
from components.monitoring.rules import rule_file
from ops.plan import recorder
from ops.plan.recorder import Recording
from settings import OperatorMonitoringSettings
from tests.configs import OPERATOR_MONITORING
from tests.watched import OPERATED

API = "kubernetes:monitoring.coreos.com/v1"


@pytest.fixture(scope="module")
def recorded() -> Recording:
    given = OperatorMonitoringSettings.model_validate_json(json.dumps(OPERATOR_MONITORING))
    args = OperatorObjectsArgs(settings=given, watched=OPERATED)
    return recorder.record(lambda: OperatorObjects("monitoring", args), stack="prod")


def test_the_rules_are_those_of_a_prometheus_of_ones_own(recorded: Recording) -> None:
    rule = recorded.one(f"{API}:PrometheusRule", "monitoring-rules").inputs
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["metadata"] == {
        "name": "lightwave",
        "namespace": "shared",
        "labels": {"release": "kube-prometheus-stack"},
    }
    assert rule["spec"] == rule_file(OPERATED, runbooks=str(OPERATOR_MONITORING["runbooks"]))


def test_each_servers_exporter_is_a_target(recorded: Recording) -> None:
    monitors = {r.inputs["metadata"]["name"]: r.inputs for r in recorded.of_type(f"{API}:PodMonitor")}
    assert {name: (m["spec"]["selector"], m["spec"]["podMetricsEndpoints"]) for name, m in monitors.items()} == {
        name: (
            {"matchLabels": {"app.kubernetes.io/name": name}},
            [
                {
                    "port": "metrics",
                    "interval": "30s",
                    "relabelings": [{"targetLabel": "job", "replacement": job}],
                }
            ],
        )
        for name, job in (("pgbouncer", "pgbouncer"), ("redis", "valkey"), ("cloudflared", "cloudflared"))
    }
    assert all(m["metadata"]["labels"] == {"release": "kube-prometheus-stack"} for m in monitors.values())

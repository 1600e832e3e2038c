"""Monitoring in the whole program: who is declared in each delivery, what they wait for, and who learns what."""

from collections.abc import Callable

import pytest

from ops.plan.manifests import manifests
from ops.plan.recorder import Recording
from tests.configs import EMAIL, MONITORING
from tests.unit.conftest import PROD_WITH_MONITORING, PROD_WITH_OPERATOR

Recordings = Callable[[str], Recording]


def components(recording: Recording) -> set[str]:
    return {r.type.rpartition(":")[2] for r in recording.resources if r.type.startswith("lightwave:monitoring:")}


def test_a_stack_without_the_section_declares_nothing(recording_of: Recordings) -> None:
    assert components(recording_of("prod")) == set()


def test_each_delivery_has_its_own_components(recording_of: Recordings) -> None:
    assert components(recording_of(PROD_WITH_MONITORING)) == {"Prometheus", "KubeStateMetrics", "Dashboards"}
    assert components(recording_of(PROD_WITH_OPERATOR)) == {"OperatorObjects", "Dashboards"}


def test_with_the_operator_there_is_no_pod_more(recording_of: Recordings) -> None:
    def pods(stack: str) -> set[str]:
        return {r.name for r in recording_of(stack).resources if r.type.startswith("kubernetes:apps/v1:")}

    assert pods(PROD_WITH_OPERATOR) == pods("prod")
    assert pods(PROD_WITH_MONITORING) - pods("prod") == {
        "kube-state-metrics-deployment",
        "monitoring-alertmanager",
        "monitoring-prometheus",
    }


def test_kube_state_metrics_waits_for_each_namespace_that_it_has_a_role_in(recording_of: Recordings) -> None:
    component = recording_of(PROD_WITH_MONITORING).one("lightwave:monitoring:KubeStateMetrics", "kube-state-metrics")
    waits = {urn.rpartition("::")[2] for urn in component.depends_on}
    assert waits >= {"django-api-namespace", "payload-cms-namespace", "shared-namespace"}


@pytest.mark.parametrize("secret", [EMAIL["password"], MONITORING["webhookUrl"]])
def test_what_is_delivered_to_is_secret_in_the_plan(recording_of: Recordings, secret: str) -> None:
    recording = recording_of(PROD_WITH_MONITORING)
    assert secret not in repr(recording)
    assert not [path for path, text in manifests(recording).items() if secret in text]
    wrapped = [r.inputs["stringData"].value for r in recording.of_type("kubernetes:core/v1:Secret")]
    assert [data for data in wrapped if secret in data.values()]


def test_the_rules_know_this_stacks_budget_and_namespaces(recording_of: Recordings) -> None:
    recording = recording_of(PROD_WITH_OPERATOR)
    rule = recording.one("kubernetes:monitoring.coreos.com/v1:PrometheusRule", "monitoring-rules")
    expressions = {r["alert"]: r["expr"] for r in rule.inputs["spec"]["groups"][0]["rules"]}
    budget = recording.outputs["connection_budget"]
    assert any(expressions["PgBouncerNearsItsBudget"].split()[-3] in line for line in budget)
    assert 'namespace=~"django-api|payload-cms|shared"' in expressions["ContainerRestarts"]

"""The section `monitoring`: what it takes in each delivery, and what it refuses."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

import settings
from settings import OperatorMonitoringSettings, OwnMonitoringSettings, Settings
from tests.configs import EMAIL, FULL_MONITORING, KUBE_STATE_METRICS, MONITORING, OPERATOR_MONITORING
from tests.unit.conftest import full_config
from tests.unit.settings.changes import SECRET, check_refused, load, problems

ON_EKS = {**FULL_MONITORING, "storageClass": "gp3"}
STATE = KUBE_STATE_METRICS

REFUSED: list[tuple[str, Mapping[str, Any], str]] = [
    ("delivery", {**ON_EKS, "delivery": ...}, 'is missing; expected: "operator" or "own"'),
    ("delivery", {**ON_EKS, "delivery": "grafana"}, 'is not allowed; expected: "operator" or "own"'),
    ("webhookUrl", {**ON_EKS, "webhookUrl": ..., "email": ...},
     "is missing; expected: a URL that Alertmanager posts alerts to, or monitoring.email"),
    ("image", {**ON_EKS, "image": ...}, "is missing; expected: an image by tag and digest, for its pods"),
    ("storageClass", {**ON_EKS, "storageClass": ...}, "is missing; expected: a StorageClass of the cluster"),
    ("prometheusNamespace", {**ON_EKS, "prometheusNamespace": "monitoring"}, "is not a key; expected: alert"),
    ("email.password", {**ON_EKS, "email": {**EMAIL, "password": ""}}, "is not allowed; expected: a secret text"),
    ("email.to", {**ON_EKS, "email": {**EMAIL, "to": "on-call"}}, "is malformed; expected: an e-mail address"),
    ("email.port", {**ON_EKS, "email": {**EMAIL, "port": 0}},
     "is not allowed; expected: a whole number from 1 to 65535"),
    ("kubeStateMetrics.apiServerCidrs", {**ON_EKS, "kubeStateMetrics": {**STATE, "apiServerCidrs": []}},
     "is not allowed; expected: a list; an entry: an IPv4 network"),
    ("kubeStateMetrics.image", {**ON_EKS, "kubeStateMetrics": {**STATE, "image": "kube-state-metrics:latest"}},
     "is malformed; expected: an image by tag and digest"),
    ("webhookUrl", {**OPERATOR_MONITORING, "webhookUrl": SECRET}, "is not a key; expected: delivery, labels"),
    ("prometheusNamespace", {**OPERATOR_MONITORING, "prometheusNamespace": ...}, "is missing; expected: a DNS label"),
    ("labels.release", {**OPERATOR_MONITORING, "labels": {"release": "-"}},
     "is malformed; expected: the value of a Kubernetes label"),
]  # fmt: skip


def section(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if value is not ...}


def of(monitoring: Mapping[str, Any]) -> Settings:
    return load("prod", {**full_config("prod"), "lightwave:monitoring": section(monitoring)})


@pytest.mark.parametrize(("key", "given", "what"), REFUSED)
def test_what_is_refused(key: str, given: Mapping[str, Any], what: str) -> None:
    check_refused("prod", f"monitoring > monitoring.{key}", section(given), what)


def test_the_command_that_fixes_a_secret_keeps_it_secret() -> None:
    found = problems("prod", {"monitoring": section({**ON_EKS, "webhookUrl": ..., "email": ...})})
    _, fix = found["lightwave:monitoring.webhookUrl"]
    assert fix.startswith("pulumi config set --secret "), fix


def test_no_message_repeats_the_password() -> None:
    changed = {**ON_EKS, "email": {**EMAIL, "password": {"is": SECRET}}}
    assert SECRET not in str(problems("prod", {"monitoring": changed}))


def test_each_delivery_has_its_own_settings() -> None:
    own = of(ON_EKS).monitoring
    assert isinstance(own, OwnMonitoringSettings)
    assert own.email is not None
    assert (own.email.sender, own.email.port) == ("alerts@example.com", 587)
    assert EMAIL["password"] not in repr(own)
    operated = of(OPERATOR_MONITORING).monitoring
    assert isinstance(operated, OperatorMonitoringSettings)
    assert operated.labels == {"release": "kube-prometheus-stack"}


def test_the_runbooks_examples_are_accepted() -> None:
    """With the secrets that it says to set, and digests."""
    page = (settings.ROOT / "docs/runbooks/alarms.md").read_text()
    examples = re.findall(r"```yaml\n(  lightwave:monitoring:.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        found = yaml.safe_load(example.replace("<tag>", "v1").replace("<digest>", "1" * 64))["lightwave:monitoring"]
        if "email" in found:
            found["email"]["password"] = SECRET
        assert of(found).monitoring is not None


@pytest.mark.parametrize("given", [MONITORING, OPERATOR_MONITORING])
def test_the_offline_plan_lacks_no_fact_about_it(given: Mapping[str, Any]) -> None:
    images = ("image", "alertmanagerImage")
    config = {
        **settings.stack_config("prod"),
        "lightwave:monitoring": {k: v for k, v in given.items() if k not in images},
    }
    with settings.offline():
        found = settings.load("prod", config).monitoring
    if isinstance(found, OwnMonitoringSettings):
        assert found.image == found.alertmanager_image == found.storage_class == settings.KNOWN_AT_DEPLOY

"""Monitoring before a real kube-apiserver: pods under Pod Security and quota, rights, and the operator's kinds."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.plan.manifests import manifests
from ops.plan.recorder import Recording, record_stack
from tests.configs import FULL_MONITORING, OPERATOR_MONITORING
from tests.integration.kubernetes.conftest import ApiServer, running_api_server
from tests.integration.monitoring.operator_kinds import DEFINITIONS, GROUP
from tests.integration.monitoring.test_rules import promtool
from tests.unit.conftest import full_config

NAMESPACES = ("django-api", "payload-cms", "shared")


def recording(monitoring: Mapping[str, Any]) -> Recording:
    config = full_config("prod")
    facts = {key: config[key] for key in ("lightwave:kubernetes", "lightwave:valkey", "lightwave:pgbouncer")}
    return record_stack("prod", overrides={**facts, "lightwave:monitoring": monitoring})


def documents(monitoring: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in manifests(recording(monitoring)).values()]


@pytest.fixture(scope="module")
def own() -> list[dict[str, Any]]:
    return documents({**FULL_MONITORING, "storageClass": "gp3"})


@pytest.fixture(scope="module")
def applied(own: list[dict[str, Any]]) -> Iterator[ApiServer]:
    """An API server that took every manifest, with the quota of `shared` in force."""
    with running_api_server() as server:
        answer = server.apply(*map(yaml.safe_dump, own))
        assert (answer.ok, answer.warnings) == (True, ""), answer.output
        server.open_quota("shared")
        yield server


@pytest.fixture(scope="module")
def operated(applied: ApiServer) -> list[dict[str, Any]]:
    """The operator's objects, once the server knows their kinds and has taken them."""
    for definition in DEFINITIONS:
        applied.do("apply", "--server-side", "--filename=-", document=definition)
        applied.do("wait", "--for=condition=Established", f"crd/{definition['metadata']['name']}", "--timeout=60s")
    objects = [d for d in documents(OPERATOR_MONITORING) if d["apiVersion"] == f"{GROUP}/v1"]
    assert [d["kind"] for d in objects] == ["PodMonitor", "PodMonitor", "PodMonitor", "PrometheusRule"]
    answer = applied.apply(*map(yaml.safe_dump, objects))
    assert (answer.ok, answer.warnings) == (True, ""), answer.output
    return objects


def test_every_pod_is_admitted(own: list[dict[str, Any]], applied: ApiServer) -> None:
    controllers = [d for d in own if d["kind"] in ("Deployment", "StatefulSet")]
    assert {d["metadata"]["name"] for d in controllers} > {"prometheus", "alertmanager", "kube-state-metrics"}
    for controller in controllers:
        template, metadata = controller["spec"]["template"], controller["metadata"]
        spec = {**template["spec"], "volumes": list(template["spec"].get("volumes", ()))}
        for claim in controller["spec"].get("volumeClaimTemplates", ()):
            name = claim["metadata"]["name"]
            spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
        about = {**template["metadata"], "name": f"{metadata['name']}-0", "namespace": metadata["namespace"]}
        answer = applied.create({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec})
        assert (answer.ok, answer.warnings) == (True, ""), answer.output


def may(server: ApiServer, action: str, namespace: str) -> bool:
    user = "--as=system:serviceaccount:shared:kube-state-metrics"
    return server("auth", "can-i", *action.split(), f"--namespace={namespace}", user, "--quiet").ok


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_kube_state_metrics_may(applied: ApiServer, namespace: str) -> None:
    for action in ("list pods", "watch pods", "list resourcequotas", "list jobs.batch", "watch jobs.batch"):
        assert may(applied, action, namespace), action
    for action in ("list secrets", "get pods", "list configmaps", "create pods", "delete pods"):
        assert not may(applied, action, namespace), action


def test_kube_state_metrics_may_nothing_elsewhere(applied: ApiServer) -> None:
    assert not may(applied, "list pods", "kube-system")
    assert not may(applied, "list pods", "default")


def test_the_operators_rules_are_the_servers_and_promtools(
    applied: ApiServer, operated: list[dict[str, Any]], programs: Path, tmp_path: Path
) -> None:
    held = applied.get("prometheusrule", "lightwave", "--namespace=shared")
    (declared,) = [d for d in operated if d["kind"] == "PrometheusRule"]
    assert held["spec"] == declared["spec"]
    assert held["metadata"]["labels"] == {"release": "kube-prometheus-stack"}
    (tmp_path / "rules.json").write_text(json.dumps(held["spec"]))
    promtool(programs, "check", "rules", tmp_path / "rules.json")


def test_each_monitor_selects_the_pods_and_names_a_port_of_theirs(
    own: list[dict[str, Any]], applied: ApiServer, operated: list[dict[str, Any]]
) -> None:
    templates = [d["spec"]["template"] for d in own if d["kind"] in ("Deployment", "StatefulSet")]
    for monitor in (d for d in operated if d["kind"] == "PodMonitor"):
        held = applied.get("podmonitor", monitor["metadata"]["name"], "--namespace=shared")["spec"]
        labels = held["selector"]["matchLabels"]
        (template,) = [t for t in templates if labels.items() <= t["metadata"]["labels"].items()]
        ports = [p["name"] for c in template["spec"]["containers"] for p in c.get("ports", ())]
        assert [endpoint["port"] for endpoint in held["podMetricsEndpoints"]] == ["metrics"]
        assert ports.count("metrics") == 1


def test_a_field_that_the_kinds_do_not_have_is_refused(applied: ApiServer, operated: list[dict[str, Any]]) -> None:
    monitor = next(d for d in operated if d["kind"] == "PodMonitor")
    answer = applied.apply(json.dumps({**monitor, "spec": {**monitor["spec"], "endpoints": []}}))
    assert not answer.ok
    assert "unknown field" in answer.output or "field not declared" in answer.output

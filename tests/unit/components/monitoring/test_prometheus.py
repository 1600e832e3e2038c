"""Prometheus and Alertmanager on the cluster: exact inputs and options."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import settings
from components.monitoring.prometheus import Prometheus, PrometheusArgs
from components.monitoring.rules import alerts
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from tests.configs import EMAIL, MONITORING
from tests.watched import OWN, every_alert

WEBHOOK = "https://chat.example.com/hook/sentinel"
STATEFUL_SET = "kubernetes:apps/v1:StatefulSet"


def given(section: Mapping[str, Any], **changes: Any) -> PrometheusArgs:
    whole = {**MONITORING, "webhookUrl": WEBHOOK, "storageClass": "gp3", **section}
    return PrometheusArgs(
        settings=settings.OwnMonitoringSettings.model_validate_json(json.dumps(whole)),
        watched=replace(OWN, **{"pooled_connections": 210, "pods": False, **changes}),
    )


def recording(section: Mapping[str, Any] | None = None, **changes: Any) -> Recording:
    return recorder.record(lambda: Prometheus("monitoring", given(section or {}, **changes)), stack="prod")


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def config(recorded: Recording, name: str, file: str) -> dict[str, Any]:
    data = recorded.one("kubernetes:core/v1:ConfigMap", f"monitoring-{name}-config").inputs["data"]
    found: dict[str, Any] = json.loads(data[file])
    return found


def spec(recorded: Recording, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = recorded.one(STATEFUL_SET, f"monitoring-{name}").inputs["spec"]
    return found


def test_targets_are_found_by_dns(recorded: Recording) -> None:
    found = config(recorded, "prometheus", "config.json")
    jobs = {job["job_name"]: job.get("dns_sd_configs", job.get("static_configs"))[0] for job in found["scrape_configs"]}
    assert {name: (job.get("names"), job.get("port")) for name, job in jobs.items()} == {
        "pgbouncer": (["pgbouncer-metrics.shared.svc.cluster.local"], 9127),
        "valkey": (["redis-metrics.shared.svc.cluster.local"], 9121),
        "cloudflared": (["cloudflared-metrics.shared.svc.cluster.local"], 2000),
        "alertmanager": (["alertmanager-metrics.shared.svc.cluster.local"], 9093),
        "prometheus": (None, None),
    }
    services = {
        r.inputs["metadata"]["name"]: r.inputs["spec"]
        for r in recorded.resources
        if r.type == "kubernetes:core/v1:Service" and r.name.endswith("-metrics")
    }
    assert {name: (each["selector"], each["ports"][0]["port"]) for name, each in services.items()} == {
        "pgbouncer-metrics": ({"app.kubernetes.io/name": "pgbouncer"}, 9127),
        "redis-metrics": ({"app.kubernetes.io/name": "redis"}, 9121),
        "cloudflared-metrics": ({"app.kubernetes.io/name": "cloudflared"}, 2000),
        "alertmanager-metrics": ({"app.kubernetes.io/name": "alertmanager"}, 9093),
    }
    assert all(each["clusterIP"] == "None" and each["publishNotReadyAddresses"] for each in services.values())


@pytest.mark.parametrize(("server", "job"), [("valkey", "valkey"), ("edge", "cloudflared")])
def test_what_does_not_run_is_not_a_target(server: str, job: str) -> None:
    found = config(recording(None, **{server: False}), "prometheus", "config.json")
    assert job not in [each["job_name"] for each in found["scrape_configs"]]


def test_kube_state_metrics_is_asked_for_its_pods_and_must_not_be_reached_at_its_other_port() -> None:
    recorded = recording(pods=True)
    jobs = {job["job_name"]: job for job in config(recorded, "prometheus", "config.json")["scrape_configs"]}
    state, denied = jobs["kube-state-metrics"], jobs["denied"]
    host = "kube-state-metrics-metrics.shared.svc.cluster.local"
    assert [(job["dns_sd_configs"][0]["names"], job["dns_sd_configs"][0]["port"]) for job in (state, denied)] == [
        ([host], 8080),
        ([host], 8081),
    ]
    assert state["honor_labels"], "else the namespace of each pod would be this target's"
    found = recorded.one("kubernetes:core/v1:Service", "monitoring-kube-state-metrics-metrics").inputs["spec"]
    assert found["selector"] == {"app.kubernetes.io/name": "kube-state-metrics"}


def test_targets_are_labelled_as_the_operator_labels_them(recorded: Recording) -> None:
    labelled = {"target_label": "namespace", "replacement": "shared"}
    for job in config(recorded, "prometheus", "config.json")["scrape_configs"]:
        assert job.get("relabel_configs", [labelled]) == [labelled]


def test_the_volume_is_never_filled(recorded: Recording) -> None:
    prometheus = spec(recorded, "prometheus")
    (claim,) = prometheus["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert claim["spec"]["storageClassName"] == "gp3"
    (container,) = prometheus["template"]["spec"]["containers"]
    assert "--storage.tsdb.retention.time=15d" in container["args"]
    assert "--storage.tsdb.retention.size=8GB" in container["args"]
    assert prometheus["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_its_pods_have_no_rights(recorded: Recording, name: str) -> None:
    pod = spec(recorded, name)["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsUser"] == 65534
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= container.keys()
    assert container["image"].count("@sha256:") == 1


def test_the_webhook_is_a_secret_that_is_read_at_each_alert(recorded: Recording) -> None:
    secret = recorded.one("kubernetes:core/v1:Secret", "monitoring-alertmanager-webhook").inputs
    assert secret["stringData"] == Secret({"url": WEBHOOK})
    found = config(recorded, "alertmanager", "config.json")
    (receiver,) = found["receivers"]
    assert receiver["webhook_configs"] == [{"url_file": "/etc/alertmanager-webhook/url", "send_resolved": True}]
    assert WEBHOOK not in json.dumps(found)
    (container,) = spec(recorded, "alertmanager")["template"]["spec"]["containers"]
    assert {"name": "webhook", "mountPath": "/etc/alertmanager-webhook", "readOnly": True} in container["volumeMounts"]


def test_the_password_of_the_mail_server_is_a_secret_too() -> None:
    recorded = recording({"email": EMAIL})
    assert recorded.one("kubernetes:core/v1:Secret", "monitoring-alertmanager-email").inputs["stringData"] == Secret(
        {"password": EMAIL["password"]}
    )
    assert EMAIL["password"] not in json.dumps(config(recorded, "alertmanager", "config.json"))
    pod = spec(recorded, "alertmanager")["template"]["spec"]
    assert [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v] == [
        "alertmanager-webhook",
        "alertmanager-email",
    ]
    assert {"name": "email", "mountPath": "/etc/alertmanager-email", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]


def test_without_a_webhook_there_is_no_secret_for_it() -> None:
    recorded = recording({"email": EMAIL, "webhookUrl": None})
    assert [r.name for r in recorded.of_type("kubernetes:core/v1:Secret")] == ["monitoring-alertmanager-email"]


def test_a_changed_rule_restarts_prometheus_alone(recorded: Recording) -> None:
    changed = recording(pooled_connections=99)
    assert spec(changed, "prometheus") != spec(recorded, "prometheus")
    assert spec(changed, "alertmanager") == spec(recorded, "alertmanager")


def test_every_alert_names_a_runbook_that_exists(recorded: Recording) -> None:
    (group,) = config(recorded, "prometheus", "rules.json")["groups"]
    assert len(group["rules"]) == len(list(alerts(given({}).watched))) > 8
    runbooks = {alert.runbook for alert in every_alert().values()}
    assert runbooks == {url.rpartition("/")[2] for url in (r["annotations"]["runbook_url"] for r in group["rules"])}
    for rule in group["rules"]:
        url = rule["annotations"]["runbook_url"]
        assert url.startswith("https://git.example.com/platform/docs/runbooks/")
        assert (settings.ROOT / "docs" / "runbooks" / url.rpartition("/")[2]).exists()
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_budget_is_in_its_alert(recorded: Recording) -> None:
    (group,) = config(recorded, "prometheus", "rules.json")["groups"]
    (rule,) = [rule for rule in group["rules"] if rule["alert"] == "PgBouncerNearsItsBudget"]
    assert rule["expr"].endswith(" > 210 * 0.9")

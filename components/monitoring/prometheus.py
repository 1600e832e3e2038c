"""A small Prometheus and Alertmanager of this program's own, in `shared`.

Prometheus finds its targets by DNS, through headless Services: it has no token and asks no API server.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ContainerArgsDict,
    PersistentVolumeClaimArgsDict,
    PodSpecArgsDict,
    ProbeArgsDict,
    Secret,
    Service,
    ServiceAccount,
    VolumeArgsDict,
)

from components.kubernetes.network_flows import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    MONITORING,
    PGBOUNCER,
    PGBOUNCER_METRICS_PORT,
    PROMETHEUS_PORT,
    REDIS,
    REDIS_METRICS_PORT,
)
from components.kubernetes.pods import (
    LOCKED_DOWN,
    NOBODY,
    data_claim,
    headless_service,
    locked_down_pod,
    metadata,
    mount,
    probe,
    resources,
    rollout_annotations,
    secret_file,
)
from components.monitoring import rules
from settings import MonitoringSettings

_ALERTMANAGER = "alertmanager"
_CONFIG = "/etc/monitoring"
_CONF = "config.json"
_RULES = "rules.json"
_WEBHOOK = "/etc/alertmanager-webhook"
_WEBHOOK_SECRET = "alertmanager-webhook"  # noqa: S105 (a name)
_WEBHOOK_KEY = "url"
_DATA = "/data"
_SCRAPE = "30s"


def prometheus_config(namespace: str, *, valkey: bool) -> dict[str, Any]:
    """prometheus.yml, as JSON: YAML is a superset of it."""

    def job(name: str, host: str, port: int) -> dict[str, Any]:
        found = {"names": [f"{host}.{namespace}.svc.cluster.local"], "type": "A", "port": port}
        return {"job_name": name, "dns_sd_configs": [{**found, "refresh_interval": _SCRAPE}]}

    alertmanager = job(rules.ALERTMANAGER_JOB, _headless(_ALERTMANAGER), ALERTMANAGER_PORT)
    return {
        "global": {"scrape_interval": _SCRAPE, "evaluation_interval": _SCRAPE},
        "rule_files": [f"{_CONFIG}/{_RULES}"],
        "alerting": {"alertmanagers": [{"dns_sd_configs": alertmanager["dns_sd_configs"]}]},
        "scrape_configs": [
            job(rules.PGBOUNCER_JOB, _headless("pgbouncer"), PGBOUNCER_METRICS_PORT),
            *([job(rules.VALKEY_JOB, _headless("redis"), REDIS_METRICS_PORT)] if valkey else []),
            alertmanager,
            {
                "job_name": rules.PROMETHEUS_JOB,
                "static_configs": [{"targets": [f"127.0.0.1:{PROMETHEUS_PORT}"]}],
            },
        ],
    }


def alertmanager_config() -> dict[str, Any]:
    """alertmanager.yml, as JSON: every alert goes to the webhook, critical ones again each hour."""
    # Read at each notification, so a changed URL needs no restart.
    webhook = {"url_file": f"{_WEBHOOK}/{_WEBHOOK_KEY}", "send_resolved": True}
    return {
        "route": {
            "receiver": "webhook",
            "group_by": ["alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [{"matchers": ['severity="critical"'], "receiver": "webhook", "repeat_interval": "1h"}],
        },
        "receivers": [{"name": "webhook", "webhook_configs": [webhook]}],
    }


def _headless(name: str) -> str:
    return f"{name}-metrics"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusArgs:
    """Arguments of `Prometheus`."""

    namespace: str
    settings: MonitoringSettings
    pooled_connections: int
    """Server connections of all PgBouncer instances, by the connection budget."""
    valkey: bool
    """Whether Valkey runs."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pods are ready; False where the API server runs no pods."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pod:
    """What differs between the two StatefulSets."""

    container: ContainerArgsDict
    labels: Mapping[str, str]
    port: int
    config: Mapping[str, Any]
    """By file name, the content as JSON."""
    volumes: Sequence[VolumeArgsDict] = ()
    claims: Sequence[PersistentVolumeClaimArgsDict] = ()


class Prometheus(pulumi.ComponentResource):
    """Two StatefulSets of one pod with their configuration, volumes and Services.

    Alertmanager has no volume: after a restart it may notify once more, and silences are gone.
    """

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:monitoring:Prometheus", name, {}, opts)
        self._args = args
        self._name = name
        child = pulumi.ResourceOptions(parent=self)
        targets = {"pgbouncer": (PGBOUNCER, PGBOUNCER_METRICS_PORT), _ALERTMANAGER: (ALERTMANAGER, ALERTMANAGER_PORT)}
        if args.valkey:
            targets["redis"] = (REDIS, REDIS_METRICS_PORT)
        for target, (labels, port) in targets.items():
            Service(
                f"{name}-{target}-metrics",
                # Never waited for: monitoring comes up without its targets. Unready pods are looked at too.
                metadata=metadata(_headless(target), args.namespace, MONITORING, wait=False),
                spec={**headless_service("metrics", port, labels), "publish_not_ready_addresses": True},
                opts=child,
            )
        self._prometheus()
        self._alertmanager()
        self.register_outputs({})

    def _prometheus(self) -> None:
        args, settings = self._args, self._args.settings
        ready, healthy = _probes(PROMETHEUS_PORT)
        container: ContainerArgsDict = {
            "name": "prometheus",
            "image": settings.image,
            "args": [
                f"--config.file={_CONFIG}/{_CONF}",
                f"--storage.tsdb.path={_DATA}",
                f"--storage.tsdb.retention.time={settings.retention_days}d",
                # Before the volume is full; the write-ahead log needs room too.
                f"--storage.tsdb.retention.size={settings.storage_gib * 8 // 10}GB",
            ],
            "ports": [{"name": "http", "container_port": PROMETHEUS_PORT, "protocol": "TCP"}],
            "startup_probe": _starting(ready),
            "readiness_probe": probe(ready, period_seconds=10, failure_threshold=3),
            "liveness_probe": probe(healthy, period_seconds=30, failure_threshold=4),
            "resources": resources(requests=("100m", "256Mi"), limits=("500m", "512Mi")),
            "security_context": LOCKED_DOWN,
            "volume_mounts": [mount("config", _CONFIG), mount("data", _DATA, read_only=False)],
        }
        rule_file = rules.rule_file(pooled_connections=args.pooled_connections, runbooks=settings.runbooks)
        self._stateful_set(
            _Pod(
                container=container,
                labels=MONITORING,
                port=PROMETHEUS_PORT,
                config={_CONF: prometheus_config(args.namespace, valkey=args.valkey), _RULES: rule_file},
                claims=[data_claim(MONITORING, storage_gib=settings.storage_gib, storage_class=settings.storage_class)],
            )
        )

    def _alertmanager(self) -> None:
        args = self._args
        ready, healthy = _probes(ALERTMANAGER_PORT)
        container: ContainerArgsDict = {
            "name": _ALERTMANAGER,
            "image": args.settings.alertmanager_image,
            "args": [
                f"--config.file={_CONFIG}/{_CONF}",
                f"--storage.path={_DATA}",
                # One pod: no cluster of Alertmanagers.
                "--cluster.listen-address=",
            ],
            "ports": [{"name": "http", "container_port": ALERTMANAGER_PORT, "protocol": "TCP"}],
            "startup_probe": _starting(ready),
            "readiness_probe": probe(ready, period_seconds=10, failure_threshold=3),
            "liveness_probe": probe(healthy, period_seconds=30, failure_threshold=4),
            "resources": resources(requests=("20m", "32Mi"), limits=("100m", "64Mi")),
            "security_context": LOCKED_DOWN,
            "volume_mounts": [
                mount("config", _CONFIG),
                mount("webhook", _WEBHOOK),
                mount("data", _DATA, read_only=False),
            ],
        }
        webhook = Secret(
            f"{self._name}-alertmanager-webhook",
            metadata=metadata(_WEBHOOK_SECRET, args.namespace, ALERTMANAGER),
            type="Opaque",
            # The SDK marks string_data as secret, whatever its values are.
            string_data={_WEBHOOK_KEY: args.settings.webhook_url.get_secret_value()},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._stateful_set(
            _Pod(
                container=container,
                labels=ALERTMANAGER,
                port=ALERTMANAGER_PORT,
                config={_CONF: alertmanager_config()},
                volumes=[
                    secret_file("webhook", _WEBHOOK_SECRET, _WEBHOOK_KEY),
                    {"name": "data", "empty_dir": {"size_limit": "64Mi"}},
                ],
            ),
            webhook,
        )

    def _stateful_set(self, pod: _Pod, *after: pulumi.Resource) -> None:
        """One pod with its configuration, account and headless Service, all of the container's name."""
        name, child = str(pod.container["name"]), pulumi.ResourceOptions(parent=self)
        about = metadata(name, self._args.namespace, pod.labels)
        files = {file: json.dumps(content, indent=1) for file, content in pod.config.items()}
        config = ConfigMap(f"{self._name}-{name}-config", metadata=about, data=files, opts=child)
        account = ServiceAccount(
            f"{self._name}-{name}-account", metadata=about, automount_service_account_token=False, opts=child
        )
        annotations = rollout_annotations(config="".join(files.values()), rotations={}, secrets=(), container=name)
        spec: PodSpecArgsDict = {
            **locked_down_pod(name, NOBODY, pod.container, fs_group_change_policy="OnRootMismatch"),
            "termination_grace_period_seconds": 60,
            "volumes": [{"name": "config", "config_map": {"name": name}}, *pod.volumes],
        }
        StatefulSet(
            f"{self._name}-{name}",
            metadata=metadata(name, self._args.namespace, pod.labels, wait=self._args.wait_for_rollout),
            spec={
                "replicas": 1,
                "revision_history_limit": 5,
                "service_name": name,
                "selector": {"match_labels": dict(pod.labels)},
                "persistent_volume_claim_retention_policy": {"when_deleted": "Retain", "when_scaled": "Retain"},
                "volume_claim_templates": pod.claims,
                "template": {"metadata": {"labels": dict(pod.labels), "annotations": annotations}, "spec": spec},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config, account, *after]),
        )
        Service(
            f"{self._name}-{name}-service",
            metadata=metadata(name, self._args.namespace, pod.labels, wait=False),
            spec=headless_service("http", pod.port, pod.labels),
            opts=child,
        )


def _probes(port: int) -> tuple[ProbeArgsDict, ProbeArgsDict]:
    """Whether it can serve, and whether it is alive."""
    return {"http_get": {"path": "/-/ready", "port": port}}, {"http_get": {"path": "/-/healthy", "port": port}}


def _starting(ready: ProbeArgsDict) -> ProbeArgsDict:
    # Five minutes: Prometheus reads its write-ahead log before it is ready.
    return probe(ready, period_seconds=2, failure_threshold=150)

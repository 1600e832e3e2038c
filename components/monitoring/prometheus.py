"""A small Prometheus and Alertmanager of this program's own, in `shared`.

Prometheus finds its targets by DNS, through headless Services: it has no token and asks no API server.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
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
    KUBE_STATE_METRICS,
    KUBE_STATE_METRICS_PORT,
    MONITORING,
    PROMETHEUS_PORT,
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
from components.monitoring.alertmanager import alertmanager_config, secret_folder, secrets_of
from components.monitoring.kube_state_metrics import TELEMETRY_PORT
from components.monitoring.model import (
    ALERTMANAGER_JOB,
    DENIED_JOB,
    KUBE_STATE_METRICS_JOB,
    PROMETHEUS_JOB,
    Target,
    Watched,
)
from components.monitoring.rules import rule_file
from settings import OwnMonitoringSettings

_ALERTMANAGER = "alertmanager"
_CONFIG = "/etc/monitoring"
_CONF = "config.json"
_RULES = "rules.json"
_DATA = "/data"
_SCRAPE = "30s"


def prometheus_config(watched: Watched) -> dict[str, Any]:
    """prometheus.yml, as JSON: YAML is a superset of it."""

    def job(name: str, target: str, port: int, **more: Any) -> dict[str, Any]:
        host = f"{_headless(target)}.{watched.namespace}.svc.cluster.local"
        found = {"names": [host], "type": "A", "port": port, "refresh_interval": _SCRAPE}
        # As the operator's Prometheus labels what it finds, so that the rules are the same for both.
        labelled = {"target_label": "namespace", "replacement": watched.namespace}
        return {"job_name": name, "dns_sd_configs": [found], "relabel_configs": [labelled], **more}

    alertmanager = job(ALERTMANAGER_JOB, _ALERTMANAGER, ALERTMANAGER_PORT)
    pods = [
        # Its series say in which namespace each pod is: that label is not the target's.
        job(KUBE_STATE_METRICS_JOB, KUBE_STATE_METRICS_JOB, KUBE_STATE_METRICS_PORT, honor_labels=True),
        job(DENIED_JOB, KUBE_STATE_METRICS_JOB, TELEMETRY_PORT, scrape_timeout="5s"),
    ]
    return {
        "global": {"scrape_interval": _SCRAPE, "evaluation_interval": _SCRAPE},
        "rule_files": [f"{_CONFIG}/{_RULES}"],
        "alerting": {"alertmanagers": [{"dns_sd_configs": alertmanager["dns_sd_configs"]}]},
        "scrape_configs": [
            *(job(server.job, server.name, server.port) for server in watched.servers),
            *(pods if watched.pods else []),
            alertmanager,
            {
                "job_name": PROMETHEUS_JOB,
                "static_configs": [{"targets": [f"127.0.0.1:{PROMETHEUS_PORT}"]}],
            },
        ],
    }


def _targets(watched: Watched) -> Iterator[Target]:
    """What Prometheus finds by a headless Service."""
    yield from watched.servers
    if watched.pods:
        job = KUBE_STATE_METRICS_JOB
        yield Target(name=job, job=job, labels=KUBE_STATE_METRICS, port=KUBE_STATE_METRICS_PORT)
    yield Target(name=_ALERTMANAGER, job=ALERTMANAGER_JOB, labels=ALERTMANAGER, port=ALERTMANAGER_PORT)


def _headless(name: str) -> str:
    return f"{name}-metrics"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusArgs:
    """Arguments of `Prometheus`."""

    settings: OwnMonitoringSettings
    watched: Watched
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
        for target in _targets(args.watched):
            Service(
                f"{name}-{target.name}-metrics",
                # Never waited for: monitoring comes up without its targets. Unready pods are looked at too.
                metadata=metadata(_headless(target.name), args.watched.namespace, MONITORING, wait=False),
                spec={**headless_service("metrics", target.port, target.labels), "publish_not_ready_addresses": True},
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
        rules = rule_file(args.watched, runbooks=settings.runbooks)
        self._stateful_set(
            _Pod(
                container=container,
                labels=MONITORING,
                port=PROMETHEUS_PORT,
                config={_CONF: prometheus_config(args.watched), _RULES: rules},
                claims=[data_claim(MONITORING, storage_gib=settings.storage_gib, storage_class=settings.storage_class)],
            )
        )

    def _alertmanager(self) -> None:
        args = self._args
        secrets = secrets_of(args.settings)
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
                *(mount(route, secret_folder(route)) for route in secrets),
                mount("data", _DATA, read_only=False),
            ],
        }
        made = [
            Secret(
                f"{self._name}-alertmanager-{route}",
                metadata=metadata(f"{_ALERTMANAGER}-{route}", args.watched.namespace, ALERTMANAGER),
                type="Opaque",
                # The SDK marks string_data as secret, whatever its values are.
                string_data=data,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for route, data in secrets.items()
        ]
        self._stateful_set(
            _Pod(
                container=container,
                labels=ALERTMANAGER,
                port=ALERTMANAGER_PORT,
                config={_CONF: alertmanager_config(args.settings)},
                volumes=[
                    *(secret_file(route, f"{_ALERTMANAGER}-{route}", *data) for route, data in secrets.items()),
                    {"name": "data", "empty_dir": {"size_limit": "64Mi"}},
                ],
            ),
            *made,
        )

    def _stateful_set(self, pod: _Pod, *after: pulumi.Resource) -> None:
        """One pod with its configuration, account and headless Service, all of the container's name."""
        name, child = str(pod.container["name"]), pulumi.ResourceOptions(parent=self)
        about = metadata(name, self._args.watched.namespace, pod.labels)
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
            metadata=metadata(name, self._args.watched.namespace, pod.labels, wait=self._args.wait_for_rollout),
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
            metadata=metadata(name, self._args.watched.namespace, pod.labels, wait=False),
            spec=headless_service("http", pod.port, pod.labels),
            opts=child,
        )


def _probes(port: int) -> tuple[ProbeArgsDict, ProbeArgsDict]:
    """Whether it can serve, and whether it is alive."""
    return {"http_get": {"path": "/-/ready", "port": port}}, {"http_get": {"path": "/-/healthy", "port": port}}


def _starting(ready: ProbeArgsDict) -> ProbeArgsDict:
    # Five minutes: Prometheus reads its write-ahead log before it is ready.
    return probe(ready, period_seconds=2, failure_threshold=150)

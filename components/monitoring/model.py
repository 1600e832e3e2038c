"""What is watched, and what an alert rule is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.kubernetes.network_flows import (
    CLOUDFLARED,
    CLOUDFLARED_METRICS_PORT,
    PGBOUNCER,
    PGBOUNCER_METRICS_PORT,
    REDIS,
    REDIS_METRICS_PORT,
)

PGBOUNCER_JOB = "pgbouncer"
VALKEY_JOB = "valkey"
CLOUDFLARED_JOB = "cloudflared"
PROMETHEUS_JOB = "prometheus"
ALERTMANAGER_JOB = "alertmanager"
KUBE_STATE_METRICS_JOB = "kube-state-metrics"
DENIED_JOB = "denied"
"""A target that the network policies keep Prometheus from reaching, for as long as they are enforced."""

SATURATED = "pgbouncer-saturated.md"
EDGE = "edge.md"
ALARMS = "alarms.md"
"""Runbooks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert rule."""

    name: str
    expression: str
    """PromQL; the alert is pending while it has a result."""
    lasting: str
    """How long it has to have one before somebody is notified, such as `5m`."""
    severity: str
    """critical: services fail, now. warning: they will, or a second fault would make them."""
    summary: str
    """A template: `$labels` and `$value` are Prometheus's."""
    runbook: str = ALARMS
    """File in docs/runbooks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Pods that give metrics."""

    name: str
    """Part of the names of the objects that find them."""
    job: str
    labels: Mapping[str, str]
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What the alerts are about."""

    namespace: str
    """Namespace of the servers."""
    namespaces: Sequence[str]
    """The platform's namespaces, that one included."""
    pooled_connections: int
    """Server connections of all PgBouncer instances, by the connection budget."""
    valkey: bool
    """Whether Valkey runs."""
    edge: bool
    """Whether cloudflared runs."""
    own: bool
    """Whether Prometheus and Alertmanager are this stack's own."""
    pods: bool
    """Whether Prometheus has kube-state-metrics."""
    client_tls: bool = False
    """Whether PgBouncer has a certificate for its clients."""
    policies_enforced: bool = False
    """Whether the network plugin is said to enforce network policies."""

    @property
    def servers(self) -> tuple[Target, ...]:
        """The servers' exporters."""
        valkey = Target(name="redis", job=VALKEY_JOB, labels=REDIS, port=REDIS_METRICS_PORT)
        pgbouncer = Target(name="pgbouncer", job=PGBOUNCER_JOB, labels=PGBOUNCER, port=PGBOUNCER_METRICS_PORT)
        job = CLOUDFLARED_JOB
        edge = Target(name=job, job=job, labels=CLOUDFLARED, port=CLOUDFLARED_METRICS_PORT)
        return (pgbouncer, *([valkey] if self.valkey else []), *([edge] if self.edge else []))

    def own_series(self, metric: str, *matchers: str) -> str:
        """A selector for a metric of `namespace` alone: the operator's Prometheus has those of other teams too."""
        return _selector(metric, f'namespace="{self.namespace}"', *matchers)

    def series(self, metric: str, *matchers: str) -> str:
        """A selector for a metric of all the platform's namespaces."""
        return _selector(metric, f'namespace=~"{"|".join(self.namespaces)}"', *matchers)


def _selector(metric: str, *matchers: str) -> str:
    return f"{metric}{{{', '.join(matchers)}}}"

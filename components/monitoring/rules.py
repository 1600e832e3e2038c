"""What wakes somebody up: Prometheus's alert rules.

Metric names are those of prometheuscommunity/pgbouncer-exporter 0.12, oliver006/redis_exporter 1.86 and cloudflared.
"""

from collections.abc import Iterator
from typing import Any

from components.kubernetes.valkey_files import CELERY_QUEUE
from components.monitoring.model import ALERTMANAGER_JOB, EDGE, KUBE_STATE_METRICS_JOB, SATURATED, Alert, Watched
from components.monitoring.pod_rules import pod_alerts

SERVER_STATES = ("active", "idle", "used", "testing", "login")
"""Each server connection of a pool is in one of them."""
BUSY_QUERIES = 30_000
"""Queries a second of one PgBouncer: half of what its one core does, at about 15 µs a query without TLS
(docs/performance.md)."""
_QUEUED = 100
"""Tasks in the queue: more than two workers fetch at once."""


def alerts(watched: Watched) -> Iterator[Alert]:
    """All rules for what is watched."""
    yield from _pgbouncer(watched)
    if watched.valkey:
        yield from _valkey(watched)
    if watched.edge:
        yield _edge(watched)
    yield from _monitoring(watched)
    if watched.pods:
        yield from pod_alerts(watched)


def server_connections(watched: Watched) -> str:
    """PromQL for the server connections of all PgBouncer instances."""
    return " + ".join(
        f"sum({watched.own_series(f'pgbouncer_pools_server_{state}_connections')})" for state in SERVER_STATES
    )


def _pgbouncer(watched: Watched) -> Iterator[Alert]:
    series, budget = watched.own_series, watched.pooled_connections
    yield Alert(
        name="PgBouncerClientsWait",
        expression=f"sum by (database) ({series('pgbouncer_pools_client_waiting_connections')}) > 0",
        lasting="5m",
        severity="warning",
        summary="{{ $value }} clients of {{ $labels.database }} have been waiting for a connection for 5 minutes",
        runbook=SATURATED,
    )
    yield Alert(
        name="PgBouncerWaitIsLong",
        expression=f"max by (database) ({series('pgbouncer_pools_client_maxwait_seconds')}) > 5",
        lasting="1m",
        severity="critical",
        summary="a client of {{ $labels.database }} has waited for {{ $value }} s",
        runbook=SATURATED,
    )
    yield Alert(
        name="PgBouncerNearsItsBudget",
        expression=f"{server_connections(watched)} > {budget} * 0.9",
        lasting="10m",
        severity="warning",
        summary=f"{{{{ $value }}}} server connections, and the connection budget has {budget}",
        runbook=SATURATED,
    )
    queries = series("pgbouncer_stats_totals_queries_pooled_total")
    yield Alert(
        name="PgBouncerNeedsAReplica",
        expression=f"sum by (instance) (rate({queries}[5m])) > {BUSY_QUERIES}",
        lasting="15m",
        severity="warning",
        summary="PgBouncer at {{ $labels.instance }}, which has one core, takes {{ $value }} queries a second",
        runbook=SATURATED,
    )
    yield Alert(
        name="PgBouncerDoesNotAnswer",
        expression=f"{series('pgbouncer_up')} == 0",
        lasting="1m",
        severity="critical",
        summary="PgBouncer at {{ $labels.instance }} does not answer its exporter",
        runbook=SATURATED,
    )


def _valkey(watched: Watched) -> Iterator[Alert]:
    series = watched.own_series
    yield Alert(
        name="ValkeyDoesNotAnswer",
        expression=f"{series('redis_up')} == 0",
        lasting="2m",
        severity="critical",
        summary="Valkey does not answer: Celery's queues and Django's cache stand still",
    )
    used, most = series("redis_memory_used_bytes"), series("redis_memory_max_bytes")
    yield Alert(
        name="ValkeyMemoryIsFull",
        expression=f"{used} > {most} * 0.9 and {most} > 0",
        lasting="10m",
        severity="warning",
        summary="Valkey uses more than 90 % of valkey.maxMemoryMib; at 100 % it refuses writes of queues",
    )
    refused = series("redis_errors_total", 'err="OOM"')
    yield Alert(
        name="ValkeyRefusesWrites",
        expression=f"increase({refused}[5m]) > 0",
        lasting="0m",
        severity="critical",
        summary="Valkey has refused {{ $value }} writes in 5 minutes: it is full of keys without a time to live",
    )
    yield Alert(
        name="ValkeyLosesWrites",
        expression=f"{series('redis_aof_last_write_status')} == 0 or {series('redis_aof_last_bgrewrite_status')} == 0",
        lasting="1m",
        severity="critical",
        summary="Valkey cannot write its append-only file; a restart would lose the queues. Is the volume full?",
    )
    queue = series("redis_key_size", f'key="{CELERY_QUEUE}"')
    yield Alert(
        name="CeleryQueueGrows",
        # Celery's messages say nothing of when they were sent, so a task's age cannot be had.
        expression=f"{queue} > {_QUEUED}",
        lasting="15m",
        severity="warning",
        summary=f"more than {_QUEUED} tasks have been waiting in Celery's queue for 15 minutes",
    )


def _edge(watched: Watched) -> Alert:
    # A pod without a connection still gives its metrics; where no pod does, TargetIsGone fires.
    return Alert(
        name="TunnelHasNoConnections",
        expression=f"sum({watched.own_series('cloudflared_tunnel_ha_connections')}) == 0",
        lasting="2m",
        severity="critical",
        summary="no pod of cloudflared is connected to Cloudflare: the edge's hostnames answer with error 1033",
        runbook=EDGE,
    )


def _monitoring(watched: Watched) -> Iterator[Alert]:
    names = [target.job for target in watched.servers]
    if watched.own:
        names += [ALERTMANAGER_JOB, *([KUBE_STATE_METRICS_JOB] if watched.pods else [])]
    for job in names:
        up = watched.own_series("up", f'job="{job}"')
        yield Alert(
            name="TargetIsGone",
            expression=f"absent({up} == 1)",
            lasting="5m",
            severity="critical",
            summary=f"no pod of {job} gives metrics: its other alerts are blind",
        )
    if watched.own:
        failed = watched.own_series("alertmanager_notifications_failed_total")
        yield Alert(
            name="AlertsAreNotDelivered",
            expression=f"rate({failed}[5m]) > 0",
            lasting="10m",
            severity="critical",
            summary="Alertmanager cannot deliver by {{ $labels.integration }}: look at its log",
        )


def rule_file(watched: Watched, *, runbooks: str) -> dict[str, Any]:
    """Prometheus's rule file, and the spec of a PrometheusRule. `runbooks` is the URL of docs/runbooks, without a slash
    at its end."""
    return {
        "groups": [
            {
                "name": "lightwave",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expression,
                        "for": alert.lasting,
                        "labels": {"severity": alert.severity},
                        "annotations": {"summary": alert.summary, "runbook_url": f"{runbooks}/{alert.runbook}"},
                    }
                    for alert in alerts(watched)
                ],
            }
        ]
    }

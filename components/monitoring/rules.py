"""What wakes somebody up: Prometheus's alert rules for the servers in `shared`.

Metric names are those of prometheuscommunity/pgbouncer-exporter 0.12 and oliver006/redis_exporter 1.86.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PGBOUNCER_JOB = "pgbouncer"
VALKEY_JOB = "valkey"
PROMETHEUS_JOB = "prometheus"
ALERTMANAGER_JOB = "alertmanager"

_SATURATED = "pgbouncer-saturated.md"
_ALARMS = "alarms.md"
_SERVER_STATES = ("active", "idle", "used", "testing", "login")
"""Each server connection of a pool is in one of them."""


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
    runbook: str
    """File in docs/runbooks."""


def alerts(*, pooled_connections: int) -> Iterator[Alert]:
    """The rules. `pooled_connections`: the server connections of all PgBouncer instances, by the connection budget."""
    yield Alert(
        name="PgBouncerClientsWait",
        expression="sum by (database) (pgbouncer_pools_client_waiting_connections) > 0",
        lasting="5m",
        severity="warning",
        summary="{{ $value }} clients of {{ $labels.database }} have been waiting for a connection for 5 minutes",
        runbook=_SATURATED,
    )
    yield Alert(
        name="PgBouncerWaitIsLong",
        expression="max by (database) (pgbouncer_pools_client_maxwait_seconds) > 5",
        lasting="1m",
        severity="critical",
        summary="a client of {{ $labels.database }} has waited for {{ $value }} s",
        runbook=_SATURATED,
    )
    connections = " + ".join(f"sum(pgbouncer_pools_server_{state}_connections)" for state in _SERVER_STATES)
    yield Alert(
        name="PgBouncerNearsItsBudget",
        expression=f"{connections} > {pooled_connections} * 0.9",
        lasting="10m",
        severity="warning",
        summary=f"{{{{ $value }}}} server connections, and the connection budget has {pooled_connections}",
        runbook=_SATURATED,
    )
    yield Alert(
        name="PgBouncerDoesNotAnswer",
        expression="pgbouncer_up == 0",
        lasting="1m",
        severity="critical",
        summary="PgBouncer at {{ $labels.instance }} does not answer its exporter",
        runbook=_SATURATED,
    )
    yield Alert(
        name="ValkeyDoesNotAnswer",
        expression="redis_up == 0",
        lasting="2m",
        severity="critical",
        summary="Valkey does not answer: Celery's queues and Django's cache stand still",
        runbook=_ALARMS,
    )
    yield Alert(
        name="ValkeyMemoryIsFull",
        expression="redis_memory_used_bytes > redis_memory_max_bytes * 0.9 and redis_memory_max_bytes > 0",
        lasting="10m",
        severity="warning",
        summary="Valkey uses more than 90 % of valkey.maxMemoryMib; at 100 % it refuses writes of queues",
        runbook=_ALARMS,
    )
    yield Alert(
        name="ValkeyRefusesWrites",
        expression='increase(redis_errors_total{err="OOM"}[5m]) > 0',
        lasting="0m",
        severity="critical",
        summary="Valkey has refused {{ $value }} writes in 5 minutes: it is full of keys without a time to live",
        runbook=_ALARMS,
    )
    yield Alert(
        name="ValkeyLosesWrites",
        expression="redis_aof_last_write_status == 0 or redis_aof_last_bgrewrite_status == 0",
        lasting="1m",
        severity="critical",
        summary="Valkey cannot write its append-only file; a restart would lose the queues. Is the volume full?",
        runbook=_ALARMS,
    )
    for job in (PGBOUNCER_JOB, VALKEY_JOB, ALERTMANAGER_JOB):
        yield Alert(
            name="TargetIsGone",
            expression=f'absent(up{{job="{job}"}} == 1)',
            lasting="5m",
            severity="critical",
            summary=f"no pod of {job} gives metrics: its other alerts are blind",
            runbook=_ALARMS,
        )
    yield Alert(
        name="AlertsAreNotDelivered",
        expression="rate(alertmanager_notifications_failed_total[5m]) > 0",
        lasting="10m",
        severity="critical",
        summary="Alertmanager cannot deliver by {{ $labels.integration }}: look at its log",
        runbook=_ALARMS,
    )


def rule_file(*, pooled_connections: int, runbooks: str) -> dict[str, Any]:
    """Prometheus's rule file. `runbooks` is the URL of docs/runbooks, without a slash at its end."""
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
                    for alert in alerts(pooled_connections=pooled_connections)
                ],
            }
        ]
    }

"""Grafana dashboards of what the alerts are about."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import DataSourceRef
from pulumi_kubernetes.core.v1 import ConfigMap

from components.kubernetes.pods import metadata
from components.monitoring.model import Watched
from components.monitoring.rules import SERVER_STATES

LABELS = {"grafana_dashboard": "1"}
"""By it the sidecar of Grafana's Helm chart finds dashboards."""

Chart = tuple[str, str, dict[str, str]]
"""Title, unit, and each query by the legend of its series."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DashboardsArgs:
    """Arguments of `Dashboards`."""

    watched: Watched


class Dashboards(pulumi.ComponentResource):
    """A ConfigMap for each dashboard, for a Grafana on the cluster."""

    def __init__(self, name: str, args: DashboardsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:monitoring:Dashboards", name, {}, opts)
        for dashboard, charts in _charts(args.watched):
            ConfigMap(
                f"{name}-{dashboard}",
                metadata=metadata(f"dashboard-{dashboard}", args.watched.namespace, LABELS),
                data={f"lightwave-{dashboard}.json": _dashboard(dashboard, charts)},
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})


def _charts(watched: Watched) -> Iterator[tuple[str, list[Chart]]]:
    yield "pgbouncer", _pgbouncer(watched)
    yield "postgresql", _postgresql(watched)
    if watched.valkey:
        yield "valkey", _valkey(watched)
    if watched.edge:
        yield "edge", _edge(watched)
    if watched.pods:
        yield "pods", _pods(watched)


def _pgbouncer(watched: Watched) -> list[Chart]:
    def by_database(metric: str, how: str = "sum") -> dict[str, str]:
        return {"{{database}}": f"{how} by (database) ({watched.own_series(metric)})"}

    def rate(metric: str) -> dict[str, str]:
        return {"{{database}}": f"sum by (database) (rate({watched.own_series(metric)}[5m]))"}

    return [
        ("Clients that wait", "short", by_database("pgbouncer_pools_client_waiting_connections")),
        ("Longest wait", "s", by_database("pgbouncer_pools_client_maxwait_seconds", "max")),
        ("Clients that are served", "short", by_database("pgbouncer_pools_client_active_connections")),
        ("Queries", "reqps", rate("pgbouncer_stats_totals_queries_pooled_total")),
    ]


def _postgresql(watched: Watched) -> list[Chart]:
    """PostgreSQL itself is CloudWatch's: here is what PgBouncer holds of it."""
    states = {state: watched.own_series(f"pgbouncer_pools_server_{state}_connections") for state in SERVER_STATES}
    total = " + ".join(f"sum({series})" for series in states.values())
    by_database = " + ".join(f"sum by (database) ({series})" for series in states.values())
    return [
        ("Connections and their budget", "short", {"used": total, "budget": f"vector({watched.pooled_connections})"}),
        ("Connections by database", "short", {"{{database}}": by_database}),
        ("Connections by state", "short", {state: f"sum({series})" for state, series in states.items()}),
    ]


def _valkey(watched: Watched) -> list[Chart]:
    series = watched.own_series
    return [
        ("Memory", "bytes", {"used": series("redis_memory_used_bytes"), "most": series("redis_memory_max_bytes")}),
        ("Tasks in Celery's queue", "short", {"{{key}}": series("redis_key_size")}),
        ("Clients", "short", {"clients": series("redis_connected_clients")}),
        ("Commands", "reqps", {"commands": f"rate({series('redis_commands_processed_total')}[5m])"}),
        ("Evicted keys", "short", {"evicted": f"increase({series('redis_evicted_keys_total')}[5m])"}),
    ]


def _edge(watched: Watched) -> list[Chart]:
    def rate(metric: str) -> str:
        return f"sum(rate({watched.own_series(metric)}[5m]))"

    connections = watched.own_series("cloudflared_tunnel_ha_connections")
    return [
        ("Connections to Cloudflare", "short", {"{{instance}}": connections}),
        ("Requests", "reqps", {"requests": rate("cloudflared_tunnel_total_requests")}),
        ("Requests that no service answered", "reqps", {"errors": rate("cloudflared_tunnel_request_errors")}),
    ]


def _pods(watched: Watched) -> list[Chart]:
    series = watched.series
    ready = series("kube_pod_status_ready", 'condition="true"')
    used, hard = (series("kube_resourcequota", f'type="{type_}"') for type_ in ("used", "hard"))
    restarts = series("kube_pod_container_status_restarts_total")
    failed = series("kube_job_failed", 'condition="true"')
    return [
        ("Ready pods", "short", {"{{namespace}}": f"sum by (namespace) ({ready})"}),
        ("Pods that are not ready", "short", {"{{namespace}}/{{pod}}": f"{ready} == 0"}),
        ("Restarts in an hour", "short", {"{{namespace}}/{{pod}}/{{container}}": f"increase({restarts}[1h]) > 0"}),
        ("Used quota", "percentunit", {"{{namespace}} {{resource}}": f"{used} / ignoring (type) ({hard} > 0)"}),
        ("Failed Jobs", "short", {"{{namespace}}/{{job_name}}": f"{failed} == 1"}),
    ]


def _dashboard(name: str, charts: list[Chart]) -> str:
    """The dashboard as JSON, with its data source as a variable: each Grafana names its Prometheus otherwise."""
    source = DataSourceRef(type_val="prometheus", uid="${source}")
    dashboard = (
        Dashboard(f"Lightwave: {name}")
        .uid(f"lightwave-{name}")
        .tags(["lightwave"])
        .time("now-6h", "now")
        .refresh("1m")
        .with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for title, unit, queries in charts:
        panel = Panel().title(title).unit(unit).min(0).span(12).height(8).datasource(source)
        for number, (legend, query) in enumerate(queries.items()):
            panel.with_target(Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + number)))
        dashboard.with_panel(panel)
    return json.dumps(dashboard.build(), cls=JSONEncoder, indent=1)

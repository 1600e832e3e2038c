"""Monitoring: of the stack's own, or by the Prometheus operator that the cluster runs."""

from components.database.connection_budget import Budget
from components.kubernetes.network_flows import SHARED_NAMESPACE
from components.monitoring.dashboards import Dashboards, DashboardsArgs
from components.monitoring.kube_state_metrics import KubeStateMetrics, KubeStateMetricsArgs
from components.monitoring.model import Watched
from components.monitoring.operator import OperatorObjects, OperatorObjectsArgs
from components.monitoring.prometheus import Prometheus, PrometheusArgs
from settings import (
    KubernetesSettings,
    MonitoringSettings,
    OperatorMonitoringSettings,
    OwnMonitoringSettings,
    Settings,
)
from stack.cluster import Cluster


def monitoring(
    given: MonitoringSettings, settings: Settings, on: KubernetesSettings, cluster: Cluster, budget: Budget
) -> None:
    """Declares the alerts and dashboards, and who evaluates and delivers them."""
    watched = Watched(
        namespace=SHARED_NAMESPACE,
        namespaces=sorted(on.namespaces),
        pooled_connections=budget.pooled,
        valkey=settings.valkey is not None,
        edge=settings.edge is not None,
        own=isinstance(given, OwnMonitoringSettings),
        pods=isinstance(given, OperatorMonitoringSettings) or given.kube_state_metrics is not None,
        client_tls=settings.pgbouncer.client_tls,
        policies_enforced=on.network_policy_enforced,
    )
    options = cluster.shared()
    Dashboards("dashboards", DashboardsArgs(watched=watched), options)
    if isinstance(given, OperatorMonitoringSettings):
        OperatorObjects("monitoring", OperatorObjectsArgs(settings=given, watched=watched), options)
        return
    waits = on.wait_for_rollout
    Prometheus("monitoring", PrometheusArgs(settings=given, watched=watched, wait_for_rollout=waits), options)
    if given.kube_state_metrics:
        KubeStateMetrics(
            "kube-state-metrics",
            KubeStateMetricsArgs(settings=given.kube_state_metrics, watched=watched, wait_for_rollout=waits),
            # It has a Role in each of them.
            cluster.shared(*cluster.namespaces.values()),
        )

"""Alert rules about pods, quotas and Jobs.

Metric names are those of kube-state-metrics 2.16 and cert-manager 1.18.
"""

from collections.abc import Iterator

from components.monitoring.model import DENIED_JOB, KUBE_STATE_METRICS_JOB, Alert, Watched

_POD = "on (namespace, pod)"


def pod_alerts(watched: Watched) -> Iterator[Alert]:
    """The rules that need kube-state-metrics."""
    series = watched.series
    restarts = series("kube_pod_container_status_restarts_total")
    yield Alert(
        name="ContainerRestarts",
        # At Kubernetes's longest back-off, five minutes, there are about five in half an hour.
        expression=f"increase({restarts}[30m]) > 3",
        lasting="0m",
        severity="warning",
        summary="{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} keeps restarting",
    )
    killed = series("kube_pod_container_status_last_terminated_reason", 'reason="OOMKilled"')
    yield Alert(
        name="ContainerOutOfMemory",
        expression=f"{killed} == 1 and on (namespace, pod, container) increase({restarts}[15m]) > 0",
        lasting="0m",
        severity="warning",
        summary="{{ $labels.container }} of {{ $labels.namespace }}/{{ $labels.pod }} was killed at its memory limit",
    )
    not_ready = series("kube_pod_status_ready", 'condition="true"')
    # Pods of finished Jobs are never ready again, and one that stops is not meant to be.
    alive = series("kube_pod_status_phase", 'phase=~"Pending|Running|Unknown"')
    stopping = series("kube_pod_deletion_timestamp")
    yield Alert(
        name="PodIsNotReady",
        expression=f"{not_ready} == 0 and {_POD} {alive} == 1 unless {_POD} {stopping}",
        lasting="15m",
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} has not been ready for 15 minutes",
    )
    used, hard = (series("kube_resourcequota", f'type="{type_}"') for type_ in ("used", "hard"))
    yield Alert(
        name="QuotaIsNearlyUsed",
        expression=f"{used} / ignoring (type) ({hard} > 0) > 0.8",
        lasting="15m",
        severity="warning",
        summary="{{ $labels.namespace }} uses {{ $value | humanizePercentage }} of its {{ $labels.resource }} quota",
    )
    failed = series("kube_job_failed", 'condition="true"')
    yield Alert(
        name="JobFailed",
        # Not kube_job_status_failed: it counts attempts, and a later one may have succeeded.
        expression=f"{failed} == 1",
        lasting="0m",
        severity="warning",
        summary="the Job {{ $labels.namespace }}/{{ $labels.job_name }} has failed: a release waits for its migration",
    )
    if watched.own and watched.policies_enforced:
        reached = watched.own_series("up", f'job="{DENIED_JOB}"')
        yield Alert(
            name="NetworkPoliciesAreNotEnforced",
            expression=f"{reached} == 1",
            lasting="5m",
            severity="warning",
            summary=f"Prometheus reaches a port of {KUBE_STATE_METRICS_JOB} that no network policy allows",
        )
    if watched.client_tls and not watched.own:
        # cert-manager's PodMonitor may keep its own label or yield to the target's.
        expires = "certmanager_certificate_expiration_timestamp_seconds"
        exported = f'{expires}{{exported_namespace="{watched.namespace}"}}'
        yield Alert(
            name="CertificateExpires",
            expression=f"({watched.own_series(expires)} or {exported}) - time() < 14 * 86400",
            lasting="1h",
            severity="warning",
            summary="the certificate {{ $labels.name }} expires in {{ $value | humanizeDuration }}",
        )

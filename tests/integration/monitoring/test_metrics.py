"""Every metric that an alert or a dashboard reads is one that its exporter really gives."""

import json
import re
from contextlib import closing
from pathlib import Path

from components.kubernetes.valkey_files import CELERY_QUEUE
from components.monitoring.alertmanager import alertmanager_config
from components.monitoring.dashboards import Dashboards, DashboardsArgs
from components.monitoring.kube_state_metrics import KINDS
from components.monitoring.rules import alerts
from ops.dev import ports
from ops.plan import recorder
from settings import HOST, VALKEY_METRICS_USER, OwnMonitoringSettings
from tests.configs import MONITORING
from tests.integration.monitoring.conftest import alertmanager_command, metrics, pgbouncer_exporter, program, until
from tests.integration.pooler import Pooler
from tests.integration.test_valkey import METRICS_PASSWORD, running
from tests.watched import OPERATED, OWN

KUBE_STATE_METRICS = {
    "pods": {
        "kube_pod_container_status_last_terminated_reason",
        "kube_pod_container_status_restarts_total",
        "kube_pod_deletion_timestamp",
        "kube_pod_status_phase",
        "kube_pod_status_ready",
    },
    "resourcequotas": {"kube_resourcequota"},
    "jobs": {"kube_job_failed"},
}
"""By the kind that it reads, as its documentation names them (docs/metrics of its release 2.16): it cannot be had as a
program here."""
CERT_MANAGER = {"certmanager_certificate_expiration_timestamp_seconds"}
"""As its documentation names it (https://cert-manager.io/docs/devops-tips/prometheus-metrics/)."""

CLOUDFLARED = {
    "cloudflared_tunnel_ha_connections",
    "cloudflared_tunnel_request_errors",
    "cloudflared_tunnel_total_requests",
}
"""As its documentation names them (https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/monitor-tunnels/metrics)."""


def read() -> set[str]:
    """The names in every query."""
    recorded = recorder.record(lambda: Dashboards("dashboards", DashboardsArgs(watched=OWN)), stack="prod")
    shown = [
        json.loads(text) for r in recorded.of_type("kubernetes:core/v1:ConfigMap") for text in r.inputs["data"].values()
    ]
    queries = [target["expr"] for dashboard in shown for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [alert.expression for watched in (OWN, OPERATED) for alert in alerts(watched)]
    return {name for query in queries for name in re.findall(r"\b([a-z_:]+)\{", query)}


def of(prefix: str) -> set[str]:
    found = {name for name in read() if name.startswith(prefix)}
    assert found
    return found


def given(text: str) -> set[str]:
    """The names of the series that an exporter shows."""
    return set(re.findall(r"^([a-z_:]+)[{ ]", text, re.MULTILINE))


def test_each_name_is_some_exporters() -> None:
    prefixes = ("pgbouncer_", "redis_", "alertmanager_", "kube_", "certmanager_", "cloudflared_")
    assert {name for name in read() if not name.startswith(prefixes)} == {"up"}


def test_pgbouncers(pooler: Pooler, programs: Path) -> None:
    with closing(pooler.connect("payload_user")) as connection:
        # A database has statistics once it was asked for something.
        connection.execute("SELECT 1")
    with pgbouncer_exporter(programs, pooler) as port:
        until(lambda: "pgbouncer_up 1" in metrics(port), "the exporter has not seen PgBouncer")
        assert of("pgbouncer_") - given(metrics(port)) == set()
    assert len(of("pgbouncer_")) > 8


def test_valkeys_and_the_length_of_the_queue(programs: Path, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.say("LPUSH", CELERY_QUEUE, "a", "b", "c") == "3"
        server.say("NO-SUCH-COMMAND")
        port = ports.free_port()
        with program(
            programs / "prometheus-redis-exporter",
            f"--web.listen-address={HOST}:{port}",
            REDIS_ADDR=f"redis://{HOST}:{server.port}",
            REDIS_USER=VALKEY_METRICS_USER,
            REDIS_PASSWORD=METRICS_PASSWORD,
            REDIS_EXPORTER_CHECK_SINGLE_KEYS=f"db0={CELERY_QUEUE}",
        ):
            until(lambda: "redis_up 1" in metrics(port), "the exporter has not seen the server")
            shown = metrics(port)
        assert of("redis_") - given(shown) == set()
        assert f'redis_key_size{{db="db0",key="{CELERY_QUEUE}"}} 3' in shown


def test_alertmanagers(programs: Path, tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.json"
    config.write_text(
        json.dumps(alertmanager_config(OwnMonitoringSettings.model_validate_json(json.dumps(MONITORING))))
    )
    port = ports.free_port()
    with program(
        *alertmanager_command(programs),
        f"--config.file={config}",
        f"--storage.path={tmp_path}",
        "--cluster.listen-address=",
        f"--web.listen-address={HOST}:{port}",
    ):
        until(
            lambda: of("alertmanager_") <= given(metrics(port)), "Alertmanager does not count what it failed to deliver"
        )


def test_kube_state_metrics_and_cert_managers() -> None:
    assert of("kube_") == set().union(*KUBE_STATE_METRICS.values())
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(KUBE_STATE_METRICS)
    assert of("certmanager_") == CERT_MANAGER


def test_cloudflareds() -> None:
    assert of("cloudflared_") == CLOUDFLARED

"""The alert rules under promtool: each fires on what it is for, in its time, and on nothing else."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.monitoring.alertmanager import alertmanager_config
from components.monitoring.model import Watched
from components.monitoring.prometheus import prometheus_config
from components.monitoring.rules import rule_file
from settings import OwnMonitoringSettings
from tests.configs import FULL_MONITORING
from tests.watched import OPERATED, OWN, every_alert

SERVER, CONTAINER = 'namespace="shared"', 'namespace="django-api", pod="api", container="api"'
KILLED = 'namespace="django-api", pod="worker", container="worker"'
QUOTA = 'kube_resourcequota{namespace="shared", resourcequota="quota", resource="pods"'
CERTIFICATE = f'certmanager_certificate_expiration_timestamp_seconds{{{SERVER}, name="pgbouncer-tls"}}'
JOBS = ("pgbouncer", "valkey", "cloudflared", "alertmanager", "kube-state-metrics")
FINE = {
    **{f'up{{{SERVER}, job="{job}", instance="a"}}': "1x90" for job in JOBS},
    f'up{{{SERVER}, job="denied", instance="a"}}': "0x90",
    f'pgbouncer_up{{{SERVER}, instance="a"}}': "1x90",
    f'pgbouncer_stats_totals_queries_pooled_total{{{SERVER}, instance="a", database="payload"}}': "0+60000x90",
    f'redis_up{{{SERVER}, instance="a"}}': "1x90",
    f'pgbouncer_pools_client_waiting_connections{{{SERVER}, database="payload"}}': "0x90",
    f'pgbouncer_pools_client_maxwait_seconds{{{SERVER}, database="payload"}}': "0x90",
    f"pgbouncer_pools_server_active_connections{{{SERVER}}}": "20x90",
    f"pgbouncer_pools_server_idle_connections{{{SERVER}}}": "20x90",
    f"pgbouncer_pools_server_used_connections{{{SERVER}}}": "20x90",
    f"pgbouncer_pools_server_testing_connections{{{SERVER}}}": "0x90",
    f"pgbouncer_pools_server_login_connections{{{SERVER}}}": "0x90",
    f"redis_memory_used_bytes{{{SERVER}}}": "500x90",
    f"redis_memory_max_bytes{{{SERVER}}}": "1000x90",
    f'redis_errors_total{{{SERVER}, err="OOM"}}': "0x90",
    f"redis_aof_last_write_status{{{SERVER}}}": "1x90",
    f"redis_aof_last_bgrewrite_status{{{SERVER}}}": "1x90",
    # Emptied every ten minutes.
    f'redis_key_size{{{SERVER}, key="celery"}}': "150x9 0 150x9 0 150x9 0 150x9 0 150x9 0 150x9 0",
    # Two pods, of which one is cut off.
    f'cloudflared_tunnel_ha_connections{{{SERVER}, instance="a"}}': "4x90",
    f'cloudflared_tunnel_ha_connections{{{SERVER}, instance="b"}}': "0x90",
    f'alertmanager_notifications_failed_total{{{SERVER}, integration="webhook"}}': "0x90",
    f"kube_pod_container_status_restarts_total{{{CONTAINER}}}": "3x90",
    # Killed once, long ago.
    f"kube_pod_container_status_restarts_total{{{KILLED}}}": "1x90",
    f'kube_pod_container_status_last_terminated_reason{{{KILLED}, reason="OOMKilled"}}': "1x90",
    'kube_pod_status_ready{namespace="django-api", pod="api", condition="true"}': "1x90",
    'kube_pod_status_phase{namespace="django-api", pod="api", phase="Running"}': "1x90",
    # A pod of a finished Job, and one that drains.
    'kube_pod_status_ready{namespace="django-api", pod="migration", condition="true"}': "0x90",
    'kube_pod_status_phase{namespace="django-api", pod="migration", phase="Succeeded"}': "1x90",
    'kube_pod_status_phase{namespace="django-api", pod="migration", phase="Running"}': "0x90",
    'kube_pod_status_ready{namespace="shared", pod="pgbouncer", condition="true"}': "0x90",
    'kube_pod_status_phase{namespace="shared", pod="pgbouncer", phase="Running"}': "1x90",
    'kube_pod_deletion_timestamp{namespace="shared", pod="pgbouncer"}': "9x90",
    f'{QUOTA}, type="used"}}': "32x90",
    f'{QUOTA}, type="hard"}}': "40x90",
    # Nothing may be used of it, and nothing is.
    'kube_resourcequota{namespace="shared", resourcequota="quota", resource="services.nodeports", type="used"}': "0x90",
    'kube_resourcequota{namespace="shared", resourcequota="quota", resource="services.nodeports", type="hard"}': "0x90",
    'kube_job_failed{namespace="django-api", job_name="migration", condition="true"}': "0x90",
    # A month; promtool's clock begins at 0.
    CERTIFICATE: "2592000x90",
    # Another team's, on a cluster with one Prometheus for all.
    'pgbouncer_up{namespace="other", instance="b"}': "0x90",
    'cloudflared_tunnel_ha_connections{namespace="other", instance="c"}': "0x90",
    'kube_job_failed{namespace="other", job_name="nightly", condition="true"}': "1x90",
}
"""By series, its value each minute: nothing to alert on."""

CASES: dict[str, tuple[dict[str, str], int]] = {
    "PgBouncerClientsWait": (
        {f'pgbouncer_pools_client_waiting_connections{{{SERVER}, database="payload"}}': "3x40"},
        5,
    ),
    "PgBouncerWaitIsLong": ({f'pgbouncer_pools_client_maxwait_seconds{{{SERVER}, database="payload"}}': "6x40"}, 1),
    "PgBouncerNearsItsBudget": ({f"pgbouncer_pools_server_login_connections{{{SERVER}}}": "31x40"}, 10),
    "PgBouncerNeedsAReplica": (
        {f'pgbouncer_stats_totals_queries_pooled_total{{{SERVER}, instance="a", database="payload"}}': "0+1860000x40"},
        19,
    ),
    "PgBouncerDoesNotAnswer": ({f'pgbouncer_up{{{SERVER}, instance="a"}}': "0x40"}, 1),
    "ValkeyDoesNotAnswer": ({f'redis_up{{{SERVER}, instance="a"}}': "0x40"}, 2),
    "ValkeyMemoryIsFull": ({f"redis_memory_used_bytes{{{SERVER}}}": "901x40"}, 10),
    "ValkeyRefusesWrites": ({f'redis_errors_total{{{SERVER}, err="OOM"}}': "0+5x40"}, 1),
    "ValkeyLosesWrites": ({f"redis_aof_last_write_status{{{SERVER}}}": "0x40"}, 1),
    "CeleryQueueGrows": ({f'redis_key_size{{{SERVER}, key="celery"}}': "0x4 150x36"}, 20),
    "TunnelHasNoConnections": ({f'cloudflared_tunnel_ha_connections{{{SERVER}, instance="a"}}': "0x40"}, 2),
    "TargetIsGone": ({f'up{{{SERVER}, job="valkey", instance="a"}}': "0x40"}, 5),
    "AlertsAreNotDelivered": (
        {f'alertmanager_notifications_failed_total{{{SERVER}, integration="webhook"}}': "0+1x40"},
        11,
    ),
    "ContainerRestarts": ({f"kube_pod_container_status_restarts_total{{{CONTAINER}}}": "3x9 4x1 5x1 6x1 7x1 8x40"}, 13),
    "ContainerOutOfMemory": ({f"kube_pod_container_status_restarts_total{{{KILLED}}}": "1x9 2x40"}, 10),
    "PodIsNotReady": ({'kube_pod_status_ready{namespace="django-api", pod="api", condition="true"}': "0x40"}, 15),
    "QuotaIsNearlyUsed": ({f'{QUOTA}, type="used"}}': "33x40"}, 15),
    "JobFailed": ({'kube_job_failed{namespace="django-api", job_name="migration", condition="true"}': "0x9 1x40"}, 10),
    "NetworkPoliciesAreNotEnforced": ({f'up{{{SERVER}, job="denied", instance="a"}}': "1x40"}, 5),
    "CertificateExpires": ({CERTIFICATE: "1209600x90"}, 60),
}
"""What makes each alert fire, and after how many minutes."""
OF_THE_OPERATOR = ("CertificateExpires",)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return written(tmp_path, OWN)


def written(folder: Path, watched: Watched) -> Path:
    path = folder / "rules.json"
    path.write_text(json.dumps(rule_file(watched, runbooks="https://example.com")))
    return path


def promtool(programs: Path, *arguments: str | Path) -> str:
    done = subprocess.run([programs / "promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(programs: Path, rules: Path, series: dict[str, str], minute: int) -> set[str]:
    """The alerts that fire after so many minutes."""
    names = set(every_alert())
    test: dict[str, Any] = {
        "rule_files": [str(rules)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": 0}],
                    }
                    for name in sorted(names)
                ],
            }
        ],
    }
    path = rules.with_name("test.yml")
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [programs / "promtool", "test", "rules", path], capture_output=True, text=True, timeout=120, check=False
    )
    output = done.stdout + done.stderr
    # It quotes the expressions that gave something else than 0.
    found = {name for name in names if f'alertname=\\"{name}\\"' in output}
    assert bool(found) == bool(done.returncode), output
    return found


def test_the_files_are_valid(programs: Path, rules: Path, tmp_path: Path) -> None:
    promtool(programs, "check", "rules", rules)
    config = prometheus_config(OWN) | {"rule_files": [str(rules)]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    promtool(programs, "check", "config", tmp_path / "config.json")
    given = OwnMonitoringSettings.model_validate_json(json.dumps(FULL_MONITORING))
    (tmp_path / "alertmanager.json").write_text(json.dumps(alertmanager_config(given)))
    checked = subprocess.run(
        [programs / "amtool", "check-config", tmp_path / "alertmanager.json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("watched", [OWN, OPERATED])
def test_nothing_fires_while_all_is_well(programs: Path, tmp_path: Path, watched: Watched) -> None:
    assert firing(programs, written(tmp_path, watched), FINE, 35) == set()


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_in_its_time_and_alone(programs: Path, tmp_path: Path, name: str) -> None:
    series, minutes = CASES[name]
    rules = written(tmp_path, OPERATED if name in OF_THE_OPERATOR else OWN)
    assert FINE.keys() >= series.keys()
    assert firing(programs, rules, FINE | series, minutes + 1) == {name}
    if minutes > 1:
        assert firing(programs, rules, FINE | series, minutes - 1) == set()


def test_a_cloudflared_that_is_gone_is_noticed(programs: Path, rules: Path) -> None:
    up, connections = (
        f"{name}{{{SERVER}, {rest}}}"
        for name, rest in (
            ("up", 'job="cloudflared", instance="a"'),
            ("cloudflared_tunnel_ha_connections", 'instance="a"'),
        )
    )
    without = {name: values for name, values in FINE.items() if not name.startswith("cloudflared_")}
    assert {up, connections} <= FINE.keys()
    assert firing(programs, rules, without | {up: "0x40"}, 6) == {"TargetIsGone"}
    assert firing(programs, rules, without | {up: "0x40"}, 4) == set()


def test_every_alert_has_a_case() -> None:
    assert set(every_alert()) == set(CASES)

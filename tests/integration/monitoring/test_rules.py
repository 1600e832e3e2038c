"""The alert rules under promtool: each fires on what it is for, in its time, and on nothing else."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.monitoring.prometheus import alertmanager_config, prometheus_config
from components.monitoring.rules import alerts, rule_file

BUDGET = 100
FINE = {
    'up{job="pgbouncer", instance="a"}': "1x40",
    'up{job="valkey", instance="a"}': "1x40",
    'up{job="alertmanager", instance="a"}': "1x40",
    'pgbouncer_up{instance="a"}': "1x40",
    'redis_up{instance="a"}': "1x40",
    'pgbouncer_pools_client_waiting_connections{database="payload"}': "0x40",
    'pgbouncer_pools_client_maxwait_seconds{database="payload"}': "0x40",
    "pgbouncer_pools_server_active_connections": "20x40",
    "pgbouncer_pools_server_idle_connections": "20x40",
    "pgbouncer_pools_server_used_connections": "20x40",
    "pgbouncer_pools_server_testing_connections": "0x40",
    "pgbouncer_pools_server_login_connections": "0x40",
    "redis_memory_used_bytes": "500x40",
    "redis_memory_max_bytes": "1000x40",
    'redis_errors_total{err="OOM"}': "0x40",
    "redis_aof_last_write_status": "1x40",
    "redis_aof_last_bgrewrite_status": "1x40",
    'alertmanager_notifications_failed_total{integration="webhook"}': "0x40",
}
"""By series, its value each minute: nothing to alert on."""

CASES: dict[str, tuple[dict[str, str], int]] = {
    "PgBouncerClientsWait": ({'pgbouncer_pools_client_waiting_connections{database="payload"}': "3x40"}, 5),
    "PgBouncerWaitIsLong": ({'pgbouncer_pools_client_maxwait_seconds{database="payload"}': "6x40"}, 1),
    "PgBouncerNearsItsBudget": ({"pgbouncer_pools_server_login_connections": "31x40"}, 10),
    "PgBouncerDoesNotAnswer": ({'pgbouncer_up{instance="a"}': "0x40"}, 1),
    "ValkeyDoesNotAnswer": ({'redis_up{instance="a"}': "0x40"}, 2),
    "ValkeyMemoryIsFull": ({"redis_memory_used_bytes": "901x40"}, 10),
    "ValkeyRefusesWrites": ({'redis_errors_total{err="OOM"}': "0+5x40"}, 1),
    "ValkeyLosesWrites": ({"redis_aof_last_write_status": "0x40"}, 1),
    "TargetIsGone": ({'up{job="valkey", instance="a"}': "0x40"}, 5),
    "AlertsAreNotDelivered": ({'alertmanager_notifications_failed_total{integration="webhook"}': "0+1x40"}, 11),
}
"""What makes each alert fire, and after how many minutes."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(rule_file(pooled_connections=BUDGET, runbooks="https://example.com")))
    return path


def promtool(programs: Path, *arguments: str | Path) -> str:
    done = subprocess.run([programs / "promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(programs: Path, rules: Path, series: dict[str, str], minute: int) -> set[str]:
    """The alerts that fire after so many minutes."""
    names = {alert.name for alert in alerts(pooled_connections=BUDGET)}
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
                ],
            }
            for name in sorted(names)
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
    config = prometheus_config("shared", valkey=True) | {"rule_files": [str(rules)]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    promtool(programs, "check", "config", tmp_path / "config.json")
    (tmp_path / "alertmanager.json").write_text(json.dumps(alertmanager_config()))
    checked = subprocess.run(
        [programs / "amtool", "check-config", tmp_path / "alertmanager.json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_nothing_fires_while_all_is_well(programs: Path, rules: Path) -> None:
    assert firing(programs, rules, FINE, 30) == set()


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_in_its_time_and_alone(programs: Path, rules: Path, name: str) -> None:
    series, minutes = CASES[name]
    assert FINE.keys() >= series.keys()
    assert firing(programs, rules, FINE | series, minutes + 1) == {name}
    if minutes > 1:
        assert firing(programs, rules, FINE | series, minutes - 1) == set()


def test_every_alert_has_a_case() -> None:
    assert {alert.name for alert in alerts(pooled_connections=BUDGET)} == set(CASES)

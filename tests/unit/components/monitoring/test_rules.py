"""Which alerts a stack has, and whose series they read."""

import re
from dataclasses import replace

import pytest

from components.monitoring.model import Watched
from components.monitoring.rules import alerts
from tests.watched import OPERATED, OWN


def names(watched: Watched) -> set[str]:
    return {alert.name for alert in alerts(watched)}


@pytest.mark.parametrize("watched", [OWN, OPERATED])
def test_no_alert_reads_series_of_other_namespaces(watched: Watched) -> None:
    """The operator's Prometheus has those of other teams too."""
    for alert in alerts(watched):
        series = re.findall(r"\b(?:up|[a-z]+_[a-z_]+)\{([^}]*)\}", alert.expression)
        assert series, alert.name
        for matchers in series:
            assert re.search(r'namespace(="shared"|=~"django-api\|payload-cms\|shared")', matchers), alert.name
        assert "}" not in re.sub(r"\{[^}]*\}", "", alert.expression)
        bare = re.sub(r"\{[^}]*\}", "{}", alert.expression)
        metrics = re.findall(r"\b(?:pgbouncer|redis|cloudflared|kube|alertmanager|certmanager)_\w+", bare)
        assert [metric for metric in metrics if f"{metric}{{}}" not in bare] == [], alert.name


def test_a_stack_without_valkey_is_not_told_that_valkey_is_gone() -> None:
    without = replace(OWN, valkey=False)
    assert names(OWN) - names(without) == {
        "CeleryQueueGrows",
        "ValkeyDoesNotAnswer",
        "ValkeyLosesWrites",
        "ValkeyMemoryIsFull",
        "ValkeyRefusesWrites",
    }
    assert not [alert for alert in alerts(without) if "valkey" in alert.expression]


def test_a_stack_without_an_edge_is_not_told_that_cloudflared_is_gone() -> None:
    without = replace(OWN, edge=False)
    assert names(OWN) - names(without) == {"TunnelHasNoConnections"}
    assert not [alert for alert in alerts(without) if "cloudflared" in alert.expression]


def test_without_kube_state_metrics_nothing_is_said_about_pods() -> None:
    assert names(OWN) - names(replace(OWN, pods=False)) == {
        "ContainerOutOfMemory",
        "ContainerRestarts",
        "JobFailed",
        "NetworkPoliciesAreNotEnforced",
        "PodIsNotReady",
        "QuotaIsNearlyUsed",
    }


def test_policies_are_watched_where_the_stack_says_that_they_are_enforced() -> None:
    assert "NetworkPoliciesAreNotEnforced" not in names(replace(OWN, policies_enforced=False))


def test_the_operators_prometheus_and_alertmanager_are_not_ours_to_watch() -> None:
    assert names(OWN) - names(OPERATED) == {"AlertsAreNotDelivered", "NetworkPoliciesAreNotEnforced"}
    gone = [alert.expression for alert in alerts(OPERATED) if alert.name == "TargetIsGone"]
    assert gone == [
        'absent(up{namespace="shared", job="pgbouncer"} == 1)',
        'absent(up{namespace="shared", job="valkey"} == 1)',
        'absent(up{namespace="shared", job="cloudflared"} == 1)',
    ]


def test_a_certificate_is_watched_where_there_is_one() -> None:
    assert names(OPERATED) - names(replace(OPERATED, client_tls=False)) == {"CertificateExpires"}
    assert "CertificateExpires" not in names(replace(OWN, client_tls=True)), "nothing gives its metric there"

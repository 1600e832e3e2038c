"""The dashboards: where Grafana's sidecar finds them, and that they load without a name of a data source."""

import json
from dataclasses import replace
from typing import Any

import pytest

from components.monitoring.dashboards import Dashboards, DashboardsArgs
from components.monitoring.model import Watched
from ops.plan import recorder
from tests.watched import OWN


def dashboards(watched: Watched) -> dict[str, dict[str, Any]]:
    """By name of the file."""
    recorded = recorder.record(lambda: Dashboards("dashboards", DashboardsArgs(watched=watched)), stack="prod")
    maps = recorded.of_type("kubernetes:core/v1:ConfigMap")
    for config_map in maps:
        assert config_map.inputs["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert config_map.inputs["metadata"]["namespace"] == "shared"
    return {name: json.loads(text) for one in maps for name, text in one.inputs["data"].items()}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return dashboards(OWN)


def test_there_is_one_for_each_thing_that_is_watched(found: dict[str, dict[str, Any]]) -> None:
    every = {f"lightwave-{name}.json" for name in ("pgbouncer", "postgresql", "valkey", "edge", "pods")}
    assert set(found) == every
    assert set(dashboards(replace(OWN, valkey=False, edge=False, pods=False))) == {
        "lightwave-pgbouncer.json",
        "lightwave-postgresql.json",
    }


def test_every_chart_has_a_title_and_its_queries(found: dict[str, dict[str, Any]]) -> None:
    for name, dashboard in found.items():
        assert dashboard["uid"] == name.removesuffix(".json")
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len(set(titles)) == len(titles) > 2
        for panel in dashboard["panels"]:
            assert panel["type"] == "timeseries"
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert panel["targets"]
            assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        (variable,) = dashboard["templating"]["list"]
        assert (variable["type"], variable["name"], variable["query"]) == ("datasource", "source", "prometheus")


def test_the_budget_is_beside_the_connections(found: dict[str, dict[str, Any]]) -> None:
    chart, *_ = found["lightwave-postgresql.json"]["panels"]
    assert [(target["legendFormat"], target["expr"]) for target in chart["targets"]][1] == ("budget", "vector(100)")

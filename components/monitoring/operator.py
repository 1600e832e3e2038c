"""The alert rules and scrape targets as objects of the Prometheus operator (monitoring.coreos.com/v1)."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from components.monitoring.model import Watched
from components.monitoring.rules import rule_file
from settings import OperatorMonitoringSettings

API = "monitoring.coreos.com/v1"
_RULES = "lightwave"


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorObjectsArgs:
    """Arguments of `OperatorObjects`."""

    settings: OperatorMonitoringSettings
    watched: Watched


class OperatorObjects(pulumi.ComponentResource):
    """A PrometheusRule, and a PodMonitor for each server; the operator must have defined these kinds."""

    def __init__(self, name: str, args: OperatorObjectsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:monitoring:OperatorObjects", name, {}, opts)
        self._args = args
        self._name = name
        self._declare("rules", "PrometheusRule", _RULES, rule_file(args.watched, runbooks=args.settings.runbooks))
        for target in args.watched.servers:
            endpoint = {
                "port": "metrics",
                "interval": "30s",
                # By default the job is named after the PodMonitor and its namespace.
                "relabelings": [{"targetLabel": "job", "replacement": target.job}],
            }
            self._declare(
                f"{target.name}-targets",
                "PodMonitor",
                target.name,
                {"selector": {"matchLabels": dict(target.labels)}, "podMetricsEndpoints": [endpoint]},
            )
        self.register_outputs({})

    def _declare(self, suffix: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        CustomResource(
            f"{self._name}-{suffix}",
            api_version=API,
            kind=kind,
            metadata={
                "name": name,
                "namespace": self._args.watched.namespace,
                "labels": dict(self._args.settings.labels),
            },
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self),
        )

"""Monitoring, as frozen, typed values: the section `monitoring`.

The docstrings are the meanings in docs/configuration.md (`.venv/bin/python -m settings.reference`).
"""

from typing import Annotated, Literal

from pydantic import Field

from settings import values
from settings.models import Section


class EmailSettings(Section):
    """E-mail to the people on call, through a mail server on the internet that speaks TLS."""

    to: values.Email
    """Address that alerts are sent to."""
    sender: Annotated[values.Email, Field(alias="from")]
    """Address that they are sent from."""
    host: values.HostName
    """The mail server."""
    port: values.Port = 587
    """Its port: 587 for STARTTLS, 465 for TLS from the start."""
    username: values.LoginName
    """Login at the mail server."""
    password: values.SecretText
    """Password of `username`."""


class KubeStateMetricsSettings(Section):
    """kube-state-metrics in `shared`, limited to the platform's namespaces; the alerts about pods, quotas and Jobs need
    it."""

    image: values.ImageDigest
    """Image of kube-state-metrics."""
    api_server_cidrs: Annotated[tuple[values.Cidr, ...], Field(min_length=1)]
    """Where pods reach the API server: the address of the Service `kubernetes` and the networks of its endpoints."""


class OwnMonitoringSettings(Section):
    """Prometheus and Alertmanager of this stack's own, in `shared`; no monitoring without this section."""

    delivery: Literal["own"]
    """This program runs them."""
    runbooks: values.HttpsUrl
    """URL of this repository's docs/runbooks, which every alert links to."""
    webhook_url: values.SecretText | None = None
    """URL that Alertmanager posts alerts to; a secret, because who knows it may post there too. Required without
    `email`."""
    email: EmailSettings | None = None
    retention_days: Annotated[int, Field(ge=1, le=365)] = 15
    """How long Prometheus keeps metrics, in days; less where the volume is nearly full."""
    storage_gib: Annotated[int, Field(ge=2, le=1024)] = 10
    """Size of Prometheus's volume, in GiB."""
    storage_class: values.ClusterFact | None = None
    """StorageClass of the volume, such as `gp3`; required on EKS. In a local stack the cluster's default without it."""
    image: values.ImageDigest | None = None
    """Prometheus's image; required."""
    alertmanager_image: values.ImageDigest | None = None
    """Alertmanager's image; required."""
    kube_state_metrics: KubeStateMetricsSettings | None = None


class OperatorMonitoringSettings(Section):
    """Objects for the Prometheus operator that the cluster runs, in `shared`; its Prometheus evaluates the alerts, with
    the cluster's own kube-state-metrics, and its Alertmanager delivers them."""

    delivery: Literal["operator"]
    """The cluster's Prometheus operator runs Prometheus."""
    runbooks: values.HttpsUrl
    """URL of this repository's docs/runbooks, which every alert links to."""
    prometheus_namespace: values.ClusterFact
    """Namespace of the operator's Prometheus, which network policies let reach the exporters."""
    labels: dict[values.LabelKey, values.LabelValue] = Field(default_factory=dict)
    """Labels by which that Prometheus selects its PrometheusRule and PodMonitor objects, such as
    `release: kube-prometheus-stack`."""


MonitoringSettings = Annotated[OwnMonitoringSettings | OperatorMonitoringSettings, Field(discriminator="delivery")]

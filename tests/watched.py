"""What the alerts are about in the tests: everything, in both deliveries."""

from dataclasses import replace

from components.monitoring.model import Alert, Watched
from components.monitoring.rules import alerts

OWN = Watched(
    namespace="shared",
    namespaces=("django-api", "payload-cms", "shared"),
    pooled_connections=100,
    valkey=True,
    edge=True,
    own=True,
    pods=True,
    policies_enforced=True,
)
OPERATED = replace(OWN, own=False, client_tls=True)


def every_alert() -> dict[str, Alert]:
    """By name, one of each."""
    return {alert.name: alert for watched in (OWN, OPERATED) for alert in alerts(watched)}

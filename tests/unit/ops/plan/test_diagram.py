"""The architecture picture is drawn from the product table and the network flows, whatever the products are called."""

from typing import Any

import pytest

import settings
from ops.plan.diagram import mermaid
from tests.configs import MONITORING, OPERATOR_MONITORING, SERVICES
from tests.unit.conftest import full_config


def arrows(products: dict[str, dict[str, Any]], stack: str = "prod") -> list[str]:
    """The arrows of the stack's picture, with another product table."""
    config = full_config(stack) | {"lightwave:edge": {}}
    config["lightwave:products"] = products
    with settings.offline():
        lines = mermaid(settings.load(stack, config)).splitlines()
    return [line.strip() for line in lines if "->" in line]


def table(cms: str, api: str) -> dict[str, dict[str, Any]]:
    """The platform's own products under other names."""
    entries = full_config("prod")["lightwave:products"]
    return {cms: entries["payload"], api: entries["django"], "createos": entries["createos"]}


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_products_of_any_name_keep_their_arrows(stack: str) -> None:
    usual = arrows(table("payload", "django"), stack)
    assert "django -->|REST :3000| payload" in usual
    renamed = [arrow.replace("payload", "website").replace("django", "api") for arrow in usual]
    assert arrows(table("website", "api"), stack) == renamed


def test_the_pods_that_a_stack_runs_are_in_the_picture() -> None:
    config = {**full_config("prod"), "lightwave:services": SERVICES}
    with settings.offline():
        lines = [line.strip() for line in mermaid(settings.load("prod", config)).splitlines()]
    assert 'payload["payload<br/>payload_user<br/>payload x 2"]' in lines
    assert 'django["django<br/>django_user<br/>api x 2 to 5<br/>worker x 3<br/>beat x 1"]' in lines
    assert 'createos["createos<br/>createos_user"]' in lines


def test_every_arrow_of_production() -> None:
    products = table("website", "api")
    products["website"] = products["website"] | {"readers": ["createos"]}
    assert arrows(products) == [
        "pgbouncer --> database",
        "website -->|website| pgbouncer",
        "api -->|api| pgbouncer",
        "createos -->|createos| pgbouncer",
        "createos -.->|reads website| pgbouncer",
        "api -->|Redis| valkey",
        "api -->|REST :3000| website",
        "cdn --> bucket",
        "website -->|S3| bucket",
    ]


def test_the_edge_leads_through_cloudflared_to_the_services_with_a_hostname() -> None:
    config = full_config("prod")
    hostnames = {"payload": "cms.lightwave-media.site", "django": "api.lightwave-media.site"}
    config["lightwave:edge"] = config["lightwave:edge"] | {"hostnames": hostnames, "replicas": 3}
    with settings.offline():
        lines = [line.strip() for line in mermaid(settings.load("prod", config)).splitlines()]
    assert [line for line in lines if "cloudflared" in line or "tunnel" in line] == [
        'cloudflared["cloudflared x 3"]',
        'tunnel(["Cloudflare Tunnel<br/>cms.lightwave-media.site<br/>api.lightwave-media.site"])',
        "cloudflared -->|connects to| tunnel",
        "cloudflared -->|HTTP :3000| payload",
        "cloudflared -->|HTTP :8000| django",
    ]


@pytest.mark.parametrize(
    ("delivery", "node"),
    [(MONITORING, "Prometheus<br/>Alertmanager"), (OPERATOR_MONITORING, "Prometheus<br/>namespace monitoring")],
    ids=["own", "operator"],
)
def test_whoever_watches_the_stack_is_in_the_picture(delivery: dict[str, Any], node: str) -> None:
    with settings.offline():
        text = mermaid(settings.load("prod", {**full_config("prod"), "lightwave:monitoring": delivery}))
    assert [line.strip() for line in text.splitlines() if "prometheus" in line] == [
        f'prometheus["{node}"]',
        "prometheus -->|metrics| pooler",
        "prometheus -->|alerts| oncall([people on call])",
    ]


def test_a_product_without_a_flow_has_no_arrow_to_a_service() -> None:
    products = table("website", "api")
    # In no namespace it has no pods, and so no network flow.
    products["api"] = {key: value for key, value in products["api"].items() if key != "namespace"}
    assert [arrow for arrow in arrows(products, "dev") if "REST" in arrow] == []

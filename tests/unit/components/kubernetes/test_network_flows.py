"""Which connections the platform's NetworkPolicies allow."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter

import settings
from components.kubernetes.namespace import Namespace, NamespaceArgs
from components.kubernetes.network_flows import Flow, Pods, platform_flows
from ops.plan import recorder
from settings.models import EgressSettings
from tests.cluster.flows import of_cloudflared
from tests.configs import FULL_MONITORING, KUBE_STATE_METRICS, MONITORING, OPERATOR_MONITORING
from tests.unit.components.kubernetes.evaluator import Cluster, Endpoint
from tests.unit.conftest import full_config

VPC = "10.0.0.0/16"
FOREIGN_NAMESPACES = ("kube-system", "ingress-nginx", "default", "monitoring")

# The VPC CNI gives pods addresses of the VPC, in the same networks as RDS.
ENDPOINTS = {
    "api": Endpoint(address="10.0.1.1", namespace="django-api", labels={"app.kubernetes.io/name": "api"}),
    "worker": Endpoint(address="10.0.1.2", namespace="django-api", labels={"app.kubernetes.io/name": "worker"}),
    "django-migration": Endpoint(
        address="10.0.1.3", namespace="django-api", labels={"app.kubernetes.io/component": "migration"}
    ),
    "payload": Endpoint(address="10.0.2.1", namespace="payload-cms", labels={"app.kubernetes.io/name": "payload"}),
    "payload-migration": Endpoint(
        address="10.0.2.2", namespace="payload-cms", labels={"app.kubernetes.io/component": "migration"}
    ),
    "payload-stray": Endpoint(address="10.0.2.3", namespace="payload-cms"),
    "pgbouncer": Endpoint(address="10.0.3.1", namespace="shared", labels={"app.kubernetes.io/name": "pgbouncer"}),
    "redis": Endpoint(address="10.0.3.2", namespace="shared", labels={"app.kubernetes.io/name": "redis"}),
    "prometheus": Endpoint(address="10.0.3.3", namespace="shared", labels={"app.kubernetes.io/name": "prometheus"}),
    "alertmanager": Endpoint(address="10.0.3.5", namespace="shared", labels={"app.kubernetes.io/name": "alertmanager"}),
    "kube-state-metrics": Endpoint(
        address="10.0.3.6", namespace="shared", labels={"app.kubernetes.io/name": "kube-state-metrics"}
    ),
    "cloudflared": Endpoint(address="10.0.3.7", namespace="shared", labels={"app.kubernetes.io/name": "cloudflared"}),
    "operators-prometheus": Endpoint(address="10.0.4.5", namespace="monitoring", labels={}),
    "api-server": Endpoint(address="172.20.0.1"),
    "shared-stray": Endpoint(address="10.0.3.4", namespace="shared"),
    "edge": Endpoint(address="10.0.4.1", namespace="ingress-nginx", labels={"app.kubernetes.io/name": "ingress-nginx"}),
    "coredns": Endpoint(address="10.0.4.2", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "kube-proxy": Endpoint(address="10.0.4.3", namespace="kube-system", labels={"k8s-app": "kube-proxy"}),
    # PgBouncer's label in another namespace.
    "impostor": Endpoint(address="10.0.4.4", namespace="default", labels={"app.kubernetes.io/name": "pgbouncer"}),
    "rds": Endpoint(address="10.0.100.10"),
    "r2": Endpoint(address="104.18.8.90"),
    "metadata": Endpoint(address="169.254.169.254"),
    "pod-identity": Endpoint(address="169.254.170.23"),
    "node-local-dns": Endpoint(address="169.254.20.10"),
    "dns-service": Endpoint(address="172.20.0.10"),
    "other-vpc": Endpoint(address="172.16.0.9"),
    "peered-network": Endpoint(address="192.168.7.7"),
}
PORTS = (22, 53, 80, 443, 587, 2000, 3000, 5432, 6379, 6432, 6443, 7844, 8000, 8080, 8081, 9093, 9121, 9127, 9464)
OURS = ("django-api", "payload-cms", "shared")
DJANGO = ("api", "worker", "django-migration")
CMS = ("payload", "payload-migration", "payload-stray")
SHARED = ("pgbouncer", "redis", "prometheus", "alertmanager", "kube-state-metrics", "cloudflared", "shared-stray")

ALLOWED = {
    *((source, "coredns", protocol, 53) for source in (*DJANGO, *CMS, *SHARED) for protocol in ("TCP", "UDP")),
    ("api", "payload", "TCP", 3000),
    ("worker", "payload", "TCP", 3000),
    ("django-migration", "payload", "TCP", 3000),
    *((source, "pgbouncer", "TCP", 6432) for source in (*DJANGO, *CMS)),
    ("api", "redis", "TCP", 6379),
    ("worker", "redis", "TCP", 6379),
    ("django-migration", "redis", "TCP", 6379),
    ("pgbouncer", "rds", "TCP", 5432),
    ("django-migration", "rds", "TCP", 5432),
    ("payload-migration", "rds", "TCP", 5432),
    ("edge", "payload", "TCP", 3000),
    ("edge", "api", "TCP", 8000),
    ("payload", "r2", "TCP", 443),
    *((source, "r2", "TCP", port) for source in ("api", "worker") for port in (443, 587)),
    ("prometheus", "pgbouncer", "TCP", 9127),
    ("prometheus", "redis", "TCP", 9121),
    *(("prometheus", target, "TCP", 9464) for target in (*DJANGO, *CMS)),
}
"""The required flows and no others, written by hand: a list derived from the table would repeat its mistakes."""

BY_ADDRESS = {
    (source, pod, "TCP", 5432)
    for source in ("pgbouncer", "django-migration", "payload-migration")
    for pod in ("edge", "coredns", "kube-proxy", "impostor", "operators-prometheus")
}
"""What an address range cannot separate from RDS: on 5432, pods in other namespaces, which deny nothing."""


@pytest.fixture(scope="module")
def prod() -> settings.Settings:
    with settings.offline():
        return settings.load("prod", full_config("prod"))


def flows_of(prod: settings.Settings, cidrs: Sequence[str] = (VPC,), dns_cidrs: Sequence[str] = ()) -> tuple[Flow, ...]:
    return platform_flows(
        products=prod.products.values(), edge_namespace="ingress-nginx", database_cidrs=cidrs, dns_cidrs=dns_cidrs
    )


def cluster_with(prod: settings.Settings, flows: Sequence[Flow]) -> Cluster:
    assert prod.kubernetes is not None
    namespaces = prod.kubernetes.namespaces

    def program() -> None:
        for name, namespace in namespaces.items():
            Namespace(
                name,
                NamespaceArgs(namespace=name, settings=namespace, flows=flows, cluster="lightwave-prod", protect=True),
            )

    recorded = recorder.record(program, stack="prod")
    made = [r.inputs["metadata"] for r in recorded.of_type("kubernetes:core/v1:Namespace")]
    assert sorted(metadata["name"] for metadata in made) == sorted(OURS)
    # The API server adds the name's label to every namespace.
    labels = {metadata["name"]: metadata["labels"] for metadata in made} | {name: {} for name in FOREIGN_NAMESPACES}
    return Cluster(
        policies=[r.inputs for r in recorded.of_type("kubernetes:networking.k8s.io/v1:NetworkPolicy")],
        namespaces={name: {**own, "kubernetes.io/metadata.name": name} for name, own in labels.items()},
    )


@pytest.fixture(scope="module")
def cluster(prod: settings.Settings) -> Cluster:
    return cluster_with(prod, flows_of(prod))


def connections() -> Iterable[tuple[str, str, str, int]]:
    """Every pair with at least one end in our namespaces, on every port: what is allowed and what is not."""
    for source, destination in itertools.permutations(ENDPOINTS, 2):
        if {ENDPOINTS[source].namespace, ENDPOINTS[destination].namespace} & set(OURS):
            yield from ((source, destination, protocol, port) for protocol in ("TCP", "UDP") for port in PORTS)


def allowed_by(cluster: Cluster) -> list[tuple[str, str, str, int]]:
    every = list(connections())
    assert len(every) > 5000
    return sorted(
        (source, destination, protocol, port)
        for source, destination, protocol, port in every
        if cluster.allows(ENDPOINTS[source], ENDPOINTS[destination], port, protocol)
    )


def test_exactly_the_required_flows_are_allowed(cluster: Cluster) -> None:
    assert allowed_by(cluster) == sorted(ALLOWED | BY_ADDRESS)


def test_every_pod_may_ask_the_dns_servers_that_are_no_pods(prod: settings.Settings) -> None:
    cluster = cluster_with(prod, flows_of(prod, dns_cidrs=["169.254.20.10/32", "172.20.0.10/32"]))
    asking = {
        (source, server, protocol, 53)
        for source in (*DJANGO, *CMS, *SHARED)
        for server in ("node-local-dns", "dns-service")
        for protocol in ("TCP", "UDP")
    }
    assert allowed_by(cluster) == sorted(ALLOWED | BY_ADDRESS | asking)


def monitored(prod: settings.Settings, section: Mapping[str, Any]) -> list[tuple[str, str, str, int]]:
    found = TypeAdapter[settings.MonitoringSettings](settings.MonitoringSettings).validate_json(json.dumps(section))
    products = prod.products.values()
    flows = platform_flows(products=products, edge_namespace="ingress-nginx", database_cidrs=[VPC], monitoring=found)
    return allowed_by(cluster_with(prod, flows))


def test_alertmanager_reaches_the_people_on_call_and_kube_state_metrics_the_api_server(
    prod: settings.Settings,
) -> None:
    """Port 8081 stays closed: that Prometheus cannot reach it shows that policies are enforced."""
    section = {**FULL_MONITORING, "kubeStateMetrics": {**KUBE_STATE_METRICS, "apiServerCidrs": ["172.20.0.1/32"]}}
    more = {
        ("prometheus", "alertmanager", "TCP", 9093),
        ("alertmanager", "r2", "TCP", 443),
        ("alertmanager", "r2", "TCP", 587),
        ("prometheus", "kube-state-metrics", "TCP", 8080),
        ("kube-state-metrics", "api-server", "TCP", 443),
        ("kube-state-metrics", "api-server", "TCP", 6443),
    }
    assert monitored(prod, section) == sorted(ALLOWED | BY_ADDRESS | more)
    less = {("alertmanager", "r2", "TCP", 587), *(flow for flow in more if "kube-state-metrics" in flow)}
    assert monitored(prod, MONITORING) == sorted((ALLOWED | BY_ADDRESS | more) - less)


def test_cloudflared_reaches_cloudflare_and_the_service_with_a_hostname(prod: settings.Settings) -> None:
    flows = platform_flows(
        products=prod.products.values(), edge_namespace="ingress-nginx", database_cidrs=[VPC], tunnelled=["payload"]
    )
    assert set(allowed_by(cluster_with(prod, flows))) - ALLOWED - BY_ADDRESS == {
        # r2 stands for every public address.
        ("cloudflared", "r2", "UDP", 7844),
        ("cloudflared", "r2", "TCP", 7844),
        ("cloudflared", "r2", "TCP", 443),
        ("cloudflared", "payload", "TCP", 3000),
        ("prometheus", "cloudflared", "TCP", 2000),
    }


def test_the_page_of_flows_has_cloudflareds(prod: settings.Settings) -> None:
    """The rest of the page is what the tests' cluster saw; it has no cloudflared."""
    page = (settings.ROOT / "docs/flows.md").read_text()
    section = page.partition("## Not tried: cloudflared\n")[2].partition("## What gets through")[0]
    assert section.endswith(f"\n\n{of_cloudflared(prod.products.values())}\n")
    assert "| **cloudflared** | internet | 7844/UDP, 7844 |" in section


def test_the_operators_prometheus_reads_the_exporters_from_its_namespace(prod: settings.Settings) -> None:
    of_prometheus = {flow for flow in ALLOWED if flow[0] == "prometheus" and flow[3] != 53}
    moved = {("operators-prometheus", pod, protocol, port) for _, pod, protocol, port in of_prometheus}
    expected = (ALLOWED | BY_ADDRESS) - of_prometheus | moved
    assert monitored(prod, OPERATOR_MONITORING) == sorted(expected)


def test_a_product_asks_for_pod_identity_and_a_vpc_endpoint(prod: settings.Settings) -> None:
    ways = (
        EgressSettings(port=443),
        EgressSettings(port=80, cidrs=("169.254.170.23/32",)),
        EgressSettings(port=443, cidrs=("172.16.0.0/24", "192.168.7.7/32")),
    )
    payload = prod.products["payload"].model_copy(update={"egress": ways})
    asking = prod.model_copy(update={"products": {**prod.products, "payload": payload}})
    more = {
        ("payload", "pod-identity", "TCP", 80),
        ("payload", "other-vpc", "TCP", 443),
        ("payload", "peered-network", "TCP", 443),
    }
    assert allowed_by(cluster_with(asking, flows_of(asking))) == sorted(ALLOWED | BY_ADDRESS | more)


@pytest.mark.parametrize("namespace", OURS)
def test_every_pod_is_denied_by_default_both_ways(cluster: Cluster, namespace: str) -> None:
    denying = [p for p in cluster.policies if p["metadata"] == {"name": "default-deny", "namespace": namespace}]
    assert [p["spec"] for p in denying] == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]


def test_the_internet_excludes_the_vpc_even_where_it_is_not_private(prod: settings.Settings) -> None:
    cluster = cluster_with(prod, flows_of(prod, ["10.1.0.0/16", "198.51.100.0/24"]))
    payload = ENDPOINTS["payload"]
    assert not cluster.allows(payload, Endpoint(address="198.51.100.7"), 443)
    assert cluster.allows(payload, Endpoint(address="198.51.101.7"), 443)
    (spec,) = [p["spec"] for p in cluster.policies if p["metadata"]["name"] == "egress-payload-to-internet-443"]
    assert spec["egress"][0]["to"] == [
        {
            "ipBlock": {
                "cidr": "0.0.0.0/0",
                "except": [
                    "10.0.0.0/8",
                    "100.64.0.0/10",
                    "127.0.0.0/8",
                    "169.254.0.0/16",
                    "172.16.0.0/12",
                    "192.168.0.0/16",
                    "198.51.100.0/24",
                ],
            }
        }
    ]


def test_every_flow_has_its_own_name(prod: settings.Settings) -> None:
    names = [flow.name for flow in flows_of(prod) if flow.name != "dns"]
    assert len(names) == len(set(names))
    assert sum(flow.name == "dns" for flow in flows_of(prod)) == len(OURS)


def test_a_product_without_a_namespace_has_no_flow(prod: settings.Settings) -> None:
    products = [product.model_copy(update={"namespace": None}) for product in prod.products.values()]
    flows = platform_flows(products=products, edge_namespace="ingress-nginx", database_cidrs=[VPC])
    assert {flow.name for flow in flows} == {
        "dns",
        "pgbouncer-to-database",
        "metrics-of-pgbouncer",
        "metrics-of-redis",
    }
    assert [flow.source for flow in flows if not flow.source.labels] == [Pods(namespace="shared")]


def test_without_an_edge_only_the_cluster_reaches_the_services(prod: settings.Settings) -> None:
    with_edge = flows_of(prod)
    without = platform_flows(products=prod.products.values(), edge_namespace=None, database_cidrs=(VPC,))
    missing = [flow for flow in with_edge if flow not in without]
    assert [flow.name for flow in missing] == ["edge-to-payload", "edge-to-api"]
    assert not [flow for flow in without if flow not in with_edge]


def test_a_policy_without_a_network_is_refused(prod: settings.Settings) -> None:
    """Kubernetes treats an empty list of peers as every peer."""
    with pytest.raises(Exception, match="such a network policy would allow every address"):
        cluster_with(prod, flows_of(prod, ()))

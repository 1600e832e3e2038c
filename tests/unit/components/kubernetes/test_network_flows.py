"""Which connections the NetworkPolicies allow: read from the manifests' own selectors and ports, as Kubernetes does."""

import ipaddress
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

import settings
from components.kubernetes.namespace import Namespace, NamespaceArgs
from components.kubernetes.network_flows import Flow, Pods, platform_flows
from ops.plan import recorder
from tests.unit.conftest import full_config

# --- an evaluator of NetworkPolicies ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A pod, or an address outside the cluster when it has no namespace."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """NetworkPolicies and the labels of the namespaces that they select by."""

    policies: Sequence[Mapping[str, Any]]
    namespaces: Mapping[str, Mapping[str, str]]

    def allows(self, source: Endpoint, destination: Endpoint, port: int, protocol: str = "TCP") -> bool:
        """Whether the source may open the connection: its egress and the destination's ingress must both allow it."""
        return self._side("Egress", source, destination, port, protocol) and self._side(
            "Ingress", destination, source, port, protocol
        )

    def _side(self, direction: str, subject: Endpoint, other: Endpoint, port: int, protocol: str) -> bool:
        if subject.namespace is None:
            return True
        isolating = [p for p in self.policies if direction in _directions(p) and self._selects(p, subject)]
        if not isolating:
            return True
        rules = [(p, rule) for p in isolating for rule in p["spec"].get(direction.lower()) or []]
        peers = "to" if direction == "Egress" else "from"
        return any(
            _port_matches(rule.get("ports"), port, protocol)
            and (
                not rule.get(peers)
                or any(self._peer_matches(peer, other, policy["metadata"]["namespace"]) for peer in rule[peers])
            )
            for policy, rule in rules
        )

    def _selects(self, policy: Mapping[str, Any], pod: Endpoint) -> bool:
        return policy["metadata"]["namespace"] == pod.namespace and _matches(policy["spec"]["podSelector"], pod.labels)

    def _peer_matches(self, peer: Mapping[str, Any], other: Endpoint, namespace: str) -> bool:
        if "ipBlock" in peer:
            assert set(peer) == {"ipBlock"}
            block, address = peer["ipBlock"], ipaddress.ip_address(other.address)
            excluded = any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", []))
            return address in ipaddress.ip_network(block["cidr"]) and not excluded
        assert set(peer) <= {"podSelector", "namespaceSelector"}
        assert peer
        if other.namespace is None:
            return False
        if "namespaceSelector" in peer:
            in_namespace = _matches(peer["namespaceSelector"], self.namespaces[other.namespace])
        else:
            in_namespace = other.namespace == namespace
        return in_namespace and _matches(peer.get("podSelector", {}), other.labels)


def _directions(policy: Mapping[str, Any]) -> Sequence[str]:
    spec = policy["spec"]
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "matchExpressions are not evaluated here"
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _port_matches(ports: Sequence[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        rule.get("protocol", "TCP") == protocol
        and ("port" not in rule or int(rule["port"]) <= port <= int(rule.get("endPort", rule["port"])))
        for rule in ports
    )


def policy(namespace: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


A = Endpoint(address="10.0.0.1", namespace="a", labels={"app": "x"})
A2 = Endpoint(address="10.0.0.2", namespace="a", labels={"app": "y"})
B = Endpoint(address="10.0.0.3", namespace="b", labels={"app": "x"})
OUTSIDE = Endpoint(address="198.51.100.7")
TO_B = {"namespaceSelector": {"matchLabels": {"name": "b"}}}
NAMED = {"a": {"name": "a"}, "b": {"name": "b"}}
DENY = {"policyTypes": ["Ingress", "Egress"]}
PORT_80 = [{"port": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("policies", "source", "destination", "port", "protocol", "allowed"),
    [
        # Nothing selects a pod: everything is allowed. Anything that does isolates it, in its own directions alone.
        ([], A, B, 80, "TCP", True),
        ([policy("a", **DENY)], A, B, 80, "TCP", False),
        ([policy("a", **DENY)], B, A, 80, "TCP", False),
        ([policy("a", policyTypes=["Ingress"])], A, B, 80, "TCP", True),
        ([policy("a", policyTypes=["Ingress"])], B, A, 80, "TCP", False),
        ([policy("a", policyTypes=["Egress"])], B, A, 80, "TCP", True),
        ([policy("a", podSelector={"matchLabels": {"app": "y"}}, **DENY)], A, B, 80, "TCP", True),
        # policyTypes left out: ingress, and egress where there are rules for it.
        ([policy("a")], A, B, 80, "TCP", True),
        ([policy("a")], B, A, 80, "TCP", False),
        ([policy("a", egress=[])], A, B, 80, "TCP", False),
        # A rule without peers or without ports is for all of them; an empty list of rules is for none.
        ([policy("a", policyTypes=["Egress"], egress=[{}])], A, OUTSIDE, 1, "UDP", True),
        ([policy("a", policyTypes=["Egress"], egress=[{"ports": PORT_80}])], A, OUTSIDE, 80, "TCP", True),
        ([policy("a", policyTypes=["Egress"], egress=[{"ports": PORT_80}])], A, OUTSIDE, 80, "UDP", False),
        ([policy("a", policyTypes=["Egress"], egress=[{"ports": PORT_80}])], A, OUTSIDE, 81, "TCP", False),
        (
            [policy("a", policyTypes=["Egress"], egress=[{"ports": [{"port": 80, "endPort": 90}]}])],
            A,
            OUTSIDE,
            85,
            "TCP",
            True,
        ),
        # Policies add up.
        ([policy("a", **DENY), policy("a", policyTypes=["Egress"], egress=[{"to": [TO_B]}])], A, B, 80, "TCP", True),
        # Both ends must allow it.
        (
            [policy("b", **DENY), policy("a", policyTypes=["Egress"], egress=[{"to": [TO_B]}])],
            A,
            B,
            80,
            "TCP",
            False,
        ),
        # A pod selector alone means the policy's own namespace; with a namespace selector both must match.
        (
            [policy("a", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {"matchLabels": {"app": "x"}}}]}])],
            A,
            B,
            80,
            "TCP",
            False,
        ),
        (
            [policy("a", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {"matchLabels": {"app": "y"}}}]}])],
            A,
            A2,
            80,
            "TCP",
            True,
        ),
        (
            [
                policy(
                    "a",
                    policyTypes=["Egress"],
                    egress=[{"to": [{**TO_B, "podSelector": {"matchLabels": {"app": "z"}}}]}],
                )
            ],
            A,
            B,
            80,
            "TCP",
            False,
        ),
        # As two peers, either would do.
        (
            [
                policy(
                    "a",
                    policyTypes=["Egress"],
                    egress=[{"to": [TO_B, {"podSelector": {"matchLabels": {"app": "z"}}}]}],
                )
            ],
            A,
            B,
            80,
            "TCP",
            True,
        ),
        # Addresses, with exceptions.
        (
            [policy("a", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}])],
            A,
            OUTSIDE,
            80,
            "TCP",
            True,
        ),
        (
            [
                policy(
                    "a",
                    policyTypes=["Egress"],
                    egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["198.51.100.0/25"]}}]}],
                )
            ],
            A,
            OUTSIDE,
            80,
            "TCP",
            False,
        ),
        ([policy("a", policyTypes=["Ingress"], ingress=[{"from": [TO_B]}])], OUTSIDE, A, 80, "TCP", False),
        ([policy("a", policyTypes=["Ingress"], ingress=[{"from": [TO_B]}])], B, A, 80, "TCP", True),
    ],
)
def test_the_evaluator_on_known_policies(
    policies: list[Mapping[str, Any]],
    source: Endpoint,
    destination: Endpoint,
    port: int,
    protocol: str,
    *,
    allowed: bool,
) -> None:
    assert Cluster(policies=policies, namespaces=NAMED).allows(source, destination, port, protocol) is allowed


# --- the platform's flows ---------------------------------------------------------------------------------------------

VPC = "10.0.0.0/16"
FOREIGN_NAMESPACES = ("kube-system", "ingress-nginx", "default")

# The VPC CNI gives pods addresses of the VPC: they lie in the networks in which RDS listens.
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
    "shared-stray": Endpoint(address="10.0.3.4", namespace="shared"),
    "edge": Endpoint(address="10.0.4.1", namespace="ingress-nginx", labels={"app.kubernetes.io/name": "ingress-nginx"}),
    "coredns": Endpoint(address="10.0.4.2", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "kube-proxy": Endpoint(address="10.0.4.3", namespace="kube-system", labels={"k8s-app": "kube-proxy"}),
    # Looks like the pooler, elsewhere.
    "impostor": Endpoint(address="10.0.4.4", namespace="default", labels={"app.kubernetes.io/name": "pgbouncer"}),
    "rds": Endpoint(address="10.0.100.10"),
    "r2": Endpoint(address="104.18.8.90"),
    "metadata": Endpoint(address="169.254.169.254"),
    "pod-identity": Endpoint(address="169.254.170.23"),
    "other-vpc": Endpoint(address="172.16.0.9"),
    "peered-network": Endpoint(address="192.168.7.7"),
}
PORTS = (22, 53, 80, 443, 3000, 5432, 6379, 6432, 8000, 9121, 9127, 9464)
OURS = ("django-api", "payload-cms", "shared")
DJANGO = ("api", "worker", "django-migration")
CMS = ("payload", "payload-migration", "payload-stray")
SHARED = ("pgbouncer", "redis", "prometheus", "shared-stray")

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
    ("prometheus", "pgbouncer", "TCP", 9127),
    ("prometheus", "redis", "TCP", 9121),
    *(("prometheus", target, "TCP", 9464) for target in (*DJANGO, *CMS)),
}
"""The seed's flows and no others, each by hand: one derived from the table would repeat the table's mistakes."""

BY_ADDRESS = {
    (source, pod, "TCP", 5432)
    for source in ("pgbouncer", "django-migration", "payload-migration")
    for pod in ("edge", "coredns", "kube-proxy", "impostor")
}
"""What an address range cannot keep apart: the VPC's pods in namespaces that are not ours and deny nothing, on 5432."""


@pytest.fixture(scope="module")
def prod() -> settings.Settings:
    with settings.offline():
        return settings.load("prod", full_config("prod"))


def flows_of(prod: settings.Settings, cidrs: Sequence[str] = (VPC,)) -> tuple[Flow, ...]:
    return platform_flows(products=prod.products.values(), edge_namespace="ingress-nginx", database_cidrs=cidrs)


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
    """Every pair with one end of ours, on every port: what is allowed and all of its opposites."""
    for source, destination in itertools.permutations(ENDPOINTS, 2):
        if {ENDPOINTS[source].namespace, ENDPOINTS[destination].namespace} & set(OURS):
            yield from ((source, destination, protocol, port) for protocol in ("TCP", "UDP") for port in PORTS)


def test_exactly_the_flows_of_the_seed(cluster: Cluster) -> None:
    every = list(connections())
    assert len(every) > 5000
    allowed = {
        (source, destination, protocol, port)
        for source, destination, protocol, port in every
        if cluster.allows(ENDPOINTS[source], ENDPOINTS[destination], port, protocol)
    }
    assert sorted(allowed) == sorted(ALLOWED | BY_ADDRESS)


@pytest.mark.parametrize("namespace", OURS)
def test_every_pod_is_denied_by_default_both_ways(cluster: Cluster, namespace: str) -> None:
    denying = [p for p in cluster.policies if p["metadata"] == {"name": "default-deny", "namespace": namespace}]
    assert [p["spec"] for p in denying] == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]


def test_the_internet_excludes_the_vpc_even_where_it_is_not_private(prod: settings.Settings) -> None:
    cluster = cluster_with(prod, flows_of(prod, ["10.1.0.0/16", "198.51.100.0/24"]))
    payload = ENDPOINTS["payload"]
    assert not cluster.allows(payload, Endpoint(address="198.51.100.7"), 443)
    assert cluster.allows(payload, Endpoint(address="198.51.101.7"), 443)
    (spec,) = [p["spec"] for p in cluster.policies if p["metadata"]["name"] == "egress-payload-to-internet"]
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


def test_every_flow_of_the_table_is_used(prod: settings.Settings) -> None:
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


def test_a_policy_to_no_network_is_refused(prod: settings.Settings) -> None:
    """An empty list of peers is every peer to Kubernetes."""
    with pytest.raises(Exception, match="a network policy to no network would allow every one"):
        cluster_with(prod, flows_of(prod, ()))

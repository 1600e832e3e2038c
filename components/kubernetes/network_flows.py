"""The one table of network flows on the cluster, and the NetworkPolicies that follow from it.

Whatever is not in the table is denied: every namespace denies by default, both ways. A flow is allowed where both ends
allow it, so each gives one egress policy in its source's namespace and one ingress policy in its destination's, as far
as these namespaces are ours.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.meta.v1 import LabelSelectorArgsDict
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicyPeerArgsDict,
    NetworkPolicyPortArgsDict,
    NetworkPolicySpecArgsDict,
)

from settings import Product

NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
"""The recommended labels of Kubernetes: https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The API server itself puts it on every namespace, with the namespace's name."""

PAYLOAD = {NAME_LABEL: "payload"}
API = {NAME_LABEL: "api"}
PGBOUNCER = {NAME_LABEL: "pgbouncer"}
REDIS = {NAME_LABEL: "redis"}
MONITORING = {NAME_LABEL: "prometheus"}
MIGRATION = {COMPONENT_LABEL: "migration"}
"""Labels that a service's own manifests must carry: without them its pods have no flow but DNS and the pooler."""

SHARED_NAMESPACE = "shared"
PAYLOAD_PORT = 3000
API_PORT = 8000
PGBOUNCER_PORT = 6432
POSTGRES_PORT = 5432
REDIS_PORT = 6379
PGBOUNCER_METRICS_PORT = 9127
"""Default of prometheuscommunity/pgbouncer-exporter."""
REDIS_METRICS_PORT = 9121
"""Default of oliver006/redis_exporter."""
APPLICATION_METRICS_PORT = 9464
"""Where Payload, the API and its workers serve metrics: the Prometheus exporter's default in OpenTelemetry's SDKs."""

NOT_THE_INTERNET = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)
"""Private, carrier-grade (pods on EKS with custom networking), loopback and link-local ranges: RFC 1918, 6598, 1122 and
3927. 169.254.169.254 and 169.254.170.23 are AWS's metadata and pod-identity addresses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pods:
    """Pods of one namespace: those with the labels, all of them without."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """Addresses outside the cluster."""

    cidrs: pulumi.Input[Sequence[str]]
    """One or more; ValueError for none, which Kubernetes would read as everywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Internet:
    """Every public IPv4 address."""

    besides: pulumi.Input[Sequence[str]]
    """The VPC's own networks, which are not it even where they are no private ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """One line of the table: who may open connections to whom."""

    name: str
    """Part of the policies' names, so it is kept."""
    source: Pods
    destination: Pods | Networks | Internet
    port: int
    protocols: Sequence[str] = ("TCP",)


def platform_flows(
    *,
    products: Iterable[Product],
    edge_namespace: str,
    database_cidrs: pulumi.Input[Sequence[str]],
    database_port: int = POSTGRES_PORT,
) -> tuple[Flow, ...]:
    """The table. `database_cidrs`: the networks in which PostgreSQL listens (RDS: the private subnets'), IPv4.

    Products without a namespace have no pods and so no flow.
    """
    at_home = [(product, product.namespace) for product in products if product.namespace is not None]
    payload = [namespace for product, namespace in at_home if product.framework == "payload"]
    django = [namespace for product, namespace in at_home if product.framework == "django"]
    homes = sorted({namespace for _, namespace in at_home})

    pgbouncer = Pods(namespace=SHARED_NAMESPACE, labels=PGBOUNCER)
    redis = Pods(namespace=SHARED_NAMESPACE, labels=REDIS)
    monitoring = Pods(namespace=SHARED_NAMESPACE, labels=MONITORING)
    edge = Pods(namespace=edge_namespace)
    database = Networks(cidrs=database_cidrs)
    internet = Internet(besides=database_cidrs)

    flows = [
        Flow(
            name="dns",
            source=Pods(namespace=namespace),
            destination=Pods(namespace="kube-system", labels={"k8s-app": "kube-dns"}),
            port=53,
            protocols=("UDP", "TCP"),
        )
        for namespace in (*homes, SHARED_NAMESPACE)
    ]
    for namespace in homes:
        here = Pods(namespace=namespace)
        migrations = Pods(namespace=namespace, labels=MIGRATION)
        flows += [
            Flow(name=f"{namespace}-to-pgbouncer", source=here, destination=pgbouncer, port=PGBOUNCER_PORT),
            Flow(
                name=f"{namespace}-migrations-to-database", source=migrations, destination=database, port=database_port
            ),
            Flow(name=f"metrics-of-{namespace}", source=monitoring, destination=here, port=APPLICATION_METRICS_PORT),
        ]
    flows += [
        Flow(name="pgbouncer-to-database", source=pgbouncer, destination=database, port=database_port),
        Flow(name="metrics-of-pgbouncer", source=monitoring, destination=pgbouncer, port=PGBOUNCER_METRICS_PORT),
        Flow(name="metrics-of-redis", source=monitoring, destination=redis, port=REDIS_METRICS_PORT),
    ]
    for namespace in payload:
        cms = Pods(namespace=namespace, labels=PAYLOAD)
        flows += [
            Flow(name="edge-to-payload", source=edge, destination=cms, port=PAYLOAD_PORT),
            # R2, mail and whatever else the site calls: R2 has no addresses of its own to name.
            Flow(name="payload-to-internet", source=cms, destination=internet, port=443),
        ]
        flows += [
            Flow(name=f"{caller}-to-payload", source=Pods(namespace=caller), destination=cms, port=PAYLOAD_PORT)
            for caller in django
        ]
    for namespace in django:
        api = Pods(namespace=namespace, labels=API)
        flows += [
            Flow(name="edge-to-api", source=edge, destination=api, port=API_PORT),
            Flow(name=f"{namespace}-to-redis", source=Pods(namespace=namespace), destination=redis, port=REDIS_PORT),
        ]
    return tuple(flows)


def policy_specs(namespace: str, flows: Iterable[Flow]) -> dict[str, NetworkPolicySpecArgsDict]:
    """By policy name, the specs of the NetworkPolicies that let the flows of one namespace through."""
    specs: dict[str, NetworkPolicySpecArgsDict] = {}
    for flow in flows:
        ports: list[NetworkPolicyPortArgsDict] = [
            {"port": flow.port, "protocol": protocol} for protocol in flow.protocols
        ]
        if flow.source.namespace == namespace:
            specs[f"egress-{flow.name}"] = {
                "pod_selector": _selector(flow.source),
                "policy_types": ["Egress"],
                "egress": [{"to": _peers(flow.destination), "ports": ports}],
            }
        if isinstance(flow.destination, Pods) and flow.destination.namespace == namespace:
            specs[f"ingress-{flow.name}"] = {
                "pod_selector": _selector(flow.destination),
                "policy_types": ["Ingress"],
                "ingress": [{"from_": _peers(flow.source), "ports": ports}],
            }
    return specs


DENY_ALL: NetworkPolicySpecArgsDict = {"pod_selector": {}, "policy_types": ["Ingress", "Egress"]}
"""Selects every pod and allows nothing."""


def _peers(peer: Pods | Networks | Internet) -> pulumi.Input[Sequence[NetworkPolicyPeerArgsDict]]:
    if isinstance(peer, Networks):
        return pulumi.Output.from_input(peer.cidrs).apply(_blocks)
    if isinstance(peer, Internet):
        return pulumi.Output.from_input(peer.besides).apply(_public)
    # Both selectors in one peer: as two peers, either would do.
    return [
        {
            "namespace_selector": {"match_labels": {NAMESPACE_LABEL: peer.namespace}},
            "pod_selector": _selector(peer),
        }
    ]


def _selector(pods: Pods) -> LabelSelectorArgsDict:
    return {"match_labels": dict(pods.labels)} if pods.labels else {}


def _blocks(cidrs: Sequence[str]) -> list[NetworkPolicyPeerArgsDict]:
    if not cidrs:
        raise ValueError("kubernetes.databaseCidrs: a network policy to no network would allow every one")
    return [{"ip_block": {"cidr": cidr}} for cidr in cidrs]


def _public(besides: Sequence[str]) -> list[NetworkPolicyPeerArgsDict]:
    private = [ipaddress.IPv4Network(cidr) for cidr in NOT_THE_INTERNET]
    own = (ipaddress.IPv4Network(cidr) for cidr in besides)
    excluded = [*NOT_THE_INTERNET, *(str(cidr) for cidr in own if not any(map(cidr.subnet_of, private)))]
    return [{"ip_block": {"cidr": "0.0.0.0/0", "except_": excluded}}]

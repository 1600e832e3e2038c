"""The table of network flows on the cluster, and the NetworkPolicies that follow from it.

Every namespace denies by default, both ingress and egress: a flow that is not in the table is denied. A flow needs
permission at both ends, so each makes an egress policy in its source's namespace and an ingress policy in its
destination's, where these namespaces are the platform's own.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi
from pulumi_kubernetes.meta.v1 import LabelSelectorArgsDict
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicyPeerArgsDict,
    NetworkPolicyPortArgsDict,
    NetworkPolicySpecArgsDict,
)

from settings import (
    API_PORT,
    FRAMEWORKS,
    PAYLOAD_PORT,
    MonitoringSettings,
    OperatorMonitoringSettings,
    OwnMonitoringSettings,
    Product,
)

NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
"""The recommended labels of Kubernetes: https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The API server itself sets it on every namespace, to the namespace's name."""

PAYLOAD = {NAME_LABEL: "payload"}
API = {NAME_LABEL: "api"}
PGBOUNCER = {NAME_LABEL: "pgbouncer"}
REDIS = {NAME_LABEL: "redis"}
MONITORING = {NAME_LABEL: "prometheus"}
ALERTMANAGER = {NAME_LABEL: "alertmanager"}
KUBE_STATE_METRICS = {NAME_LABEL: "kube-state-metrics"}
CLOUDFLARED = {NAME_LABEL: "cloudflared"}
MIGRATION = {COMPONENT_LABEL: "migration"}
"""Labels that a service's own manifests must set: pods without them can reach only DNS and PgBouncer."""

SHARED_NAMESPACE = "shared"
PGBOUNCER_PORT = 6432
POSTGRES_PORT = 5432
REDIS_PORT = 6379
PGBOUNCER_METRICS_PORT = 9127
"""Default of prometheuscommunity/pgbouncer-exporter."""
REDIS_METRICS_PORT = 9121
"""Default of oliver006/redis_exporter."""
PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
WEBHOOK_PORT = 443
KUBE_STATE_METRICS_PORT = 8080
"""Default of kube-state-metrics."""
API_SERVER_PORTS = (443, 6443)
"""Of the Service `kubernetes` and of its endpoints: on EKS 443, on kind and k3d 6443."""
TUNNEL_PORT = 7844
"""Where Cloudflare accepts tunnels: QUIC on UDP, HTTP/2 on TCP."""
CLOUDFLARED_METRICS_PORT = 2000
APPLICATION_METRICS_PORT = 9464
"""Metrics of Payload, the API and its workers: the default of the Prometheus exporter in OpenTelemetry's SDKs."""

NOT_THE_INTERNET = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Private, carrier-grade (pods on EKS with custom networking), loopback and link-local ranges: RFC 1918, 6598, 1122 and
3927. 169.254.169.254 and 169.254.170.23 are AWS's metadata and pod-identity addresses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pods:
    """Pods of one namespace: those with the labels, or all of them."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """Addresses outside the cluster."""

    cidrs: pulumi.Input[Sequence[str]]
    """One or more; none is a ValueError, because Kubernetes would allow every address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Internet:
    """Every public IPv4 address."""

    except_cidrs: pulumi.Input[Sequence[str]]
    """The database's networks, which do not count even where they are public addresses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """One row of the table: which pods may open connections to what."""

    name: str
    """Part of the policies' names: a changed one replaces them."""
    source: Pods
    destination: Pods | Networks | Internet
    port: int
    protocols: Sequence[str] = ("TCP",)


def platform_flows(
    *,
    products: Collection[Product],
    edge_namespace: str | None,
    database_cidrs: pulumi.Input[Sequence[str]],
    database_port: int = POSTGRES_PORT,
    dns_cidrs: Sequence[str] = (),
    monitoring: MonitoringSettings | None = None,
    tunnelled: Collection[str] = (),
) -> tuple[Flow, ...]:
    """The table. `database_cidrs` are the IPv4 networks in which PostgreSQL listens, `dns_cidrs` those of DNS servers
    that are no pods.

    Without `monitoring`, pods labelled as Prometheus in `shared` may read the exporters. Products without a namespace
    have no pods and so no flows. `tunnelled` are the products with a hostname that cloudflared serves; others
    are reached from outside only through `edge_namespace`, where it is given.
    """
    with_namespace = [(product.framework, product.namespace) for product in products if product.namespace is not None]
    payload = [namespace for framework, namespace in with_namespace if framework == "payload"]
    django = [namespace for framework, namespace in with_namespace if framework == "django"]
    namespaces = sorted({namespace for _, namespace in with_namespace})

    pgbouncer = Pods(namespace=SHARED_NAMESPACE, labels=PGBOUNCER)
    redis = Pods(namespace=SHARED_NAMESPACE, labels=REDIS)
    prometheus = _prometheus(monitoring)
    edge = [Pods(namespace=edge_namespace)] if edge_namespace is not None else []
    database = Networks(cidrs=database_cidrs)
    internet = Internet(except_cidrs=database_cidrs)

    flows = [
        Flow(
            name="dns",
            source=Pods(namespace=namespace),
            destination=Pods(namespace="kube-system", labels={"k8s-app": "kube-dns"}),
            port=53,
            protocols=("UDP", "TCP"),
        )
        for namespace in (*namespaces, SHARED_NAMESPACE)
    ]
    if dns_cidrs:
        servers = Networks(cidrs=dns_cidrs)
        flows += [replace(flow, name="dns-servers", destination=servers) for flow in flows]
    for namespace in namespaces:
        pods = Pods(namespace=namespace)
        migrations = Pods(namespace=namespace, labels=MIGRATION)
        flows += [
            Flow(name=f"{namespace}-to-pgbouncer", source=pods, destination=pgbouncer, port=PGBOUNCER_PORT),
            Flow(
                name=f"{namespace}-migrations-to-database", source=migrations, destination=database, port=database_port
            ),
            Flow(name=f"metrics-of-{namespace}", source=prometheus, destination=pods, port=APPLICATION_METRICS_PORT),
        ]
    flows += [
        Flow(name="pgbouncer-to-database", source=pgbouncer, destination=database, port=database_port),
        Flow(name="metrics-of-pgbouncer", source=prometheus, destination=pgbouncer, port=PGBOUNCER_METRICS_PORT),
        Flow(name="metrics-of-redis", source=prometheus, destination=redis, port=REDIS_METRICS_PORT),
    ]
    if isinstance(monitoring, OwnMonitoringSettings):
        flows += _own_monitoring(monitoring, prometheus, internet)
    if tunnelled:
        flows += _tunnel([product for product in products if product.name in tunnelled], internet, prometheus)
    for namespace in payload:
        cms = Pods(namespace=namespace, labels=PAYLOAD)
        flows += [
            *(Flow(name="edge-to-payload", source=pods, destination=cms, port=PAYLOAD_PORT) for pods in edge),
        ]
        flows += [
            Flow(name=f"{caller}-to-payload", source=Pods(namespace=caller), destination=cms, port=PAYLOAD_PORT)
            for caller in django
        ]
    for namespace in django:
        api = Pods(namespace=namespace, labels=API)
        flows += [
            *(Flow(name="edge-to-api", source=pods, destination=api, port=API_PORT) for pods in edge),
            Flow(name=f"{namespace}-to-redis", source=Pods(namespace=namespace), destination=redis, port=REDIS_PORT),
        ]
    # R2, mail and AI services have no fixed addresses that a policy could name. By default Django and its workers have
    # 443 and 587: subscriptions, AI conversations and mail. Payload has 443, for R2; its env has no mail server.
    flows += [
        Flow(
            name=f"{labels[NAME_LABEL]}-to-{'networks' if way.cidrs else 'internet'}-{way.port}",
            source=Pods(namespace=product.namespace, labels=labels),
            destination=Networks(cidrs=way.cidrs) if way.cidrs else internet,
            port=way.port,
        )
        for product in products
        if product.namespace is not None
        for labels in _with_egress(product)
        for way in product.egress
    ]
    return tuple(flows)


def _with_egress(product: Product) -> Iterator[Mapping[str, str]]:
    """Labels of the pods that the product's `egress` applies to."""
    if framework := FRAMEWORKS.get(product.framework or ""):
        yield from ({NAME_LABEL: kind.name} for kind in (framework.serving, framework.worker) if kind)


def _prometheus(monitoring: MonitoringSettings | None) -> Pods:
    if isinstance(monitoring, OperatorMonitoringSettings):
        return Pods(namespace=monitoring.prometheus_namespace)
    return Pods(namespace=SHARED_NAMESPACE, labels=MONITORING)


def _own_monitoring(monitoring: OwnMonitoringSettings, prometheus: Pods, internet: Internet) -> Iterator[Flow]:
    """Prometheus to Alertmanager, from there to the people on call, and what kube-state-metrics needs."""
    alertmanager = Pods(namespace=SHARED_NAMESPACE, labels=ALERTMANAGER)
    yield Flow(name="prometheus-to-alertmanager", source=prometheus, destination=alertmanager, port=ALERTMANAGER_PORT)
    if monitoring.webhook_url:
        yield Flow(name="alertmanager-to-internet", source=alertmanager, destination=internet, port=WEBHOOK_PORT)
    if monitoring.email:
        yield Flow(name="alertmanager-to-mail", source=alertmanager, destination=internet, port=monitoring.email.port)
    if monitoring.kube_state_metrics:
        state = Pods(namespace=SHARED_NAMESPACE, labels=KUBE_STATE_METRICS)
        yield Flow(
            name="metrics-of-kube-state-metrics", source=prometheus, destination=state, port=KUBE_STATE_METRICS_PORT
        )
        api_server = Networks(cidrs=monitoring.kube_state_metrics.api_server_cidrs)
        for port in API_SERVER_PORTS:
            yield Flow(name=f"kube-state-metrics-to-api-{port}", source=state, destination=api_server, port=port)


def _tunnel(products: Iterable[Product], internet: Internet, prometheus: Pods) -> Iterator[Flow]:
    """cloudflared connects to Cloudflare, and passes on to the services what arrives there."""
    cloudflared = Pods(namespace=SHARED_NAMESPACE, labels=CLOUDFLARED)
    yield Flow(
        name="cloudflared-to-cloudflare",
        source=cloudflared,
        destination=internet,
        port=TUNNEL_PORT,
        protocols=("UDP", "TCP"),
    )
    yield Flow(name="cloudflared-to-internet", source=cloudflared, destination=internet, port=443)
    yield Flow(
        name="metrics-of-cloudflared",
        source=prometheus,
        destination=cloudflared,
        port=CLOUDFLARED_METRICS_PORT,
    )
    for product in products:
        serving = FRAMEWORKS[str(product.framework)].serving
        pods = Pods(namespace=str(product.namespace), labels={NAME_LABEL: serving.name})
        yield Flow(name=f"cloudflared-to-{serving.name}", source=cloudflared, destination=pods, port=serving.port)


def policy_specs(namespace: str, flows: Iterable[Flow]) -> dict[str, NetworkPolicySpecArgsDict]:
    """Specs of the NetworkPolicies that allow the flows of one namespace, by policy name."""
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
        return pulumi.Output.from_input(peer.except_cidrs).apply(_public)
    # Both selectors in one peer: two peers would match pods that either selects.
    return [
        {"namespace_selector": {"match_labels": {NAMESPACE_LABEL: peer.namespace}}, "pod_selector": _selector(peer)}
    ]


def _selector(pods: Pods) -> LabelSelectorArgsDict:
    return {"match_labels": dict(pods.labels)} if pods.labels else {}


def _blocks(cidrs: Sequence[str]) -> list[NetworkPolicyPeerArgsDict]:
    if not cidrs:
        raise ValueError("kubernetes.databaseCidrs is empty: such a network policy would allow every address")
    return [{"ip_block": {"cidr": cidr}} for cidr in cidrs]


def _public(except_cidrs: Sequence[str]) -> list[NetworkPolicyPeerArgsDict]:
    private = [ipaddress.IPv4Network(cidr) for cidr in NOT_THE_INTERNET]
    own = (ipaddress.IPv4Network(cidr) for cidr in except_cidrs)
    excluded = [*NOT_THE_INTERNET, *(str(cidr) for cidr in own if not any(map(cidr.subnet_of, private)))]
    return [{"ip_block": {"cidr": "0.0.0.0/0", "except_": excluded}}]

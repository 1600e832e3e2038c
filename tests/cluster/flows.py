"""Every way from a kind of pod to a destination and port: what the flow table says of it, and what happens."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from components.kubernetes.network_flows import (
    CLOUDFLARED,
    NOT_THE_INTERNET,
    SHARED_NAMESPACE,
    Flow,
    Internet,
    Networks,
    Pods,
    platform_flows,
)
from settings import Product
from tests.cluster.program import Program
from tests.cluster.workloads import KINDS, Kind

PORTS = (
    *("53/UDP", "53/TCP", "443/TCP", "3000/TCP", "5432/TCP", "6379/TCP", "6432/TCP"),
    *("8000/TCP", "9121/TCP", "9127/TCP", "9464/TCP"),
)
"""Every port of the flow table, and of what it protects. Every kind of pod listens on all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Somewhere to connect to."""

    name: str
    address: str
    ports: tuple[str, ...]
    """Where something listens."""
    namespace: str | None = None
    """None outside of the cluster."""
    labels: Mapping[str, str] = field(default_factory=dict)


Way = tuple[str, str, str]
"""Names of source and destination, and the port."""


def flow_table(program: Program) -> tuple[Flow, ...]:
    """The flow table of the program's settings."""
    kubernetes = program.settings.kubernetes
    assert kubernetes
    return platform_flows(
        products=program.settings.products.values(),
        edge_namespace=kubernetes.edge_namespace,
        database_cidrs=kubernetes.database_cidrs,
        dns_cidrs=kubernetes.dns_cidrs or (),
    )


def is_selected(pods: Pods, namespace: str | None, labels: Mapping[str, str]) -> bool:
    """Whether the selection has the pod with these labels."""
    return pods.namespace == namespace and pods.labels.items() <= labels.items()


def matches(flow: Flow, source: Kind, destination: Destination, port: str) -> bool:
    """Whether the flow is one from the source to the destination's port."""
    number, _, protocol = port.partition("/")
    if int(number) != flow.port or protocol not in flow.protocols:
        return False
    if not is_selected(flow.source, source.namespace, source.labels):
        return False
    match flow.destination:
        case Pods() as pods:
            return is_selected(pods, destination.namespace, destination.labels)
        case Networks(cidrs=cidrs):
            assert isinstance(cidrs, Sequence)
            return _is_in(destination.address, cidrs)
        case Internet(except_cidrs=cidrs):
            assert isinstance(cidrs, Sequence)
            return destination.namespace is None and not _is_in(destination.address, (*NOT_THE_INTERNET, *cidrs))


def expected(flows: Iterable[Flow], namespaces: Iterable[str], destinations: Iterable[Destination]) -> set[Way]:
    """The ways that are open: those of the table, and those that begin and end outside of `namespaces`."""
    table, own = list(flows), set(namespaces)
    return {
        (source.name, destination.name, port)
        for source in KINDS
        for destination in destinations
        for port in destination.ports
        if destination.name != source.name
        and (
            any(matches(flow, source, destination, port) for flow in table)
            or not own & {source.namespace, destination.namespace}
        )
    }


def untried(flows: Iterable[Flow], destinations: Sequence[Destination]) -> list[str]:
    """The table's flows that no way from a kind of pod to a destination stands for."""
    return [
        flow.name
        for flow in flows
        if not any(
            matches(flow, source, destination, port)
            for source in KINDS
            for destination in destinations
            for port in destination.ports
            if destination.name != source.name
        )
    ]


def table(ways: Iterable[Way], destinations: Sequence[Destination]) -> str:
    """The matrix as Markdown: a line each source, a column each destination, in it the ports that are reached."""
    found = set(ways)
    lines = [
        "| from \\ to | " + " | ".join(destination.name for destination in destinations) + " |",
        "|---" * (len(destinations) + 1) + "|",
    ]
    for source in KINDS:
        cells = []
        for destination in destinations:
            open_ports = [p for p in destination.ports if (source.name, destination.name, p) in found]
            whole = len(open_ports) == len(destination.ports)
            text = (
                "every port" if whole and len(open_ports) > 2 else ", ".join(p.removesuffix("/TCP") for p in open_ports)
            )
            cells.append("-" if destination.name == source.name else text or "·")
        lines.append(f"| **{source.name}** | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def of_cloudflared(products: Iterable[Product]) -> str:
    """The rows of the flow table about cloudflared as Markdown, where every service has a hostname.

    The tests' cluster has none: without Cloudflare it does not become ready.
    """
    served = [product for product in products if product.framework and product.namespace]
    names = [product.name for product in served]
    lines = ["| from | to | ports |", "|---|---|---|"]
    for flow in platform_flows(products=served, edge_namespace=None, database_cidrs=(), tunnelled=names):
        ends = flow.source, flow.destination
        if any(isinstance(end, Pods) and is_selected(end, SHARED_NAMESPACE, CLOUDFLARED) for end in ends):
            source, destination = map(_end, ends)
            ports = (f"{flow.port}{'/UDP' if protocol == 'UDP' else ''}" for protocol in flow.protocols)
            lines.append(f"| {source} | {destination} | {', '.join(ports)} |")
    return "\n".join(lines) + "\n"


def _end(end: Pods | Networks | Internet) -> str:
    if not isinstance(end, Pods):
        return type(end).__name__.lower()
    name = next(iter(end.labels.values()), f"every pod of {end.namespace}")
    return f"**{name}**" if end.labels == CLOUDFLARED else name


def _is_in(address: str, cidrs: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for cidr in cidrs)

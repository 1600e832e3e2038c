"""Traffic of the cluster: all denied by default, what is allowed is named, and nothing is exposed past the edge."""

from collections.abc import Iterator, Sequence
from typing import Any

from policies import tokens
from policies.rules import addresses
from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Resource,
    ResourceRule,
    StackRule,
    Violation,
    bare,
    expect,
    items_at,
    value_at,
)

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The API server itself puts it on every namespace, so no other namespace can have it."""

MOST_PORTS = 16
"""The most ports that one rule may open: more are no flow that somebody described."""


def _denied(policy: Resource) -> Any:
    """The directions that a policy denies for every pod of its namespace; UNKNOWN where the plan does not know."""
    spec = value_at(policy.inputs, "spec")
    if spec is UNKNOWN:
        return UNKNOWN
    selector, types = value_at(spec, "podSelector"), items_at(spec, "policyTypes")
    if selector is UNKNOWN or types is UNKNOWN or UNKNOWN in types:
        return UNKNOWN
    if any((selector or {}).values()):
        return set()
    rules = {"Ingress": items_at(spec, "ingress"), "Egress": items_at(spec, "egress")}
    # A policy without types means ingress, and egress where it has egress rules.
    return {direction for direction in (types or ["Ingress"]) if rules.get(direction) == []}


def _default_deny(resources: Sequence[Resource]) -> Iterator[Finding]:
    policies = [
        (value_at(p.inputs, "metadata.namespace"), _denied(p)) for p in resources if p.kind == tokens.NETWORK_POLICY
    ]
    for namespace in resources:
        if namespace.kind != tokens.NAMESPACE:
            continue
        name = value_at(namespace.inputs, "metadata.name")
        applicable = [denied for where, denied in policies if where in (name, UNKNOWN) or name is UNKNOWN]
        known = [d for (where, d) in policies if d is not UNKNOWN and where == name and name is not UNKNOWN]
        open_ = {"Ingress", "Egress"} - set().union(*known)
        if not open_:
            continue
        if name is UNKNOWN or len(known) < len(applicable):
            yield Finding(namespace, NotCheckable("network policies of the namespace"))
        else:
            directions = " and ".join(sorted(direction.lower() for direction in open_))
            yield Finding(namespace, Violation(f"no NetworkPolicy denies {directions} by default"))


def _narrow_policy(policy: Resource) -> Iterator[Answer]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        rules = items_at(policy.inputs, f"spec.{direction}")
        if rules is UNKNOWN:
            yield NotCheckable(f"spec.{direction}")
            continue
        for index, rule in enumerate(rules):
            place = f"spec.{direction}[{index}]"
            yield from _narrow_peers(rule, direction, peers, place)
            yield from _narrow_ports(rule, place)


def _narrow_peers(rule: Any, direction: str, key: str, place: str) -> Iterator[Answer]:
    peers = items_at(rule, key)
    if peers is UNKNOWN or UNKNOWN in peers:
        yield NotCheckable(f"{place}.{key}")
        return
    if not peers or not all(peers):
        yield Violation(f"{place} names no peer, which means every one")
    blocks: list[addresses.Network] = []
    for index, peer in enumerate(peers):
        selector, block = bare((peer or {}).get("namespaceSelector")), value_at(peer, "ipBlock")
        if selector is not None:
            yield from _named_namespaces(selector, f"{place}.{key}[{index}].namespaceSelector")
        if block is not None:
            known = _addresses(block)
            if known is None:
                yield NotCheckable(f"{place}.{key}[{index}].ipBlock")
            else:
                blocks += known
    yield from _narrow_blocks(blocks, direction, place)


def _addresses(block: Any) -> list[addresses.Network] | None:
    """The networks of an ipBlock without its exceptions; None where the plan does not know them."""
    cidr, exceptions = value_at(block, "cidr"), items_at(block, "except")
    if cidr is UNKNOWN or exceptions is UNKNOWN or UNKNOWN in exceptions:
        return None
    return addresses.without([addresses.network(cidr)], map(addresses.network, exceptions))


def _narrow_blocks(blocks: list[addresses.Network], direction: str, place: str) -> Iterator[Answer]:
    wide = addresses.is_wide(blocks)
    if direction == "ingress" and wide:
        yield Violation(f"{place} lets the internet in; expected the edge's namespace")
    elif direction == "egress" and addresses.has_metadata(blocks):
        yield Violation(f"{place} reaches the node's metadata service {addresses.METADATA[0]}")
    elif direction == "egress" and wide and addresses.has_private(blocks):
        yield Violation(f"{place} reaches the internet and private networks; expected the private ones excepted")


def _named_namespaces(selector: Any, place: str) -> Iterator[Answer]:
    labels, expressions = value_at(selector, "matchLabels"), items_at(selector, "matchExpressions")
    if UNKNOWN in (selector, labels, expressions) or (expressions is not UNKNOWN and UNKNOWN in expressions):
        yield NotCheckable(place)
        return
    named = NAMESPACE_LABEL in (labels or {}) or any(
        value_at(expression, "key") == NAMESPACE_LABEL and value_at(expression, "operator") == "In"
        for expression in expressions
    )
    if not named:
        yield Violation(f"{place} does not name its namespaces; expected the label {NAMESPACE_LABEL}")


def _narrow_ports(rule: Any, place: str) -> Iterator[Answer]:
    ports = items_at(rule, "ports")
    if ports is UNKNOWN or UNKNOWN in ports:
        yield NotCheckable(f"{place}.ports")
        return
    first = [value_at(port, "port") for port in ports]
    last = [value_at(port, "endPort") for port in ports]
    if UNKNOWN in first or UNKNOWN in last:
        yield NotCheckable(f"{place}.ports")
    elif not ports or None in first:
        yield Violation(f"{place} opens every port")
    elif (
        sum(
            int(end - begin) + 1 if end and not isinstance(begin, str) else 1
            for begin, end in zip(first, last, strict=True)
        )
        > MOST_PORTS
    ):
        yield Violation(f"{place} opens more than {MOST_PORTS} ports")


def _not_exposed(service: Resource) -> Iterator[Answer]:
    yield from expect(
        service.inputs,
        "spec.type",
        lambda type_: type_ in (None, "ClusterIP", "ExternalName"),
        "expected ClusterIP: the edge is the only way in",
    )
    yield from expect(service.inputs, "spec.externalIPs", lambda ips: not ips, "expected none")
    yield from expect(
        service.inputs,
        "spec.externalName",
        lambda name: name is None or name.rstrip(".").endswith(".svc.cluster.local"),
        "expected a Service of this cluster",
    )


RULES = (
    ResourceRule(
        name="k8s-narrow-network-policy",
        description="Every NetworkPolicy names the peers and the ports that it allows.",
        types=(tokens.NETWORK_POLICY,),
        check=_narrow_policy,
        why="policies add up: one that allows everything undoes the default denial beside it",
        fix="describe the flow in components/kubernetes/network_flows.py: source, destination, port",
    ),
    ResourceRule(
        name="k8s-not-exposed",
        description="No Service is reachable from outside the cluster, and none points outside.",
        types=(tokens.SERVICE,),
        check=_not_exposed,
        why="a load balancer or node port bypasses the edge with its TLS and limits",
        fix="make it a ClusterIP Service, and let the edge route to it",
    ),
)
STACK_RULES = (
    StackRule(
        name="k8s-default-deny",
        description="Every namespace denies all traffic by default, both ways.",
        check=_default_deny,
        why="without it every pod of the cluster reaches the namespace, and a compromised service reaches the internet",
        fix="add a NetworkPolicy with an empty podSelector, policyTypes Ingress and Egress and no rules",
    ),
)

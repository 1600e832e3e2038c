"""An evaluator of NetworkPolicies: reads selectors and ports from the manifests, as Kubernetes does."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A pod, or an address outside the cluster when it has no namespace."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """NetworkPolicies, and the labels of the namespaces that their selectors match."""

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

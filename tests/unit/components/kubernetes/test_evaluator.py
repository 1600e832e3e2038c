"""The evaluator of NetworkPolicies on policies whose effect is known."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.components.kubernetes.evaluator import Cluster, Endpoint


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
        # A pod that no policy selects is open. A policy that selects it isolates it, only in its own directions.
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

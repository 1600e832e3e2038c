"""Tries each way from a kind of pod to a destination and port, from pod to pod."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from tests.cluster import beside, flows
from tests.cluster.flows import PORTS, Destination, Way
from tests.cluster.platform import Platform
from tests.cluster.workloads import CONTAINER, KINDS, SCRIPTS, Kind

SETTLE_SECONDS = 60
"""How long a policy agent may take to enforce a change."""
PUBLIC, METADATA = "203.0.113.10", "169.254.169.254"
PUBLIC_PORTS = ("80/TCP", "443/TCP", "587/TCP")
BESIDE = {"pgbouncer": ("pgbouncer", "pgbouncer", 70), "valkey": ("redis", "valkey", 999)}
"""By kind of the platform's own: name label, container and uid."""


@contextmanager
def listening(platform: Platform) -> Iterator[list[Destination]]:
    """Every kind of pod, and what is outside; something listens at each."""
    site = platform.cluster.site
    outside = {platform.cluster.outside: ["8080/TCP"], PUBLIC: list(PUBLIC_PORTS), METADATA: ["80/TCP"]}
    listeners = [
        site.inside.start(site.folder / "outside.log", sys.executable, SCRIPTS / "agent.py", address, *ports)
        for address, ports in outside.items()
    ]
    found = [_destination(platform, kind) for kind in KINDS]
    dns = platform.kubectl.get("pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"][0]
    yield [
        *found,
        Destination(
            name="kube-dns",
            address=dns["status"]["podIP"],
            ports=("53/UDP", "53/TCP", "8181/TCP"),
            namespace="kube-system",
            labels=dns["metadata"]["labels"],
        ),
        Destination(name="database", address=platform.cluster.outside, ports=("5432/TCP", "8080/TCP")),
        Destination(name="internet", address=PUBLIC, ports=PUBLIC_PORTS),
        Destination(name="metadata", address=METADATA, ports=("80/TCP",)),
        Destination(name="API server", address=platform.cluster.nodes[0].address, ports=("6443/TCP",)),
        Destination(name="kubelet", address=platform.cluster.nodes[1].address, ports=("10250/TCP",)),
    ]
    for listener in listeners:
        assert listener.poll() is None
        listener.kill()
        listener.wait()


def _destination(platform: Platform, kind: Kind) -> Destination:
    """The kind's pod; beside the platform's own, a container that tries others and listens where the pod does not."""
    pod = _pod(platform, kind)
    if kind.ours:
        _, target, user = BESIDE[kind.name]
        beside.add(platform, pod, CONTAINER, target=target, user=user, ports=PORTS)
    address = pod["status"]["podIP"]
    return Destination(name=kind.name, address=address, ports=PORTS, namespace=kind.namespace, labels=kind.labels)


def _pod(platform: Platform, kind: Kind) -> dict[str, Any]:
    if kind.ours:
        label, _, _ = BESIDE[kind.name]
        return platform.pods(label)[0]
    return platform.kubectl.get("pod", kind.name, f"--namespace={kind.namespace}")


def reached(platform: Platform, destinations: list[Destination]) -> set[Way]:
    """The ways that are open, a pod's to itself too."""

    def from_one(kind: Kind) -> set[Way]:
        ways = [(kind.name, d.name, port) for d in destinations for port in d.ports]
        lines = [f"{d.address} {port}" for d in destinations for port in d.ports]
        name = _pod(platform, kind)["metadata"]["name"]
        output = platform.run(name, kind.namespace, "probe", given="\n".join(lines))
        return {way for way, digit in zip(ways, output.split(), strict=True) if digit == "1"}

    with ThreadPoolExecutor(4) as pool:
        return set().union(*pool.map(from_one, KINDS))


def settled(
    platform: Platform, destinations: list[Destination], wanted: set[Way], seconds: float = SETTLE_SECONDS
) -> set[Way]:
    """The open ways besides a pod's to itself, as soon as they are the wanted ones; what they are, where they are not.

    Fails where a pod does not reach all of its own ports: the others' refusals would prove nothing.
    """
    deadline = time.monotonic() + seconds
    while True:
        ways = reached(platform, destinations)
        own = {way for way in ways if way[0] == way[1]}
        assert own == {(kind.name, kind.name, port) for kind in KINDS for port in PORTS}
        if ways - own == wanted or time.monotonic() > deadline:
            return ways - own


def expected(platform: Platform, destinations: list[Destination]) -> set[Way]:
    """What the flow table says."""
    kubernetes = platform.program.settings.kubernetes
    assert kubernetes
    return flows.expected(flows.flow_table(platform.program), kubernetes.namespaces, destinations)


def words(ways: set[Way]) -> list[str]:
    """For a failure's message."""
    return [
        f"{source} -> {destination}: {', '.join(port for _, _, port in ports)}"
        for (source, destination), ports in groupby(sorted(ways), key=lambda way: way[:2])
    ]

"""Network policies, enforced: each way from a kind of pod to a destination and port is tried, from pod to pod.

The table of what was reached is docs/flows.md; with WRITE_DOCS=1 it is written anew.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import pytest

from settings import ROOT
from tests.cluster import beside, flows
from tests.cluster.flows import PORTS, Destination, Way
from tests.cluster.loads import Load
from tests.cluster.platform import Platform, apply
from tests.cluster.workloads import CONTAINER, KINDS, SCRIPTS, Kind

PAGE = ROOT / "docs/flows.md"
HEAD = "## What gets through\n\n"
SETTLE_SECONDS = 60
"""How long a policy agent may take to enforce a change."""
AGENT_SECONDS = 10
"""How long it takes at most to let through what the policies allow, once all are there."""
PUBLIC, METADATA = "203.0.113.10", "169.254.169.254"
PUBLIC_PORTS = ("80/TCP", "443/TCP", "587/TCP")
BESIDE = {"pgbouncer": ("pgbouncer", "pgbouncer", 70), "valkey": ("redis", "valkey", 999)}
"""By kind of the platform's own: name label, container and uid."""


@pytest.fixture(scope="module")
def destinations(platform: Platform, services: None) -> Iterator[list[Destination]]:
    """Every kind of pod, and what is outside; something listens at each."""
    assert services is None
    site = platform.cluster.site
    assert site
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


def settled(platform: Platform, destinations: list[Destination], wanted: set[Way]) -> set[Way]:
    """The open ways besides a pod's to itself, as soon as they are the wanted ones; what they are, where they are not.

    Fails where a pod does not reach all of its own ports: the others' refusals would prove nothing.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
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


def test_every_line_of_the_flow_table_is_tried(platform: Platform, destinations: list[Destination]) -> None:
    assert flows.untried(flows.flow_table(platform.program), destinations) == []


def test_the_flows_of_the_table_get_through_and_no_others(
    platform: Platform, destinations: list[Destination], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = expected(platform, destinations)
    found = settled(platform, destinations, wanted)
    table = flows.table(found, destinations)
    with capsys.disabled():
        sys.stdout.write(f"\n{table}")
    assert words(wanted - found) == [], "in the table, and refused"
    assert words(found - wanted) == [], "not in the table, and gets through"
    if os.environ.get("WRITE_DOCS") == "1":
        PAGE.write_text(f"{PAGE.read_text().partition(HEAD)[0]}{HEAD}{table}")
    assert PAGE.read_text().endswith(f"{HEAD}{table}"), f"{PAGE.name} tells another story; WRITE_DOCS=1 writes it"


def test_policies_that_land_break_no_open_connection(platform: Platform, destinations: list[Destination]) -> None:
    """Without policies every way is open, so the test above can fail; then they come in the program's order.

    The first policy that selects a pod cuts it off from everything else in that direction: until its last one is there,
    new connections may be refused.
    """
    policies = [d for d in platform.program.documents() if d["kind"] == "NetworkPolicy"]
    denials = [policy for policy in policies if policy["metadata"]["name"] == "default-deny"]
    allowing = [policy for policy in policies if policy not in denials]
    for namespace in {policy["metadata"]["namespace"] for policy in policies}:
        platform.kubectl.do("delete", "networkpolicy", "--all", f"--namespace={namespace}")
    everything = {
        (kind.name, d.name, port) for kind in KINDS for d in destinations for port in d.ports if kind.name != d.name
    }
    with Load(platform, clients=20, lifetime=1) as load:
        assert words(everything - settled(platform, destinations, everything)) == []
        began = time.time()
        apply(platform.kubectl, allowing)
        apply(platform.kubectl, denials)
        ended = time.time() + AGENT_SECONDS
        wanted = expected(platform, destinations)
        assert words(wanted ^ settled(platform, destinations, wanted)) == []
    assert load.result.lost == 0
    assert [failure for failure in load.result.failures if not began < failure[0] < ended] == []
    assert load.result.transactions > 100

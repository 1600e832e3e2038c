"""A real Kubernetes of two nodes on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import pki
from tests.cluster.control_plane import ADMIN, make_control_plane
from tests.cluster.images import DNS, PAUSE, images, node_root
from tests.cluster.node import CLUSTER_DOMAIN, DNS_ADDRESS, Node, make_node, name_of
from tests.cluster.site import GATEWAY, Site, site
from tests.integration.kubernetes.build_servers import KUBELET, binary
from tests.integration.kubernetes.kubectl import Kubectl

_READY_SECONDS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """One that runs."""

    kubectl: Kubectl
    outside: str
    """An address of this machine that pods reach, where policies let them."""
    site: Site
    nodes: tuple[Node, ...]


@contextmanager
def running_cluster(count: int = 2) -> Iterator[Cluster]:
    """A new cluster of `count` nodes, each a zone of its own, gone afterwards. Raises NotBuiltError."""
    made = images()
    root = node_root()
    names = [name_of(number) for number in range(1, count + 1)]
    with site(root, names) as place:
        nodes = [
            make_node(place, number, count, node_root=root, binaries=binary(KUBELET).parent, pause_image=made[PAUSE])
            for number in range(1, count + 1)
        ]
        plane = make_control_plane(nodes[0], nodes)
        plane.start_api_server()
        for node in nodes:
            node.start_containerd()
            node.add_images(made.archive)
        kubectl = _kubectl(place, plane.server, plane.authority.pair.certificate, plane.tokens[ADMIN])
        _wait_for_api_server(kubectl, nodes[0].folder)
        plane.start_controllers()
        for node in nodes:
            node.start_agents(plane.server, plane.authority.pair.certificate, plane.node_tokens(node))
        kubectl.do("apply", "--server-side", "--filename=-", document=_dns(made[DNS]))
        _wait_for_nodes(kubectl, count)
        for node in nodes:
            node.start_policy_agent()
        kubectl.do("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=90s")
        kubectl.do("rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=90s")
        yield Cluster(kubectl=kubectl, outside=GATEWAY, site=place, nodes=tuple(nodes))


def _kubectl(place: Site, server: str, authority: Path, token: str) -> Kubectl:
    kubeconfig = pki.write_json(place.folder / "kubeconfig", pki.kubeconfig(server, authority, token))
    command = place.network.command("kubectl", f"--cache-dir={place.folder / 'kubectl'}", "--request-timeout=60s")
    return Kubectl(command=tuple(command), kubeconfig=str(kubeconfig))


def _wait_for_api_server(kubectl: Kubectl, folder: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        # The built-in priority classes and cluster roles are made after the server listens.
        if kubectl("get", "--raw=/readyz").ok and kubectl("get", "priorityclass", "system-node-critical").ok:
            return
        time.sleep(0.2)
    log = (folder / "kube-apiserver.log").read_text()[-3000:]
    raise TimeoutError(f"the API server is not ready\n{log}")


def _wait_for_nodes(kubectl: Kubectl, count: int) -> None:
    """Until so many are registered."""
    deadline = time.monotonic() + _READY_SECONDS
    while len(kubectl.get("nodes")["items"]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError("a node did not register")
        time.sleep(0.2)


def _dns(image: str) -> str:
    text = (Path(__file__).parent / "coredns.yaml").read_text()
    for name, value in {"image": image, "address": DNS_ADDRESS, "domain": CLUSTER_DOMAIN}.items():
        text = text.replace(f"@{name}@", value)
    return text

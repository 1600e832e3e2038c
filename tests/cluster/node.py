"""One node: namespaces with a root file system of Debian's, and containerd, kubelet, kube-proxy and policy agent."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import pki, supervisor
from tests.cluster.site import GATEWAY, Namespaces, Site, wait_for
from tests.integration.kubernetes.build_servers import KUBELET, POLICY_AGENT, PROXY

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
FILES = Path("/node")
"""Where a node sees its own folder."""
COMMANDS = Path("/kubernetes")
_SOCKET = "/run/containerd/containerd.sock"
_INIT = Path(__file__).parent / "node-init.sh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node whose namespaces are there."""

    number: int
    folder: Path
    """Seen as `FILES` in the node."""
    inside: Namespaces
    cgroup: str
    pause_image: str

    @property
    def name(self) -> str:
        return name_of(self.number)

    @property
    def address(self) -> str:
        return address_of(self.number)

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        """Starts a program in the node; its log is `<folder>/<name>.log`."""
        return self.inside.start(self.folder / f"{name}.log", *command)

    def start_containerd(self) -> None:
        """Starts containerd, which has no image yet."""
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isDefaultGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": pods_of(self.number)}]],
                        "dataDir": "/run/cni",
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        (self.folder / "net.d").mkdir()
        pki.write_json(self.folder / "net.d/10-pods.conflist", network)
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(pause=self.pause_image))
        process = self.start("containerd", "containerd", f"--config={FILES}/containerd.toml")
        # The socket is in a tmpfs of the node's own mount namespace, which /proc reaches.
        socket = Path(f"/proc/{self.inside.pid}/root{_SOCKET}")
        wait_for(socket.exists, process, self.folder / "containerd.log")

    def add_images(self, archive: Path) -> None:
        """Gives containerd the archive's images."""
        with archive.open("rb") as images:
            self.inside.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=images, seconds=300)

    def start_agents(self, server: str, authority: Path, tokens: dict[str, str]) -> None:
        """Starts kubelet and kube-proxy; `tokens` are the node's own, by program, the policy agent's too."""
        (self.folder / "ca.crt").write_bytes(authority.read_bytes())
        for program, token in tokens.items():
            pki.write_json(self.folder / f"{program}.kubeconfig", pki.kubeconfig(server, FILES / "ca.crt", token))
        pki.write_json(self.folder / "kubelet.json", self._kubelet())
        pki.write_json(self.folder / "kube-proxy.json", self._proxy())
        # Pods whose dnsPolicy is Default are to find nothing of this machine.
        (self.folder / "resolv.conf").write_text(f"nameserver {GATEWAY}\n")
        self.start(
            KUBELET,
            COMMANDS / KUBELET,
            f"--config={FILES}/kubelet.json",
            f"--kubeconfig={FILES}/{KUBELET}.kubeconfig",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels=topology.kubernetes.io/zone=zone-{self.number}",
        )
        self.start(PROXY, COMMANDS / PROXY, f"--config={FILES}/kube-proxy.json")

    def start_policy_agent(self) -> None:
        """Starts what ends at once where the API server knows no such node."""
        self.start(
            POLICY_AGENT,
            COMMANDS / POLICY_AGENT,
            f"-kubeconfig={FILES}/{POLICY_AGENT}.kubeconfig",
            f"-node={self.name}",
            f"-service-cidr={SERVICE_RANGE}",
        )

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{FILES}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": f"{FILES}/resolv.conf",
            # The images came with the node: none is to be collected, however full this machine's disk is.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            # No share of the disk, which is the machine's: a node that is a hundredth of it would throw its pods out.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "100Mi", "imagefs.available": "100Mi"},
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": self.address,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": f"{FILES}/{PROXY}.kubeconfig"},
            "clusterCIDR": POD_RANGE,
            "hostnameOverride": self.name,
            "mode": "iptables",
            # Those of this machine are left alone.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }


_CONTAINERD = """\
version = 2
# No negative score: root needs CAP_SYS_RESOURCE for one, which a container's or a virtual machine's may not have.
oom_score = 0
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  # Ports below 1024 for who is not root, as Docker and containerd 2 have it.
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/node/net.d"
"""


def name_of(number: int) -> str:
    """The node's name, by its number from 1."""
    return f"node{number}"


def address_of(number: int) -> str:
    """Its address on the site's bridge."""
    return f"10.200.0.{number + 1}"


def pods_of(number: int) -> str:
    """The range of its pods' addresses."""
    return f"10.244.{number}.0/24"


def make_node(site: Site, number: int, count: int, *, node_root: Path, binaries: Path, pause_image: str) -> Node:
    """The namespaces of one node of `count`, on the site's bridge, with routes to the others' pods."""
    name, folder = name_of(number), site.folder / name_of(number)
    folder.mkdir()
    unshare = ("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--mount-proc")
    log = folder / "init.log"
    process = site.inside.start(log, *unshare, "sh", _INIT, name, folder, node_root, binaries)
    wait_for((folder / "ready").exists, process, log)
    # nsenter forked into the PID namespace, and so did unshare.
    pid = supervisor.child_of(supervisor.child_of(process.pid))
    net = Namespaces(pid=pid, kinds=("net",))
    site.network.run("ip", "link", "add", "eth0", "netns", str(pid), "type", "veth", "peer", "name", name)
    site.network.run("ip", "link", "set", name, "master", "fabric", "up")
    net.run("ip", "address", "add", f"{address_of(number)}/24", "dev", "eth0")
    net.run("ip", "link", "set", "eth0", "up")
    net.run("ip", "route", "add", "default", "via", GATEWAY)
    site.network.run("ip", "route", "add", pods_of(number), "via", address_of(number))
    for other in range(1, count + 1):
        if other != number:
            net.run("ip", "route", "add", pods_of(other), "via", address_of(other))
    return Node(
        number=number,
        folder=folder,
        inside=Namespaces(pid=pid, kinds=("mount", "pid", "net", "uts", "ipc")),
        cgroup=f"{site.cgroup}/{name}",
        pause_image=pause_image,
    )

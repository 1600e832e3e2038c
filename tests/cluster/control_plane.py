"""etcd, API server, controller manager and scheduler, on the first node."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import pki
from tests.cluster.node import CLUSTER_DOMAIN, COMMANDS, FILES, POD_RANGE, SERVICE_RANGE, Node
from tests.integration.kubernetes.build_servers import (
    API_SERVER,
    CONTROLLER_MANAGER,
    KUBELET,
    POLICY_AGENT,
    PROXY,
    SCHEDULER,
)

PORT = 6443
ADMIN = "admin"
_API_ADDRESS = "10.96.0.1"
_ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlPlane:
    """Its address and keys, before anything runs."""

    node: Node
    authority: pki.Authority
    tokens: dict[str, str]
    """By user: the admin, the programs that there is one of, and for each node's `<program>/<node>`."""

    @property
    def server(self) -> str:
        return f"https://{self.node.address}:{PORT}"

    def node_tokens(self, node: Node) -> dict[str, str]:
        """By program, what a node's own log in with."""
        return {program: self.tokens[f"{program}/{node.name}"] for program in (KUBELET, PROXY, POLICY_AGENT)}

    def start_api_server(self) -> None:
        """Starts it with etcd; it takes seconds until it answers."""
        etcd = {
            "data-dir": FILES / "etcd",
            "listen-client-urls": _ETCD,
            "advertise-client-urls": _ETCD,
            "listen-peer-urls": "http://127.0.0.1:2380",
            "initial-advertise-peer-urls": "http://127.0.0.1:2380",
            "initial-cluster": "default=http://127.0.0.1:2380",
        }
        self._start("etcd", "etcd", **etcd, unsafe_no_fsync="true")
        keys = FILES / "pki"
        self._start(
            API_SERVER,
            COMMANDS / API_SERVER,
            etcd_servers=_ETCD,
            bind_address=self.node.address,
            advertise_address=self.node.address,
            secure_port=PORT,
            tls_cert_file=keys / "apiserver.crt",
            tls_private_key_file=keys / "apiserver.key",
            client_ca_file=keys / "ca.crt",
            kubelet_client_certificate=keys / "kubelet-client.crt",
            kubelet_client_key=keys / "kubelet-client.key",
            kubelet_preferred_address_types="InternalIP",
            service_cluster_ip_range=SERVICE_RANGE,
            service_account_issuer=f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
            service_account_key_file=keys / "service-accounts.pub",
            service_account_signing_key_file=keys / "service-accounts.key",
            token_auth_file=FILES / "tokens.csv",
            anonymous_auth="false",
            authorization_mode="Node,RBAC",
            enable_admission_plugins="NodeRestriction",
        )

    def start_controllers(self) -> None:
        """Starts what ends at once where no API server answers."""
        keys = FILES / "pki"
        for program in (CONTROLLER_MANAGER, SCHEDULER):
            config = FILES / f"{program}.kubeconfig"
            pki.write_json(
                self.node.folder / config.name,
                pki.kubeconfig(self.server, keys / "ca.crt", self.tokens[program]),
            )
            more = {
                "use_service_account_credentials": "true",
                "service_account_private_key_file": keys / "service-accounts.key",
                "root_ca_file": keys / "ca.crt",
                "cluster_cidr": POD_RANGE,
                "allocate_node_cidrs": "false",
            }
            self._start(
                program,
                COMMANDS / program,
                bind_address="127.0.0.1",
                leader_elect="false",
                kubeconfig=config,
                authentication_kubeconfig=config,
                authorization_kubeconfig=config,
                **(more if program == CONTROLLER_MANAGER else {}),
            )

    def _start(self, name: str, command: str | Path, **flags: object) -> None:
        self.node.start(name, command, *(f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()))


def make_control_plane(node: Node, nodes: list[Node]) -> ControlPlane:
    """Keys and users. What the admin needs is in the node's folder: `pki/ca.crt`."""
    authority = pki.authority(node.folder / "pki", "kubernetes")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}"]
    addresses = [_API_ADDRESS, node.address]
    authority.issue(
        "apiserver",
        subject="/CN=kube-apiserver",
        names=",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)]),
    )
    authority.issue("kubelet-client", subject="/O=system:masters/CN=kube-apiserver-kubelet-client")
    pki.key_pair(authority.folder, "service-accounts")
    users = {
        ADMIN: ("admin", "system:masters"),
        CONTROLLER_MANAGER: ("system:kube-controller-manager", ""),
        SCHEDULER: ("system:kube-scheduler", ""),
    }
    for each in nodes:
        users |= {
            f"{KUBELET}/{each.name}": (f"system:node:{each.name}", "system:nodes"),
            f"{PROXY}/{each.name}": ("system:kube-proxy", ""),
            # It reads pods, namespaces and policies; a cluster of one test run takes it as it is.
            f"{POLICY_AGENT}/{each.name}": ("policy-agent", "system:masters"),
        }
    tokens = {user: secrets.token_hex(16) for user in users}
    lines = [
        ",".join([tokens[user], name, user.replace("/", "-"), *([group] if group else [])])
        for user, (name, group) in users.items()
    ]
    (node.folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    return ControlPlane(node=node, authority=authority, tokens=tokens)

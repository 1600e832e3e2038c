"""Builds Kubernetes, a network policy agent and CoreDNS from pinned Go modules, each once per user and pins.

A set-up step, because it takes minutes: `python -m tests.integration.kubernetes.build_servers [command …]`. Without a
command it builds kube-apiserver alone; `cluster` stands for everything that tests/cluster runs.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

SERVERS = Path(__file__).parent / "servers"
"""The module of Kubernetes and the policy agent."""
DNS = Path(__file__).parent / "dns"
"""CoreDNS's module: in the other one it would raise the versions that Kubernetes is released with."""

API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KUBELET = "kubelet"
PROXY = "kube-proxy"
POLICY_AGENT = "policyagent"
COREDNS = "coredns"
CLUSTER = (API_SERVER, CONTROLLER_MANAGER, SCHEDULER, KUBELET, PROXY, POLICY_AGENT, COREDNS)


def kubernetes_version() -> str:
    """The version that go.mod pins, such as v1.34.4."""
    found = re.search(r"^\s+k8s\.io/kubernetes (\S+)$", (SERVERS / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, "go.mod requires no k8s.io/kubernetes"
    return found[1]


def cache() -> Path:
    """The user's cache for what the tests build and keep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightwave"


def binary(command: str) -> Path:
    """Where the built command is kept: the user's cache, in a folder named by the hash of what it is built from."""
    module = _module(command)
    pins = hashlib.sha256((module / "go.sum").read_bytes())
    for source in sorted(module.rglob("main.go")):
        pins.update(source.read_bytes())
    return cache() / "kubernetes" / pins.hexdigest()[:16] / command


def build(*commands: str) -> list[Path]:
    """The commands' binaries, built where missing. Raises FileNotFoundError without Go, CalledProcessError."""
    for module in (SERVERS, DNS):
        missing = [c for c in commands if _module(c) == module and not binary(c).exists()]
        if missing:
            _go_build(module, missing)
    return [binary(command) for command in commands]


def _module(command: str) -> Path:
    return DNS if command == COREDNS else SERVERS


def _package(command: str) -> str:
    return {COREDNS: "./coredns", POLICY_AGENT: "./policyagent"}.get(command, f"k8s.io/kubernetes/cmd/{command}")


def _go_build(module: Path, commands: Sequence[str]) -> None:
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError(f"building {', '.join(commands)} needs Go 1.25 or newer on PATH")
    target = binary(commands[0]).parent
    target.mkdir(parents=True, exist_ok=True)
    # In one call: the commands share most of what is compiled. Beside the target, to be renamed into it.
    with tempfile.TemporaryDirectory(dir=target.parent) as unfinished:
        subprocess.run(
            [
                *(go, "build", "-mod=readonly", "-trimpath", "-ldflags", f"-s -w {_stamps()}", "-o", f"{unfinished}/"),
                *map(_package, commands),
            ],
            cwd=module,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        for command in commands:
            (Path(unfinished) / command).rename(target / command)


def _stamps() -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


def main(arguments: Iterable[str]) -> None:
    """Builds what the arguments name and prints the paths."""
    names = [name for argument in arguments for name in (CLUSTER if argument == "cluster" else (argument,))]
    for path in build(*(names or [API_SERVER])):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

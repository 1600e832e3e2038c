"""Builds kube-apiserver (and on request kube-controller-manager) from the pinned Go module, once a user and version.

A set-up step, for it takes minutes: `python -m tests.integration.kubernetes.build_servers [command …]`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).parent / "servers"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"


def kubernetes_version() -> str:
    """The version that go.mod pins, such as v1.34.4."""
    found = re.search(r"^require k8s\.io/kubernetes (\S+)$", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, "go.mod requires no k8s.io/kubernetes"
    return found[1]


def binary(command: str) -> Path:
    """Where the built command is kept: the user's cache, by the hash of go.sum, so that another pin is another file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    return cache / "lightwave" / "kubernetes" / pins / command


def build(command: str) -> Path:
    """The command's binary, built when it is not there. Raises FileNotFoundError without Go, CalledProcessError."""
    target = binary(command)
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise FileNotFoundError(f"building {command} needs Go 1.24 or newer on PATH")
    target.parent.mkdir(parents=True, exist_ok=True)
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamps = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())
    unfinished = target.with_suffix(f".{os.getpid()}")
    try:
        package = f"k8s.io/kubernetes/cmd/{command}"
        subprocess.run(
            [go, "build", "-mod=readonly", "-ldflags", f"-s -w {stamps}", "-o", str(unfinished), package],
            cwd=MODULE,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        unfinished.rename(target)  # whole or not at all
    finally:
        unfinished.unlink(missing_ok=True)
    return target


if __name__ == "__main__":
    for name in sys.argv[1:] or [API_SERVER]:
        sys.stdout.write(f"{build(name)}\n")

"""Whether this machine can run the cluster."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator

from tests.cluster import images, supervisor
from tests.cluster.database import binaries
from tests.cluster.debian import FOLDER, KEYRING
from tests.integration.kubernetes.build_servers import CLUSTER, binary

_PROGRAMS = ("kubectl", "openssl", "unshare", "nsenter", "setpriv", "ip", "mount", "tar", "curl")
_BUILD_PROGRAMS = ("go", "npm", "apt-get", "dpkg-deb", "ldconfig")
_DISK_BYTES = 1_500_000_000
"""Images, volumes and logs of two nodes were 1.2 GB."""
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")


def missing() -> str | None:
    """What is missing, all of it, and what to do; None where nothing is."""
    return "; ".join([*_unable(), *_unbuilt()]) or None


def not_buildable() -> str | None:
    """Why it is of no use to build the cluster here; None where it is."""
    absent = [program for program in _BUILD_PROGRAMS if shutil.which(program) is None]
    reasons = [*_unable(), *([f"{', '.join(absent)} not on PATH"] if absent else [])]
    if not absent and not KEYRING.exists():
        reasons.append(f"{KEYRING} is missing: Debian's packages cannot be verified")
    return "; ".join(reasons) or None


def _unable() -> Iterator[str]:
    """What no build would change."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        yield f"the nodes are made of Linux and x86_64, and this is {platform.system()} on {platform.machine()}"
        return
    if os.geteuid() != 0:
        yield "namespaces, mounts and cgroups take root"
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        yield f"{', '.join(absent)} not on PATH"
    elif os.geteuid() == 0 and not _namespaces():
        yield "this kernel or container gives root no namespaces of its own"
    have = {path.name for path in supervisor.controllers()}
    if not have >= set(_CONTROLLERS):
        yield (
            f"cgroup v1 has no {', '.join(sorted(set(_CONTROLLERS) - have))} under {supervisor.CGROUPS} (the nodes "
            "were never tried with cgroup v2)"
        )
    if binaries() is None:
        yield "PostgreSQL 15 is not on this machine"
    home = next(folder for folder in (FOLDER, *FOLDER.parents) if folder.exists())
    if (free := shutil.disk_usage(home).free) < _DISK_BYTES:
        yield f"{home} has {free / 1e9:.1f} GB free, and the nodes take up to {_DISK_BYTES / 1e9:.1f} GB"


def _namespaces() -> bool:
    command = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _unbuilt() -> Iterator[str]:
    unbuilt = [command for command in CLUSTER if not binary(command).exists()]
    try:
        images.node_root()
        images.images()
    except images.NotBuiltError:
        unbuilt.append("images")
    if unbuilt:
        yield f"{', '.join(unbuilt)} not built; run: python -m tests.cluster.build (minutes, needs Go and apt)"

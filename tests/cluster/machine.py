"""Whether this machine can run the cluster."""

import os
import platform
import shutil
from collections.abc import Iterator

from tests.cluster import images, supervisor
from tests.cluster.database import binaries
from tests.integration.kubernetes.build_servers import CLUSTER, binary

_PROGRAMS = ("kubectl", "openssl", "unshare", "nsenter", "setpriv", "ip", "mount", "tar")
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")


def missing() -> str | None:
    """What is missing, all of it, and what to do; None where nothing is."""
    problems = list(_problems())
    return "; ".join(problems) if problems else None


def _problems() -> Iterator[str]:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        yield f"the nodes are made of Linux and x86_64, and this is {platform.system()} on {platform.machine()}"
        return
    if os.geteuid() != 0:
        yield "namespaces, mounts and cgroups take root"
    absent = [program for program in _PROGRAMS if shutil.which(program) is None]
    if absent:
        yield f"{', '.join(absent)} not on PATH"
    have = {path.name for path in supervisor.controllers()}
    if not have >= set(_CONTROLLERS):
        yield (
            f"cgroup v1 has no {', '.join(sorted(set(_CONTROLLERS) - have))} under {supervisor.CGROUPS} (the nodes "
            "were never tried with cgroup v2; CLUSTER_CONTEXT=kind-… takes a cluster that is there)"
        )
    if binaries() is None:
        yield "PostgreSQL 15 is not on this machine"
    unbuilt = [command for command in CLUSTER if not binary(command).exists()]
    try:
        images.node_root()
        images.images()
    except images.NotBuiltError:
        unbuilt.append("images")
    if unbuilt:
        yield f"{', '.join(unbuilt)} not built; run: python -m tests.cluster.build (minutes, needs Go and apt)"

"""A cluster leaves nothing on this machine, however its run ends: no process, mount, interface, cgroup or file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from settings import ROOT
from tests.cluster import supervisor
from tests.cluster.machine import missing
from tests.cluster.site import RUNS, sweep
from tests.required import not_here

RUN = """
import sys, time
from tests.cluster.cluster import running_cluster
with running_cluster() as cluster:
    print(cluster.site.folder, flush=True)
    sys.stdin.read()
"""
"""A test run that has brought the whole cluster up, pods and all, and ends with its standard input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One in a process of its own, with what it has on this machine."""

    process: subprocess.Popen[str]
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def supervisor(self) -> int:
        return int((self.folder / supervisor.SUPERVISOR_FILE).read_text())


def started() -> Run:
    """A run whose cluster is up."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    folder = process.stdout.readline().strip()
    assert folder, "the cluster did not come up"
    return Run(process=process, folder=Path(folder))


def links() -> set[str]:
    """This machine's network interfaces."""
    output = subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True, timeout=60).stdout
    return {link["ifname"] for link in json.loads(output)}


def mounts() -> set[str]:
    """This machine's mount points."""
    return {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}


def cgroups(name: str) -> list[Path]:
    """Those of a run, in every hierarchy."""
    found = [hierarchy / name for hierarchy in (*supervisor.controllers(), supervisor.CGROUPS / "unified")]
    return [path for path in found if path.exists()]


def processes(run_name: str) -> list[psutil.Process]:
    """Those in the run's cgroups, in its namespaces, or with its folder in their command line."""
    pids = {int(pid) for group in cgroups(run_name) for file in group.rglob("cgroup.procs") for pid in _lines(file)}
    named = [p for p in psutil.process_iter() if run_name in " ".join(_command(p))]
    return [*named, *(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # a cgroup that goes away meanwhile
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def left(run: Run, links_before: set[str], mounts_before: set[str]) -> list[str]:
    """What there is of the run on this machine, in words."""
    return [
        *(f"process {process}" for process in processes(run.name)),
        *(f"cgroup {path}" for path in cgroups(run.name)),
        *(f"interface {link}" for link in links() - links_before),
        *(f"mount {mount}" for mount in mounts() - mounts_before),
        *([f"folder {run.folder}"] if run.folder.exists() else []),
    ]


def ends(run: Run) -> None:
    """By itself, as at the end of the tests."""
    assert run.process.stdin
    run.process.stdin.close()
    assert run.process.wait(120) == 0


def is_killed(run: Run) -> None:
    """As by the out-of-memory killer, or by CI at its time limit."""
    run.process.kill()
    run.process.wait(30)


def is_killed_with_its_supervisor(run: Run) -> None:
    """All that watched the cluster is gone; the next run removes what it left."""
    kept = psutil.Process(run.supervisor)
    os.kill(run.supervisor, signal.SIGKILL)
    run.process.kill()
    run.process.wait(30)
    kept.wait(30)
    deadline = time.monotonic() + 30
    while processes(run.name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(run.name) == [], "they end without being asked"
    sweep()


@pytest.mark.parametrize("end", [pytest.param(ends, marks=pytest.mark.slow), is_killed, is_killed_with_its_supervisor])
def test_a_run_leaves_nothing_behind(end: Callable[[Run], None]) -> None:
    reason = missing()
    if reason:
        not_here(reason, "REQUIRE_CLUSTER")
    before, mounts_before = links(), mounts()
    run = started()
    try:
        seen = left(run, before, mounts_before)
        for kind in ("process", "cgroup", "folder"):
            assert any(line.startswith(kind) for line in seen), f"the test sees no {kind} of a cluster that runs"
        end(run)
        deadline = time.monotonic() + 60
        while left(run, before, mounts_before) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left(run, before, mounts_before) == []
        assert not list(RUNS.glob(run.name))
    finally:
        run.process.kill()
        run.process.wait()

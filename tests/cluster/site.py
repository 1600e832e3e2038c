"""The place of a cluster on this machine: processes, network, mounts and cgroups, which end with their process."""

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import supervisor
from tests.cluster.debian import FOLDER

RUNS = FOLDER / "runs"
GATEWAY = "10.200.0.1"
"""The site's own address on the nodes' network: what is outside of the cluster."""
_SECONDS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Namespaces:
    """Those of a process, to run others in."""

    pid: int
    kinds: tuple[str, ...]

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that runs the arguments there."""
        return ["nsenter", f"--target={self.pid}", *(f"--{kind}" for kind in self.kinds), "--", *map(str, arguments)]

    def run(self, *arguments: str | Path, seconds: float = 120, **options: Any) -> str:
        """Runs it to its end, for its output. Raises CalledProcessError, with what it said in the message."""
        command = self.command(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr}{done.stdout}")
        return str(done.stdout)

    def start(self, log: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Starts it in a session of its own; it ends with the namespaces."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Namespaces with a network of their own, for nodes and for what they reach outside."""

    folder: Path
    cgroup: str
    inside: Namespaces
    network: Namespaces
    """Its network alone: this machine's programs, processes and files as they are."""


@contextmanager
def site(node_root: Path, nodes: Sequence[str]) -> Iterator[Site]:
    """A new site; `nodes` names the cgroups that it is to have."""
    sweep()
    name = f"lightwave-{uuid.uuid4().hex[:8]}"
    folder = RUNS / name
    folder.mkdir(parents=True)
    with (folder / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", supervisor.__spec__.name, folder, node_root, name, *nodes],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    try:
        (folder / supervisor.SUPERVISOR_FILE).write_text(str(process.pid))
        wait_for((folder / "site-ready").exists, process, folder / "site.log")
        pid = int((folder / supervisor.PID_FILE).read_text())
        yield Site(
            folder=folder,
            cgroup=name,
            inside=Namespaces(pid=pid, kinds=("mount", "pid", "net")),
            network=Namespaces(pid=pid, kinds=("net",)),
        )
    finally:
        assert process.stdin
        process.stdin.close()
        # Removing the images that the nodes unpacked takes its time on a slow disk.
        process.wait(20 * _SECONDS)
    assert process.returncode == 0, f"the site's supervisor ended with {process.returncode}"


def wait_for(is_so: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `is_so()`; the log is shown where the process ends before, or when it takes too long."""
    deadline = time.monotonic() + _SECONDS
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            shown = log.read_text(errors="replace")[-3000:] if log.exists() else ""
            raise RuntimeError(f"{log.name}: status {process.poll()}\n{shown}")
        time.sleep(0.02)


def sweep() -> None:
    """Removes what sites left whose supervisors are gone too, killed before they could."""
    for folder in RUNS.glob("lightwave-*"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            if _is_alive(int((folder / supervisor.SUPERVISOR_FILE).read_text())):
                continue
            # Without its supervisor the site's first process is killed by the kernel; a node's may take a moment.
            supervisor.clean(folder, folder.name)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"tests.cluster.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False

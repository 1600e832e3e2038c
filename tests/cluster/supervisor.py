"""Keeps a site while its owner lives: `python -m tests.cluster.supervisor FOLDER NODE_ROOT CGROUP…`.

The owner holds the other end of standard input. When that closes, however the owner ended, everything of the site goes:
its processes and mounts with the PID namespace's first process, its network with the network namespace's last one, and
the cgroups and the folder by hand. Runs in a session of its own, so that Ctrl-C in the owner's terminal ends the owner
alone.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PID_FILE = "site.pid"
SUPERVISOR_FILE = "supervisor.pid"
_INIT = Path(__file__).parent / "site-init.sh"
_SECONDS = 20
_SHARES = 8 * 1024
"""Weight of all pods together: of eight processes of this machine. Without it they have that of one, and starve beside
a busy build."""


def controllers() -> list[Path]:
    """The hierarchies of cgroup v1, one each controller."""
    return [path.parent for path in sorted(CGROUPS.glob("*/tasks"))]


def make_cgroup(name: str) -> None:
    """A cgroup of that name (a path) in every hierarchy. A new cpuset has no CPU: each gets those of its parent."""
    for controller in controllers():
        path = controller
        for part in Path(name).parts:
            path /= part
            path.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (path / file).exists():
                    (path / file).write_text((path.parent / file).read_text())
            if (path / "cpu.shares").exists():
                (path / "cpu.shares").write_text(str(_SHARES))


def remove_cgroup(name: str) -> None:
    """Removes it with everything below; what still has processes keeps it for a moment. Raises OSError."""
    deadline = time.monotonic() + _SECONDS
    for hierarchy in (*controllers(), CGROUPS / "unified"):
        top = hierarchy / name
        while top.exists():
            try:
                for path in [*sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True), top]:
                    path.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def child_of(pid: int) -> int:
    """The first child's pid, as soon as there is one."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.01)
    raise TimeoutError(f"process {pid} started nothing")


def main(folder: Path, node_root: Path, cgroup: str, nodes: Sequence[str]) -> None:
    """Until standard input ends, or the site does."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    for node in nodes:
        make_cgroup(f"{cgroup}/{node}")
    command = [
        "setpriv",
        "--pdeathsig=KILL",
        "unshare",
        "--mount",
        "--pid",
        "--net",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    with (folder / "site.log").open("wb") as log:
        site = subprocess.Popen(
            [*command, "sh", _INIT, folder, node_root], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    init = child_of(site.pid)
    (folder / PID_FILE).write_text(str(init))
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    # unshare waits for it, and it is gone when everything in its PID namespace is.
    with contextlib.suppress(ProcessLookupError):
        os.kill(init, signal.SIGKILL)
    site.wait()
    clean(folder, cgroup)


def clean(folder: Path, cgroup: str) -> None:
    """Removes what is left of a site whose processes are gone."""
    remove_cgroup(cgroup)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])

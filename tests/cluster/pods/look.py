"""Runs in a pod, in the PID namespace of one of its containers and as that one's user: what its first process is.

Prints JSON. Arguments are paths to try to write in that container's file system.
"""

import json
import sys
from pathlib import Path

PROCESS = Path("/proc/1")


def status() -> dict[str, str]:
    """/proc/1/status by key."""
    lines = (PROCESS / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def is_writable(path: str) -> bool:
    """Whether a file can be made in the folder."""
    file = PROCESS / "root" / path.lstrip("/") / "attempt"
    try:
        file.touch()
        file.unlink()
    except OSError:
        return False
    return True


def mounts() -> dict[str, str]:
    """By mount point, its options."""
    fields = [line.split() for line in (PROCESS / "mountinfo").read_text().splitlines()]
    return {field[4]: field[5] for field in fields}


def main() -> None:
    """Of the first process."""
    found = {
        "status": status(),
        "command": (PROCESS / "cmdline").read_text().split("\0")[:-1],
        "writable": {path: is_writable(path) for path in sys.argv[1:]},
        "mounts": mounts(),
        "limits": (PROCESS / "limits").read_text(),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

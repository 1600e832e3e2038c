"""The Pulumi state of local stacks: files in the ignored folder, and their repair after an update was killed."""

import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from ops.console import say
from settings import PROJECT, ROOT
from settings.problems import OperatorError

PASSPHRASE = "lightwave-dev"  # noqa: S105
"""Config passphrase of the local stacks. Not a secret: it only has to fit the salt committed in Pulumi.dev.yaml, so
that the Pulumi CLI never writes that file. What it encrypts stays in the ignored local folder."""


def folder(stack: str, root: Path = ROOT) -> Path:
    """Where a local stack's state is."""
    return root / ".local" / stack / "pulumi-state"


def environment(stack: str, root: Path = ROOT) -> dict[str, str]:
    """The two variables with which plain `pulumi` commands work on a local stack."""
    return {"PULUMI_BACKEND_URL": f"file://{folder(stack, root)}", "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}


def at_cloudflare(stack: str, root: Path = ROOT) -> list[str]:
    """Names of what a local stack's state holds at Cloudflare; none where there is no state that can be read."""
    try:
        latest = json.loads(_state(stack, root).read_text())["checkpoint"]["latest"] or {}
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return [
        resource["urn"].rpartition("::")[2]
        for resource in latest.get("resources") or []
        if resource["type"].startswith("cloudflare:")
    ]


def dead_locks(stack: str, root: Path = ROOT) -> int:
    """How many locks killed updates left. Raises OperatorError while another update runs."""
    dead = 0
    for lock in _locks(stack, root):
        if lock and _alive(lock):
            raise OperatorError(
                f"another update of stack {stack} runs (process {lock['pid']} on {lock['hostname']} since "
                f"{lock['timestamp']})",
                f"wait for it; if it is gone for sure: pulumi cancel {stack}",
            )
        dead += 1
    return dead


def _locks(stack: str, root: Path) -> Iterator[Mapping[str, Any] | None]:
    """The stack's locks; None for one that was cut off because its update was killed while it took it."""
    for path in folder(stack, root).glob(f".pulumi/locks/*/{PROJECT}/{stack}/*.json"):
        try:
            yield json.loads(path.read_text())
        except FileNotFoundError:  # its update ended just now
            continue
        except ValueError:
            yield None


def _alive(lock: Mapping[str, Any]) -> bool:
    """Whether the process that took the lock still runs; on another machine nobody here can tell."""
    if lock["hostname"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(lock["pid"])
        # The number may be another process's by now; a zombie is dead.
        return process.status() != psutil.STATUS_ZOMBIE and "pulumi" in process.name()
    except psutil.NoSuchProcess:
        return False


def repair(stack: str, root: Path = ROOT) -> None:
    """Repairs the files that a killed update cut off. Raises OperatorError while another update runs.

    Where the state itself is cut off (a full disk, a power cut), its backup stands beside it. What is lost is one
    step: something that is in the database and not in the state.
    """
    killed = dead_locks(stack, root) > 0
    drop_cut_attributes(folder(stack, root))
    state = _state(stack, root)
    backup = state.with_name(f"{state.name}.bak")
    if killed and not _whole(state):
        say(f"the Pulumi state was cut off when an update of stack {stack} was killed: using its backup")
        if _whole(backup):
            shutil.copyfile(backup, state)
        else:
            # Without the one, Pulumi would read the other.
            state.unlink(missing_ok=True)
            backup.unlink(missing_ok=True)


def drop_cut_attributes(backend: Path) -> None:
    """Drops the attributes that a killed update had begun to write beside a file of the backend.

    Pulumi writes them in place and refuses the file where they are cut off (`EOF`); it takes a file without any.
    """
    for attributes in backend.glob(".pulumi/**/*.attrs"):
        if not _whole(attributes):
            attributes.unlink(missing_ok=True)


def _state(stack: str, root: Path) -> Path:
    return folder(stack, root) / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def _whole(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True

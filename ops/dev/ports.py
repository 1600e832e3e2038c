"""Ports on the loopback address: which are free, and which ones the local stacks of this user have reserved."""

import json
import os
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ops.dev.files import locked, private_folder, write_private
from settings import HOST


def port_is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        # As the servers do: a closed connection's remains must not count as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(besides: Collection[int] = ()) -> int:
    """A free port that the system chooses, other than `besides`."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in besides:
            return port


def reserve(directory: Path, usual: int, besides: Collection[int] = ()) -> int:
    """Reserves a port for a stack's folder: `usual` where it is free and not reserved, else another free one.

    A server starts to listen long after its port is chosen. Without reservations, two checkouts that come up at the
    same time would choose the same one, and so would a checkout while another one's servers are stopped.
    """
    directory = directory.resolve()
    folder = _shared_folder(directory)
    with locked(folder, "ports"):
        file = folder / "ports.json"
        owners = {port: owner for port, owner in _read(file).items() if owner.exists()}
        taken = {*(port for port, owner in owners.items() if owner != directory), *besides}
        port = usual if usual not in taken and port_is_free(usual) else free_port(taken)
        owners[port] = directory
        write_private(file, json.dumps({str(port): str(owner) for port, owner in owners.items()}, indent=2) + "\n")
        return port


def _shared_folder(directory: Path) -> Path:
    """What all checkouts of this user share; without a home that can be written, the checkout's own folder."""
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    with suppress(OSError):
        private_folder(state_home / "lightwave")
        if os.access(state_home / "lightwave", os.W_OK):
            return state_home / "lightwave"
    return directory.parent


def _read(file: Path) -> dict[int, Path]:
    """By reserved port, the folder that has it; empty where the file is missing or mangled."""
    try:
        return {int(port): Path(owner) for port, owner in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}

"""A local stack's servers on this machine, PostgreSQL 15 and PgBouncer: start, stop, status.

In order of preference: containers where Docker or Podman answers (local/compose.yaml), this machine's own programs,
Debian's packages. What was used first is kept for as long as its data are there.
"""

import json
import shutil
from pathlib import Path
from typing import Literal

from ops.dev import containers, ports, state
from ops.dev import extras as beside
from ops.dev.containers import Containers
from ops.dev.files import LOCK, locked, write_private
from ops.dev.model import Extras, Kind, LocalStack, Report, Running, Servers, ServersError, Status, make
from ops.dev.native import Native
from settings import Settings

_OLD_RECORD = "services.json"
_OLD_LAYOUT = (state.FILE, _OLD_RECORD, "compose.json", "servers", "env", "lock", "up")
"""What an earlier version kept in the folder above the stacks' folders."""


def start(
    settings: Settings,
    directory: Path | None = None,
    *,
    kind: Literal["auto"] | Kind = "auto",
    report: Report = print,
    extras: bool = True,
    pooler: bool = True,
) -> Running:
    """Starts the servers of a local stack as its settings say; does nothing where they run so already.

    `directory` is the stack's folder (`state.folder`); without `extras` there is no Valkey and no S3 store. Without
    `pooler` PostgreSQL alone is started, and the others stay as they are. Raises ServersError with the fix.
    """
    stack = LocalStack.of(settings, directory or state.folder(settings.stack))
    with locked(stack.directory):
        servers = _servers(stack.directory, _chosen(stack, kind))
        servers.require(report)
        if _recorded(stack.directory) is None:
            _require_ports(stack)
        # Before anything is started: a killed start can be stopped, and goes on with the same kind of servers.
        write_private(stack.directory / state.RECORD, json.dumps({"kind": servers.kind}) + "\n")
        return servers.start(stack, report, extras=extras and pooler, pooler=pooler)


def stop(directory: Path, *, wipe: bool = False) -> tuple[str, ...]:
    """Stops what was started from this folder and nothing else, also where the folder was removed meanwhile.

    `wipe` removes the folder: data, ports, passwords, env files. Gives what was done, one line each. Raises
    ServersError where it cannot be done.
    """
    existed = directory.exists()
    with locked(directory):
        held = [path for path in directory.iterdir() if path.suffix != LOCK]
        actions = _stop(directory, wipe=wipe)
        if (directory.parent / state.FILE).exists():
            actions += _stop(directory.parent, wipe=wipe)
            for name in _OLD_LAYOUT if wipe else ():
                _remove(directory.parent / name)
        if wipe or not existed:
            shutil.rmtree(directory)
        if wipe and held:
            actions.append(f"removed {directory}: data, ports, passwords and env files")
        return tuple(actions)


def stop_pooler(directory: Path) -> None:
    """Stops PgBouncer alone; `start` brings it back.

    Its server sessions keep the settings that their role had when they began: after a change of a role they must go.
    """
    with locked(directory):
        kind = _recorded(directory)
        if kind is not None:
            _servers(directory, kind).stop_pooler()


def started_from(directory: Path) -> bool:
    """Whether servers were started from this folder and their data are kept."""
    return _recorded(directory) is not None


def end_orphans(directory: Path) -> tuple[str, ...]:
    """Stops native servers that still run although their folder was removed. Gives what was stopped."""
    return () if _recorded(directory) else Native(directory).stop()


def status(directory: Path) -> Status:
    """Which servers of this folder run now."""
    kind = _recorded(directory)
    return Status(kind=None) if kind is None else _servers(directory, kind).status()


def extras_of(settings: Settings, directory: Path | None = None) -> Extras:
    """Valkey and the S3 store of a local stack, as services reach them."""
    return beside.of(LocalStack.of(settings, directory or state.folder(settings.stack)))


def _stop(directory: Path, *, wipe: bool) -> list[str]:
    recorded = _recorded(directory)
    kinds: list[Kind] = [recorded] if recorded else ["native"]
    if not recorded and containers.compose_command() is not None:
        kinds.append("compose")
    actions: list[str] = []
    for kind in kinds:
        servers = _servers(directory, kind)
        actions += servers.stop()
        if wipe:
            servers.wipe()
    return actions


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _servers(directory: Path, kind: Kind) -> Servers:
    return Containers(directory) if kind == "compose" else Native(directory)


def _recorded(directory: Path) -> Kind | None:
    for name in (state.RECORD, _OLD_RECORD):
        if (directory / name).exists():
            record = json.loads((directory / name).read_text())
            kind: Kind = record.get("kind") or record["how"]
            return kind
    return None


def _chosen(stack: LocalStack, asked: Literal["auto"] | Kind) -> Kind:
    recorded = _recorded(stack.directory)
    name = stack.settings.stack
    if recorded and asked not in ("auto", recorded):
        raise ServersError(
            f"the data in {stack.directory} belong to servers of kind {recorded}",
            f"{make(name, 'down WIPE=1')}, then {make(name, 'up')}",
        )
    if recorded:
        return recorded
    if asked == "auto":
        return "compose" if containers.compose_command() is not None else "native"
    return asked


def _require_ports(stack: LocalStack) -> None:
    """Raises ServersError where a port was taken since it was chosen; without a record the next run chooses again."""
    for port in (stack.state.database_port, stack.state.pgbouncer_port):
        if not ports.port_is_free(port):
            raise ServersError(
                f"port {port} was taken by another process just now",
                f"{make(stack.settings.stack, 'up')}, which chooses another one",
            )

"""A native PgBouncer for one local stack."""

import re
import resource
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from components.pgbouncer.ini import PgBouncerIni
from ops.dev import ports, processes
from ops.dev.home import Home
from ops.dev.model import LocalStack, ServersError
from ops.dev.packages import Binaries
from settings import HOST

_FOLDER = "pgbouncer"
_INI = f"{_FOLDER}/pgbouncer.ini"


class PgBouncer:
    """The pooler; it has no data, only what is generated."""

    name = "PgBouncer"

    def __init__(self, home: Home) -> None:
        self._home = home

    def process(self) -> psutil.Process | None:
        """The running pooler."""
        return self._home.process("pgbouncer", _INI)

    def stop(self) -> bool:
        """Stops it. Gives whether it ran."""
        process = self.process()
        if process:
            # The first SIGTERM waits for clients, a second one does not.
            processes.end(process, signal.SIGTERM, signal.SIGTERM, signal.SIGKILL)
        return process is not None

    def start(self, stack: LocalStack, binaries: Binaries) -> list[str]:
        """Starts it as the settings say, or has it read what changed. Gives what was done."""
        folder = self._home.subfolder(_FOLDER)
        log, pid_file, users, file = (
            folder / name for name in ("pgbouncer.log", "pgbouncer.pid", "userlist.txt", "pgbouncer.ini")
        )
        ini = PgBouncerIni.for_local(
            stack.settings,
            version=binaries.pgbouncer_version,
            auth_file_path=str(users),
            log_path=str(log),
            pid_path=str(pid_file),
        )
        actions = _allow_descriptors(stack.settings.stack, ini)
        before = file.read_text() if file.exists() else ""
        changed = self._home.write(users, stack.pgbouncer_users())
        changed |= self._home.write(file, ini.render())
        if _needs_restart(before, ini.render()) and self.stop():
            actions.append("PgBouncer stopped: where it listens or how many it serves changed")
        process, port = self.process(), stack.state.pgbouncer_port
        if process and changed:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGHUP)
            actions.append("PgBouncer reloaded: its configuration changed")
        elif not process and self._home.may_start(port, "pgbouncer", _INI, "pgbouncerPort"):
            self._launch(binaries.pgbouncer, file, port, pid_file, log)
            actions.append(f"PgBouncer started on {HOST}:{port}")
        return actions

    def _launch(self, program: Path, ini: Path, port: int, pid_file: Path, log: Path) -> None:
        pid_file.unlink(missing_ok=True)
        self._home.run([program, "-q", "-d", ini], fix=f"see {log}")
        # The pid file is the last step of its start.
        processes.wait(
            lambda: not ports.port_is_free(port) and _written(pid_file), "PgBouncer does not listen", f"see {log}"
        )


def _written(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _allow_descriptors(stack: str, ini: PgBouncerIni) -> list[str]:
    """Raises this process's soft limit, which PgBouncer inherits, to what the ini needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = ini.file_descriptors
    if soft == resource.RLIM_INFINITY or soft >= need:
        return []
    if hard != resource.RLIM_INFINITY and hard < need:
        fits = hard - (need - ini.max_client_connections)
        raise ServersError(
            f"lightwave:pgbouncer.maxClientConnections: {ini.max_client_connections} needs {need} file descriptors, and"
            f" the limit here is {hard}: new clients would hang",
            f"raise the limit (ulimit -Hn {need}), or run:"
            f" pulumi config set --stack {stack} --path lightwave:pgbouncer.maxClientConnections {fits}",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    return [f"file-descriptor limit raised from {soft} to {need} for PgBouncer"]


def _needs_restart(before: str, after: str) -> bool:
    """Where it listens is read at the start alone, and the descriptor limit is inherited then."""
    fixed = re.compile(r"^(listen_\w+|max_client_conn|logfile|pidfile) = .*$", re.MULTILINE)
    return [m[0] for m in fixed.finditer(before)] != [m[0] for m in fixed.finditer(after)]

"""A native Valkey, or Redis 7 in its place, for one local stack."""

import signal

import psutil

from ops.dev import extras, ports, processes
from ops.dev.home import Home
from ops.dev.model import LocalStack
from ops.dev.packages import Binaries
from settings import HOST

_FOLDER = "valkey"
_CONF = f"{_FOLDER}/valkey.conf"
PROGRAMS = ("valkey-server", "redis-server")


class Valkey:
    """The cache and the queues of a stack."""

    name = "Valkey"

    def __init__(self, home: Home) -> None:
        self._home = home

    def process(self) -> psutil.Process | None:
        """The running server."""
        return next((found for program in PROGRAMS if (found := self._home.process(program, _CONF))), None)

    def stop(self) -> bool:
        """Stops it; it writes what it holds first. Gives whether it ran."""
        process = self.process()
        if process:
            processes.end(process, signal.SIGTERM, signal.SIGKILL)
        return process is not None

    def start(self, stack: LocalStack, binaries: Binaries) -> list[str]:
        """Starts it with production's access rules. Gives what was done; nothing where there is no program or user."""
        if binaries.valkey is None or not extras.uses_valkey(stack.settings):
            return []
        folder = self._home.subfolder(_FOLDER)
        started = self.process() is not None or (folder / "appendonlydir").exists()
        port = extras.valkey_port(stack, has_data=started)
        acl_file, conf_file, log = folder / "users.acl", folder / "valkey.conf", folder / "valkey.log"
        conf, acl = extras.valkey_files(stack, bind=HOST, port=port, directory=str(folder), acl_path=str(acl_file))
        # With its own title the process could not be found by its configuration file.
        conf += f'set-proc-title no\ndaemonize yes\nlogfile "{log}"\n'
        changed = self._home.write(acl_file, acl)
        changed |= self._home.write(conf_file, conf)
        if changed:
            self.stop()
        program = binaries.valkey.name
        if self.process() or not self._home.may_start(port, program, _CONF, "valkeyPort", extras.FILE):
            return []
        self._home.run([binaries.valkey, conf_file], fix=f"see {log}")
        processes.wait(lambda: not ports.port_is_free(port), "Valkey does not listen", f"see {log}")
        return [f"Valkey started on {HOST}:{port}"]

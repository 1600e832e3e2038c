"""A native PostgreSQL 15 for one local stack."""

import os
import pwd
import shutil
import signal
import time
from pathlib import Path

import psutil

from ops.dev import admin, processes
from ops.dev.home import Command, Home
from ops.dev.model import LocalStack, ServersError
from ops.dev.packages import Binaries
from ops.process import ProcessError
from settings import ADMIN, DATABASE, HOST, ROOT

SUPERUSER = "postgres"
"""The bootstrap superuser: it has no password and comes in through the local socket, from the server's user alone."""

BOOTSTRAP_SQL = ROOT / "local" / "bootstrap.sql"

_START = str(processes.START_SECONDS)

_LEFTOVER_SECONDS = 10
"""How long the processes of a killed server may keep its shared memory."""

_SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.65535.lock")

_PG_HBA = f"""\
# The superuser has no password and comes in through the socket alone; everybody else by SCRAM, from this machine.
local all {SUPERUSER} peer map=superuser
host  all {SUPERUSER} all reject
host  all all {HOST}/32 scram-sha-256
"""

_PG_HBA_CLUSTER = f"""\
# PgBouncer's and migrations' pods on a local cluster, from whatever address its network gives them.
host  all {ADMIN} all reject
host  {DATABASE} all all scram-sha-256
"""


class PostgreSQL:
    """The server and its data."""

    name = "PostgreSQL"

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def _data(self) -> Path:
        return self._home.path / "postgresql"

    def process(self) -> psutil.Process | None:
        """The running server."""
        return self._home.process("postgres", "postgresql")

    def stop(self) -> bool:
        """Stops it without waiting for clients. Gives whether it ran."""
        process = self.process()
        if process:
            # SIGINT disconnects clients and needs no recovery at the next start; SIGQUIT ends it at once.
            processes.end(process, signal.SIGINT, signal.SIGQUIT)
        return process is not None

    def start(self, stack: LocalStack, binaries: Binaries) -> list[str]:
        """Starts it as the settings say. Gives what was done; nothing where it runs so already."""
        actions = []
        address = stack.cluster_address()
        if not self._data.exists():
            if self.stop():
                actions.append("PostgreSQL stopped: its data were removed")
            self._create_cluster(stack, binaries)
            actions.append(f"PostgreSQL: new cluster in {self._data}")
        changed = self._home.write(self._data / "postgresql.conf", self._configuration(stack, address))
        changed |= self._home.write(self._data / "pg_hba.conf", _PG_HBA + (_PG_HBA_CLUSTER if address else ""))
        if changed and self.stop():
            actions.append("PostgreSQL stopped: its configuration changed")
        port = stack.state.database_port
        if not self.process() and self._home.may_start(port, "postgres", "postgresql", "databasePort"):
            # A killed server's files name a process that is gone, or by now another program's.
            for stale in (self._data / "postmaster.pid", *self._home.path.glob(".s.PGSQL.*")):
                stale.unlink(missing_ok=True)
            self._start_postmaster(binaries)
            actions.append(f"PostgreSQL started on {HOST}:{port}")
        admin.require(stack, str(self._data))
        return actions

    def _start_postmaster(self, binaries: Binaries) -> None:
        log = self._home.path / "postgresql.log"
        start: Command = [binaries.postgresql / "pg_ctl", "-D", self._data, "-l", log, "-w", "-t", _START, "start"]
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while True:
            seen = log.stat().st_size if log.exists() else 0
            try:
                self._home.run(start)
            except ProcessError:
                logged = log.read_bytes()[seen:].decode(errors="replace") if log.exists() else ""
                # The processes that served a killed server's clients live on for a moment, in its shared memory.
                if "shared memory block" not in logged or time.monotonic() > deadline:
                    raise ServersError(
                        "\n".join(["PostgreSQL does not start", *logged.splitlines()[-5:]]), f"see {log}"
                    ) from None
                time.sleep(0.2)
            else:
                return

    def _create_cluster(self, stack: LocalStack, binaries: Binaries) -> None:
        """Made beside its place and moved there when it is whole: a killed run leaves nothing that looks finished."""
        for leftover in self._home.path.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # Another name each time: a killed run's initdb may still be writing.
        unfinished = self._home.path / f"unfinished-{os.getpid()}-{time.time_ns()}"
        # ICU's collations are on every platform, where names of system locales differ.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
        initdb: Command = [binaries.postgresql / "initdb", "-D", unfinished, f"--username={SUPERUSER}"]
        self._home.run([*initdb, *locale, "--auth=reject", "--no-sync"])
        single: Command = [
            binaries.postgresql / "postgres",
            "--single",
            "-j",
            "-D",
            unfinished,
            "-c",
            "exit_on_error=on",
        ]
        self._home.run([*single, "postgres"], stdin=f"CREATE DATABASE {DATABASE};\n\n")
        self._home.run([*single, DATABASE], stdin=bootstrap_sql(stack.admin_verifier()))
        us = pwd.getpwuid(os.geteuid())
        peers = sorted({us.pw_name, (self._home.user or us).pw_name})
        self._home.write(unfinished / "pg_ident.conf", "".join(f"superuser {name} {SUPERUSER}\n" for name in peers))
        unfinished.rename(self._data)

    def _configuration(self, stack: LocalStack, address: str | None) -> str:
        values: dict[str, str | int] = {
            "listen_addresses": f"'{HOST}{f',{address}' if address else ''}'",
            "port": stack.state.database_port,
            "unix_socket_directories": f"'{self.socket_directory or ''}'",
            "max_connections": stack.database.max_connections,
            "password_encryption": "'scram-sha-256'",
            "shared_preload_libraries": "'pg_stat_statements'",
            # As in production: ALTER ROLE … PASSWORD would keep its SCRAM verifier among the recorded statements.
            "pg_stat_statements.track_utility": "off",
            "shared_buffers": "'128MB'",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "lc_messages": "'C'",
        }
        return "".join(f"{key} = {value}\n" for key, value in values.items())

    @property
    def socket_directory(self) -> Path | None:
        """The folder of the superuser's socket; None where its path is too long for a socket."""
        path = str(self._home.path)
        return self._home.path if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT and "'" not in path else None


def bootstrap_sql(verifier: str) -> str:
    """local/bootstrap.sql for one session that knows the admin's verifier."""
    return f"SET lightwave.admin_verifier = '{verifier}';\n\n{BOOTSTRAP_SQL.read_text()}\n"

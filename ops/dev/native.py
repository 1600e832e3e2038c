"""The local servers as programs of this machine."""

from pathlib import Path
from typing import Protocol

import psutil

from ops.dev import extras as beside
from ops.dev import packages
from ops.dev.home import Home
from ops.dev.model import Kind, LocalStack, Report, Running, Status
from ops.dev.object_store import ObjectStore
from ops.dev.packages import Binaries
from ops.dev.pgbouncer import PgBouncer
from ops.dev.postgresql import PostgreSQL
from ops.dev.valkey import Valkey


class Server(Protocol):
    """One server program."""

    name: str

    def start(self, stack: LocalStack, binaries: Binaries) -> list[str]:
        """Starts it, or applies what changed. Gives what was done, one line each. Raises ServersError."""

    def stop(self) -> bool:
        """Stops it. Gives whether it ran."""

    def process(self) -> psutil.Process | None:
        """Its process while it runs."""


class Native:
    """PostgreSQL, PgBouncer, Valkey and the S3 store, run from a stack's folder."""

    kind: Kind = "native"

    def __init__(self, directory: Path) -> None:
        self._home = Home(directory)
        self._postgresql, self._pgbouncer = PostgreSQL(self._home), PgBouncer(self._home)
        self._servers: tuple[Server, ...] = (
            self._postgresql,
            self._pgbouncer,
            Valkey(self._home),
            ObjectStore(self._home),
        )
        """In the order in which they start."""

    def require(self, report: Report, /) -> None:
        """Installs the programs where they are missing and may be installed. Raises ServersError otherwise."""
        packages.require(report)

    def start(self, stack: LocalStack, report: Report, *, extras: bool = True, pooler: bool = True) -> Running:
        """Starts what does not run, and applies what changed."""
        servers = self._servers if pooler else (self._postgresql,)
        binaries = packages.require(report)
        if extras:
            binaries = packages.with_extras(binaries, report)
        self._home.make()
        return Running(
            kind=self.kind,
            database_port=stack.state.database_port,
            pgbouncer_port=stack.state.pgbouncer_port,
            actions=tuple(action for server in servers for action in server.start(stack, binaries)),
            extras=beside.of(stack),
            notes=packages.missing_extras(binaries) if extras else (),
            socket_directory=self._postgresql.socket_directory,
        )

    def stop(self) -> tuple[str, ...]:
        """Stops what runs, by its command line: also where the folder was removed under it."""
        return tuple(f"{server.name} stopped" for server in reversed(self._servers) if server.stop())

    def stop_pooler(self) -> None:
        """Stops PgBouncer alone."""
        self._pgbouncer.stop()

    def wipe(self) -> None:
        """Removes the data, also those that the stack's folder only links to."""
        self._home.wipe()

    def status(self) -> Status:
        """Which of them run now."""
        return Status(
            kind=self.kind,
            postgresql=self._postgresql.process() is not None,
            pgbouncer=self._pgbouncer.process() is not None,
        )

"""What the two kinds of local servers, native and in containers, have in common."""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from components.pgbouncer.ini import auth_file
from components.secrets.scram import scram_verifier
from components.services.env import ObjectStore
from settings import ADMIN, HOST, LocalDatabaseSettings, LocalState, Settings
from settings.problems import OperatorError

Kind = Literal["native", "compose"]

Report = Callable[[str], None]
"""Called with a line of progress before each slow step."""


class ServersError(OperatorError):
    """The local servers cannot be started or stopped."""


def make(stack: str, command: str) -> str:
    """The command line for a stack, such as `make down STACK=alice WIPE=1`; dev is the Makefile's default."""
    verb, _, rest = command.partition(" ")
    return " ".join(word for word in (f"make {verb}", f"STACK={stack}" * (stack != "dev"), rest) if word)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStack:
    """A local stack's settings, with the parts that only a local one has."""

    settings: Settings
    directory: Path
    """Its folder with everything that belongs to it."""
    state: LocalState
    database: LocalDatabaseSettings

    @classmethod
    def of(cls, settings: Settings, directory: Path) -> Self:
        """Raises ServersError where the stack is not a local one."""
        if settings.local is None or not isinstance(settings.database, LocalDatabaseSettings):
            raise ServersError(
                f"stack {settings.stack} has no local server", "name a stack with database.server: local"
            )
        return cls(settings=settings, directory=directory, state=settings.local, database=settings.database)

    def admin_verifier(self) -> str:
        """The admin's SCRAM verifier, for the bootstrap; a new salt each time."""
        return scram_verifier(self.state.passwords[ADMIN].get_secret_value(), os.urandom(16))

    def pgbouncer_users(self) -> str:
        """The pooler's auth file: the products' login roles and nobody else."""
        roles = [product.login_role for product in self.settings.products.values()]
        return auth_file({role: self.state.scram_verifiers[role].get_secret_value() for role in roles})

    def cluster_address(self) -> str | None:
        """Where PostgreSQL listens besides loopback, for the pods of a local cluster: kubernetes.databaseHost.

        None where that is a name such as host.docker.internal, which leads to this machine's loopback address. Raises
        ServersError where it is an address that this machine does not have.
        """
        host = self.settings.kubernetes.database_host if self.settings.kubernetes else None
        if host is None or not re.fullmatch(r"[\d.]+", host):
            return None
        try:
            socket.create_server((host, 0)).close()
        except OSError as error:
            raise ServersError(
                f"PostgreSQL cannot listen on kubernetes.databaseHost {host} ({error.strerror})",
                "set an address of this machine in the cluster's network (docker network inspect kind), or a name such"
                " as host.docker.internal",
            ) from None
        return host


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What runs besides the database and its pooler; None for what does not."""

    store: ObjectStore | None = None
    redis_url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The servers as they run now."""

    kind: Kind
    database_port: int
    pgbouncer_port: int
    actions: tuple[str, ...]
    """What was done, one line each; empty where everything ran already as it should."""
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""
    extras: Extras = Extras()
    """Valkey and the S3 store."""
    socket_directory: Path | None = None
    """Where the superuser's socket is, for a native server."""
    host: str = HOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Which servers of a stack's folder run."""

    kind: Kind | None
    """None: nothing was started from this folder."""
    postgresql: bool = False
    pgbouncer: bool = False


class Servers(Protocol):
    """The servers of one kind for one stack's folder."""

    kind: Kind

    def require(self, report: Report, /) -> None:
        """Installs what is missing, where that may be done. Raises ServersError where the servers cannot be started."""

    def start(self, stack: LocalStack, report: Report, *, extras: bool, pooler: bool = True) -> Running:
        """Starts what does not run and reconfigures what changed; `extras`: Valkey and the S3 store as well.

        Without `pooler`, PostgreSQL alone. Raises ServersError with the fix.
        """

    def stop(self) -> tuple[str, ...]:
        """Stops what runs and gives what was stopped, one line each."""

    def stop_pooler(self) -> None:
        """Stops PgBouncer alone."""

    def wipe(self) -> None:
        """Removes the data that are not in the stack's folder; the servers are stopped already."""

    def status(self) -> Status:
        """Which of them run now."""

"""Real servers for the integration tests: PostgreSQL 15 and PgBouncer, as `make up` starts them without containers."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.dev import packages, ports, servers
from ops.dev import state as local_state
from ops.dev.files import write_private
from ops.dev.model import Running
from ops.dev.postgresql import SUPERUSER
from settings import ADMIN, DATABASE, LocalState, Settings
from tests.required import not_here


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """A database with an admin and nothing else in it, and its pooler."""

    settings: Settings
    state: LocalState
    directory: Path
    """Its state folder, in place of `.local`."""
    running: Running

    def connect(
        self, role: str = ADMIN, *, pooled: bool = False, database: str = DATABASE, **options: Any
    ) -> psycopg.Connection:
        """A connection with the generated password; `options` go to psycopg and win, `password` too."""
        given: dict[str, Any] = {
            "host": self.running.host,
            "port": self.running.pgbouncer_port if pooled else self.running.database_port,
            "dbname": database,
            "user": role,
            "connect_timeout": 10,
            "autocommit": True,
            # Debian's PgBouncer 1.18 knows no prepared statements in transaction mode.
            "prepare_threshold": None,
        }
        if role in self.state.passwords:
            given["password"] = self.state.passwords[role].get_secret_value()
        return psycopg.connect(**(given | options))

    def superuser(self, database: str = DATABASE) -> psycopg.Connection:
        """The bootstrap superuser, through the server's socket."""
        return superuser(self.running, database)


def superuser(running: Running, database: str = DATABASE) -> psycopg.Connection:
    """The bootstrap superuser of a native server, through its socket."""
    assert running.socket_directory is not None
    return psycopg.connect(
        host=str(running.socket_directory),
        port=running.database_port,
        dbname=database,
        user=SUPERUSER,
        autocommit=True,
    )


def require_binaries() -> None:
    """Skips where the servers' binaries are missing; with REQUIRE_SERVERS=1 that is a failure."""
    if packages.find() is None:
        not_here("PostgreSQL 15 and PgBouncer are not on this machine", "REQUIRE_SERVERS")


@contextmanager
def state_folder() -> Iterator[Path]:
    """A new state folder with ports of its own; whatever was started from it is stopped and removed afterwards."""
    # pytest's own folders are closed to the user who runs the servers when the tests run as root.
    directory = Path(tempfile.mkdtemp(prefix="lightwave-")).resolve()
    # The usual ports belong to the developer's own dev stack, and to the test process next door.
    database_port = ports.free_port()
    chosen = {"databasePort": database_port, "pgbouncerPort": ports.free_port([database_port])}
    try:
        write_private(directory / "state.json", json.dumps(chosen))
        yield directory
    finally:
        servers.stop(directory, wipe=True)


@contextmanager
def running_platform(*, extras: bool = False) -> Iterator[Platform]:
    """A platform of its own in a new folder, gone afterwards; `extras`: with Valkey and the S3 store."""
    require_binaries()
    with state_folder() as directory:
        settings = local_state.prepare("dev", directory)
        assert settings.local is not None
        running = servers.start(settings, directory, kind="native", extras=extras)
        yield Platform(settings=settings, state=settings.local, directory=directory, running=running)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One platform for the whole test process."""
    with running_platform() as started:
        yield started


@pytest.fixture
def fresh_platform() -> Iterator[Callable[[], Platform]]:
    """Makes platforms with an empty database, as many as a test asks for."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(running_platform())

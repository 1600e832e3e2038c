"""The admin's connection to the local PostgreSQL."""

import time
from typing import Any

import psycopg

from ops.dev.model import LocalStack, ServersError, make
from ops.dev.processes import START_SECONDS
from settings import ADMIN, DATABASE, HOST, LocalState


def connect(state: LocalState, database: str = DATABASE) -> psycopg.Connection[Any]:
    """Logs in as the admin with the state's password. Raises psycopg.OperationalError."""
    return psycopg.connect(
        host=HOST,
        port=state.database_port,
        dbname=database,
        user=ADMIN,
        password=state.passwords[ADMIN].get_secret_value(),
        connect_timeout=10,
        autocommit=True,
    )


def require(stack: LocalStack, where: str) -> None:
    """Raises ServersError unless the admin can log in to the data in `where`, which another state may have made."""
    deadline, name = time.monotonic() + START_SECONDS, stack.settings.stack
    while True:
        try:
            return connect(stack.state).close()
        except psycopg.OperationalError as error:
            if "starting up" in str(error) and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            if "authentication failed" not in str(error):
                raise ServersError(
                    f"PostgreSQL runs and does not answer: {error}", f"{make(name, 'down')}, then {make(name, 'up')}"
                ) from None
            raise ServersError(
                f"the data in {where} were made with other passwords than {stack.directory / 'state.json'} holds",
                f"bring that file back, or run: {make(name, 'down WIPE=1')}, then {make(name, 'up')}",
            ) from None

"""What the dev stack generates once and keeps: ports, passwords, application secrets, in one ignored folder."""

import fcntl
import json
import os
import secrets
import socket
import string
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import settings
from components.secrets.scram import scram_verifier
from settings import (
    ADMIN,
    APPLICATION_SECRETS,
    STATS_USER,
    VALKEY_SECRETS,
    Product,
    Settings,
    SettingsError,
    state_file,
)

FOLDER = state_file("dev").parent
"""The ignored folder of the dev stack. Every function takes another one, for tests."""

FILE = "state.json"
"""The state in a stack's folder."""

HOST = "127.0.0.1"
"""Where everything local listens, and nowhere else."""

_USUAL_DATABASE_PORT = 5432
_USUAL_PGBOUNCER_PORT = 6432
_PASSWORD_LENGTH = 40
_SALT_BYTES = 16


def prepare(stack: str = "dev", directory: Path = FOLDER) -> Settings:
    """The settings of a local stack, its state generated where it is missing.

    Raises SettingsError when the config is wrong; nothing is generated then.
    """
    config = settings.stack_config(stack)
    with settings.offline():
        products = settings.load(stack, config).products.values()
    ensure(products, directory)
    return settings.load(stack, config, local=read(directory))


def read(directory: Path = FOLDER) -> Any:
    """The state as `settings.load` takes it (`local=`); None where there is none, no mapping where it is unreadable."""
    path = directory / FILE
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError):
        return "unreadable"


def ensure(products: Iterable[Product], directory: Path = FOLDER) -> None:
    """Completes the state for these products: what is missing is generated, what is there stays as it is.

    A state that somebody mangled is left alone: `settings.load` says what is wrong with it.
    """
    with locked(directory):
        before = read(directory)
        try:
            state = _completed(before or {}, list(products))
        except (AttributeError, TypeError):
            return
        if state != before:
            write_private(directory / FILE, json.dumps(state, indent=2) + "\n")


def _completed(before: Mapping[str, Any], products: list[Product]) -> dict[str, Any]:
    logins = [STATS_USER, *(product.login_role for product in products)]
    wanted_secrets = [
        *VALKEY_SECRETS,
        *(APPLICATION_SECRETS[product.framework] for product in products if product.framework),
    ]
    passwords = _with(before.get("passwords", {}), [ADMIN, *logins], lambda _: password())
    database_port = before.get("databasePort") or free_port(_USUAL_DATABASE_PORT)
    return {
        "databasePort": database_port,
        "pgbouncerPort": before.get("pgbouncerPort") or free_port(_USUAL_PGBOUNCER_PORT, besides=database_port),
        "passwords": passwords,
        "scramVerifiers": _with(
            before.get("scramVerifiers", {}),
            logins,
            # A random salt would give another verifier each time, so the verifier is kept too.
            lambda role: scram_verifier(passwords[role], secrets.token_bytes(_SALT_BYTES)),
        ),
        "secrets": _with(before.get("secrets", {}), wanted_secrets, lambda _: password()),
    }


def _with(have: Mapping[str, str], wanted: list[str], make: Callable[[str], str]) -> dict[str, str]:
    return {**have, **{name: make(name) for name in wanted if name not in have}}


def password() -> str:
    """A new password: letters and digits alone, so that it needs no quoting in a URL, an env file or SQL."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_PASSWORD_LENGTH))


def port_is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As the servers do: a closed connection's remains must not count as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(usual: int = 0, besides: int | None = None) -> int:
    """The usual port where it is free, else any free one."""
    if usual and port_is_free(usual):
        return usual
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port != besides:
            return port


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600: a reader, even after a killed run, finds the old one or the new one whole."""
    private_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp's mode is 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def private_folder(directory: Path) -> None:
    """Makes the folder with mode 0700 where it is missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def locked(directory: Path = FOLDER) -> Iterator[None]:
    """Within it, no other run works in the folder; a killed run leaves no lock behind.

    Raises SettingsError where another user owns it.
    """
    try:
        private_folder(directory)
        file = (directory / "lock").open("w")
    except PermissionError:
        raise SettingsError(
            f"{directory} belongs to another user, who ran make up first; do it as that user, or remove the folder"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""What a local stack generates once and keeps in its ignored folder: ports, passwords, application secrets."""

import json
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import settings
from components.secrets.scram import scram_verifier
from ops.dev import ports
from ops.dev.files import locked, write_private
from settings import (
    ADMIN,
    APPLICATION_SECRETS,
    STATS_USER,
    VALKEY_SECRETS,
    Product,
    Settings,
    state_file,
)
from settings.problems import OperatorError

FILE = "state.json"
"""The state in a stack's folder."""

RECORD = "servers.json"
"""In a stack's folder: which kind of servers was started from it. Once it is there, the ports stay as they are."""

RESERVED = ("bin", "env", "lock", "pulumi", "servers", "up")
"""In `.local/`, beside the stacks' folders: the completion's launcher and the Pulumi CLI, and what an earlier version
kept there. A stack of such a name would share its folder, and a wipe would remove both."""

_USUAL_DATABASE_PORT = 5432
_USUAL_PGBOUNCER_PORT = 6432
_PASSWORD_LENGTH = 40
_SALT_BYTES = 16


def folder(stack: str) -> Path:
    """The ignored folder with everything that belongs to a local stack, but for what Pulumi keeps of it."""
    return state_file(stack).parent


def require_own_folder(stack: str) -> None:
    """Raises OperatorError where something else is kept in the stack's folder."""
    if stack in RESERVED:
        raise OperatorError(
            f"no stack can be called {stack}: .local/{stack}/ is not a stack's folder",
            f"git mv Pulumi.{stack}.yaml Pulumi.<another name>.yaml",
        )


def prepare(stack: str, directory: Path | None = None) -> Settings:
    """The settings of a local stack, its state generated in `directory` (`folder(stack)`) where it is missing.

    Raises SettingsError where the config is wrong and OperatorError where the stack is not local or its folder is laid
    out as it was before stacks had folders of their own; nothing is generated then.
    """
    directory = directory or folder(stack)
    config = settings.stack_config(stack)
    with settings.offline():
        declared = settings.load(stack, config)
    if not declared.is_local:
        raise OperatorError(f"stack {stack} is not local", f"make deploy STACK={stack}")
    if (old := directory.parent / FILE).exists():
        raise OperatorError(
            f"{old} is of an earlier version, which kept one stack's servers in {old.parent} itself",
            "make down WIPE=1, then make up: the database is built anew",
        )
    ensure(declared.products.values(), directory)
    return settings.load(stack, config, local=read(directory))


def read(directory: Path) -> Any:
    """The state as `settings.load` takes it (`local=`); None where there is none, a string where it is unreadable."""
    path = directory / FILE
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError, RecursionError):
        return "unreadable"


def ensure(products: Iterable[Product], directory: Path) -> None:
    """Completes the state for these products: what is missing is generated, what is there stays as it is.

    A port that another process took before the servers were ever started is replaced. A mangled state is left alone:
    `settings.load` reports what is wrong with it.
    """
    with locked(directory):
        before = read(directory)
        try:
            state = _completed(before or {}, list(products), directory)
        except (AttributeError, TypeError):
            return
        if state != before:
            write_private(directory / FILE, json.dumps(state, indent=2) + "\n")


def _completed(before: Mapping[str, Any], products: list[Product], directory: Path) -> dict[str, Any]:
    logins = [STATS_USER, *(product.login_role for product in products)]
    wanted_secrets = [
        *VALKEY_SECRETS,
        *(APPLICATION_SECRETS[product.framework] for product in products if product.framework),
    ]
    passwords = _with(before.get("passwords", {}), [ADMIN, *logins], lambda _: password())
    database_port = _port(before.get("databasePort"), directory, _USUAL_DATABASE_PORT)
    return {
        "databasePort": database_port,
        "pgbouncerPort": _port(before.get("pgbouncerPort"), directory, _USUAL_PGBOUNCER_PORT, besides=database_port),
        "passwords": passwords,
        "scramVerifiers": _with(
            before.get("scramVerifiers", {}),
            logins,
            # A random salt would give another verifier each time, so the verifier is kept too.
            lambda role: scram_verifier(passwords[role], secrets.token_bytes(_SALT_BYTES)),
        ),
        "secrets": _with(before.get("secrets", {}), wanted_secrets, lambda _: password()),
    }


def _port(before: int | None, directory: Path, usual: int, besides: int = 0) -> int:
    if before and (directory / RECORD).exists():
        return before
    return ports.reserve(directory, before or usual, besides=[besides])


def _with(have: Mapping[str, str], wanted: list[str], make: Callable[[str], str]) -> dict[str, str]:
    return {**have, **{name: make(name) for name in wanted if name not in have}}


def password() -> str:
    """A new password: letters and digits alone, so that it needs no quoting in a URL, an env file or SQL."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_PASSWORD_LENGTH))

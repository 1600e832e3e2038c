"""The env files of the services: what `make env` writes for one of them, and the contract file of all.

Everything lands in the ignored folder `.local/env/`, with mode 0600.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import settings
from components.services.env import EnvEntry, ObjectStore, Server, ServiceEnvArgs, service_env
from ops.deploy import install
from ops.dev import servers as services
from ops.dev import state as local_state
from settings import Product, Settings
from settings.problems import OperatorError

FOLDER = settings.ROOT / ".local" / "env"
CONTRACT = ".env.services.json"

MARKER = "# Written by make env"
"""First words of each file written here; a file without them is somebody else's."""

OUTPUT = "service_env"
"""The stack output that `for_deployed` reads: by product, the variables of its service."""

ENGINE_TIMEOUT = 120
"""Seconds for `pulumi stack output`, which reads the state and decrypts it."""

PAYLOAD_API_URL = "http://localhost:3000/api"
"""Payload's API on a laptop, the seed's."""

NO_STORE = ObjectStore(
    # Port 9 (discard) answers nowhere: an upload fails at once and on this machine, whatever the credentials.
    endpoint="http://127.0.0.1:9",
    account_id="no-store-in-dev",
    access_key_id="no-store-in-dev",
    secret_access_key="no-store-in-dev",  # noqa: S106 (no secret: there is no store)
    bucket=settings.BUCKET,
)
"""What the dev stack's S3_* say without a store: the contract's variables are there, and no upload reaches anybody."""

DESCRIPTIONS = {"payload": "Payload CMS frontend", "django": "Django REST API"}


class EnvFileError(OperatorError):
    """An env file cannot be written. The message says why and what to do."""


def product_of(told: Settings, service: str) -> Product:
    """The product that a service key, or its own name, stands for. Raises EnvFileError with what is allowed."""
    with_env = [product for product in told.products.values() if product.framework]
    for product in with_env:
        if service in (product.name, product.service):
            return product
    allowed = ", ".join(f"{product.name} ({product.service})" for product in with_env)
    raise EnvFileError(f"SERVICE={service}: no such service; allowed: {allowed}")


def for_local(told: Settings, product: Product, extras: services.Extras | None = None) -> list[EnvEntry]:
    """The entries of a service that runs on this machine, from the dev stack's state; `extras`: what runs besides."""
    state = told.local
    if state is None or product.framework is None:
        raise EnvFileError(f"stack {told.stack} is not local; run: make env STACK={told.stack}, with its engine")
    return service_env(
        ServiceEnvArgs(
            product=product,
            database=settings.DATABASE,
            pooled=Server(host=local_state.HOST, port=state.pgbouncer_port),
            direct=Server(host=local_state.HOST, port=state.database_port),
            password=state.passwords[product.login_role].get_secret_value(),
            application_secret=state.secrets[settings.APPLICATION_SECRETS[product.framework]].get_secret_value(),
            store=extras.store if extras else NO_STORE,
            redis_url=extras.redis_url if extras else None,
            payload_api_url=PAYLOAD_API_URL,
        )
    )


def for_deployed(stack: str, product: Product) -> dict[str, str]:
    """The variables of a deployed service, from its stack's outputs. Raises EnvFileError when they cannot be had."""
    pulumi = install.find(stack, local=False)
    cure = f"log in to the stack's backend and deploy first: make deploy STACK={stack}"
    command = ("stack", "output", "--stack", stack, "--json", "--show-secrets")
    values = json.loads(pulumi.query(*command, timeout=ENGINE_TIMEOUT, fix=cure)).get(OUTPUT, {}).get(product.name)
    if not isinstance(values, dict):
        raise EnvFileError(f"stack {stack} has no output {OUTPUT}.{product.name}", cure)
    return {str(name): str(value) for name, value in values.items()}


_UNPORTABLE = re.compile(r"['\\$`\x00-\x1f\x7f]")


def quoted(name: str, value: str) -> str:
    """The value in single quotes, which dotenv, python-dotenv and sh read alike.

    Raises EnvFileError for a quote, backslash, dollar sign, backtick or control character: there they part ways
    (Next.js expands `$` even in single quotes).
    """
    found = _UNPORTABLE.search(value)
    if found:
        raise EnvFileError(
            f"{name} holds {found.group()!r}, which not every reader of env files takes alike; rotate it to letters and"
            " digits, or percent-encode it"
        )
    return f"'{value}'"


def text(product: Product, stack: str, values: Mapping[str, str]) -> str:
    """The env file, the marker in its first line."""
    head = f"{MARKER} STACK={stack} SERVICE={product.name} for {product.service}: edits are lost, secrets inside.\n"
    return head + "".join(f"{name}={quoted(name, value)}\n" for name, value in values.items())


def write(product: Product, stack: str, values: Mapping[str, str], folder: Path = FOLDER) -> Path:
    """Writes the env file of one service, whole or not at all, and returns its path.

    Raises EnvFileError when a file is in the way that was not written here.
    """
    path = folder / (f"{product.name}.env" if stack == "dev" else f"{product.name}.{stack}.env")
    content = text(product, stack, values)
    if path.is_symlink() or (path.exists() and not path.read_text().startswith(MARKER)):
        raise EnvFileError(f"{path} was not written by make env and stays as it is; move it away, then run again")
    local_state.write_private(path, content)
    return path


def write_contract(entries: Mapping[str, Iterable[EnvEntry]], told: Settings, folder: Path = FOLDER) -> Path:
    """Writes the services' required variables into `.env.services.json`, other services in it left as they are.

    `entries` holds each service's by product. Raises EnvFileError when the file there is no such contract.
    """
    path = folder / CONTRACT
    document: Any = {}
    if path.exists():
        try:
            document = json.loads(path.read_text())
        except ValueError:
            document = None
    services = document.setdefault("services", {}) if isinstance(document, dict) else None
    if not isinstance(services, dict):
        raise EnvFileError(f'{path} is no contract file ({{"services": …}}); move it away, then run again')
    for name, variables in entries.items():
        product = told.products[name]
        assert product.service is not None  # noqa: S101 (settings: it goes with framework)
        services[product.service] = {
            "description": DESCRIPTIONS[product.framework or ""],
            "required_variables": [entry.name for entry in variables if not entry.optional],
        }
    local_state.write_private(path, json.dumps(document, indent=2) + "\n")
    return path


def write_local(told: Settings, folder: Path = FOLDER, extras: services.Extras | None = None) -> list[Path]:
    """Writes every local service's env file and the contract; the same state gives the same bytes."""
    entries = {p.name: for_local(told, p, extras) for p in told.products.values() if p.framework}
    written = [write(told.products[name], told.stack, _plain(variables), folder) for name, variables in entries.items()]
    return [*written, write_contract(entries, told, folder)]


def _plain(entries: Iterable[EnvEntry]) -> dict[str, str]:
    return {entry.name: str(entry.value) for entry in entries}


def run(told: Settings, service: str, folder: Path = FOLDER) -> int:
    """`make env`: writes one service's env file and says where. Raises EnvFileError when it cannot."""
    product = product_of(told, service)
    if told.local is not None:
        entries = for_local(told, product, services.extras())
        values = _plain(entries)
        write_contract({product.name: entries}, told, folder)
    else:
        values = for_deployed(told.stack, product)
    path = write(product, told.stack, values, folder)
    print(f"wrote {path} ({len(values)} variables of {product.service})")
    return 0

"""The env files of the services: what `make env` writes for one of them, and the contract file of all.

They are in the ignored folder `.local/<stack>/env/`, with mode 0600.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.server import Server
from components.services.env import EnvEntry, ObjectStore, ServiceEnvArgs, service_env
from ops.deploy import install
from ops.dev import servers, state
from ops.dev.files import write_private
from ops.dev.model import Extras
from settings import APPLICATION_SECRETS, BUCKET, DATABASE, HOST, TEST_DATABASE, Product, Settings
from settings.problems import OperatorError, Problem

CONTRACT = ".env.services.json"

MARKER = "# Written by make env"
"""First words of each file written here; a file without them is the user's own."""

OUTPUT = "service_env"
"""The stack output that `values` reads: per product, the variables of its service."""

PULUMI_TIMEOUT = 120
"""Seconds for `pulumi stack output`, which reads the state and decrypts it."""

PAYLOAD_API_URL = "http://localhost:3000/api"
"""Payload's API on a laptop, the seed's."""

NO_STORE = ObjectStore(
    # Port 9 (discard) answers nowhere: an upload fails at once and on this machine, whatever the credentials.
    endpoint="http://127.0.0.1:9",
    account_id="no-store-in-dev",
    access_key_id="no-store-in-dev",
    secret_access_key="no-store-in-dev",  # noqa: S106 (no secret: there is no store)
    bucket=BUCKET,
)
"""What a local stack's S3_* are without a store: the contract's variables are there, and no upload reaches anybody."""

DESCRIPTIONS = {"payload": "Payload CMS frontend", "django": "Django REST API"}


class EnvFileError(OperatorError):
    """An env file cannot be written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What `write_local` did."""

    files: tuple[Path, ...]
    removed: tuple[Path, ...]
    """Files of products that are gone."""


def env_folder(stack: str) -> Path:
    """Where a stack's env files are."""
    return state.folder(stack) / "env"


def product_of(settings: Settings, service: str) -> Product:
    """The product that a service key, or its own name, stands for. Raises EnvFileError with the known ones."""
    with_env = [product for product in settings.products.values() if product.framework]
    for product in with_env:
        if service in (product.name, product.service):
            return product
    known = ", ".join(f"{product.name} ({product.service})" for product in with_env)
    fix = f"make env STACK={settings.stack} SERVICE=<one of them>"
    raise EnvFileError(Problem(key=f"SERVICE={service}", what="no such service", expected=known, fix=fix))


def for_local(settings: Settings, product: Product, extras: Extras | None = None) -> list[EnvEntry]:
    """The entries of a service that runs on this machine, from the stack's state; `extras`: what runs besides."""
    local = settings.local
    if local is None or product.framework is None:
        raise EnvFileError(
            f"stack {settings.stack} is not local, or {product.name} has no service",
            "name a local stack, and a product with a framework",
        )
    extras = extras or Extras()
    store = extras.store or NO_STORE
    return service_env(
        ServiceEnvArgs(
            product=product,
            database=DATABASE,
            pooled=Server(host=HOST, port=local.pgbouncer_port),
            direct=Server(host=HOST, port=local.database_port),
            password=local.passwords[product.login_role].get_secret_value(),
            application_secret=local.secrets[APPLICATION_SECRETS[product.framework]].get_secret_value(),
            store=store,
            # The local store serves its bucket to everybody, as the CDN does R2's.
            cdn_base_url=f"{store.endpoint}/{store.bucket}",
            redis_url=extras.redis_url,
            test_database=TEST_DATABASE if product is settings.tested_product else None,
            payload_api_url=PAYLOAD_API_URL,
        )
    )


def _of_deployed(stack: str) -> dict[str, dict[str, str]]:
    pulumi = install.find(stack, local=False)
    command = ("stack", "output", "--stack", stack, "--json", "--show-secrets")
    outputs = json.loads(pulumi.query(*command, timeout=PULUMI_TIMEOUT, fix=_deploy(stack)))
    return {
        product: {str(name): str(value) for name, value in values.items()}
        for product, values in outputs.get(OUTPUT, {}).items()
    }


def _deploy(stack: str) -> str:
    return f"log in to the stack's backend and deploy first: make deploy STACK={stack}"


POOLED_DRIVERS = "DATABASE_URL: psycopg takes prepare_threshold=None (Django sets it), asyncpg statement_cache_size=0."
"""The pooler of a local stack may be too old to know prepared statements, which both drivers use by default."""

_PORTABLE = re.compile(r"[\w./:@%+,=?!^*{}\[\]&-]*")
"""Read alike without quotes by sh, `docker --env-file`, `kubectl --from-env-file`, dotenv, Node's own `--env-file`,
python-dotenv and django-environ. Quotes are no way out: docker and kubectl take them for part of the value."""

_NO_SHELL = "&"
"""The one exception: a URL with two parameters has it, and a shell takes it for the end of a command."""


def text(product: Product, stack: str, values: Mapping[str, str]) -> str:
    """The env file, the marker in its first line. Raises EnvFileError for a value that readers take differently."""
    head = f"{MARKER} STACK={stack} SERVICE={product.name} for {product.service}: edits are lost, secrets inside.\n"
    if product.framework == "django":
        head += f"# {POOLED_DRIVERS}\n"
    if not_for_a_shell(values):
        head += f"# A shell cannot read this file: there is an {_NO_SHELL} in {', '.join(not_for_a_shell(values))}.\n"
    for name, value in values.items():
        if not _PORTABLE.fullmatch(value):
            wrong = next(character for character in value if not _PORTABLE.fullmatch(character))
            raise EnvFileError(
                f"{name} holds {wrong!r}, which not every reader of env files takes alike",
                "rotate it to letters and digits, or percent-encode it",
            )
    return head + "".join(f"{name}={value}\n" for name, value in values.items())


def not_for_a_shell(values: Mapping[str, str]) -> list[str]:
    """The variables that every reader of env files takes alike, but for a shell."""
    return [name for name, value in values.items() if _NO_SHELL in value]


def is_foreign(path: Path) -> bool:
    """Whether something is there that was not written here: it is never overwritten."""
    return path.is_symlink() or (path.exists() and not path.read_text().startswith(MARKER))


def write(product: Product, stack: str, values: Mapping[str, str], folder: Path) -> Path:
    """Writes the env file of one service, whole or not at all, and gives its path.

    Raises EnvFileError where a file is in the way that was not written here.
    """
    path = folder / f"{product.name}.env"
    content = text(product, stack, values)
    if is_foreign(path):
        raise EnvFileError(f"{path} was not written by make env and stays as it is", "move it away, then run again")
    write_private(path, content)
    return path


def read(path: Path) -> dict[str, str]:
    """The variables of an env file without quotes, as `text` writes it."""
    lines = (line for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def read_contract(path: Path) -> dict[str, Any]:
    """The `.env.services.json` there, an empty one where there is none. Raises EnvFileError where it is something else.

    It is `{"services": {"<service key>": {"required_variables": […], …}}}`.
    """
    document: Any = {}
    if path.exists():
        try:
            document = json.loads(path.read_text())
        except ValueError:
            document = None
    if not isinstance(document, dict) or not isinstance(document.setdefault("services", {}), dict):
        raise EnvFileError(f'{path} is no contract file ({{"services": …}})', "move it away, then run again")
    return document


def write_contract(
    entries: Mapping[str, Iterable[EnvEntry]], settings: Settings, folder: Path, gone: Collection[str] = ()
) -> Path:
    """Writes the services' required variables into `.env.services.json`; other services in it stay as they are.

    `entries` holds each service's by product; `gone` are service keys to leave out. Raises EnvFileError where the file
    that is there is not such a contract.
    """
    path = folder / CONTRACT
    document = read_contract(path)
    services = document["services"]
    for name, variables in entries.items():
        product = settings.products[name]
        assert product.service is not None  # noqa: S101 (settings: it goes with framework)
        services[product.service] = {
            "description": DESCRIPTIONS[product.framework or ""],
            "required_variables": [entry.name for entry in variables if not entry.optional],
        }
    for key in gone:
        services.pop(key, None)
    write_private(path, json.dumps(document, indent=2) + "\n")
    return path


def write_local(settings: Settings, folder: Path, extras: Extras | None = None) -> Written:
    """Writes every local service's env file and the contract, and removes the files of products that are gone.

    The same state gives the same bytes.
    """
    entries = {p.name: for_local(settings, p, extras) for p in settings.products.values() if p.framework}
    files = [write(settings.products[name], settings.stack, _plain(e), folder) for name, e in entries.items()]
    stale = {path: service for path, service in _written_here(folder).items() if path not in files}
    for path in stale:
        path.unlink()
    in_use = {product.service for product in settings.products.values()}
    contract = write_contract(entries, settings, folder, gone=set(stale.values()) - in_use)
    return Written(files=(*files, contract), removed=tuple(stale))


def _written_here(folder: Path) -> dict[Path, str]:
    """The env files that were written here, each with the service key in its first line."""
    found = {}
    for path in sorted(folder.glob("*.env")):
        if not path.is_symlink() and (head := re.match(rf"{MARKER} .* for (\S+): ", path.read_text())):
            found[path] = head[1]
    return found


def _plain(entries: Iterable[EnvEntry]) -> dict[str, str]:
    return {entry.name: str(entry.value) for entry in entries}


def values(settings: Settings) -> dict[str, dict[str, str]]:
    """The variables of every service, by product: from a local stack's state, or from a deployed one's outputs.

    Raises EnvFileError or another OperatorError where they cannot be had.
    """
    if not settings.is_local:
        return _of_deployed(settings.stack)
    extras = servers.extras_of(settings)
    with_service = (product for product in settings.products.values() if product.framework)
    return {product.name: _plain(for_local(settings, product, extras)) for product in with_service}


def values_of(settings: Settings, product: Product) -> dict[str, str]:
    """The variables of a product's service. Raises EnvFileError where the stack has none."""
    found = values(settings).get(product.name)
    if found is None:
        raise EnvFileError(f"stack {settings.stack} has no output {OUTPUT}.{product.name}", _deploy(settings.stack))
    return found


def run(settings: Settings, service: str, folder: Path | None = None) -> int:
    """`make env`: writes one service's env file and says where. Raises EnvFileError where it cannot."""
    folder = folder or env_folder(settings.stack)
    product = product_of(settings, service)
    if settings.is_local:
        entries = for_local(settings, product, servers.extras_of(settings))
        variables = _plain(entries)
        write_contract({product.name: entries}, settings, folder)
    else:
        variables = values_of(settings, product)
    path = write(product, settings.stack, variables, folder)
    print(f"wrote {path} ({len(variables)} variables of {product.service})")
    if names := not_for_a_shell(variables):
        print(f"a shell cannot read it: there is an {_NO_SHELL} in {', '.join(names)}; docker, kubectl and dotenv can")
    return 0

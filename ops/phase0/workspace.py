"""The env files of a whole workspace: a folder with a checkout per service and one `.env.services.json`.

A service's key in that file is its checkout's path in the workspace; its env file is `.env` there.
"""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ops.console import say
from ops.dev import env
from ops.dev.files import write_private
from ops.errors import ExitCode
from settings import Settings

ENV_FILE = ".env"

Values = Mapping[str, Mapping[str, str]]
"""The variables of every service, by product."""


class Status(StrEnum):
    """What a service's env file is."""

    CURRENT = "up to date"
    WRITTEN = "written"
    MISSING = "missing"
    OUTDATED = "out of date"
    INCOMPLETE = "incomplete"
    """The contract requires a variable that the stack does not have."""
    FOREIGN = "not written by make env, left as it is"
    NOT_IGNORED = "not written: git does not ignore it"
    NO_CHECKOUT = "no such folder in the workspace"
    NOT_REQUIRED = f"not in {env.CONTRACT}"
    OTHER = "not a service of this stack"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceFile:
    """One service's env file. It names variables, never their values."""

    service: str
    """Its key in the contract."""
    path: Path
    status: Status
    missing: tuple[str, ...] = ()
    """Required by the contract; neither the stack nor the file has them."""
    changed: tuple[str, ...] = ()
    """In the file and in the stack, with different values, or in the stack only."""
    superfluous: tuple[str, ...] = ()
    """In the file only."""

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do; a file of somebody else has to hold the stack's values."""
        if self.status is Status.FOREIGN:
            return not self.missing and not self.changed
        return self.status in (Status.CURRENT, Status.WRITTEN, Status.OTHER)

    def __str__(self) -> str:
        lists = (("missing", self.missing), ("changed", self.changed), ("superfluous", self.superfluous))
        found = "".join(f"; {name}: {', '.join(names)}" for name, names in lists if names)
        return f"{self.service}: {self.status}{found}"


def distribute(settings: Settings, workspace: Path, values: Values, *, check: bool) -> list[ServiceFile]:
    """Writes the env file of every service in the workspace's contract; with `check` it only looks.

    Raises EnvFileError where there is no contract.
    """
    path = workspace / env.CONTRACT
    if not path.exists():
        example = env.env_folder(settings.stack) / env.CONTRACT
        raise env.EnvFileError(f"{path} is missing", f"WORKSPACE=<folder that has it>, or start from {example}")
    services = env.read_contract(path)["services"]
    return list(_files(settings, workspace, services, values, check=check))


def _files(
    settings: Settings, workspace: Path, services: dict[str, object], values: Values, *, check: bool
) -> Iterator[ServiceFile]:
    products = {product.service: product for product in settings.products.values() if product.service}
    for service, contract in services.items():
        path = workspace / service / ENV_FILE
        product = products.get(service)
        if product is None:
            yield ServiceFile(service=service, path=path, status=Status.OTHER)
            continue
        required = _required(service, contract)
        if not path.parent.is_dir():
            yield ServiceFile(service=service, path=path, status=Status.NO_CHECKOUT)
            continue
        variables = values.get(product.name, {})
        found = _compared(service, path, required, variables)
        yield _settled(found, env.text(product, settings.stack, variables), check=check)
    for service in products.keys() - services.keys():
        yield ServiceFile(service=service, path=workspace / service / ENV_FILE, status=Status.NOT_REQUIRED)


def _required(service: str, contract: object) -> list[str]:
    required = contract.get("required_variables", []) if isinstance(contract, dict) else None
    if not isinstance(required, list):
        raise env.EnvFileError(
            f"{env.CONTRACT}: {service} has no list required_variables", f"add it to the service in {env.CONTRACT}"
        )
    return [str(name) for name in required]


def _compared(service: str, path: Path, required: list[str], values: Mapping[str, str]) -> ServiceFile:
    """What is in the file and in the stack; FOREIGN where somebody else wrote the file, else CURRENT for now."""
    foreign = env.is_foreign(path)
    there = env.read(path) if path.is_file() else {}
    return ServiceFile(
        service=service,
        path=path,
        status=Status.FOREIGN if foreign else Status.CURRENT,
        missing=tuple(name for name in required if name not in values and not (foreign and name in there)),
        changed=tuple(name for name in values if there.get(name) != values[name]),
        superfluous=tuple(name for name in there if name not in values),
    )


def _settled(found: ServiceFile, text: str, *, check: bool) -> ServiceFile:
    """Writes the file unless there is a reason not to; the result says which."""
    if found.status is Status.FOREIGN:
        return found
    exists = found.path.exists()
    if not exists or found.path.read_text() != text:
        if check:
            return replace(found, status=Status.OUTDATED if exists else Status.MISSING)
        if not _ignored(found.path):
            return replace(found, status=Status.NOT_IGNORED)
        write_private(found.path, text)
        found = replace(found, status=Status.WRITTEN, changed=(), superfluous=())
    return replace(found, status=Status.INCOMPLETE) if found.missing else found


def _ignored(path: Path) -> bool:
    """Whether git keeps its hands off the file; also where there is no git repository."""
    command = ["git", "check-ignore", "--quiet", path.name]
    # 0: ignored, 1: not ignored, 128: no repository.
    return subprocess.run(command, cwd=path.parent, capture_output=True, check=False).returncode != 1


def run(settings: Settings, workspace: Path, *, check: bool) -> ExitCode:
    """`make env ALL=1`: one line per service. FAILED where something is left to do."""
    files = distribute(settings, workspace, env.values(settings), check=check)
    for file in files:
        say(str(file))
    return ExitCode.OK if all(file.ok for file in files) else ExitCode.FAILED

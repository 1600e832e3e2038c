"""The Pulumi engine: where it is found, the environment it runs in, and the way back from a killed update.

Everything goes through the `pulumi` command line, so that what runs here is what a user would type.
"""

import contextlib
import importlib.metadata
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

import settings
from ops.plan.recorder import Recording
from settings.problems import OperatorError

SWITCH = "LIGHTWAVE_ENGINE"
"""Environment variable; `off` keeps a machine that has an engine from using it."""

PASSPHRASE = "lightwave-dev"  # noqa: S105
"""Config passphrase of the dev stack. Not a secret: it only has to fit the salt committed in Pulumi.dev.yaml, so that
the engine never writes that file. What it encrypts stays in the ignored local folder."""

STATE_FOLDER = ".local/pulumi-state"
"""The dev stack's file backend, below the project's folder."""

INSTALL_FOLDER = ".local/pulumi"
"""Where the official installer puts an engine that the machine does not have."""

INSTALLER = "https://get.pulumi.com/install.sh"

_PROBE_SECONDS = 10
_INSTALL_SECONDS = 600
_PLUGIN_SECONDS = 300
_QUERY_SECONDS = 60


class NoEngineError(OperatorError):
    """No engine can be had here. The message is one line and says why."""


class EngineError(OperatorError):
    """The engine failed, or must not start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that a killed update began and whose end nobody recorded."""

    operation: str
    """creating, updating, deleting, …"""
    urn: str
    type: str
    inputs: Mapping[str, Any]
    parent: str = ""
    """URN."""
    provider: str = ""
    """URN."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The `pulumi` command for one stack of one checkout."""

    command: str
    stack: str
    root: Path = settings.ROOT

    @property
    def local(self) -> bool:
        """Whether the stack's state is the local file backend."""
        return self.stack == "dev"

    def environment(self) -> dict[str, str]:
        """What the engine runs with; a stack other than dev keeps the backend and the secrets of the caller's."""
        # The language host stands beside the command, and runs the `uv` that stands beside this Python.
        beside = [str(Path(path).parent) for path in (self.command, sys.executable) if Path(path).is_absolute()]
        environment = {
            **os.environ,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": os.pathsep.join([*beside, os.environ.get("PATH", os.defpath)]),
            # The environment's own, which is not .python-version's on every machine.
            "UV_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        }
        if self.local:
            environment |= dev_environment(self.root)
            # `find` made sure of what the stack needs; the program's other providers are large.
            environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        return environment

    def select(self) -> None:
        """Makes the stack the selected one; creates dev's where it is missing. EngineError while it is updated."""
        if self.local:
            (self.root / STATE_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mend_state()
            self._query("stack", "select", "--create", self.stack)
        else:
            self._query("stack", "select", self.stack)

    def up(self) -> dict[str, int]:
        """Runs the update and gives its count of resources by what was done: `same`, `create`, `update`, `delete`, …

        Only dev goes without a preview: elsewhere the preview is what refuses to delete what is protected.
        """
        self._stream("up", "--yes", *(("--skip-preview", "--suppress-outputs") if self.local else ()))
        history = json.loads(self._query("stack", "history", "--stack", self.stack, "--json", "--page-size", "1"))
        changes: dict[str, int] = history[0].get("resourceChanges", {})
        return changes

    def recover(self, *, stale: bool = False) -> list[Pending]:
        """Clears what a killed update of the dev stack left behind: its lock and its pending operations.

        The state then tells what is there, but for what was created and not recorded (`drop_unrecorded`). `stale`: the
        state may tell of another database. Raises EngineError while another update runs.
        """
        if self._dead_locks():
            print(f"clearing the lock of a killed update of stack {self.stack}")
            self._query("cancel", "--yes", self.stack)
        pending = self.pending()
        if pending or (stale and self.recorded()):
            print("refreshing the engine's state from the database")
            # The program runs too: the server's port may have changed since.
            self._stream("refresh", "--yes", "--skip-preview", "--run-program", "--clear-pending-creates")
        return pending

    def pending(self) -> list[Pending]:
        """What a killed update began and did not record."""
        operations = self._deployment().get("pending_operations") or []
        return [
            Pending(
                operation["type"],
                resource["urn"],
                resource["type"],
                resource.get("inputs", {}),
                resource.get("parent", ""),
                # The state adds the provider's own id.
                resource.get("provider", "").rpartition("::")[0],
            )
            for operation in operations
            for resource in [operation["resource"]]
        ]

    def recorded(self) -> set[str]:
        """URNs of everything in the stack's state."""
        return {resource["urn"] for resource in self._deployment().get("resources") or []}

    def _deployment(self) -> dict[str, Any]:
        exported = json.loads(self._query("stack", "export", "--stack", self.stack))
        deployment: dict[str, Any] = exported.get("deployment") or {}
        return deployment

    def _dead_locks(self) -> int:
        """How many locks killed updates left. Raises EngineError while another update runs."""
        dead = 0
        for path in (self.root / STATE_FOLDER).glob(f".pulumi/locks/*/{settings.PROJECT}/{self.stack}/*.json"):
            try:
                lock = json.loads(path.read_text())
            except FileNotFoundError:  # its update ended just now
                continue
            except ValueError:  # killed while it took the lock
                lock = None
            if lock and _alive(lock):
                raise EngineError(
                    f"another update of stack {self.stack} runs (process {lock['pid']} on {lock['hostname']} since "
                    f"{lock['timestamp']}): wait for it; if it is gone for sure: pulumi cancel {self.stack}"
                )
            dead += 1
        return dead

    def _mend_state(self) -> None:
        """Mends the file backend's files that a kill cut off. EngineError while another update runs.

        Where the state itself is cut off (a full disk, a power cut), the one before it stands beside it; what is lost
        is one step, which `drop_unrecorded` sees in the database.
        """
        killed = self._dead_locks() > 0
        drop_cut_attributes(self.root / STATE_FOLDER)
        state = self.root / STATE_FOLDER / ".pulumi" / "stacks" / settings.PROJECT / f"{self.stack}.json"
        backup = state.with_name(f"{state.name}.bak")
        if killed and not _whole(state):
            print(f"the engine's state was cut off when an update of stack {self.stack} was killed: its backup is used")
            if _whole(backup):
                shutil.copyfile(backup, state)
            else:
                # Without the one, the engine would read the other.
                state.unlink(missing_ok=True)
                backup.unlink(missing_ok=True)

    def _query(self, *args: str) -> str:
        """Runs a short command. Raises EngineError with what it said."""
        try:
            done = subprocess.run(
                [self.command, "--non-interactive", *args],
                cwd=self.root,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=_QUERY_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"pulumi {args[0]} gave no answer in {_QUERY_SECONDS} s") from error
        if done.returncode:
            raise EngineError(f"pulumi {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _stream(self, command: str, *args: str) -> None:
        """Runs a long command, its progress shown as it comes. Raises EngineError when it fails."""
        arguments = [self.command, "--non-interactive", command, "--stack", self.stack, "--suppress-progress", *args]
        sys.stdout.flush()
        with subprocess.Popen(arguments, cwd=self.root, env=self.environment()) as process:
            while process.poll() is None:
                # An interrupt reaches the engine too: it ends what it is at and writes its state, and is waited for.
                with contextlib.suppress(KeyboardInterrupt):
                    process.wait()
        if process.returncode:
            raise EngineError(
                f"pulumi {command} of stack {self.stack} failed (exit status {process.returncode}), see above"
            )


def drop_cut_attributes(backend: Path) -> None:
    """Drops the attributes that a killed update had begun to write beside a file of the file backend.

    The engine writes them in place and refuses the file where they are cut off (`EOF`); it takes one without any.
    """
    for attributes in backend.glob(".pulumi/**/*.attrs"):
        if not _whole(attributes):
            attributes.unlink(missing_ok=True)


def at_cloudflare(root: Path = settings.ROOT) -> list[str]:
    """Names of what the dev stack's state holds at Cloudflare; none where there is no state to be read."""
    state = root / STATE_FOLDER / ".pulumi" / "stacks" / settings.PROJECT / "dev.json"
    try:
        latest = json.loads(state.read_text())["checkpoint"]["latest"] or {}
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return [
        resource["urn"].rpartition("::")[2]
        for resource in latest.get("resources") or []
        if resource["type"].startswith("cloudflare:")
    ]


def dev_environment(root: Path = settings.ROOT) -> dict[str, str]:
    """The two variables with which plain `pulumi` commands work on the dev stack."""
    return {
        "PULUMI_BACKEND_URL": f"file://{root / STATE_FOLDER}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
    }


def providers(told: settings.Settings) -> tuple[str, ...]:
    """Names of the providers that a local stack needs."""
    beyond = {"kubernetes": told.kubernetes, "cloudflare": told.media}
    return ("postgresql", *(name for name, declared in beyond.items() if declared))


def find(stack: str = "dev", root: Path = settings.ROOT, *, providers: Sequence[str] = ("postgresql",)) -> Engine:
    """The engine: `pulumi` on PATH, else one that the official installer puts into the ignored folder.

    For dev its providers are made sure of, too. Raises NoEngineError before anything else is touched.
    """
    if os.environ.get(SWITCH, "").lower() == "off":
        raise NoEngineError(f"{SWITCH}=off")
    command = shutil.which("pulumi") or _installed(root)
    engine = Engine(command, stack, root)
    for provider in providers if engine.local else ():
        _ensure_provider(engine, provider)
    return engine


def _installed(root: Path) -> str:
    folder = root / INSTALL_FOLDER
    command = folder / "bin" / "pulumi"
    if not command.exists():
        try:
            with urllib.request.urlopen(INSTALLER, timeout=_PROBE_SECONDS):
                pass
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise NoEngineError(f"pulumi is not on PATH and {INSTALLER} can not be reached ({reason})") from error
        print(f"installing pulumi {importlib.metadata.version('pulumi')} into {INSTALL_FOLDER}")
        # In a process of its own: the installer itself knows no time limit.
        program = "import sys; from pulumi.automation import PulumiCommand; PulumiCommand.install(root=sys.argv[1])"
        _install([sys.executable, "-c", program, str(folder)], _INSTALL_SECONDS, "pulumi can not be installed")
    return str(command)


def _ensure_provider(engine: Engine, name: str) -> None:
    if shutil.which(f"pulumi-resource-{name}", path=engine.environment()["PATH"]):
        return
    version = importlib.metadata.version(f"pulumi-{name}")
    plugins = json.loads(engine._query("plugin", "ls", "--json"))
    if any(p["name"] == name and (p.get("version") or "").lstrip("v") == version for p in plugins):
        return
    print(f"installing the {name} provider {version}")
    _install(
        [engine.command, "--non-interactive", "plugin", "install", "resource", name, version],
        _PLUGIN_SECONDS,
        f"the engine's {name} provider {version} can not be had",
        env=engine.environment(),
    )


def _install(command: list[str], seconds: int, failure: str, env: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=env)
    except subprocess.TimeoutExpired as error:
        raise NoEngineError(f"{failure}: no answer in {seconds} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise NoEngineError(f"{failure}: {said[-1]}")


def _whole(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True


def _alive(lock: Mapping[str, Any]) -> bool:
    """Whether the process that took the lock still runs; on another machine nobody here can tell."""
    if lock["hostname"] != socket.gethostname():
        return True
    # The number may be another process's by now; a defunct one is dead.
    shown = subprocess.run(
        ["ps", "-o", "stat=,comm=", "-p", str(lock["pid"])], capture_output=True, text=True, check=False
    ).stdout
    state, _, name = shown.strip().partition(" ")
    return bool(state) and not state.startswith("Z") and "pulumi" in name


_ROLE = "postgresql:index/role:Role"
_SCHEMA = "postgresql:index/schema:Schema"


def drop_unrecorded(
    connection: psycopg.Connection[Any], recording: Recording, pending: Iterable[Pending], recorded: set[str]
) -> list[str]:
    """Drops the roles and schemas that stand in the database and not in the engine's state, where they own nothing.

    A killed update leaves them, and the next one would fail with `already exists`. What is looked for is what the stack
    declares and what was `pending`. Gives what it dropped; raises EngineError for what is in use, with nothing dropped.
    """
    declared = [(r.urn, r.type, r.inputs) for r in recording.resources]
    wanted = {
        (type_, str(inputs["name"]))
        for urn, type_, inputs in [*declared, *((p.urn, p.type, p.inputs) for p in pending)]
        if type_ in (_ROLE, _SCHEMA) and urn not in recorded and not inputs.get("ifNotExists")
    }
    dropped = []
    with connection.transaction():
        # Schemas before roles: a role that may do something in one can not be dropped.
        for type_, name in sorted(wanted, reverse=True):
            kind, catalog = (
                ("ROLE", "pg_roles WHERE rolname") if type_ == _ROLE else ("SCHEMA", "pg_namespace WHERE nspname")
            )
            if connection.execute(f"SELECT FROM {catalog} = %s".encode(), [name]).fetchone() is None:
                continue
            try:
                # RESTRICT, PostgreSQL's default: it refuses what owns something or holds something.
                connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name)))
            except psycopg.errors.DependentObjectsStillExist as error:
                raise EngineError(
                    f"{kind.lower()} {name} is in the database and not in the engine's state, and it is in use "
                    f"({(error.diag.message_detail or '').splitlines()[0]}); run: make down WIPE=1, then make up"
                ) from error
            dropped.append(f"{kind.lower()} {name}")
    return dropped


def adoption(engine: Engine) -> str | None:
    """How to adopt what a killed update of a protected stack created and did not record; None where there is nothing.

    Nothing is done here: whoever runs it looks first.
    """
    pending = engine.pending()
    if not pending:
        return None
    return "\n".join(
        [
            f"a killed update of stack {engine.stack} left {len(pending)} operations under way:",
            *(f"  {p.operation} {p.urn}" for p in pending),
            "Look which of them were done. Adopt the roles and schemas that were created, each with its line:",
            *(f"  {_import(engine.stack, p)}" for p in pending if p.operation == "creating" and p.type in _IMPORT_IDS),
            "(a grant is granted again, which changes nothing; anything else: `pulumi import` with its provider's id)",
            "Then drop what is left from the list, and deploy again:",
            f"  pulumi refresh --stack {engine.stack} --run-program --clear-pending-creates",
        ]
    )


_IMPORT_IDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    _ROLE: lambda inputs: str(inputs["name"]),
    _SCHEMA: lambda inputs: f"{inputs['database']}.{inputs['name']}",
}
"""The provider's documented import ids."""


def _import(stack: str, pending: Pending) -> str:
    name = pending.urn.rpartition("::")[2]
    command = ["pulumi", "import", pending.type, name, _IMPORT_IDS[pending.type](pending.inputs), "--stack", stack]
    command += ["--parent", f"parent={pending.parent}", "--provider", f"provider={pending.provider}"]
    return shlex.join([*command, "--generate-code=false"])

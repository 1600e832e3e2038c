"""The local servers in containers of Docker or Podman, from local/compose.yaml."""

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from components.pgbouncer.ini import PgBouncerIni
from ops.dev import admin
from ops.dev import extras as beside
from ops.dev.files import write_private
from ops.dev.model import Kind, LocalStack, Report, Running, ServersError, Status
from ops.dev.packages import succeeds
from ops.process import ProcessError, output
from settings import HOST, ROOT

COMPOSE_FILE = ROOT / "local" / "compose.yaml"
COMPOSE_CLUSTER_FILE = ROOT / "local" / "compose.cluster.yaml"
"""Read besides where pods reach PostgreSQL on an address of this machine."""

_GENERATED = "compose.json"

_COMPOSE_SECONDS = 900
"""Fetching the images is part of it."""


def compose_command() -> list[str] | None:
    """The compose command of Docker or Podman; None where neither answers."""
    for client in ("docker", "podman"):
        if shutil.which(client) and all(succeeds([client, *words]) for words in (["info"], ["compose", "version"])):
            return [client, "compose"]
    return None


def admin_verifier(stack: LocalStack) -> str:
    """The admin's verifier for the bootstrap, made once: another salt would recreate the container."""
    path = stack.directory / _GENERATED
    if not path.exists():
        write_private(path, json.dumps({"ADMIN_VERIFIER": stack.admin_verifier()}, indent=2) + "\n")
    verifier: str = json.loads(path.read_text())["ADMIN_VERIFIER"]
    return verifier


def environment(stack: LocalStack, *, running: bool = True) -> dict[str, str]:
    """What local/compose.yaml takes from its environment; `running`: containers of the stack are there already."""
    users = stack.pgbouncer_users()
    ini = PgBouncerIni.for_local(stack.settings, auth_file_path="/etc/pgbouncer/userlist.txt", in_container=True)
    store = beside.s3_environment(stack, has_data=running)
    valkey_conf, valkey_acl = beside.valkey_files(
        stack,
        bind="0.0.0.0",  # noqa: S104 (in the container; published on the loopback address alone)
        port=6379,
        directory="/data",
        acl_path="/run/secrets/valkey_acl",
    )
    return {
        "ADMIN_VERIFIER": admin_verifier(stack),
        "VALKEY_PORT": str(beside.valkey_port(stack, has_data=running)),
        "VALKEY_CONF": valkey_conf,
        "VALKEY_ACL": valkey_acl,
        "VALKEY_CHECKSUM": sha256((valkey_conf + valkey_acl).encode()).hexdigest(),
        "S3_PORT": store["PORT"],
        "S3_ACCESS_KEY_ID": store["ROOT_ACCESS_KEY"],
        "S3_SECRET_ACCESS_KEY": store["ROOT_SECRET_KEY"],
        "DATABASE_PORT": str(stack.state.database_port),
        "PGBOUNCER_PORT": str(stack.state.pgbouncer_port),
        "MAX_CONNECTIONS": str(stack.database.max_connections),
        "PGBOUNCER_INI": ini.render(),
        "PGBOUNCER_USERS": users,
        "PGBOUNCER_CHECKSUM": sha256((ini.render() + users).encode()).hexdigest(),
        "PGBOUNCER_DESCRIPTORS": str(ini.file_descriptors),
    }


class Containers:
    """PostgreSQL, PgBouncer, Valkey and an S3 store, as a compose project of the stack's own."""

    kind: Kind = "compose"

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._project = f"lightwave-{sha256(str(self._directory).encode()).hexdigest()[:8]}"

    def require(self, _: Report, /) -> None:
        """Raises ServersError where neither Docker nor Podman answers."""
        self._command()

    def _command(self) -> list[str]:
        command = compose_command()
        if command is None:
            raise ServersError(
                f"the servers of {self._directory} are containers, and neither Docker nor Podman answers",
                "start it; its compose plugin is needed too, 2.23.1 or newer",
            )
        return command

    def start(self, stack: LocalStack, report: Report, *, extras: bool = True, pooler: bool = True) -> Running:
        """Starts what does not run, and replaces the containers whose configuration changed."""
        before = self._containers()
        given = environment(stack, running=bool(before))
        files = [COMPOSE_FILE]
        if address := stack.cluster_address():
            files.append(COMPOSE_CLUSTER_FILE)
            given["CLUSTER_ADDRESS"] = address
        what = "PostgreSQL 15 and PgBouncer" if pooler else "PostgreSQL 15"
        report(f"starting {what} in containers (the first time, images are fetched)")
        wait = ["up", "--detach", "--wait", "--wait-timeout", "180"]
        self._run([*wait, "postgres", *(["pgbouncer"] if pooler else [])], given, files=files)
        notes = []
        try:
            if extras:
                self._run([*wait, "valkey", "s3"], given, files=files)
                notes = [f"Valkey: {HOST}:{given['VALKEY_PORT']}; S3: http://{HOST}:{given['S3_PORT']}"]
        except ServersError:
            # The platform's own part does not need them.
            notes = ["Valkey and the S3 store did not start; see the containers' logs"]
        admin.require(stack, f"the containers' volume {self._project}_postgres")
        changed = self._containers() != before
        return Running(
            kind=self.kind,
            database_port=stack.state.database_port,
            pgbouncer_port=stack.state.pgbouncer_port,
            actions=("containers started",) if changed else (),
            notes=tuple(notes),
            extras=beside.of(stack),
        )

    def stop(self) -> tuple[str, ...]:
        """Removes the containers; their volumes stay."""
        if not self._containers():
            return ()
        self._run(["down", "--timeout", "10"])
        return ("containers stopped",)

    def stop_pooler(self) -> None:
        """Stops PgBouncer alone."""
        if self.status().pgbouncer:
            self._run(["stop", "pgbouncer"])

    def wipe(self) -> None:
        """Removes the volumes."""
        self._run(["down", "--volumes"])
        (self._directory / _GENERATED).unlink(missing_ok=True)

    def status(self) -> Status:
        """Which of them run now."""
        running = self._run(["ps", "--services", "--filter", "status=running"]).split()
        return Status(kind=self.kind, postgresql="postgres" in running, pgbouncer="pgbouncer" in running)

    def _containers(self) -> set[str]:
        return set(self._run(["ps", "--quiet"]).split())

    def _run(
        self, words: list[str], given: Mapping[str, str] | None = None, *, files: Sequence[Path] = (COMPOSE_FILE,)
    ) -> str:
        options = [word for file in files for word in ("--file", str(file))]
        command = [*self._command(), *options, "--project-name", self._project, *words]
        try:
            return output(command, timeout=_COMPOSE_SECONDS, env=given)
        except ProcessError as error:
            raise ServersError(error.problems) from None

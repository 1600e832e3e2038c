"""The dev stack's servers: PostgreSQL 15 and PgBouncer on this machine, started, looked at and stopped.

In order of preference: a container engine that answers (local/compose.yaml), the machine's own binaries, Debian's
packages. What was used first is kept for as long as its data are there.
"""

import json
import os
import platform
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psycopg

from components.pgbouncer.ini import PgBouncerIni, auth_file
from components.secrets.scram import scram_verifier
from components.services.env import ObjectStore
from ops.dev.state import FILE, FOLDER, HOST, free_port, locked, password, port_is_free, private_folder, write_private
from settings import ADMIN, BUCKET, DATABASE, ROOT, LocalDatabaseSettings, LocalState, Settings
from settings.problems import OperatorError

How = Literal["native", "compose"]

SUPERUSER = "postgres"
"""The bootstrap superuser: no password, let in through the local socket alone and only who runs the server."""

COMPOSE_FILE = ROOT / "local" / "compose.yaml"
COMPOSE_CLUSTER_FILE = ROOT / "local" / "compose.cluster.yaml"
"""Read besides where pods reach PostgreSQL on an address of this machine."""
BOOTSTRAP_SQL = ROOT / "local" / "bootstrap.sql"
COMPOSE_PGBOUNCER_VERSION = (1, 25)
"""Of the image in compose.yaml."""

_START_SECONDS = 60
_ORPHAN_SECONDS = 10
"""How long to wait for what a killed run or server left behind: a start under way, processes on their way out."""
_SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.65535.lock")


class ServicesError(OperatorError):
    """The servers cannot be started. The message says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The servers as they run now."""

    how: How
    database_port: int
    pgbouncer_port: int
    actions: tuple[str, ...]
    """What was done, a line each; empty when everything ran already as it should."""
    notes: tuple[str, ...] = ()
    """What one should know, a line each."""
    socket_directory: Path | None = None
    """Where the superuser's socket is, for a native server."""
    host: str = HOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What runs beside the database in containers."""

    store: ObjectStore
    redis_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What of the folder's servers runs."""

    how: How | None
    """None: nothing was started from this folder."""
    postgresql: bool = False
    pgbouncer: bool = False


# --- the three verbs --------------------------------------------------------------------------------------------------


def start(
    settings: Settings,
    directory: Path = FOLDER,
    *,
    engine: Literal["auto", "native", "compose"] = "auto",
    say: Callable[[str], None] = print,
) -> Running:
    """Brings both servers up as the settings say, and does nothing where they run so already.

    `say` hears what takes long. Raises ServicesError with what to do.
    """
    if settings.local is None or not isinstance(settings.database, LocalDatabaseSettings):
        raise ServicesError(f"stack {settings.stack} has no local server; allowed: one with database.server: local")
    with locked(directory):
        how = _chosen(directory, engine)
        servers = _servers(directory, how)
        servers.require(say)
        # Before anything is started: a killed start can be stopped, and goes on with the same kind of servers.
        write_private(_record(directory), json.dumps({"how": how}) + "\n")
        return servers.start(settings, settings.local, settings.database, say)


def stop_pooler(directory: Path = FOLDER) -> None:
    """Stops PgBouncer alone; `start` brings it back.

    Its server sessions keep what their role was set to when they began: after a change of a role they have to go.
    """
    with locked(directory):
        how = _recorded(directory)
        if how is not None:
            _servers(directory, how).stop_pooler()


def stop(directory: Path = FOLDER, *, wipe: bool = False) -> tuple[str, ...]:
    """Stops what was started from this folder and nothing else. Returns what was done.

    `wipe` removes the data, and the ports and passwords that go with them. Raises ServicesError when it cannot.
    """
    if not directory.exists():
        return ()
    with locked(directory):
        how = _recorded(directory)
        actions: tuple[str, ...] = ()
        try:
            if how is not None:
                servers = _servers(directory, how)
                actions = servers.stop()
                if wipe:
                    servers.wipe()
                    actions = (*actions, "data removed")
        except PermissionError as error:
            raise ServicesError(f"{error}: another user started the servers; stop them as that user") from None
        if wipe:
            for file in (_record(directory), directory / FILE):
                file.unlink(missing_ok=True)
        return actions


def status(directory: Path = FOLDER) -> Status:
    """What of this folder's servers runs now."""
    how = _recorded(directory)
    return Status(how=None) if how is None else _servers(directory, how).status()


def extras(directory: Path = FOLDER) -> Extras | None:
    """The S3 store and Valkey of this folder; None where its servers are no containers."""
    path = directory / "compose.json"
    if not path.exists():  # written when containers are started, removed with their data
        return None
    known = json.loads(path.read_text())
    return Extras(
        store=ObjectStore(
            endpoint=f"http://{HOST}:{known['S3_PORT']}",
            account_id="local",
            access_key_id=known["S3_ACCESS_KEY_ID"],
            secret_access_key=known["S3_SECRET_ACCESS_KEY"],
            bucket=BUCKET,
        ),
        redis_url=f"redis://{HOST}:{known['VALKEY_PORT']}/0",
    )


def _servers(directory: Path, how: How) -> "_Native | _Compose":
    return _Compose(directory) if how == "compose" else _Native(directory)


def _record(directory: Path) -> Path:
    return directory / "services.json"


def _recorded(directory: Path) -> How | None:
    if not _record(directory).exists():
        return None
    how: How = json.loads(_record(directory).read_text())["how"]
    return how


def _chosen(directory: Path, engine: str) -> How:
    recorded = _recorded(directory)
    if recorded and engine not in ("auto", recorded):
        raise ServicesError(
            f"the data in {directory} belong to servers of kind {recorded}; run: make down WIPE=1, then make up"
        )
    if recorded:
        return recorded
    if engine == "compose" or (engine == "auto" and compose_command() is not None):
        return "compose"
    return "native"


# --- native: the machine's own binaries -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """PostgreSQL 15 and PgBouncer on this machine."""

    postgresql: Path
    """The folder with initdb, pg_ctl and postgres."""
    pgbouncer: Path
    pgbouncer_version: tuple[int, int]


class _Native:
    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._user = _service_user()
        self._link = self._directory / "servers"
        self._find_folders()

    def _find_folders(self) -> None:
        # Resolved: where it is a link, the servers' user may not pass through the folder that holds it.
        self._servers = self._link.resolve()
        self._data = self._servers / "postgresql"
        self._ini = self._servers / "pgbouncer" / "pgbouncer.ini"

    def require(self, say: Callable[[str], None]) -> Binaries:
        """The binaries, installed where they are missing. Raises ServicesError where that cannot be."""
        return find_binaries() or _install_debian_packages(say)

    def start(
        self, settings: Settings, state: LocalState, database: LocalDatabaseSettings, say: Callable[[str], None]
    ) -> Running:
        binaries = self.require(say)
        self._make_room()
        actions = [
            *self._start_postgresql(binaries, database, state, cluster_address(settings)),
            *self._start_pgbouncer(binaries, settings, state),
        ]
        return Running(
            how="native",
            database_port=state.database_port,
            pgbouncer_port=state.pgbouncer_port,
            actions=tuple(actions),
            notes=("Valkey and the S3 store run only with a container engine; without one they are not started.",),
            socket_directory=self._socket_directory(),
        )

    def stop_pooler(self) -> bool:
        """Whether it ran."""
        pid = self._pgbouncer_pid()
        if pid is None:
            return False
        _end(pid, (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL))
        return True

    def stop(self) -> tuple[str, ...]:
        actions = ["PgBouncer stopped"] if self.stop_pooler() else []
        if pid := self._postgresql_pid():
            # SIGINT: clients are disconnected, no recovery at the next start; SIGQUIT: at once.
            _end(pid, (signal.SIGINT, signal.SIGQUIT))
            actions.append("PostgreSQL stopped")
        return tuple(actions)

    def wipe(self) -> None:
        if self._servers.exists():
            shutil.rmtree(self._servers)
        if self._link.is_symlink():
            self._link.unlink()

    def status(self) -> Status:
        return Status(
            how="native",
            postgresql=self._postgresql_pid() is not None,
            pgbouncer=self._pgbouncer_pid() is not None,
        )

    def _make_room(self) -> None:
        """The servers' folder. Both servers refuse to run as root; then another user runs them, who must get there."""
        if self._user is None:
            private_folder(self._servers)
            return
        # Passing through, for the service user alone; to list or read the folder stays root's.
        os.chown(self._directory, -1, self._user.pw_gid)
        self._directory.chmod(0o710)
        if not self._servers.exists():
            self._link.unlink(missing_ok=True)  # to data that somebody removed
            self._link.mkdir(mode=0o700)
            self._find_folders()
        if not self._reachable():
            # A checkout under /root, say. The data go elsewhere, and only the link stays here.
            elsewhere = Path("/var/lib") / f"lightwave-dev-{sha256(str(self._directory).encode()).hexdigest()[:12]}"
            elsewhere.mkdir(mode=0o700, exist_ok=True)
            self._link.rmdir()
            self._link.symlink_to(elsewhere)
            self._find_folders()
        os.chown(self._servers, self._user.pw_uid, self._user.pw_gid)

    def _reachable(self) -> bool:
        # cwd and arguments without the folder itself: entering it is what is being tried.
        tried = self._run(["test", "-d", str(self._servers)], cwd=Path("/"), check=False)
        return tried.returncode == 0

    # PostgreSQL

    def _start_postgresql(
        self, binaries: Binaries, database: LocalDatabaseSettings, state: LocalState, address: str | None
    ) -> list[str]:
        actions = []
        if not self._data.exists():
            self._create_cluster(binaries, state)
            actions.append(f"PostgreSQL: new cluster in {self._data}")
        changed = self._write(self._data / "postgresql.conf", self._postgresql_conf(database, state, address))
        changed |= self._write(self._data / "pg_hba.conf", _PG_HBA + (_PG_HBA_CLUSTER if address else ""))
        pid = self._postgresql_pid()
        if pid and changed:
            _end(pid, (signal.SIGINT, signal.SIGQUIT))
            actions.append("PostgreSQL stopped: its configuration changed")
            pid = None
        if pid is None and _free_or_ours(state.database_port, self._postgresql_pid, "databasePort", self._directory):
            # A killed server's pid files name a process that is gone, not yet collected, or by now another program's.
            for stale in (self._data / "postmaster.pid", *self._servers.glob(".s.PGSQL.*")):
                stale.unlink(missing_ok=True)
            self._start_postmaster(binaries)
            actions.append(f"PostgreSQL started on {HOST}:{state.database_port}")
        require_admin(state, str(self._data), self._directory)
        return actions

    def _start_postmaster(self, binaries: Binaries) -> None:
        log = self._servers / "postgresql.log"
        pg_ctl = binaries.postgresql / "pg_ctl"
        start = [str(pg_ctl), "-D", str(self._data), "-l", str(log), "-w", "-t", str(_START_SECONDS), "start"]
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            seen = log.stat().st_size if log.exists() else 0
            if self._run(start, check=False).returncode == 0:
                return
            said = log.read_bytes()[seen:].decode(errors="replace") if log.exists() else ""
            # Of a killed server the processes that served its clients live on for a moment, in its shared memory.
            if "shared memory block" not in said or time.monotonic() > deadline:
                raise ServicesError("\n".join([f"PostgreSQL does not start, see {log}", *said.splitlines()[-5:]]))
            time.sleep(0.2)

    def _create_cluster(self, binaries: Binaries, state: LocalState) -> None:
        """Made beside its place and moved there when it is whole: a killed run leaves nothing that looks finished."""
        for leftover in self._servers.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # Each time another name: a killed run's initdb may still be writing.
        unfinished = self._servers / f"unfinished-{os.getpid()}-{time.time_ns()}"
        # ICU's collation is on every platform, where names of system locales differ.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
        self._run(
            [
                binaries.postgresql / "initdb",
                "-D",
                unfinished,
                f"--username={SUPERUSER}",
                *locale,
                "--auth=reject",
                "--no-sync",
            ]
        )
        single: list[str | Path] = [
            binaries.postgresql / "postgres",
            "--single",
            "-j",
            "-D",
            unfinished,
            "-c",
            "exit_on_error=on",
        ]
        self._run([*single, "postgres"], stdin=f"CREATE DATABASE {DATABASE};\n\n")
        self._run([*single, DATABASE], stdin=bootstrap_sql(admin_verifier(state)))
        owner = pwd.getpwuid(os.geteuid()) if self._user is None else self._user
        peers = sorted({owner.pw_name, pwd.getpwuid(os.geteuid()).pw_name})
        self._write(unfinished / "pg_ident.conf", "".join(f"superuser {name} {SUPERUSER}\n" for name in peers))
        unfinished.rename(self._data)

    def _postgresql_conf(self, database: LocalDatabaseSettings, state: LocalState, address: str | None) -> str:
        socket_directory = self._socket_directory()
        values: Mapping[str, str | int] = {
            "listen_addresses": f"'{HOST}{f',{address}' if address else ''}'",
            "port": state.database_port,
            "unix_socket_directories": f"'{socket_directory or ''}'",
            "max_connections": database.max_connections,
            "password_encryption": "'scram-sha-256'",
            "shared_preload_libraries": "'pg_stat_statements'",
            "shared_buffers": "'128MB'",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "lc_messages": "'C'",
        }
        return "".join(f"{key} = {value}\n" for key, value in values.items())

    def _socket_directory(self) -> Path | None:
        """Beside the data; where that path is too long for a socket there is none."""
        path = str(self._servers)
        return self._servers if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT and "'" not in path else None

    def _postgresql_pid(self) -> int | None:
        return _pid_of(self._data / "postmaster.pid", program="postgres", argument=self._data)

    # PgBouncer

    def _start_pgbouncer(self, binaries: Binaries, settings: Settings, state: LocalState) -> list[str]:
        folder = self._ini.parent
        if not folder.exists():
            private_folder(folder)
            self._give(folder)
        log, pid_file, users = folder / "pgbouncer.log", folder / "pgbouncer.pid", folder / "userlist.txt"
        ini = PgBouncerIni(
            version=binaries.pgbouncer_version,
            server_host=HOST,
            server_port=state.database_port,
            listen_address=HOST,
            listen_port=state.pgbouncer_port,
            products=tuple(settings.products.values()),
            max_client_connections=settings.pgbouncer.max_client_connections,
            auth_file_path=str(users),
            server_tls=None,
            log_path=str(log),
            pid_path=str(pid_file),
        )
        actions = _allow_descriptors(ini)
        before = self._ini.read_text() if self._ini.exists() else ""
        users_changed = self._write(users, pgbouncer_auth_file(settings, state))
        ini_changed = self._write(self._ini, ini.render())
        pid = self._pgbouncer_pid()
        if pid and ini_changed and _needs_restart(before, ini.render()):
            self.stop_pooler()
            actions.append("PgBouncer stopped: where it listens or how many it serves changed")
            pid = None
        if pid is None and _free_or_ours(state.pgbouncer_port, self._pgbouncer_pid, "pgbouncerPort", self._directory):
            pid_file.unlink(missing_ok=True)
            self._run([binaries.pgbouncer, "-q", "-d", self._ini], hint=f"see {log}")
            # It listens before it has written its pid file, by which it is found again.
            _wait(
                lambda: not port_is_free(state.pgbouncer_port) and self._pgbouncer_pid() is not None,
                f"PgBouncer does not listen; see {log}",
            )
            actions.append(f"PgBouncer started on {HOST}:{state.pgbouncer_port}")
        elif pid and (ini_changed or users_changed):
            os.kill(pid, signal.SIGHUP)
            actions.append("PgBouncer reloaded: its configuration changed")
        return actions

    def _pgbouncer_pid(self) -> int | None:
        return _pid_of(self._ini.parent / "pgbouncer.pid", program="pgbouncer", argument=self._ini)

    # both

    def _write(self, path: Path, text: str) -> bool:
        """Writes a file that the servers' user reads; whether it changed."""
        if path.exists() and path.read_text() == text:
            return False
        write_private(path, text)
        self._give(path)
        return True

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: str = "",
        cwd: Path | None = None,
        check: bool = True,
        hint: str = "",
    ) -> subprocess.CompletedProcess[str]:
        user: dict[str, Any] = {}
        if self._user is not None:
            user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        result: subprocess.CompletedProcess[str] = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd or self._servers,
            # Nothing of the caller's PG* variables, and messages that can be read by who looks for help.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            check=False,
            timeout=_START_SECONDS * 2,
            **user,
        )
        if check and result.returncode != 0:
            output = result.stdout.strip().splitlines()[-5:]
            raise ServicesError("\n".join([f"{Path(command[0]).name} failed {hint}".rstrip(), *output]))
        return result


_PG_HBA = f"""\
# The superuser has no password and comes in through the socket alone; everybody else by SCRAM, from this machine.
local all {SUPERUSER} peer map=superuser
host  all {SUPERUSER} all reject
host  all all {HOST}/32 scram-sha-256
"""


_PG_HBA_CLUSTER = f"""\
# PgBouncer's and migrations' pods on a local cluster, from whatever address its network gives them.
host  all {ADMIN} all reject
host  {DATABASE} all all scram-sha-256
"""


def cluster_address(settings: Settings) -> str | None:
    """Where PostgreSQL listens besides loopback, for a local cluster's pods: kubernetes.databaseHost, an address.

    None for a name, such as host.docker.internal: that is the container engine's own way to this machine's loopback
    address. Raises ServicesError where this machine has no such address.
    """
    host = settings.kubernetes.database_host if settings.kubernetes else None
    if host is None or not re.fullmatch(r"[\d.]+", host):
        return None
    try:
        with socket.create_server((host, 0)):
            return host
    except OSError as error:
        raise ServicesError(
            f"PostgreSQL can not listen on kubernetes.databaseHost {host} ({error.strerror}); allowed: an address of"
            " this machine in the cluster's network (docker network inspect kind), or a name: host.docker.internal"
        ) from None


def admin_verifier(state: LocalState) -> str:
    """The admin's SCRAM verifier, for the bootstrap; a new salt each time."""
    return scram_verifier(state.passwords[ADMIN].get_secret_value(), os.urandom(16))


def bootstrap_sql(verifier: str) -> str:
    """local/bootstrap.sql for one session that knows the admin's verifier."""
    return f"SET lightwave.admin_verifier = '{verifier}';\n\n{BOOTSTRAP_SQL.read_text()}\n"


def pgbouncer_auth_file(settings: Settings, state: LocalState) -> str:
    """The local pooler's auth file: the products' roles, nobody else."""
    roles = [product.login_role for product in settings.products.values()]
    return auth_file({role: state.scram_verifiers[role].get_secret_value() for role in roles})


def require_admin(state: LocalState, where: str, directory: Path) -> None:
    """Raises ServicesError unless the admin can log in with the state's password: data and state belong together."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(
                host=HOST,
                port=state.database_port,
                dbname=DATABASE,
                user=ADMIN,
                password=state.passwords[ADMIN].get_secret_value(),
                connect_timeout=10,
            ).close()
        except psycopg.OperationalError as error:
            if "starting up" in str(error) and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            if "authentication failed" not in str(error):
                raise ServicesError(f"PostgreSQL runs and does not answer: {error}") from None
            raise ServicesError(
                f"the data in {where} were made with other passwords than {directory / 'state.json'} holds;"
                " bring that file back, or run: make down WIPE=1, then make up"
            ) from None
        return


_POSTGRESQL_FOLDERS = (
    Path("/usr/lib/postgresql/15/bin"),  # Debian, Ubuntu
    Path("/usr/pgsql-15/bin"),  # Fedora, RHEL (PGDG)
    Path("/opt/homebrew/opt/postgresql@15/bin"),
    Path("/usr/local/opt/postgresql@15/bin"),
)
"""Where PostgreSQL 15 is when it is not on PATH."""


def find_binaries() -> Binaries | None:
    """PostgreSQL 15 (no other major version) and PgBouncer, where both are on this machine."""
    initdb = shutil.which("initdb")
    folders = [*([Path(initdb).resolve().parent] if initdb else []), *_POSTGRESQL_FOLDERS]
    postgresql = next((f for f in folders if re.search(r"\b15\.", _version(f / "postgres"))), None)
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    pgbouncer = shutil.which("pgbouncer", path=search)
    version = re.search(r"PgBouncer (\d+)\.(\d+)", _version(Path(pgbouncer))) if pgbouncer else None
    if postgresql is None or pgbouncer is None or version is None:
        return None
    return Binaries(
        postgresql=postgresql,
        pgbouncer=Path(pgbouncer),
        pgbouncer_version=(int(version[1]), int(version[2])),
    )


def _version(program: Path) -> str:
    if not program.exists():
        return ""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout


def _service_user() -> pwd.struct_passwd | None:
    """Who runs the servers when root starts them; None: whoever asks."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServicesError("PostgreSQL refuses to run as root, and there is no user postgres or nobody; run it as a user")


def _allow_descriptors(ini: PgBouncerIni) -> list[str]:
    """Raises this process's soft limit, which PgBouncer inherits, to what the ini needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = ini.file_descriptors
    if soft == resource.RLIM_INFINITY or soft >= need:
        return []
    if hard != resource.RLIM_INFINITY and hard < need:
        fits = hard - (need - ini.max_client_connections)
        raise ServicesError(
            f"lightwave:pgbouncer.maxClientConnections: {ini.max_client_connections} needs {need} file descriptors, and"
            f" the limit here is {hard}: new clients would hang; raise it (ulimit -Hn), or mend it:"
            f" pulumi config set --stack dev --path lightwave:pgbouncer.maxClientConnections {fits}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    return [f"file-descriptor limit raised from {soft} to {need} for PgBouncer"]


def _needs_restart(before: str, after: str) -> bool:
    """Where it listens is read at the start alone, and the descriptor limit is inherited then."""
    fixed = re.compile(r"^(listen_\w+|max_client_conn|logfile|pidfile) = .*$", re.MULTILINE)
    return [m[0] for m in fixed.finditer(before)] != [m[0] for m in fixed.finditer(after)]


def _free_or_ours(port: int, ours: Callable[[], int | None], key: str, directory: Path) -> bool:
    """True: the port is free for a start. False: the server came up meanwhile, for a run that was killed had begun it.

    Raises ServicesError where somebody else has the port.
    """
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while not port_is_free(port):
        if ours():
            return False
        if time.monotonic() > deadline:
            raise ServicesError(
                f"port {port} is taken by another process; stop it, or change {key} in {directory / 'state.json'}"
            )
        time.sleep(0.05)
    return True


def _pid_of(pid_file: Path, *, program: str, argument: Path) -> int | None:
    """The process that a pid file names, where it still is that program on that path: pids are used again."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    argv = _argv(pid)
    ours = bool(argv) and Path(argv[0]).name == program and str(argument) in argv
    return pid if ours else None


def _argv(pid: int) -> list[str]:
    """A process's command line; empty for one that is gone or only waits to be collected."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.split()


def _end(pid: int, signals: Sequence[signal.Signals]) -> None:
    """Sends the signals, one after the other while the process goes on."""
    argv = _argv(pid)

    def alive() -> bool:
        # Not by its pid file, which a server removes before it is gone.
        return argv not in ([], [""]) and _argv(pid) == argv

    for number in signals:
        if not alive():
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        last = number is signals[-1]
        try:
            _wait(lambda: not alive(), f"process {pid} does not stop", seconds=20 if last else 5)
        except ServicesError:
            if last:
                raise


def _wait(condition: Callable[[], bool], otherwise: str, seconds: float = _START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServicesError(otherwise)
        time.sleep(0.02)


# --- Debian's packages ------------------------------------------------------------------------------------------------

_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
# Debian starts what it installs; these servers are to run from the state folder alone. An own policy stays as it is.
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get update -q
apt-get install -q -y --no-install-recommends postgresql-15 pgbouncer
# Nor at the next boot, where there is systemd.
if command -v systemctl > /dev/null; then systemctl disable -q {units} || true; fi
"""


def _install_debian_packages(say: Callable[[str], None]) -> Binaries:
    """Installs what is missing on Debian 12, where it may. Raises ServicesError with the command to run otherwise."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not (_is_debian_12() and shutil.which("apt-get") and (not root or _succeeds([*root, "true"]))):
        raise ServicesError(_how_to_install())
    # A service that was there before belongs to somebody.
    before = {"postgresql": Path("/usr/lib/postgresql").exists(), "pgbouncer": Path("/usr/sbin/pgbouncer").exists()}
    units = " ".join(name for name, existed in before.items() if not existed)
    say("installing Debian's packages postgresql-15 and pgbouncer")
    script = _INSTALL.replace("{units}", units)
    done = subprocess.run([*root, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=900)
    binaries = find_binaries()
    if done.returncode != 0 or binaries is None:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise ServicesError(f"installing Debian's packages failed\n{output}\n{_how_to_install()}")
    return binaries


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    pairs = (line.partition("=") for line in (path.read_text().splitlines() if path.exists() else []))
    return {key: value.strip('"') for key, _, value in pairs}


def _is_debian_12() -> bool:
    release = _os_release()
    return (release.get("ID"), release.get("VERSION_ID")) == ("debian", "12")


def _how_to_install() -> str:
    """The exact command for this platform."""
    release = _os_release()
    family = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    if platform.system() == "Darwin":
        command = "brew install postgresql@15 pgbouncer"
    elif _is_debian_12():
        command = "sudo apt-get install postgresql-15 pgbouncer"
    elif "debian" in family:
        # Newer releases have newer major versions; PostgreSQL's own repository has them all.
        command = (
            "sudo apt-get install postgresql-common && sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"
            " && sudo apt-get install postgresql-15 pgbouncer"
        )
    elif "fedora" in family or "rhel" in family:
        command = (
            "sudo dnf install postgresql15-server postgresql15-contrib pgbouncer"
            "  # from https://yum.postgresql.org (PGDG)"
        )
    else:
        command = "install PostgreSQL 15 (https://www.postgresql.org/download/) and PgBouncer 1.18 or newer, on PATH"
    return (
        "no container engine answers, and PostgreSQL 15 and PgBouncer are not both on this machine; start Docker or"
        f" Podman, or run:\n  {command}"
    )


# --- containers -------------------------------------------------------------------------------------------------------


def compose_command() -> list[str] | None:
    """The compose command of a container engine that answers."""
    for client in ("docker", "podman"):
        if shutil.which(client) and all(_succeeds([client, *words]) for words in (["info"], ["compose", "version"])):
            return [client, "compose"]
    return None


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=15).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def compose_environment(
    settings: Settings, state: LocalState, database: LocalDatabaseSettings, extras: Mapping[str, str]
) -> dict[str, str]:
    """What local/compose.yaml takes from its environment; `extras` are `.local/compose.json`'s."""
    users = pgbouncer_auth_file(settings, state)
    ini = PgBouncerIni(
        version=COMPOSE_PGBOUNCER_VERSION,
        server_host="postgres",
        listen_address="0.0.0.0",  # noqa: S104 (in the container; published on the loopback address alone)
        products=tuple(settings.products.values()),
        max_client_connections=settings.pgbouncer.max_client_connections,
        auth_file_path="/etc/pgbouncer/userlist.txt",
        server_tls=None,
    )
    return {
        **extras,
        "DATABASE_PORT": str(state.database_port),
        "PGBOUNCER_PORT": str(state.pgbouncer_port),
        "MAX_CONNECTIONS": str(database.max_connections),
        "PGBOUNCER_INI": ini.render(),
        "PGBOUNCER_USERS": users,
        "PGBOUNCER_CHECKSUM": sha256((ini.render() + users).encode()).hexdigest(),
        "PGBOUNCER_DESCRIPTORS": str(ini.file_descriptors),
    }


class _Compose:
    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        # Each checkout has containers and volumes of its own.
        self._project = f"lightwave-{sha256(str(self._directory).encode()).hexdigest()[:8]}"

    def require(self, say: Callable[[str], None]) -> list[str]:  # noqa: ARG002 (as _Native's)
        """The compose command. Raises ServicesError where no engine answers."""
        command = compose_command()
        if command is None:
            raise ServicesError(
                f"the servers of {self._directory} are containers, and no engine answers; start Docker or Podman with"
                " its compose plugin"
            )
        return command

    def start(
        self, settings: Settings, state: LocalState, database: LocalDatabaseSettings, say: Callable[[str], None]
    ) -> Running:
        environment = compose_environment(settings, state, database, self._extras(state))
        files = [COMPOSE_FILE]
        if address := cluster_address(settings):
            files.append(COMPOSE_CLUSTER_FILE)
            environment["CLUSTER_ADDRESS"] = address
        before = self._containers()
        say("starting PostgreSQL 15 and PgBouncer in containers (the first time their images are fetched)")
        wait = ["up", "--detach", "--wait", "--wait-timeout", "180"]
        self._run([*wait, "postgres", "pgbouncer"], environment, files=files)
        notes = [f"Valkey: {HOST}:{environment['VALKEY_PORT']}; S3: http://{HOST}:{environment['S3_PORT']}"]
        if self._run([*wait, "valkey", "s3"], environment, files=files, check=False).returncode != 0:
            # The platform's own part does not need them.
            notes = ["Valkey and the S3 store did not start; see the containers' logs"]
        require_admin(state, f"the containers' volume {self._project}_postgres", self._directory)
        changed = self._containers() != before
        return Running(
            how="compose",
            database_port=state.database_port,
            pgbouncer_port=state.pgbouncer_port,
            actions=("containers started",) if changed else (),
            notes=tuple(notes),
        )

    def stop_pooler(self) -> None:
        self._run(["stop", "pgbouncer"], {})

    def stop(self) -> tuple[str, ...]:
        running = self._containers()
        self._run(["down", "--timeout", "10"], {})
        return ("containers stopped",) if running else ()

    def wipe(self) -> None:
        self._run(["down", "--volumes"], {})
        (self._directory / "compose.json").unlink(missing_ok=True)

    def status(self) -> Status:
        running = self._run(["ps", "--services", "--filter", "status=running"], {}).stdout.split()
        return Status(how="compose", postgresql="postgres" in running, pgbouncer="pgbouncer" in running)

    def _extras(self, state: LocalState) -> dict[str, str]:
        """Generated once, as the state is: what only containers need. Another verifier would do for the same password,
        but a changed one would replace the container."""
        path = self._directory / "compose.json"
        if not path.exists():
            extras = {
                "ADMIN_VERIFIER": admin_verifier(state),
                "VALKEY_PORT": str(free_port(6379)),
                "S3_PORT": str(free_port(9000)),
                "S3_ACCESS_KEY_ID": password(),
                "S3_SECRET_ACCESS_KEY": password(),
            }
            write_private(path, json.dumps(extras, indent=2) + "\n")
        known: dict[str, str] = json.loads(path.read_text())
        return known

    def _containers(self) -> set[str]:
        return set(self._run(["ps", "--quiet"], {}).stdout.split())

    def _run(
        self,
        words: list[str],
        environment: Mapping[str, str],
        *,
        files: Sequence[Path] = (COMPOSE_FILE,),
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        command = self.require(print)
        result = subprocess.run(
            [*command, *(word for file in files for word in ("--file", file)), "--project-name", self._project, *words],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if check and result.returncode != 0:
            raise ServicesError("\n".join([f"compose {words[0]} failed", *result.stderr.strip().splitlines()[-5:]]))
        return result

"""PostgreSQL 15 and PgBouncer as programs of this machine: found, or installed from Debian's packages."""

import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ops.dev.model import Report, ServersError
from ops.process import ProcessError, output

POSTGRESQL_FOLDERS = (
    Path("/usr/lib/postgresql/15/bin"),  # Debian, Ubuntu
    Path("/usr/pgsql-15/bin"),  # Fedora, RHEL (PGDG)
    Path("/opt/homebrew/opt/postgresql@15/bin"),
    Path("/usr/local/opt/postgresql@15/bin"),
)
"""Where PostgreSQL 15 is when it is not on PATH."""

VERSITYGW_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
VERSITYGW = "v1.8.0"
"""As the image in local/compose.yaml."""

_PROBE_SECONDS = 15
_INSTALL_SECONDS = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """The programs that the native servers are started with."""

    postgresql: Path
    """The folder with initdb, pg_ctl and postgres."""
    pgbouncer: Path
    pgbouncer_version: tuple[int, int]
    valkey: Path | None = None
    """valkey-server, or redis-server in its place; None: the stack runs without."""
    versitygw: Path | None = None
    """The S3 store; None: the stack runs without."""


def find() -> Binaries | None:
    """PostgreSQL 15 (no other major version) and PgBouncer, where both are on this machine."""
    initdb = shutil.which("initdb")
    folders = [*([Path(initdb).resolve().parent] if initdb else []), *POSTGRESQL_FOLDERS]
    postgresql = next((f for f in folders if re.search(r"\b15\.", _version(f / "postgres"))), None)
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])
    pgbouncer = shutil.which("pgbouncer", path=search)
    version = re.search(r"PgBouncer (\d+)\.(\d+)", _version(Path(pgbouncer))) if pgbouncer else None
    if postgresql is None or pgbouncer is None or version is None:
        return None
    return Binaries(
        postgresql=postgresql, pgbouncer=Path(pgbouncer), pgbouncer_version=(int(version[1]), int(version[2]))
    )


def require(report: Report) -> Binaries:
    """The programs, installed where they are missing. Raises ServersError with the command to run where that fails."""
    return find() or install(report)


def with_extras(binaries: Binaries, report: Report) -> Binaries:
    """The same with Valkey and the S3 store, which are installed where that can be done; a stack runs without them."""
    return replace(binaries, valkey=find_valkey() or _install_redis(report), versitygw=versitygw(report))


def find_valkey() -> Path | None:
    """Valkey, or Redis in its place."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


def missing_extras(binaries: Binaries) -> tuple[str, ...]:
    """What the stack runs without and how to have it, one line each."""
    notes = []
    if binaries.valkey is None:
        notes.append("Valkey does not run: install valkey-server or redis-server, then run make up again")
    if binaries.versitygw is None:
        notes.append(
            f"the S3 store does not run, so uploads fail: go install {VERSITYGW_PACKAGE}@{VERSITYGW}, or start Docker"
        )
    return tuple(notes)


def versitygw(report: Report) -> Path | None:
    """The pinned versitygw from its Go module, built once per user; one on PATH comes first."""
    if found := shutil.which("versitygw"):
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if os.geteuid() == 0:
        cache = Path("/var/cache")  # root's own cache is closed to the user who runs the servers
    folder = cache / "lightwave" / f"versitygw-{VERSITYGW}"
    program = folder / "versitygw"
    go = shutil.which("go")
    if not program.exists() and go:
        report(f"building the S3 store versitygw {VERSITYGW} from its Go module, once")
        try:
            output(
                [go, "install", f"{VERSITYGW_PACKAGE}@{VERSITYGW}"],
                timeout=_INSTALL_SECONDS,
                env={"GOBIN": str(folder), "CGO_ENABLED": "0"},
            )
        except ProcessError as error:
            report(f"the S3 store cannot be built: {error}")
    return program if program.exists() else None


def _install_redis(report: Report) -> Path | None:
    if _may_install():
        report("installing Debian's package redis-server")
        with suppress(ProcessError):
            _apt("redis-server", {"redis-server": "/usr/bin/redis-server"})
    return find_valkey()


def succeeds(command: Sequence[str]) -> bool:
    """Whether the program is there and ends well within seconds."""
    try:
        output(command, timeout=_PROBE_SECONDS)
    except ProcessError:
        return False
    return True


def _version(program: Path) -> str:
    try:
        return output([program, "--version"], timeout=_PROBE_SECONDS)
    except ProcessError:
        return ""


# --- Debian's packages ------------------------------------------------------------------------------------------------

_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
# Debian starts what it installs; these servers must run from the stack's folder alone. An existing policy is kept.
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
# Not from this script, which comes from standard input.
apt-get update -q < /dev/null
apt-get install -q -y --no-install-recommends {packages} < /dev/null
# Nor at the next boot, where there is systemd.
if command -v systemctl > /dev/null; then systemctl disable -q {units} || true; fi
"""


def install(report: Report) -> Binaries:
    """Installs Debian 12's packages, as root or with sudo. Raises ServersError with the command to run otherwise."""
    if not _may_install():
        raise ServersError(
            "neither Docker nor Podman answers, and PostgreSQL 15 and PgBouncer are not both on this machine",
            f"start Docker or Podman, or run:\n  {_install_command()}",
        )
    report("installing Debian's packages postgresql-15 and pgbouncer")
    try:
        _apt("postgresql-15 pgbouncer", {"postgresql": "/usr/lib/postgresql", "pgbouncer": "/usr/sbin/pgbouncer"})
    except ProcessError as error:
        raise ServersError(f"installing Debian's packages failed: {error}", _install_command()) from None
    binaries = find()
    if binaries is None:
        raise ServersError("Debian's packages are installed, and their programs are not found", _install_command())
    return binaries


def _may_install() -> bool:
    return _is_debian_12() and shutil.which("apt-get") is not None and (not _root() or succeeds([*_root(), "true"]))


def _root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def _apt(packages: str, services: Mapping[str, str]) -> None:
    """Installs Debian's packages. `services` names what they would start, and where it is when it was there before."""
    # A service that was there before belongs to somebody.
    units = " ".join(name for name, place in services.items() if not Path(place).exists())
    script = _INSTALL.replace("{packages}", packages).replace("{units}", units)
    fix = "remove the cause that apt names, then run the command again"
    output([*_root(), "sh"], timeout=_INSTALL_SECONDS, stdin=script, fix=fix)


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    pairs = (line.partition("=") for line in (path.read_text().splitlines() if path.exists() else []))
    return {key: value.strip('"') for key, _, value in pairs}


def _is_debian_12() -> bool:
    release = _os_release()
    return (release.get("ID"), release.get("VERSION_ID")) == ("debian", "12")


def _install_command() -> str:
    """The exact command for this platform."""
    release = _os_release()
    family = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    if platform.system() == "Darwin":
        return "brew install postgresql@15 pgbouncer"
    if _is_debian_12():
        return "sudo apt-get install postgresql-15 pgbouncer"
    if "debian" in family:
        # Newer releases have newer major versions; PostgreSQL's own repository has them all.
        return (
            "sudo apt-get install postgresql-common && sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y"
            " && sudo apt-get install postgresql-15 pgbouncer"
        )
    if "fedora" in family or "rhel" in family:
        return (
            "sudo dnf install postgresql15-server postgresql15-contrib pgbouncer"
            "  # from https://yum.postgresql.org (PGDG)"
        )
    return "install PostgreSQL 15 (https://www.postgresql.org/download/) and PgBouncer 1.18 or newer, on PATH"

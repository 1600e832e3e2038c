"""Prometheus, Alertmanager and the exporters, from Debian's newest packages: unpacked into the cache, not installed."""

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from components.pgbouncer.ini import PgBouncerIni, auth_file
from ops.dev import packages, ports
from ops.dev.files import locked
from settings import HOST, STATS_USER
from settings.models import PoolSettings
from tests.cluster.debian import FOLDER, KEYRING, Apt, digest
from tests.integration.built import built_platform
from tests.integration.pooler import Pooler, running_pooler
from tests.required import not_here

POOL = 5
"""PgBouncer's server connections for payload."""

PACKAGES = (
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-pgbouncer-exporter",
    "prometheus-redis-exporter",
)


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the programs."""
    if shutil.which("apt-get") is None or not KEYRING.exists():
        not_here("this is no Debian, whose packages have Prometheus", "REQUIRE_SERVERS")
    apt = Apt(suite="sid")
    with locked(FOLDER, "monitoring"):
        try:
            apt.update()
            versions = apt.versions(PACKAGES)
        except CalledProcessError:
            not_here("Debian's mirror does not answer", "REQUIRE_SERVERS")
        root = FOLDER / "monitoring" / digest(f"{name}={version}" for name, version in sorted(versions.items()))
        if not root.exists():
            root.parent.mkdir(exist_ok=True)
            unfinished = root.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            apt.unpack(PACKAGES, unfinished)
            unfinished.rename(root)
    return root / "usr" / "bin"


def alertmanager_command(programs: Path) -> tuple[str | Path, ...]:
    """The start of its command line.

    Debian's reads its templates from /usr/share, and nothing is installed there: in a mount namespace of its own, the
    unpacked folder is in that place.
    """
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    script = 'mount --bind "$0" /usr/share && exec "$@"'
    return (
        *("unshare", *user, "--mount"),
        *("sh", "-c", script, programs.parent / "share", programs / "prometheus-alertmanager"),
    )


@contextmanager
def program(*command: str | Path, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture(scope="package")
def pooler() -> Iterator[Pooler]:
    """PgBouncer with a pool of 5 for payload, as a stack renders its ini."""
    with built_platform() as platform:
        binaries = packages.find()
        assert binaries is not None
        passwords = {role: secret.get_secret_value() for role, secret in platform.state.passwords.items()}
        folder = platform.directory / "servers"
        users = folder / "monitored-users.txt"
        users.write_text(auth_file({r: v.get_secret_value() for r, v in platform.state.scram_verifiers.items()}))
        owner = folder.stat()
        os.chown(users, owner.st_uid, owner.st_gid)
        payload = platform.settings.products["payload"].model_copy(update={"pool": PoolSettings(size=POOL, reserve=0)})
        ini = PgBouncerIni(
            version=binaries.pgbouncer_version,
            server_host=HOST,
            server_port=platform.running.database_port,
            listen_address=HOST,
            listen_port=ports.free_port(),
            products=[payload],
            max_client_connections=1000,
            auth_file_path=str(users),
            server_tls=None,
            client_tls=None,
            stats_user=True,
        )
        with running_pooler(ini, binaries.pgbouncer, folder, passwords) as running:
            yield running


@contextmanager
def pgbouncer_exporter(programs: Path, pooler: Pooler) -> Iterator[int]:
    """The exporter that reads this PgBouncer; its port."""
    port = ports.free_port()
    dsn = f"postgres://{STATS_USER}:{pooler.passwords[STATS_USER]}@{HOST}:{pooler.port}/pgbouncer?sslmode=disable"
    with program(
        programs / "prometheus-pgbouncer-exporter",
        f"--web.listen-address={HOST}:{port}",
        PGBOUNCER_EXPORTER_CONNECTION_STRING=dsn,
    ):
        yield port


def metrics(port: int) -> str:
    """What an exporter shows; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""

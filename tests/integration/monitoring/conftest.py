"""Prometheus, Alertmanager and the exporters, from Debian's newest packages: unpacked into the cache, not installed."""

import shutil
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from ops.dev.files import locked
from tests.cluster.debian import FOLDER, KEYRING, Apt, digest
from tests.required import not_here

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

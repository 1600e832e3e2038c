"""PostgreSQL and PgBouncer on this machine: which ones count, and what is installed."""

import os
import subprocess
from pathlib import Path

import pytest

from ops.dev import packages
from ops.dev.model import ServersError
from tests.unit.ops.dev.programs import programs


def version(text: str) -> str:
    return f"echo '{text}'"


@pytest.mark.parametrize(
    ("postgres", "pgbouncer", "found"),
    [
        ("postgres (PostgreSQL) 15.9", "PgBouncer 1.18.0", (1, 18)),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "PgBouncer 1.25.2", (1, 25)),
        ("postgres (PostgreSQL) 16.15", "PgBouncer 1.25.2", None),
        ("postgres (PostgreSQL) 14.15", "PgBouncer 1.25.2", None),
    ],
)
def test_binaries_count_when_they_are_of_version_15(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str, pgbouncer: str, found: tuple[int, int] | None
) -> None:
    programs(tmp_path, initdb="exit 0", postgres=version(postgres), pgbouncer=version(pgbouncer))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "POSTGRESQL_FOLDERS", ())
    binaries = packages.find()
    if found is None:
        assert binaries is None
    else:
        assert binaries == packages.Binaries(
            postgresql=tmp_path, pgbouncer=tmp_path / "pgbouncer", pgbouncer_version=found
        )


# --- what is installed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "release", "command"),
    [
        ("Darwin", {}, "brew install postgresql@15 pgbouncer"),
        ("Linux", {"ID": "debian", "VERSION_ID": "12"}, "sudo apt-get install postgresql-15 pgbouncer"),
        (
            "Linux",
            {"ID": "debian", "VERSION_ID": "13"},
            "apt.postgresql.org.sh -y && sudo apt-get install postgresql-15",
        ),
        (
            "Linux",
            {"ID": "ubuntu", "ID_LIKE": "debian"},
            "apt.postgresql.org.sh -y && sudo apt-get install postgresql-15",
        ),
        ("Linux", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "sudo dnf install postgresql15-server"),
        ("Linux", {"ID": "alpine"}, "https://www.postgresql.org/download/"),
    ],
)
def test_the_error_has_the_platforms_own_command(
    monkeypatch: pytest.MonkeyPatch, system: str, release: dict[str, str], command: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(packages, "_os_release", lambda: release)
    assert command in packages._install_command()


@pytest.mark.parametrize(
    ("release", "root", "sudo"),
    [
        ({"ID": "debian", "VERSION_ID": "13"}, True, True),
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, True, True),
        ({"ID": "debian", "VERSION_ID": "12"}, False, False),
    ],
    ids=["debian 13", "ubuntu", "no sudo"],
)
def test_nothing_is_installed_elsewhere_or_without_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], root: bool, sudo: bool
) -> None:
    programs(tmp_path, apt_get=f"touch {tmp_path}/ran", sudo="exit 0" if sudo else "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(packages, "_os_release", lambda: release)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    with pytest.raises(ServersError, match="or run:"):
        packages.install(print)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("outcome", [0, 100])
def test_the_installation_starts_no_service_and_cleans_up(tmp_path: Path, outcome: int) -> None:
    """The script as it is, with other folders: apt-get finds services forbidden, and afterwards they no longer are."""
    policy = tmp_path / "policy-rc.d"
    programs(
        tmp_path,
        apt_get=f'echo "$@" >> {tmp_path}/calls; sh {policy}; echo $? >> {tmp_path}/policy-says;'
        f' [ "$1" = update ] || exit {outcome}',
        systemctl=f'echo systemctl "$@" >> {tmp_path}/calls',
    )
    script = packages._INSTALL.replace("/usr/sbin/policy-rc.d", str(policy))
    script = script.replace("{packages}", "postgresql-15 pgbouncer").replace("{units}", "postgresql pgbouncer")
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:2] == ["update -q", "install -q -y --no-install-recommends postgresql-15 pgbouncer"]
    assert (tmp_path / "policy-says").read_text().split() == ["101", "101"]
    assert not policy.exists()
    assert done.returncode == outcome
    assert calls[2:] == ([] if outcome else ["systemctl disable -q postgresql pgbouncer"])


def test_the_installation_leaves_an_own_policy_alone(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("mine")
    programs(tmp_path, apt_get="exit 0")
    script = packages._INSTALL.replace("/usr/sbin/policy-rc.d", str(policy)).replace("{units}", "")
    subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, capture_output=True)
    assert policy.read_text() == "mine"

"""Debian packages of any suite, downloaded and unpacked into a folder: nothing is installed on this machine."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.dev.files import write_private
from tests.integration.kubernetes.build_servers import cache

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FOLDER = cache() / "cluster"
"""Where everything is kept that the cluster is made of, but for what Go builds."""

_SECONDS = 900
_USELESS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/info",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Apt:
    """apt with lists and archives of its own, for one suite; it takes the machine to have no package at all."""

    suite: str

    @property
    def _folder(self) -> Path:
        return FOLDER / "apt" / self.suite

    def update(self) -> None:
        """Fetches the suite's list of packages. Raises CalledProcessError."""
        for name in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "archives/partial"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        (self._folder / "etc/sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {self.suite} main\n")
        settings = {
            # Whole paths: one that begins with a dot is relative to where apt is run.
            "Dir::Etc": f"{self._folder}/etc",
            "Dir::State": f"{self._folder}",
            "Dir::State::status": f"{self._folder}/status",
            "Dir::Cache": f"{self._folder}",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            # A mirror that stands still is good enough here; the signature is checked all the same.
            "Acquire::Check-Valid-Until": "false",
        }
        (self._folder / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        self._apt("update")

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """The versions of the packages and of everything that they depend on."""
        # apt takes a second of CPU for each answer, which is the same until the suite changes.
        lists = sorted((self._folder / "lists").glob("*InRelease"))
        answer = self._folder / "answers" / digest([*packages, *(path.read_text() for path in lists)])
        if not answer.exists():
            write_private(answer, self._apt("install", "--simulate", *packages))
        found = dict(re.findall(r"^Inst (\S+) \((\S+) ", answer.read_text(), re.MULTILINE))
        assert found.keys() >= set(packages), f"{self.suite} has no {set(packages) - found.keys()}"
        return found

    def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Unpacks the packages, and everything that they depend on, into a new folder. No script of theirs is run."""
        archives = self._archives(packages)
        merge_usr(root)
        for archive in archives:
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as reader:
                subprocess.run(
                    ["tar", "--extract", "--keep-directory-symlink", f"--directory={root}"],
                    stdin=reader.stdout,
                    check=True,
                    timeout=_SECONDS,
                )
            assert reader.returncode == 0, f"{archive.name} cannot be read"
        for name in _USELESS:
            subprocess.run(["rm", "--recursive", "--force", root / name], check=True, timeout=_SECONDS)
        (root / "etc").mkdir(exist_ok=True)
        subprocess.run(["ldconfig", "-r", root], check=True, timeout=_SECONDS)

    def _archives(self, packages: Sequence[str]) -> list[Path]:
        self._apt("install", "--yes", "--download-only", *packages)
        wanted = {f"{name}_{version.replace(':', '%3a')}" for name, version in self.versions(packages).items()}
        archives = sorted((self._folder / "archives").glob("*.deb"))
        found = [path for path in archives if path.name.rpartition("_")[0] in wanted]
        assert len(found) == len(wanted), f"{len(found)} archives of {len(wanted)} packages"
        return found

    def _apt(self, command: str, *arguments: str) -> str:
        # Without it apt would take this machine's configuration, and its packages.
        assert (self._folder / "apt.conf").exists(), "update() comes first"
        done = subprocess.run(
            ["apt-get", "--quiet=2", command, *arguments],
            env={**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_SECONDS,
        )
        return done.stdout


def merge_usr(root: Path) -> None:
    """Makes the folder, with /bin and the like as links into /usr, which the package base-files would bring."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def digest(parts: Iterable[str]) -> str:
    """A short name for what was made from these parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

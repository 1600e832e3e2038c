"""The folder of a stack's native servers, and the unprivileged user who runs them where we are root."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import psutil

from ops.dev import ports, processes
from ops.dev.files import private_folder, write_private
from ops.dev.model import ServersError
from ops.process import ProcessError, output

Command = Sequence[str | Path]

_ORPHAN_SECONDS = 10
"""How long to wait for what a killed run or server left behind: a start under way, processes on their way out."""


class Home:
    """Where the native servers of one stack keep their data, and how their programs are run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._link = self._directory / "servers"
        digest = sha256(str(self._directory).encode()).hexdigest()[:12]
        self._elsewhere = Path("/var/lib") / f"lightwave-dev-{digest}"
        self.user = _unprivileged_user()

    @property
    def path(self) -> Path:
        """The folder itself: where it is a link, the servers' user may not pass through the folder that holds it."""
        return self._link.resolve()

    def make(self) -> None:
        """Makes the folder. PostgreSQL and PgBouncer refuse to run as root: then another user must get there."""
        if self.user is None:
            private_folder(self.path)
            return
        # The unprivileged user may pass through; only root may list or read the folder.
        os.chown(self._directory, -1, self.user.pw_gid)
        self._directory.chmod(0o710)
        if not self.path.exists():
            self._link.unlink(missing_ok=True)  # to data that were removed
            self._link.mkdir(mode=0o700)
        if not self._reachable():
            # A checkout under /root, for example. The data go elsewhere, and only the link stays here.
            self._elsewhere.mkdir(mode=0o700, exist_ok=True)
            self._link.rmdir()
            self._link.symlink_to(self._elsewhere)
        os.chown(self.path, self.user.pw_uid, self.user.pw_gid)

    def _reachable(self) -> bool:
        try:
            # Started from /: entering the folder is what is being tried.
            self.run(["test", "-d", self.path], cwd=Path("/"))
        except ProcessError:
            return False
        return True

    def wipe(self) -> None:
        """Removes the data, also where the folder's link to them was removed."""
        for place in (self.path, self._elsewhere):
            if place.exists():
                shutil.rmtree(place)
        self._link.unlink(missing_ok=True)

    def process(self, program: str, file: str) -> psutil.Process | None:
        """The server that runs on a file or folder below this one, wherever the data are or were."""
        return processes.find(program, {str(place / file) for place in (self.path, self._link, self._elsewhere)})

    def subfolder(self, name: str) -> Path:
        """A folder of the servers' user below this one, made where it is missing."""
        path = self.path / name
        if not path.exists():
            private_folder(path)
            self._give(path)
        return path

    def write(self, path: Path, text: str) -> bool:
        """Writes a file for the servers' user to read. Gives whether it changed."""
        if path.exists() and path.read_text() == text:
            return False
        write_private(path, text)
        self._give(path)
        return True

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def run(self, command: Command, *, stdin: str = "", cwd: Path | None = None, fix: str = "") -> str:
        """Runs a program as the servers' user and gives its output. Raises ProcessError where it fails."""
        return output(
            command,
            timeout=processes.START_SECONDS * 2,
            fix=fix,
            cwd=cwd or self.path,
            # Without the caller's PG* variables, and with messages in English.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            clean=True,
            stdin=stdin,
            user=self.user,
        )

    def launch(self, command: Command, *, env: Mapping[str, str], log: Path) -> None:
        """Starts a program that stays in the foreground, as the servers' user, and leaves it running."""
        with log.open("ab") as output_file:
            self._give(log)
            subprocess.Popen(
                [str(word) for word in command],
                cwd=self.path,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **env},
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                stdin=subprocess.DEVNULL,
                stdout=output_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def may_start(self, port: int, program: str, file: str, key: str, kept_in: str = "state.json") -> bool:
        """Whether the port is free for a start; False where the server came up meanwhile, begun by a killed run.

        Raises ServersError where another process has the port.
        """
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not ports.port_is_free(port):
            if self.process(program, file):
                return False
            if time.monotonic() > deadline:
                raise ServersError(
                    f"port {port} is taken by another process",
                    f"stop it, or change {key} in {self._directory}/{kept_in}",
                )
            time.sleep(0.05)
        return True


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Who runs the servers where we are root; None to keep the current user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServersError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody", "run make up as another user"
    )

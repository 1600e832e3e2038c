"""Private files and folders, and the lock that keeps two commands out of one folder."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from settings.problems import OperatorError

LOCK = ".lock"
"""Suffix of the lock files."""


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600. A reader finds the old file or the new one whole, even after a kill."""
    private_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp's mode is 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def private_folder(directory: Path) -> None:
    """Makes the folder with mode 0700 where it is missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def locked(directory: Path, name: str = "state") -> Iterator[None]:
    """Keeps other commands out of the folder; waits for the one that is in it. A killed command leaves no lock behind.

    Raises OperatorError where another user owns the folder.
    """
    path = directory / f"{name}{LOCK}"
    while True:
        try:
            private_folder(directory)
            file = path.open("w")
        except PermissionError:
            raise OperatorError(
                f"{directory} belongs to another user, who ran make up first",
                "run it as that user, or remove the folder",
            ) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # `make down WIPE=1` removes the folder with its lock: a lock on a removed file keeps nobody out.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return

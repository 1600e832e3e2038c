"""Private files and the lock of a folder."""

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from ops.dev.files import LOCK, locked, write_private
from settings.problems import OperatorError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_private(path, "old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_lock_whose_folder_was_removed_keeps_nobody_out(tmp_path: Path) -> None:
    """`make down WIPE=1` removes the folder while `make up` waits for it: that one locks the new folder."""
    folder, inside, go_on = tmp_path / "stack", threading.Event(), threading.Event()

    def wait_and_hold() -> None:
        with locked(folder):
            inside.set()
            go_on.wait(10)

    waiting = threading.Thread(target=wait_and_hold)
    with locked(folder):
        waiting.start()
        assert not inside.wait(0.2)
        shutil.rmtree(folder)
    try:
        assert inside.wait(10)
        with (folder / f"state{LOCK}").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        go_on.set()
        waiting.join(10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OperatorError, match="belongs to another user"), locked(tmp_path / "stack"):
        pass

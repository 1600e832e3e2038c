"""The migration commands of the frameworks: they succeed only where every migration ran."""

import subprocess
from pathlib import Path

import pytest

from settings import FRAMEWORKS

YES = "\x1b[32mYes\x1b[0m"
NO = "\x1b[31mNo\x1b[0m"


def table(*rows: tuple[str, str]) -> str:
    """As Payload 3.90 prints it."""
    head = "│\x1b[37m \x1b[0m\x1b[01m Name\x1b[0m │\x1b[37m \x1b[0m\x1b[01mRan\x1b[0m │"
    lines = [f"│\x1b[37m \x1b[0m\x1b[32m{name}\x1b[0m │\x1b[37m \x1b[0m{ran} │" for name, ran in rows]
    return "\n".join(["┌──────┬─────┐", head, "├──────┼─────┤", *lines, "└──────┴─────┘", "Done."])


def run(tmp_path: Path, program: str, first: str, *, later: str | None = None, status: int = 0) -> tuple[int, str, int]:
    """The exit status of the framework's migration, its errors, and how often the program was called.

    The program prints `first` on its first two calls, and `later` after them; it ends with `status`.
    """
    for name, text in (("first", first), ("later", first if later is None else later)):
        (tmp_path / name).write_text(text)
    calls = tmp_path / "calls"
    fake = tmp_path / program
    fake.write_text(
        f'#!/bin/sh\necho "$*" >> {calls}\n'
        f'if [ "$(wc -l < {calls})" -le 2 ]; then cat {tmp_path}/first; else cat {tmp_path}/later; fi\nexit {status}\n'
    )
    fake.chmod(0o700)
    framework = FRAMEWORKS["payload" if program == "node" else "django"]
    done = subprocess.run(
        framework.migration.command,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.strip(), len(calls.read_text().splitlines())


NOT_SHOWN = "payload migrate:status does not show that every migration ran"


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        (table(("a", YES), ("b", YES)), None, (0, "", 2)),
        (table(("a", YES), ("Say_No", YES)), None, (0, "", 2)),
        ("INFO: No migrations found.", None, (0, "", 2)),
        # It ended with status 0 and did nothing: the next run does it.
        ("", table(("a", YES)), (0, "", 4)),
        (table(("a", YES), ("b", NO)), table(("a", YES), ("b", YES)), (0, "", 4)),
        ("", None, (1, NOT_SHOWN, 10)),
        (table(("a", YES), ("Yes", NO)), None, (1, NOT_SHOWN, 10)),
    ],
)
def test_payloads_migrations(tmp_path: Path, first: str, later: str | None, expected: tuple[int, str, int]) -> None:
    assert run(tmp_path, "node", first, later=later) == expected


def test_a_failed_migration_of_payloads_is_not_tried_again(tmp_path: Path) -> None:
    assert run(tmp_path, "node", table(("a", YES)), status=3) == (3, "", 1)


def test_djangos_migrations(tmp_path: Path) -> None:
    assert run(tmp_path, "python", "") == (0, "", 2)
    assert (tmp_path / "calls").read_text().splitlines() == ["manage.py migrate --noinput", "manage.py migrate --check"]
    (tmp_path / "calls").unlink()
    assert run(tmp_path, "python", "", status=1) == (1, "", 1)

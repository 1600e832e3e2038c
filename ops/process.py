"""The one way to run another program and read what it prints."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from settings.problems import OperatorError


class ProcessError(OperatorError):
    """A program failed, is missing or gave no answer in time."""


def output(
    command: Sequence[str | Path],
    *,
    timeout: float,
    fix: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    clean: bool = False,
    stdin: str = "",
    user: pwd.struct_passwd | None = None,
) -> str:
    """What the command prints; `timeout` in seconds, `env` on top of this process's environment (`clean`: alone).

    `user` runs it in place of this process's own user, which only root may ask for. Raises ProcessError with the last
    lines of its error output, and `fix`. What it printed to standard output is never in the message: it may be secret.
    """
    name = Path(command[0]).name
    words = [str(word) for word in command[1:] if not str(word).startswith("-")]
    shown = " ".join([name, *words[:2]])
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env if clean else {**os.environ, **(env or {})},
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            # Never this process's own input: a program that asks a question gets no answer.
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Without its cause: that one holds what was printed so far.
        raise ProcessError(f"{shown} gave no answer in {timeout:g} s", fix) from None
    except OSError as error:
        raise ProcessError(f"{name} cannot be run: {error.strerror or error}", fix) from error
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit status {done.returncode}"
        raise ProcessError(f"{shown} failed: {tail}", fix)
    return done.stdout

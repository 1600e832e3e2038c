"""A local stack in a copy of the project, and how long the operator's commands take on it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops.deploy import file_backend
from settings import ROOT, LocalState, state_file
from tests.checkout import copy_project

_SECONDS = 1800


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStack:
    """The dev stack of a copy."""

    root: Path
    environment: Mapping[str, str]

    def timed(self, command: str) -> float:
        """Wall-clock seconds of one of the operator's commands. Raises CalledProcessError where it fails."""
        return self._timed(self.root, sys.executable, "-m", "ops", command, "--stack", "dev")

    def update(self, folder: Path) -> float:
        """Wall-clock seconds of `pulumi up` in a project's folder. Raises CalledProcessError where it fails."""
        file_backend.folder("dev", folder).mkdir(parents=True, exist_ok=True)
        self._timed(folder, "pulumi", "--non-interactive", "stack", "select", "--create", "dev")
        flags = ("--yes", "--skip-preview", "--suppress-outputs", "--suppress-progress")
        return self._timed(folder, "pulumi", "--non-interactive", "up", "--stack", "dev", *flags)

    def start_servers(self) -> LocalState:
        """Starts its servers, whose database is empty; gives their ports and passwords."""
        start = "from ops.dev import servers, state; servers.start(state.prepare('dev'), kind='native')"
        self._timed(self.root, sys.executable, "-c", start)
        state = state_file("dev").relative_to(ROOT)
        return LocalState.model_validate_json((self.root / state).read_text())

    def _timed(self, folder: Path, *command: str) -> float:
        began = time.monotonic()
        subprocess.run(
            command,
            cwd=folder,
            env={**self.environment, **file_backend.environment("dev", folder)},
            stdout=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
        return time.monotonic() - began


@contextmanager
def local_stack(config: Mapping[str, Any], *, pulumi: bool) -> Iterator[LocalStack]:
    """A stack that is not up yet, with these keys in its config; removed with all that it started."""
    root = Path(tempfile.mkdtemp(prefix="lightwave-bench-"))
    root.chmod(0o755)  # for the user who runs the servers
    copy_project(root)
    file = root / "Pulumi.dev.yaml"
    document = yaml.safe_load(file.read_text())
    document["config"] |= config
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    # Pulumi's Python language host runs `uv`.
    path = [str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)]
    if not pulumi:
        path = [folder for folder in path if not (Path(folder) / "pulumi").exists()]
    environment = {**os.environ, "PATH": os.pathsep.join(path), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    stack = LocalStack(root=root, environment=environment)
    try:
        yield stack
    finally:
        subprocess.run([sys.executable, "-m", "ops", "down", "--wipe"], cwd=root, env=environment, check=False)
        shutil.rmtree(root, ignore_errors=True)

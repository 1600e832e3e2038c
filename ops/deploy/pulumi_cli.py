"""The Pulumi CLI for one stack: the environment it runs in, its commands, and why one failed.

Everything goes through the `pulumi` command line, so that what runs here is what a user would type.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

from ops import process
from ops.console import say
from ops.deploy import file_backend
from ops.deploy.deployment import Deployment
from ops.errors import FailedError
from settings import ROOT

_QUERY_SECONDS = 60
_KEPT_LINES = 200

# What Pulumi prints for a stack that another update holds: a bucket's or file's lock, Pulumi Cloud's.
_LOCKED = ("the stack is currently locked by", "Another update is currently in progress")


def make_up(stack: str) -> str:
    """The command that brings a local stack up; dev is the Makefile's default."""
    return "make up" if stack == "dev" else f"make up STACK={stack}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a long command of the Pulumi CLI ended."""

    command: str
    """up, preview, …"""
    stack: str
    status: int
    """Exit status."""
    stderr: str = ""
    """The end of its error output."""
    interrupted: bool = False
    changes: Mapping[str, int] = field(default_factory=dict)
    """How many resources by what was done: `same`, `create`, `update`, `delete`, …"""
    causes: tuple[str, ...] = ()
    """What failed, each with the resource's name; without the tracebacks and progress around it."""

    def failure(self, fix: str) -> FailedError:
        """Why the command failed, in the operator's words, and what to do."""
        if any(words in self.stderr for words in _LOCKED):
            holders = "; ".join(re.findall(r"created by (.+)", self.stderr))
            return FailedError(
                f"stack {self.stack} is locked: another update of it runs{f', by {holders}' if holders else ''}. "
                "Nothing was changed",
                "wait for it to end; if it is dead for sure: docs/runbooks/interrupted-deploy.md",
            )
        what = f"pulumi {self.command} of stack {self.stack}"
        if self.interrupted:
            return FailedError(f"{what} was interrupted", fix)
        errors = [line.removeprefix("error: ") for line in self.stderr.splitlines() if line.startswith("error: ")]
        return FailedError(f"{what} failed: {'; '.join(self.causes or errors) or f'exit status {self.status}'}", fix)


@dataclass(frozen=True, slots=True)
class PulumiCli:
    """The `pulumi` command for one stack of one checkout."""

    command: str
    stack: str
    local: bool
    """Whether the stack's database is local (`Settings.is_local`); its state is then a local file backend."""
    root: Path = ROOT

    def environment(self) -> dict[str, str]:
        """What the command runs with; a stack that is not local keeps the caller's backend and secrets provider."""
        # The language host is in the command's folder, and runs the `uv` in this Python's folder.
        folders = [str(Path(path).parent) for path in (self.command, sys.executable) if Path(path).is_absolute()]
        environment = {
            **os.environ,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
            # The version of this environment, which differs from .python-version's on some machines.
            "UV_PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        }
        if self.local:
            environment |= file_backend.environment(self.stack, self.root)
            # `install.find` has installed what the stack needs; the program's other providers are large.
            environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        return environment

    def select(self) -> None:
        """Makes the stack the selected one; creates a local one where it is missing.

        Raises OperatorError while a local stack is updated.
        """
        if self.local:
            file_backend.folder(self.stack, self.root).mkdir(mode=0o700, parents=True, exist_ok=True)
            file_backend.repair(self.stack, self.root)
            self.query("stack", "select", "--create", self.stack)
        else:
            self.query("stack", "select", self.stack)

    def up(self) -> Mapping[str, int]:
        """Updates the stack and returns `Outcome.changes`. Raises FailedError with the cause.

        Only a local stack goes without a preview: elsewhere the preview is what refuses to delete what is protected.
        """
        flags = ("--skip-preview", "--suppress-outputs", "--suppress-progress") if self.local else ()
        outcome = self.run("up", "--yes", *flags)
        if outcome.status:
            first = "" if outcome.interrupted else "remove the cause, then "
            raise outcome.failure(f"{first}{make_up(self.stack)}: it goes on from where it stopped")
        return outcome.changes

    def recover(self, found: Deployment, *, stale: bool = False) -> Deployment:
        """Clears what a killed update of a local stack left behind: its lock and the pending operations of `found`.

        Gives the state after that; it is true again, but for what was created and not recorded (`ops.dev.recovery`).
        `stale`: the state may be that of another database. Raises OperatorError while another update runs.
        """
        if file_backend.dead_locks(self.stack, self.root):
            say(f"clearing the lock of a killed update of stack {self.stack}")
            self.query("cancel", "--yes", self.stack)
        if not found.pending and not (stale and found.resources):
            return found
        self.refresh()
        return self.deployment()

    def refresh(self) -> None:
        """Reads the state anew from what is there. Raises FailedError."""
        say("refreshing the Pulumi state from the database")
        # The program runs too: the server's port may have changed since.
        flags = ("--skip-preview", "--run-program", "--clear-pending-creates", "--suppress-progress")
        outcome = self.run("refresh", "--yes", *flags)
        if outcome.status:
            raise outcome.failure(make_up(self.stack))

    def deployment(self) -> Deployment:
        """The stack's state as it is now. Raises ProcessError."""
        exported = json.loads(self.query("stack", "export", "--stack", self.stack))
        return Deployment(exported.get("deployment") or {})

    def replace(self, deployment: Mapping[str, Any]) -> None:
        """Writes the stack's state. Raises ProcessError where Pulumi refuses it."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 3, "deployment": deployment}, file)
            file.flush()
            self.query("stack", "import", "--stack", self.stack, "--file", file.name)

    def query(self, *arguments: str, timeout: float = _QUERY_SECONDS, fix: str = "") -> str:
        """What a short command prints. Raises ProcessError."""
        command = [self.command, "--non-interactive", *arguments]
        return process.output(command, timeout=timeout, fix=fix, cwd=self.root, env=self.environment())

    def run(self, command: str, *flags: str) -> Outcome:
        """Runs a long command, its output shown as it comes. An interrupt is passed on to it, and it is waited for."""
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as folder:
            events = Path(folder, "events")
            command_line = [self.command, "--non-interactive", command, "--stack", self.stack, "--event-log"]
            with (
                # Before Pulumi starts: from then on no interrupt may end this process and leave Pulumi behind.
                _Interrupts() as interrupts,
                subprocess.Popen(
                    [*command_line, events, *flags],
                    cwd=self.root,
                    # The variable makes the event log's flag known, as Pulumi's Automation API does.
                    env={**self.environment(), "PULUMI_DEBUG_COMMANDS": "true"},
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    # Its own group: a Ctrl-C reaches it once, from here. A second one would make it drop what it does.
                    process_group=0,
                ) as pulumi,
            ):
                interrupts.pass_on_to(pulumi)
                printed: deque[str] = deque(maxlen=_KEPT_LINES)
                for line in pulumi.stderr or ():
                    sys.stderr.write(line)
                    sys.stderr.flush()
                    printed.append(line)
                status = pulumi.wait()
            changes, causes = _read_events(events)
        return Outcome(
            command=command,
            stack=self.stack,
            status=status,
            stderr="".join(printed),
            interrupted=interrupts.seen,
            changes=changes,
            causes=causes,
        )


class _Interrupts:
    """Within it, what would end this process asks Pulumi to end in order.

    Killed in the middle, Pulumi would leave a lock and resources that nothing has recorded.
    """

    def __init__(self) -> None:
        self.seen = False
        self._pulumi: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._interrupted) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, pulumi: subprocess.Popen[str]) -> None:
        """Names the process to interrupt, and interrupts it now where one has come already."""
        self._pulumi = pulumi
        if self.seen:
            self._interrupt()

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        self.seen = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._pulumi and self._pulumi.poll() is None:
            self._pulumi.send_signal(signal.SIGINT)


def _read_events(path: Path) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Of the event log: the count of changes, and the last error of each resource that failed."""
    changes: Mapping[str, int] = {}
    causes: dict[str, str] = {}
    # Missing where Pulumi failed before it began; the last line is cut off where it was killed.
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "summaryEvent" in event:
            changes = event["summaryEvent"].get("resourceChanges") or {}
        diagnostic = event.get("diagnosticEvent", {})
        if diagnostic.get("severity") == "error" and diagnostic.get("urn"):
            name = diagnostic["urn"].rpartition("::")[2]
            causes[diagnostic["urn"]] = f"{name}: {_cause(diagnostic['message'])}"
    return changes, tuple(causes.values())


def _cause(message: str) -> str:
    """The message on one line, without what Pulumi puts around a provider's; of a traceback, the exception alone."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1]
    return re.sub(r"^(\w+ urn:\S+: )?(1 error occurred: \* )?", "", " ".join(lines))

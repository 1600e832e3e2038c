"""What can be wrong, as an object until the one place that prints it (`ops.__main__`)."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pulumi import RunError


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that an operator can fix."""

    what: str
    """What is wrong."""
    fix: str = ""
    """The command, or the change, that fixes it."""
    key: str = ""
    """The config key it is about, such as `lightwave:aws.region`; empty where it is about something else."""
    expected: str = ""
    """In words, what the key takes."""

    def __str__(self) -> str:
        head = f"{self.key}: {self.what}" if self.key else self.what
        expected = f"; expected: {self.expected}" if self.expected else ""
        lines = self.fix.replace("\n", "\n           ")
        fix = f"\n      fix: {lines}" if lines else ""
        return f"{head}{expected}{fix}"


class OperatorError(Exception):
    """One or more problems that the operator can fix; the base of every error that a command reports."""

    title = ""
    """A line above the problems; empty where each of them speaks for itself."""

    def __init__(self, what: str | Problem | Iterable[Problem], fix: str = "") -> None:
        if isinstance(what, str):
            what = Problem(what=what, fix=fix)
        self.problems: tuple[Problem, ...] = (what,) if isinstance(what, Problem) else tuple(what)
        super().__init__("\n".join(map(str, self.problems)))


class SettingsError(OperatorError, RunError):
    """The stack config is wrong. `problems` holds every error with its key, what is expected and the fix.

    A RunError too: of those Pulumi prints the message alone, without a traceback.
    """

    def __init__(self, what: str | Problem | Iterable[Problem], fix: str = "", *, stack: str = "") -> None:
        super().__init__(what, fix)
        if stack:
            errors = f"{len(self.problems)} error{'s' * (len(self.problems) > 1)}"
            self.title = f"stack {stack}: {errors} in its config"
            self.args = ("\n  ".join([self.title, *map(str, self.problems)]),)


Key = tuple[str | int, ...]
"""Where a value is in the config: the steps from its section down, such as `("aws", "region")`."""


class Mistake(NamedTuple):
    """One thing that is wrong with a stack's config; `settings.refusal` makes a Problem of it."""

    key: Key
    what: str
    expected: str
    fix: Literal["set", "edit", "remove"] = "set"
    """How it is fixed: with one command that sets the key, in an editor, or by removing the key."""


def shown(value: Any) -> str:
    """The value on one printable line of at most 80 characters."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def listed(names: Sequence[str]) -> str:
    """The names separated by commas, those with unusual characters in quotes."""
    return ", ".join(name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else shown(name) for name in names)

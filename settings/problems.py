"""What can be wrong, as an object until the one place that prints it (`ops.__main__`)."""

from collections.abc import Iterable
from dataclasses import dataclass


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

    def __init__(self, what: str | Problem | Iterable[Problem], fix: str = "") -> None:
        if isinstance(what, str):
            what = Problem(what=what, fix=fix)
        self.problems: tuple[Problem, ...] = (what,) if isinstance(what, Problem) else tuple(what)
        super().__init__("\n".join(map(str, self.problems)))

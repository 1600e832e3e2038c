"""One thing that a command checks and reports, ok or with what must be fixed."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from ops.console import console, mark
from settings.problems import OperatorError, Problem

_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    detail: str = ""
    """What was found."""
    problems: tuple[Problem, ...] = ()
    """What must be fixed; a check without problems is ok."""
    skipped: bool = False
    """Not made, because another check failed; `detail` names it."""

    @property
    def ok(self) -> bool:
        """Whether it was made and found nothing wrong."""
        return not self.problems and not self.skipped


def check(name: str) -> Callable[[Callable[_Arguments, str]], Callable[_Arguments, Check]]:
    """Makes a check of a function that returns what it found, or raises OperatorError."""

    def decorate(look: Callable[_Arguments, str]) -> Callable[_Arguments, Check]:
        @functools.wraps(look)
        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Check:
            try:
                return Check(name=name, detail=look(*args, **kwargs))
            except OperatorError as error:
                return Check(name=name, problems=error.problems)

        return checked

    return decorate


def show(made: Check, width: int = 16) -> None:
    """Prints one line: the mark, the name in `width` columns, what was found."""
    found = str(made.problems[0]).splitlines()[0] if made.problems else made.detail
    if len(made.problems) > 1:
        found += f" (and {len(made.problems) - 1} more)"
    marked = mark(made.ok, skipped=made.skipped)
    console.print("  ", marked, f"  {made.name:<{width}}  {found}", sep="", soft_wrap=True)

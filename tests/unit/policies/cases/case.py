"""One case of a rule."""

from typing import Any, NamedTuple

from policies.rules.model import Resource


class Case(NamedTuple):
    """Resources that the rule passes, changes to the first that it refuses, and unknowns in the first."""

    good: list[Resource]
    bad: list[tuple[str, Any, str]]
    """Path, value, and part of the message."""
    unknown: list[str]
    """Paths of inputs that the rule needs."""

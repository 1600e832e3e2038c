"""What the rules see and how they answer. The same resources come from the offline plan and from the Pulumi CLI."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from policies import tokens


class _Unknown(StrEnum):
    # The same text as `settings.KNOWN_AT_DEPLOY`; a test holds the two together.
    UNKNOWN = "<known at deploy>"


UNKNOWN: Final = _Unknown.UNKNOWN
"""Stands for a value that only the deploy will know. Rules compare with `is`."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the program marked as secret; its repr does not show it.

    Only the offline plan has these: the Pulumi CLI hands rules the bare value.
    """

    value: Any = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource, as the program declares it."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    """By the provider's names (camelCase); `Secret` and `UNKNOWN` may stand at any depth."""
    protect: bool = False
    provider_inputs: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of its explicit provider; empty for a default one."""
    secrecy_known: bool = True
    """Whether a value that is not a `Secret` is known to be none."""

    @property
    def kind(self) -> str:
        """The type that rules compare: the same for every API version of a Kubernetes object."""
        return tokens.canonical(self.type)


class Violation(NamedTuple):
    """One thing that is wrong with a resource."""

    what: str


class NotCheckable(NamedTuple):
    """An input that the rule needs and that only the deploy will know."""

    path: str


Answer = Violation | NotCheckable


class Finding(NamedTuple):
    """An answer about one resource."""

    resource: Resource
    answer: Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    name: str
    description: str
    """What must hold, in a sentence."""
    why: str
    fix: str

    def message(self, resource: Resource, violation: Violation) -> str:
        """Which resource, what is wrong, why it matters, how to fix it."""
        return f"{resource.type} {resource.name}: {violation.what}\n  why: {self.why}\n  fix: {self.fix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRule(_Rule):
    """A rule about single resources of some types."""

    types: Sequence[str]
    check: Callable[[Resource], Iterator[Answer]]

    def findings(self, resources: Iterable[Resource]) -> Iterator[Finding]:
        """What is wrong with those of the resources that the rule is about."""
        for resource in resources:
            if resource.kind in self.types:
                yield from (Finding(resource, answer) for answer in self.check(resource))


@dataclass(frozen=True, kw_only=True, slots=True)
class StackRule(_Rule):
    """A rule about all resources of a stack together."""

    check: Callable[[Sequence[Resource]], Iterator[Finding]]

    def findings(self, resources: Iterable[Resource]) -> Iterator[Finding]:
        """What is wrong with the stack, each finding at the resource to fix."""
        yield from self.check(tuple(resources))


def value_at(value: Any, path: str) -> Any:
    """The value at a dotted path, without its `Secret`: None where there is none, UNKNOWN behind an unknown."""
    return bare(_marked_at(value, path))


def _marked_at(value: Any, path: str) -> Any:
    """As `value_at`, in its `Secret` where it is one."""
    for key in path.split("."):
        value = bare(value)
        if value is UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def bare(value: Any) -> Any:
    """The value itself where it is a `Secret`."""
    return value.value if isinstance(value, Secret) else value


def items_at(value: Any, path: str) -> Any:
    """The list at a dotted path: empty where there is none, UNKNOWN behind an unknown."""
    found = value_at(value, path)
    return found if found is UNKNOWN else [bare(item) for item in found or ()]


def expect(
    inputs: Any, path: str, holds: Callable[[Any], bool], otherwise: str, *, within: str = ""
) -> Iterator[Answer]:
    """A violation unless `holds` is true of the value at `path`. `within` is where `inputs` is in the resource."""
    value = _marked_at(inputs, path)
    place = f"{within}.{path}" if within else path
    if bare(value) is UNKNOWN:
        yield NotCheckable(place)
    elif not holds(bare(value)):
        yield Violation(f"{place} {'is not set' if value is None else f'is {_shown(value)}'}; {otherwise}")


def is_true(value: Any) -> bool:
    """Whether the value is true, not merely set."""
    return value is True


def is_false(value: Any) -> bool:
    """Whether the value is false, not merely left out."""
    return value is False


def is_not_true(value: Any) -> bool:
    """Whether the value is false or left out."""
    return value is None or value is False


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return "wrong (it is secret)"
    if isinstance(value, float) and value.is_integer():  # the wire has no integers
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)

"""Checks the offline plan against the policy pack, without the Pulumi CLI and without credentials."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ops.errors import FailedError
from ops.plan import recorder
from policies.rules import RULES
from policies.rules.model import NotCheckable, Resource, ResourceRule, StackRule, Violation


class Verdict(NamedTuple):
    """One rule's answer about one resource."""

    rule: ResourceRule | StackRule
    resource: Resource
    answer: Violation | NotCheckable


def verdicts(resources: Iterable[Resource]) -> Iterator[Verdict]:
    """Everything that the rules find, rule by rule."""
    resources = tuple(resources)
    for rule in RULES:
        for resource, answer in rule.findings(resources):
            yield Verdict(rule, resource, answer)


def run(stack: str) -> int:
    """Checks the stack's offline plan and prints the result.

    Raises FailedError where a rule is broken, SettingsError where the config is wrong.
    """
    if report(stack, recorder.record_stack(stack).resources):
        raise FailedError(
            f"the plan of stack {stack} breaks the rules above, each with its fix",
            f"change what they name, then: make policy STACK={stack}",
        )
    return 0


def report(stack: str, resources: Iterable[Resource]) -> int:
    """Prints what the rules find; 1 where one is broken."""
    resources = tuple(resources)
    broken, unknown = 0, []
    for rule, resource, answer in verdicts(resources):
        if isinstance(answer, Violation):
            broken += 1
            print(f"BROKEN {rule.name}: {rule.message(resource, answer)}\n")
        else:
            unknown.append(f"not known before the deploy: {rule.name}: {resource.type} {resource.name}: {answer.path}")
    print(*unknown, sep="\n", end="\n" if unknown else "")
    print(
        f"policy: stack {stack}: {len(resources)} resources, {len(RULES)} rules, {broken} broken, "
        f"{len(unknown)} not known before the deploy"
    )
    return 1 if broken else 0

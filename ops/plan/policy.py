"""Holds the offline plan against the policy pack: no engine, no credentials."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ops.plan import recorder
from policies.rules import RULES
from policies.rules.model import UNKNOWN, NotCheckable, Problem, Resource, ResourceRule, Secret, StackRule


class Verdict(NamedTuple):
    """What one rule says about one resource."""

    rule: ResourceRule | StackRule
    resource: Resource
    answer: Problem | NotCheckable


def view(recording: recorder.Recording) -> list[Resource]:
    """The recording as the rules see it. `<known at deploy>` is what the name says: unknown."""
    by_urn = {resource.urn: resource for resource in recording.resources}
    return [
        Resource(
            urn=resource.urn,
            type=resource.type,
            name=resource.name,
            inputs=_seen(resource.inputs),
            protect=resource.protect,
            provider=_seen(by_urn[resource.provider].inputs) if resource.provider in by_urn else {},
        )
        for resource in recording.resources
    ]


def _seen(value: Any) -> Any:
    if isinstance(value, recorder.Secret):
        return Secret(_seen(value.value))
    if isinstance(value, Mapping):
        return {key: _seen(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_seen(item) for item in value]
    return UNKNOWN if value == recorder.KNOWN else value


def verdicts(resources: list[Resource]) -> Iterator[Verdict]:
    """Everything that the rules find, rule by rule."""
    for rule in RULES:
        for resource, answer in rule.findings(resources):
            yield Verdict(rule, resource, answer)


def run(stack: str) -> int:
    """Prints the verdict on the stack's offline plan; 1 where a rule is broken. Raises SettingsError."""
    resources = view(recorder.record_stack(stack))
    broken, unknown = 0, []
    for rule, resource, answer in verdicts(resources):
        if isinstance(answer, Problem):
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

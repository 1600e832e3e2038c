"""The rules in the form that pulumi-policy takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.rules import RESOURCE_RULES, STACK_RULES
from policies.rules.model import UNKNOWN, Finding, Resource, ResourceRule, StackRule, Violation


def resource_view(resource: ResourceValidationArgs | PolicyResource) -> Resource:
    """A resource as the Pulumi CLI passes it. Secrets arrive bare, so `secrecy_known` is false."""
    return Resource(
        urn=resource.urn,
        type=resource.resource_type,
        name=resource.name,
        inputs=_known(resource.props),
        protect=resource.opts.protect,
        provider_inputs=_known(resource.provider.props) if resource.provider else {},
        secrecy_known=False,
    )


def _known(value: Any) -> Any:
    """The SDK's proxies raise at an unknown value. Here it becomes UNKNOWN, and the rest stays usable."""
    if isinstance(value, Mapping):
        return {key: _item(value.__getitem__, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_item(value.__getitem__, index) for index in range(len(value))]
    return value


def _item(get: Callable[[Any], Any], key: str | int) -> Any:
    try:
        return _known(get(key))
    except UnknownValueError:
        return UNKNOWN


def _report(rule: ResourceRule | StackRule, findings: Iterable[Finding], report: ReportViolation) -> None:
    """Reports every violation; then what is not known, in the SDK's own way: an advisory that fails nothing."""
    unknown = []
    for resource, answer in findings:
        if isinstance(answer, Violation):
            report(rule.message(resource, answer), resource.urn)
        else:
            unknown.append(f"{resource.name}.{answer.path}")
    if unknown:
        raise UnknownValueError(UNKNOWN_STRING_VALUE, [", ".join(unknown)])


def _resource_policy(rule: ResourceRule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        _report(rule, rule.findings([resource_view(args)]), report)

    return ResourceValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def _stack_policy(rule: StackRule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        _report(rule, rule.findings([resource_view(resource) for resource in args.resources]), report)

    return StackValidationPolicy(name=rule.name, description=rule.description, validate=validate)


POLICIES: list[Policy] = [
    *(_resource_policy(rule) for rule in RESOURCE_RULES),
    *(_stack_policy(rule) for rule in STACK_RULES),
]

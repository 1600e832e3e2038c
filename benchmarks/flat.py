"""A program without any structure that declares the same typed resources as a stack, generated from its plan."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.plan.recorder import RecordedResource, Recording
from policies.rules.model import UNKNOWN, Secret
from settings import KNOWN_AT_DEPLOY

_GENERATED = ("api_version", "kind")
"""Inputs that a Kubernetes class fills in."""


def recorded(recording: Recording) -> str:
    """The program's text; running it records it with the project's recorder."""
    imports, calls = _parts(recording.resources)
    return "\n".join(
        [
            *imports,
            "from ops.plan.recorder import record",
            "",
            "def program():",
            *(f"    {call}" for call in calls),
            "",
            f"recording = record(program, stack={recording.stack!r})",
            f"assert len(recording.resources) == {len(calls)}",
            "",
        ]
    )


def deployable(resources: Iterable[RecordedResource]) -> str:
    """The program's text, as `pulumi up` runs it."""
    imports, calls = _parts(resources)
    return "\n".join([*imports, "", *calls, ""])


def _parts(resources: Iterable[RecordedResource]) -> tuple[list[str], list[str]]:
    """The imports, and a call per resource."""
    ordered = list(_ordered([resource for resource in resources if resource.custom]))
    names = {resource.urn: f"r{number}" for number, resource in enumerate(ordered)}
    modules = sorted({_class(resource.type)[0] for resource in ordered})
    calls = [f"{names[resource.urn]} = {_call(resource, names)}" for resource in ordered]
    return ["import pulumi", *(f"import {module}" for module in modules)], calls


def _ordered(resources: Iterable[RecordedResource]) -> Iterator[RecordedResource]:
    """Each after what it depends on."""
    waiting = {resource.urn: resource for resource in resources}
    while waiting:
        ready = [
            resource
            for resource in waiting.values()
            if not any(urn in waiting for urn in (*resource.depends_on, resource.provider))
        ]
        for resource in ready:
            yield waiting.pop(resource.urn)


def _class(type_: str) -> tuple[str, str]:
    """Module and class of a type token."""
    if type_.startswith("pulumi:providers:"):
        return f"pulumi_{type_.rpartition(':')[2]}", "Provider"
    package, module, name = type_.split(":")
    if package == "kubernetes":
        group, version = module.split("/")
        return f"pulumi_kubernetes.{group.partition('.')[0]}.{version}", name
    folder = module.partition("/")[0]
    return f"pulumi_{package}" + ("" if folder == "index" else f".{folder}"), name


def _call(resource: RecordedResource, names: Mapping[str, str]) -> str:
    module, name = _class(resource.type)
    inputs = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower(): value for key, value in resource.inputs.items()}
    arguments = [repr(resource.name)]
    arguments += [
        f"{key}={_literal(value)}"
        for key, value in inputs.items()
        if not (key in _GENERATED and module.startswith("pulumi_kubernetes."))
    ]
    after = ", ".join(names[urn] for urn in resource.depends_on if urn in names)
    options = [f"protect={resource.protect}", f"depends_on=[{after}]"]
    if resource.provider:
        options.append(f"provider={names[resource.provider]}")
    return f"{module}.{name}({', '.join(arguments)}, opts=pulumi.ResourceOptions({', '.join(options)}))"


def _literal(value: Any) -> str:
    if isinstance(value, Secret):
        return f"pulumi.Output.secret({_literal(value.value)})"
    if value is UNKNOWN:
        return repr(KNOWN_AT_DEPLOY)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(value)

"""Changes to what prod declares, and what the rules find after them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from ops.plan import policy, recorder
from policies.rules.model import Resource, Violation
from tests.unit.conftest import FACTS_OF_PROD, full_config
from tests.unit.policies.deep_change import changed_at


class Change(NamedTuple):
    """A change to one resource that prod declares, and what catches it."""

    what: str
    type: str
    """The end of the type token."""
    name: str
    """A pattern within the resource's name; the first that fits is changed."""
    path: str
    """Dotted, into the inputs. `@` is the resource itself (to be gone), `@protect` its protection, `@type` its type and
    `@provider` its provider's inputs."""
    value: Any
    rule: str = ""
    """The rules that are broken, separated by a space; none for a harmless change."""


@dataclass(frozen=True, slots=True)
class Added:
    """A resource that prod gets in addition, and what catches it."""

    what: str
    type: str
    inputs: Mapping[str, Any]
    rule: str = ""
    protect: bool = False


RDS = ("instance:Instance", "instance")
PARAMETERS = ("parameterGroup:ParameterGroup", "")
INGRESS = ("SecurityGroupIngressRule", "")
LOGIN = ("role:Role", "payload-login")
READER = ("role:Role", "payload-reader")
OWN = ("grant:Grant", "payload-own")
PUBLIC = ("grant:Grant", "public-database")
DEFAULTS = ("DefaultPrivileges", "payload-reader-default")
SCHEMA = ("schema:Schema", "payload")
POOLER = ("Deployment", "pgbouncer|pooler")
POD = "spec.template.spec"
C = f"{POD}.containers.0"
ROLE_RULE = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
EXPIRY = {"condition": {"type": "Age", "maxAge": 86400}}


@cache
def prod() -> tuple[Resource, ...]:
    """What prod declares, with the facts that a deploy would have."""
    config = full_config("prod")
    overrides = {f"lightwave:{section}": config[f"lightwave:{section}"] for section in FACTS_OF_PROD}
    return recorder.record_stack("prod", overrides=overrides).resources


def after(change: Change | Added, resources: Sequence[Resource]) -> tuple[Resource, list[Resource]]:
    """The resource that was changed or added, and all resources after the change."""
    if isinstance(change, Added):
        urn = f"urn:pulumi:prod::lightwave::{change.type}::added"
        added = Resource(urn=urn, type=change.type, name="added", inputs=change.inputs, protect=change.protect)
        # As everything at AWS that the program declares: by the provider that tags it.
        provider = next(r.provider_inputs for r in resources if r.type.startswith("aws:"))
        added = replace(added, provider_inputs=provider) if change.type.startswith("aws:") else added
        return added, [*resources, added]
    target = next(r for r in resources if r.type.endswith(change.type) and re.search(change.name, r.name))
    others = [r for r in resources if r is not target]
    if change.path == "@":
        return target, others
    attributes = {"@protect": "protect", "@provider": "provider_inputs", "@type": "type"}
    if change.path in attributes:
        changed = replace(target, **{attributes[change.path]: change.value})
    else:
        changed = replace(target, inputs=changed_at(target.inputs, change.path, change.value))
    return changed, [changed, *others]


def broken(resources: Sequence[Resource]) -> dict[str, str]:
    """By broken rule: the message."""
    return {
        verdict.rule.name: verdict.rule.message(verdict.resource, verdict.answer)
        for verdict in policy.verdicts(resources)
        if isinstance(verdict.answer, Violation)
    }

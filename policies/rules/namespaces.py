"""Namespaces: a Pod Security level each, and all traffic denied by default."""

from collections.abc import Iterator, Sequence
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Resource,
    ResourceRule,
    StackRule,
    Violation,
    bare,
    items_at,
    value_at,
)

_ENFORCE = "pod-security.kubernetes.io/enforce"


def _pod_security(namespace: Resource) -> Iterator[Answer]:
    labels = value_at(namespace.inputs, "metadata.labels")
    level = UNKNOWN if labels is UNKNOWN else bare((labels or {}).get(_ENFORCE))
    if level is UNKNOWN:
        yield NotCheckable("metadata.labels")
    elif level not in ("baseline", "restricted"):
        found = f"is {level!r}" if level else "is not set"
        yield Violation(f"label {_ENFORCE} {found}; expected baseline or restricted")


def _denied(policy: Resource) -> Any:
    """The directions that a policy denies for every pod of its namespace; UNKNOWN where the plan does not know."""
    spec = value_at(policy.inputs, "spec")
    if spec is UNKNOWN:
        return UNKNOWN
    selector, types = value_at(spec, "podSelector"), items_at(spec, "policyTypes")
    if selector is UNKNOWN or types is UNKNOWN or UNKNOWN in types:
        return UNKNOWN
    if any((selector or {}).values()):
        return set()
    rules = {"Ingress": items_at(spec, "ingress"), "Egress": items_at(spec, "egress")}
    # A policy without types means ingress, and egress where it has egress rules.
    return {direction for direction in (types or ["Ingress"]) if rules.get(direction) == []}


def _default_deny(resources: Sequence[Resource]) -> Iterator[Finding]:
    policies = [
        (value_at(p.inputs, "metadata.namespace"), _denied(p)) for p in resources if p.type == tokens.NETWORK_POLICY
    ]
    for namespace in resources:
        if namespace.type != tokens.NAMESPACE:
            continue
        name = value_at(namespace.inputs, "metadata.name")
        applicable = [denied for where, denied in policies if where in (name, UNKNOWN) or name is UNKNOWN]
        known = [d for (where, d) in policies if d is not UNKNOWN and where == name and name is not UNKNOWN]
        open_ = {"Ingress", "Egress"} - set().union(*known)
        if not open_:
            continue
        if name is UNKNOWN or len(known) < len(applicable):
            yield Finding(namespace, NotCheckable("network policies of the namespace"))
        else:
            directions = " and ".join(sorted(direction.lower() for direction in open_))
            yield Finding(namespace, Violation(f"no NetworkPolicy denies {directions} by default"))


RULES = (
    ResourceRule(
        name="k8s-pod-security",
        description="Every namespace enforces a Pod Security level.",
        types=(tokens.NAMESPACE,),
        check=_pod_security,
        why="services are deployed from other repositories; the namespace is what enforces rules on their pods",
        fix="set podSecurity of the namespace to baseline or restricted",
    ),
)
STACK_RULES = (
    StackRule(
        name="k8s-default-deny",
        description="Every namespace denies all traffic by default, both ways.",
        check=_default_deny,
        why="without it every pod of the cluster reaches the namespace, and a compromised service reaches the internet",
        fix="add a NetworkPolicy with an empty podSelector, policyTypes Ingress and Egress and no rules",
    ),
)

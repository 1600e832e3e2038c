"""Namespaces: a Pod Security level and a quota each."""

from collections.abc import Iterator, Sequence

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


_BOUNDS = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def _bounded(resources: Sequence[Resource]) -> Iterator[Finding]:
    quotas = [(value_at(r.inputs, "metadata.namespace"), r) for r in resources if r.kind == tokens.RESOURCE_QUOTA]
    for namespace in resources:
        if namespace.kind != tokens.NAMESPACE:
            continue
        name = value_at(namespace.inputs, "metadata.name")
        bounds = [value_at(quota.inputs, "spec.hard") for where, quota in quotas if where == name]
        if name is UNKNOWN or UNKNOWN in bounds or UNKNOWN in [where for where, _ in quotas]:
            yield Finding(namespace, NotCheckable("quotas of the namespace"))
        elif missing := [bound for bound in _BOUNDS if not any((hard or {}).get(bound) for hard in bounds)]:
            yield Finding(namespace, Violation(f"no ResourceQuota bounds its {', '.join(missing)}"))


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
        name="k8s-namespace-bounded",
        description="Every namespace has a quota for CPU and memory.",
        check=_bounded,
        why="without it one service takes the nodes of all others",
        fix="add a ResourceQuota with requests and limits of CPU and memory",
    ),
)

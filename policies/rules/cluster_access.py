"""Access to the cluster's API: narrow roles, no administrators, no tokens in pods that do not ask."""

from collections.abc import Iterator

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Violation,
    expect,
    is_false,
    items_at,
)

_NOT_FOR_ROLES = ("*", "secrets", "pods/exec", "pods/attach", "pods/*")


def _narrow_role(role: Resource) -> Iterator[Answer]:
    rules = items_at(role.inputs, "rules")
    if rules is UNKNOWN:
        yield NotCheckable("rules")
        return
    for index, rule in enumerate(rules):
        for path, refused in (("verbs", ("*", "escalate", "bind", "impersonate")), ("resources", _NOT_FOR_ROLES)):
            values = items_at(rule, path)
            if values is UNKNOWN or UNKNOWN in values:
                yield NotCheckable(f"rules[{index}].{path}")
            elif found := [value for value in values if value in refused]:
                yield Violation(f"rules[{index}].{path} has {', '.join(found)}")


def _no_cluster_admin(binding: Resource) -> Iterator[Answer]:
    yield from expect(
        binding.inputs, "roleRef.name", lambda role: role not in ("cluster-admin", "admin"), "expected a narrow role"
    )


def _no_automount(account: Resource) -> Iterator[Answer]:
    yield from expect(account.inputs, "automountServiceAccountToken", is_false, "expected false")


RULES = (
    ResourceRule(
        name="k8s-narrow-role",
        description="No role allows everything, secrets or a shell in a pod.",
        types=(tokens.K8S_ROLE, tokens.CLUSTER_ROLE),
        check=_narrow_role,
        why="one service's deploy job could read every secret of the namespace",
        fix="list the verbs and resources that the job needs",
    ),
    ResourceRule(
        name="k8s-no-automount",
        description="No service account's token is mounted into pods by default.",
        types=(tokens.SERVICE_ACCOUNT,),
        check=_no_automount,
        why="an intruder in a pod could call the API server as that account",
        fix="set automountServiceAccountToken: false; a pod that needs the token mounts it itself",
    ),
    ResourceRule(
        name="k8s-no-cluster-admin",
        description="No binding grants an administrator's role over the whole cluster.",
        types=(tokens.CLUSTER_ROLE_BINDING,),
        check=_no_cluster_admin,
        why="namespaces separate the services only while no service has rights across them",
        fix="bind a Role in the service's own namespace",
    ),
)

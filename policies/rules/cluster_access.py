"""Access to the cluster's API: narrow roles, no administrators, no tokens in pods that do not ask."""

from collections.abc import Iterator, Sequence
from functools import partial
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
    expect,
    is_false,
    items_at,
    value_at,
)

_READ = {"get", "list", "watch"}
_REFUSED_VERBS = {"escalate", "bind", "impersonate", "approve", "sign"}
_REFUSED_RESOURCES = {
    "secrets",
    "nodes/proxy",
    "pods/attach",
    "pods/ephemeralcontainers",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "serviceaccounts/token",
    "services/proxy",
}
"""Resources that give a secret, a token or a way into a pod, whatever the verb."""
_READ_ONLY_RESOURCES = {
    *("roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts"),
    *("namespaces", "namespaces/finalize", "namespaces/status", "resourcequotas", "limitranges"),
    *("networkpolicies", "adminnetworkpolicies", "baselineadminnetworkpolicies", "endpoints", "endpointslices"),
    *("nodes", "nodes/status", "persistentvolumes", "storageclasses", "priorityclasses", "runtimeclasses"),
    *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
    *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    *("customresourcedefinitions", "apiservices", "flowschemas", "prioritylevelconfigurations"),
    *("certificatesigningrequests", "certificatesigningrequests/approval", "signers"),
}
"""Resources whose writer gives itself other rights, or lifts what holds its pods."""


def _narrow_role(role: Resource) -> Iterator[Answer]:
    yield from expect(role.inputs, "aggregationRule", lambda rule: rule is None, "expected rules of its own")
    rules = items_at(role.inputs, "rules")
    if rules is UNKNOWN:
        yield NotCheckable("rules")
        return
    for index, rule in enumerate(rules):
        sets = {path: items_at(rule, path) for path in ("verbs", "resources", "apiGroups", "nonResourceURLs")}
        known = {path: values for path, values in sets.items() if values is not UNKNOWN and UNKNOWN not in values}
        yield from (NotCheckable(f"rules[{index}].{path}") for path in sets.keys() - known.keys())
        for path, values in known.items():
            if found := [value for value in values if _is_refused(path, value)]:
                yield Violation(f"rules[{index}].{path} has {', '.join(found)}")
        writes = sorted(set(known.get("verbs", ())) - _READ - _REFUSED_VERBS - {"*"})
        guarded = sorted(set(known.get("resources", ())) & _READ_ONLY_RESOURCES)
        if writes and guarded:
            yield Violation(f"rules[{index}] may {', '.join(writes)} {', '.join(guarded)}")


def _is_refused(path: str, value: str) -> bool:
    if path == "nonResourceURLs":
        return value in ("*", "/*")
    return "*" in value or value in (_REFUSED_VERBS if path == "verbs" else _REFUSED_RESOURCES)


_BINDINGS = (tokens.ROLE_BINDING, tokens.CLUSTER_ROLE_BINDING)
_BUILT_IN = ("cluster-admin", "admin", "edit", "view")


def _is_built_in(role: str) -> bool:
    return role in _BUILT_IN or role.startswith("system:")


def _no_cluster_admin(binding: Resource) -> Iterator[Answer]:
    # A Role is the namespace's own, whatever it is called.
    if value_at(binding.inputs, "roleRef.kind") != "Role":
        yield from expect(
            binding.inputs,
            "roleRef.name",
            lambda role: role is None or role == "view" or not _is_built_in(role),
            "expected a narrow role",
        )


def _bound_role_declared(resources: Sequence[Resource]) -> Iterator[Finding]:
    declared = {
        (r.kind, value_at(r.inputs, "metadata.namespace") if r.kind == tokens.K8S_ROLE else None, name)
        for r in resources
        if r.kind in (tokens.K8S_ROLE, tokens.CLUSTER_ROLE)
        for name in [value_at(r.inputs, "metadata.name")]
    }
    for binding in resources:
        if binding.kind not in _BINDINGS:
            continue
        kind, name = value_at(binding.inputs, "roleRef.kind"), value_at(binding.inputs, "roleRef.name")
        namespace = value_at(binding.inputs, "metadata.namespace")
        role = (tokens.K8S_ROLE, namespace, name) if kind == "Role" else (tokens.CLUSTER_ROLE, None, name)
        if UNKNOWN in (kind, name, namespace) or any(UNKNOWN in key for key in declared):
            yield Finding(binding, NotCheckable("roleRef"))
        elif role not in declared and not (kind != "Role" and _is_built_in(str(name))):
            yield Finding(binding, Violation(f"binds {kind} {name}, which the program does not declare"))


def _named_subjects(binding: Resource) -> Iterator[Answer]:
    subjects = items_at(binding.inputs, "subjects")
    if subjects is UNKNOWN or UNKNOWN in subjects:
        yield NotCheckable("subjects")
        return
    for index, subject in enumerate(subjects):
        yield from expect(
            subject,
            "name",
            partial(_is_somebody, value_at(subject, "kind")),
            "expected one group, user or service account of its own",
            within=f"subjects[{index}]",
        )


def _is_somebody(kind: Any, name: str | None) -> bool:
    return name is not None and not _is_everyone(kind, name)


def _is_everyone(kind: Any, name: str) -> bool:
    if kind == "ServiceAccount":
        return name == "default"  # of every pod that names no other
    return name.startswith("system:") and not (kind == "User" and name.startswith("system:serviceaccount:"))


def _no_automount(resource: Resource) -> Iterator[Answer]:
    yield from expect(resource.inputs, "automountServiceAccountToken", is_false, "expected false")


def _no_system_group(entry: Resource) -> Iterator[Answer]:
    groups = items_at(entry.inputs, "kubernetesGroups")
    if groups is UNKNOWN or UNKNOWN in groups:
        yield NotCheckable("kubernetesGroups")
    elif found := [group for group in groups if group.startswith("system:")]:
        yield Violation(f"kubernetesGroups has {', '.join(found)}")
    yield from expect(
        entry.inputs, "type", lambda type_: type_ in (None, "STANDARD"), "expected STANDARD, not a node's"
    )


_VIEW, _VIEW_SECRETS = "AmazonEKSViewPolicy", "AmazonEKSAdminViewPolicy"
_BOOTSTRAP = "lightwave:bootstrap:CiAccess$"
"""In the URN of what bootstrap declares: the deploy role there is the cluster's one administrator."""


def _narrow_access_policy(association: Resource) -> Iterator[Answer]:
    policy, scope = (value_at(association.inputs, path) for path in ("policyArn", "accessScope.type"))
    if policy is UNKNOWN or scope is UNKNOWN:
        yield NotCheckable("policyArn")
        return
    name = str(policy).rpartition("/")[2]
    narrow = name == _VIEW or (name == _VIEW_SECRETS and scope == "namespace")
    if not narrow and _BOOTSTRAP not in association.urn:
        yield Violation(f"gives {name} over the {scope}; expected Kubernetes roles by group, or {_VIEW}")


RULES = (
    ResourceRule(
        name="k8s-narrow-role",
        description="No role allows everything, secrets, a way into a pod, or more rights for itself.",
        types=(tokens.K8S_ROLE, tokens.CLUSTER_ROLE),
        check=_narrow_role,
        why="one service's deploy job could read every secret of the namespace, or make itself an administrator",
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
        description="No binding grants one of Kubernetes' own administrator or editor roles.",
        types=_BINDINGS,
        check=_no_cluster_admin,
        why="namespaces separate the services only while no service has rights across them",
        fix="bind a Role in the service's own namespace",
    ),
    ResourceRule(
        name="k8s-named-subjects",
        description="No binding is for groups or accounts that everyone has.",
        types=_BINDINGS,
        check=_named_subjects,
        why="system:authenticated is every user and every pod; system:masters is above all roles",
        fix="bind the group of the service's deployers, or a service account of its own",
    ),
    ResourceRule(
        name="eks-no-system-group",
        description="No access entry puts an AWS role into a Kubernetes system group.",
        types=(tokens.ACCESS_ENTRY,),
        check=_no_system_group,
        why="system:masters is above all roles, and a node's identity reads every secret on the node",
        fix="use a group of your own, and bind a Role to it",
    ),
    ResourceRule(
        name="eks-narrow-access-policy",
        description="No AWS access policy gives more than a view of the cluster.",
        types=(tokens.ACCESS_POLICY,),
        check=_narrow_access_policy,
        why="EKS's own edit and admin policies include secrets and shells in pods",
        fix="give the access entry a Kubernetes group, and bind a narrow Role to it",
    ),
)
STACK_RULES = (
    StackRule(
        name="k8s-bound-role-declared",
        description="Every bound role is declared here, or is Kubernetes' own view.",
        check=_bound_role_declared,
        why="what a role allows that others declare, no rule here can see",
        fix="declare the Role with its rules, and bind that",
    ),
)

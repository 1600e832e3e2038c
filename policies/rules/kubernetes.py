"""Kubernetes: pods without privileges and within bounds, namespaces closed by default, no secret in plain config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Problem,
    Resource,
    ResourceRule,
    Secret,
    StackRule,
    bare,
    expect,
    is_false,
    is_not_true,
    is_true,
    items_at,
    value_at,
)

_POD_SPECS = {
    "kubernetes:core/v1:Pod": "spec",
    "kubernetes:apps/v1:Deployment": "spec.template.spec",
    "kubernetes:apps/v1:StatefulSet": "spec.template.spec",
    "kubernetes:apps/v1:DaemonSet": "spec.template.spec",
    "kubernetes:apps/v1:ReplicaSet": "spec.template.spec",
    "kubernetes:batch/v1:Job": "spec.template.spec",
    "kubernetes:batch/v1:CronJob": "spec.jobTemplate.spec.template.spec",
}
WORKLOADS = tuple(_POD_SPECS)
SERVING = tuple(f"kubernetes:apps/v1:{kind}" for kind in ("Deployment", "StatefulSet", "DaemonSet"))
"""Workloads that serve: a Job is done when it is done and needs no probe."""

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"  # noqa: S105 (a type token)
NAMESPACE = "kubernetes:core/v1:Namespace"
SERVICE_ACCOUNT = "kubernetes:core/v1:ServiceAccount"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ROLES = tuple(f"kubernetes:rbac.authorization.k8s.io/v1:{kind}" for kind in ("Role", "ClusterRole"))
CLUSTER_ROLE_BINDING = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"

_ENFORCE = "pod-security.kubernetes.io/enforce"
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE_?KEY|ACCESS_?KEY|DATABASE_UR[IL]", re.IGNORECASE)
_URL_WITH_PASSWORD = re.compile(r"://[^:@/\s]+:[^@/\s]+@")


def _containers(workload: Resource, *, init: bool = True) -> Iterator[tuple[str, Any]]:
    """Place and value of every container; the list's place with UNKNOWN where the plan does not know the list."""
    spec = _POD_SPECS[workload.type]
    for path in (f"{spec}.containers", *((f"{spec}.initContainers",) if init else ())):
        containers = items_at(workload.inputs, path)
        if containers is UNKNOWN:
            yield path, UNKNOWN
            continue
        for index, container in enumerate(containers):
            name = value_at(container, "name")
            yield f"{path}[{name if isinstance(name, str) else index}]", container


def _resources(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        for path in ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory"):
            yield from expect(container, f"resources.{path}", bool, "expected a quantity", within=place)


def _non_root(workload: Resource) -> Iterator[Answer]:
    pod = value_at(workload.inputs, f"{_POD_SPECS[workload.type]}.securityContext")
    for place, container in _containers(workload):
        # What a container says goes before what its pod says.
        own = value_at(container, "securityContext")
        for path, holds, otherwise in (
            ("runAsNonRoot", is_true, "expected true"),
            ("runAsUser", lambda user: user is None or user > 0, "expected another user than root"),
        ):
            context = own if value_at(own, path) is not None else pod
            yield from expect(context, path, holds, otherwise, within=f"{place}.securityContext")


def _no_escalation(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        within = f"{place}.securityContext"
        context = value_at(container, "securityContext")
        yield from expect(context, "allowPrivilegeEscalation", is_false, "expected false", within=within)
        yield from expect(context, "privileged", is_not_true, "expected false", within=within)
        dropped = items_at(context, "capabilities.drop")
        if dropped is UNKNOWN or UNKNOWN in dropped:
            yield NotCheckable(f"{within}.capabilities.drop")
        elif "ALL" not in dropped:
            yield Problem(f"{within}.capabilities.drop is {', '.join(dropped) or 'not set'}; expected ALL")


def _read_only_root(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        yield from expect(container, "securityContext.readOnlyRootFilesystem", is_true, "expected true", within=place)


def _no_host(workload: Resource) -> Iterator[Answer]:
    spec = _POD_SPECS[workload.type]
    for path in ("hostNetwork", "hostPID", "hostIPC"):
        yield from expect(workload.inputs, f"{spec}.{path}", is_not_true, "expected false")
    volumes = items_at(workload.inputs, f"{spec}.volumes")
    if volumes is UNKNOWN:
        yield NotCheckable(f"{spec}.volumes")
        return
    for index, volume in enumerate(volumes):
        place = f"{spec}.volumes[{index}]"
        yield from expect(volume, "hostPath", lambda path: path is None, "expected another volume", within=place)


def _pinned(image: Any) -> bool:
    if not isinstance(image, str):
        return False
    name, at, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag != "latest" and (bool(tag) or (at == "@" and digest.startswith("sha256:")))


def _no_latest(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        yield from expect(container, "image", _pinned, "expected a tag other than latest, or a digest", within=place)


def _probes(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload, init=False):
        for probe in ("readinessProbe", "livenessProbe"):
            yield from expect(container, probe, bool, "expected a probe", within=place)


def _plain_problem(name: str, value: Any) -> str:
    """What makes an entry of plain config a secret; empty where nothing does. The value itself is never told."""
    if isinstance(value, Secret):
        return "holds a value that the program marks as secret"
    if value is not None and _SECRET_NAME.search(name):
        return "is named like a secret"
    if isinstance(value, str) and _URL_WITH_PASSWORD.search(value):
        return "holds a URL with a password"
    return ""


def _no_plain_secret(resource: Resource) -> Iterator[Answer]:
    if resource.type == SECRET:
        yield from _secret_marked(resource)
        return
    for place, entries in _plain_entries(resource):
        if entries is UNKNOWN:
            yield NotCheckable(place)
            continue
        for name, value in entries:
            what = _plain_problem(name, value)
            if what:
                yield Problem(f"{place}.{name} {what}")
            elif value is UNKNOWN:
                yield NotCheckable(f"{place}.{name}")


def _plain_entries(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Place and (name, value) pairs of everything a reader of the cluster's config sees; values keep their markers."""
    if resource.type == CONFIG_MAP:
        for field in ("data", "binaryData"):
            data = value_at(resource.inputs, field)
            yield field, UNKNOWN if data is UNKNOWN else tuple((data or {}).items())
        return
    for place, container in _containers(resource):
        entries = items_at(container, "env")
        if entries is UNKNOWN or UNKNOWN in entries:
            yield f"{place}.env", UNKNOWN
        else:
            yield f"{place}.env", tuple((str(value_at(e, "name")), e.get("value")) for e in entries)


def _secret_marked(secret: Resource) -> Iterator[Answer]:
    """A Secret whose content the program does not mark lies readable in Pulumi's state and in every preview."""
    if not secret.secrecy_known:
        return
    for field in ("data", "stringData"):
        data = secret.inputs.get(field)
        if isinstance(data, Mapping):
            for name, value in data.items():
                if not isinstance(value, Secret) and value is not UNKNOWN:
                    yield Problem(f"{field}.{name} is not marked as secret")


def _pod_security(namespace: Resource) -> Iterator[Answer]:
    labels = value_at(namespace.inputs, "metadata.labels")
    level = UNKNOWN if labels is UNKNOWN else bare((labels or {}).get(_ENFORCE))
    if level is UNKNOWN:
        yield NotCheckable("metadata.labels")
    elif level not in ("baseline", "restricted"):
        said = f"is {level!r}" if level else "is not set"
        yield Problem(f"label {_ENFORCE} {said}; expected baseline or restricted")


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
                yield Problem(f"rules[{index}].{path} has {', '.join(found)}")


def _no_cluster_admin(binding: Resource) -> Iterator[Answer]:
    yield from expect(
        binding.inputs, "roleRef.name", lambda role: role not in ("cluster-admin", "admin"), "expected a narrow role"
    )


def _no_automount(account: Resource) -> Iterator[Answer]:
    yield from expect(account.inputs, "automountServiceAccountToken", is_false, "expected false")


def _denied(policy: Resource) -> Any:
    """The directions that a policy closes for every pod of its namespace; UNKNOWN where the plan does not know."""
    spec = value_at(policy.inputs, "spec")
    if spec is UNKNOWN:
        return UNKNOWN
    selector, types = value_at(spec, "podSelector"), items_at(spec, "policyTypes")
    if selector is UNKNOWN or types is UNKNOWN or UNKNOWN in types:
        return UNKNOWN
    if any((selector or {}).values()):
        return set()
    rules = {"Ingress": items_at(spec, "ingress"), "Egress": items_at(spec, "egress")}
    # Kubernetes' own reading of a policy without types: ingress always, egress where it has rules.
    return {direction for direction in (types or ["Ingress"]) if rules.get(direction) == []}


def _default_deny(resources: Sequence[Resource]) -> Iterator[Finding]:
    policies = [(value_at(p.inputs, "metadata.namespace"), _denied(p)) for p in resources if p.type == NETWORK_POLICY]
    for namespace in resources:
        if namespace.type != NAMESPACE:
            continue
        name = value_at(namespace.inputs, "metadata.name")
        own = [denied for where, denied in policies if where in (name, UNKNOWN) or name is UNKNOWN]
        known = [d for (where, d) in policies if d is not UNKNOWN and where == name and name is not UNKNOWN]
        open_ = {"Ingress", "Egress"} - set().union(*known)
        if not open_:
            continue
        if name is UNKNOWN or len(known) < len(own):
            yield Finding(namespace, NotCheckable("network policies of the namespace"))
        else:
            said = " and ".join(sorted(direction.lower() for direction in open_))
            yield Finding(namespace, Problem(f"no NetworkPolicy denies {said} by default"))


RULES = (
    ResourceRule(
        name="k8s-resources",
        description="Every container has requests and limits for CPU and memory.",
        types=WORKLOADS,
        check=_resources,
        why="without them one service starves its neighbours on the node, and the namespace's quota refuses the pod",
        mend="set resources.requests and resources.limits",
    ),
    ResourceRule(
        name="k8s-non-root",
        description="No container runs as root.",
        types=WORKLOADS,
        check=_non_root,
        why="root in a container is one kernel flaw away from root on the node",
        mend="set runAsNonRoot: true and a numeric runAsUser above 0",
    ),
    ResourceRule(
        name="k8s-no-privilege-escalation",
        description="No container can gain privileges.",
        types=WORKLOADS,
        check=_no_escalation,
        why="a setuid program in the image would give its process more than the pod was given",
        mend="set allowPrivilegeEscalation: false, drop ALL capabilities, leave privileged out",
    ),
    ResourceRule(
        name="k8s-read-only-root",
        description="Every container's root file system is read-only.",
        types=WORKLOADS,
        check=_read_only_root,
        why="an intruder could change the program that serves",
        mend="set readOnlyRootFilesystem: true and mount an emptyDir where the program writes",
    ),
    ResourceRule(
        name="k8s-no-host-access",
        description="No pod reaches into its node.",
        types=WORKLOADS,
        check=_no_host,
        why="the node's network and files are past every NetworkPolicy and every namespace",
        mend="take hostNetwork, hostPID, hostIPC and hostPath away",
    ),
    ResourceRule(
        name="k8s-no-latest",
        description="Every image has a version.",
        types=WORKLOADS,
        check=_no_latest,
        why="a restart would roll out whatever was pushed last, and no rollback would find the way back",
        mend="name the image by tag and digest",
    ),
    ResourceRule(
        name="k8s-probes",
        description="Every serving container has a readiness and a liveness probe.",
        types=SERVING,
        check=_probes,
        why="without them a rollout counts broken pods as good and sends them traffic",
        mend="add readinessProbe and livenessProbe",
    ),
    ResourceRule(
        name="k8s-no-plain-secret",
        description="No secret lies in plain config.",
        types=(CONFIG_MAP, SECRET, *WORKLOADS),
        check=_no_plain_secret,
        why="config is readable by everybody who may list it, and is printed in previews and plans",
        mend="put it into the service's Secret, marked as secret, and refer to it by secretKeyRef or envFrom",
    ),
    ResourceRule(
        name="k8s-pod-security",
        description="Every namespace enforces a Pod Security level.",
        types=(NAMESPACE,),
        check=_pod_security,
        why="services are deployed from other repos: the namespace is what holds their pods to the rules",
        mend="set podSecurity of the namespace to baseline or restricted",
    ),
    ResourceRule(
        name="k8s-narrow-role",
        description="No role allows everything, secrets or a shell in a pod.",
        types=ROLES,
        check=_narrow_role,
        why="a deploy job of one service would read every secret of the namespace",
        mend="list the verbs and resources that the job needs",
    ),
    ResourceRule(
        name="k8s-no-automount",
        description="No service account's token is mounted into pods that did not ask.",
        types=(SERVICE_ACCOUNT,),
        check=_no_automount,
        why="whoever breaks into a pod would speak to the API server as that account",
        mend="set automountServiceAccountToken: false; a pod that needs the token mounts it itself",
    ),
    ResourceRule(
        name="k8s-no-cluster-admin",
        description="Nobody is bound to an administrator's role over the whole cluster.",
        types=(CLUSTER_ROLE_BINDING,),
        check=_no_cluster_admin,
        why="the namespaces keep services apart only while nobody stands above them",
        mend="bind a Role in the service's own namespace",
    ),
)
STACK_RULES = (
    StackRule(
        name="k8s-default-deny",
        description="Every namespace denies all traffic by default, both ways.",
        check=_default_deny,
        why="without it every pod of the cluster reaches the namespace, and a broken service reaches the internet",
        mend="add a NetworkPolicy with an empty podSelector, policyTypes Ingress and Egress and no rules",
    ),
)

"""Pods: no privileges, bounded resources, pinned images, no secret in plain config."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Secret,
    Violation,
    bare,
    expect,
    is_false,
    is_not_true,
    is_true,
    items_at,
    value_at,
)

_TEMPLATE = "spec.template.spec"
_POD_SPECS = {
    tokens.POD: "spec",
    tokens.DEPLOYMENT: _TEMPLATE,
    tokens.STATEFUL_SET: _TEMPLATE,
    tokens.DAEMON_SET: _TEMPLATE,
    tokens.REPLICA_SET: _TEMPLATE,
    tokens.JOB: _TEMPLATE,
    tokens.CRON_JOB: f"spec.jobTemplate.{_TEMPLATE}",
}
WORKLOADS = tuple(_POD_SPECS)
SERVING = (tokens.DEPLOYMENT, tokens.STATEFUL_SET, tokens.DAEMON_SET)
"""Workloads that serve. A Job ends by itself and needs no probe."""

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASS$|SECRET|TOKEN|CREDENTIAL|(PRIVATE|ACCESS|API)_?KEY|DATABASE_UR[IL]", re.IGNORECASE
)
_URL_WITH_PASSWORD = re.compile(r"://[^:@/\s]+:[^@/\s]+@")


def _containers(workload: Resource, *, init: bool = True) -> Iterator[tuple[str, Any]]:
    """Place and value of every container. A list that is not known yields its own place and UNKNOWN."""
    spec = _POD_SPECS[workload.kind]
    kinds = ("containers", "initContainers", "ephemeralContainers") if init else ("containers",)
    for path in (f"{spec}.{kind}" for kind in kinds):
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
    pod = value_at(workload.inputs, f"{_POD_SPECS[workload.kind]}.securityContext")
    for place, container in _containers(workload):
        # A container's own setting overrides its pod's.
        specific = value_at(container, "securityContext")
        for path, holds, otherwise in (
            ("runAsNonRoot", is_true, "expected true"),
            ("runAsUser", lambda user: user is None or user > 0, "expected a user other than root"),
        ):
            context = specific if value_at(specific, path) is not None else pod
            yield from expect(context, path, holds, otherwise, within=f"{place}.securityContext")


_LOOSENED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("privileged", is_not_true, "expected false"),
    ("procMount", lambda mount: mount in (None, "Default"), "expected Default"),
    ("seccompProfile.type", lambda type_: type_ != "Unconfined", "expected RuntimeDefault"),
    ("appArmorProfile.type", lambda type_: type_ != "Unconfined", "expected RuntimeDefault"),
    ("seLinuxOptions.type", lambda type_: type_ is None, "expected the runtime's own"),
    ("windowsOptions.hostProcess", is_not_true, "expected false"),
    ("sysctls", lambda sysctls: not sysctls, "expected none"),
)
"""Fields of a security context that loosen what holds the container, for a pod and a container alike."""


def _no_escalation(workload: Resource) -> Iterator[Answer]:
    spec = _POD_SPECS[workload.kind]
    pod = value_at(workload.inputs, f"{spec}.securityContext")
    if pod is not UNKNOWN:
        for path, holds, otherwise in _LOOSENED:
            yield from expect(pod, path, holds, otherwise, within=f"{spec}.securityContext")
    for place, container in _containers(workload):
        within = f"{place}.securityContext"
        context = value_at(container, "securityContext")
        yield from expect(context, "allowPrivilegeEscalation", is_false, "expected false", within=within)
        if context is not UNKNOWN:
            for path, holds, otherwise in _LOOSENED:
                yield from expect(context, path, holds, otherwise, within=within)
        added = items_at(context, "capabilities.add")
        if added is not UNKNOWN and UNKNOWN not in added and set(added) - {"NET_BIND_SERVICE"}:
            yield Violation(f"{within}.capabilities.add is {', '.join(added)}; expected none but NET_BIND_SERVICE")
        dropped = items_at(context, "capabilities.drop")
        if dropped is UNKNOWN or UNKNOWN in dropped:
            yield NotCheckable(f"{within}.capabilities.drop")
        elif "ALL" not in dropped:
            yield Violation(f"{within}.capabilities.drop is {', '.join(dropped) or 'not set'}; expected ALL")


def _read_only_root(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        yield from expect(container, "securityContext.readOnlyRootFilesystem", is_true, "expected true", within=place)


def _no_host(workload: Resource) -> Iterator[Answer]:
    spec = _POD_SPECS[workload.kind]
    for path in ("hostNetwork", "hostPID", "hostIPC"):
        yield from expect(workload.inputs, f"{spec}.{path}", is_not_true, "expected false")
    volumes = items_at(workload.inputs, f"{spec}.volumes")
    if volumes is UNKNOWN:
        yield NotCheckable(f"{spec}.volumes")
        return
    for index, volume in enumerate(volumes):
        place = f"{spec}.volumes[{index}]"
        if volume is UNKNOWN:
            yield NotCheckable(place)
            continue
        for kind in sorted(volume.keys() - _VOLUMES):
            yield from expect(volume, kind, lambda value: value is None, "expected another volume", within=place)
    for place, container in _containers(workload):
        ports = items_at(container, "ports")
        for index, port in enumerate(ports if ports is not UNKNOWN else ()):
            within = f"{place}.ports[{index}]"
            yield from expect(port, "hostPort", lambda number: not number, "expected a Service", within=within)


_VOLUMES = {
    *("name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
"""The volumes that Pod Security's restricted level lets through."""


def _pinned(image: Any) -> bool:
    """Whether it is an image by digest, or by a tag that names a version: others move."""
    if not isinstance(image, str):
        return False
    name, at, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not tag:
        return at == "@" and digest.startswith("sha256:")
    return "latest" not in tag.lower() and any(character.isdigit() for character in tag)


def _no_shared_token(workload: Resource) -> Iterator[Answer]:
    """A pod has its account's token unless it says no; the default account is every such pod's."""
    spec = _POD_SPECS[workload.kind]
    account = value_at(workload.inputs, f"{spec}.serviceAccountName")
    mounted = value_at(workload.inputs, f"{spec}.automountServiceAccountToken")
    if mounted is not False and account in (None, "default"):
        yield from expect(
            workload.inputs,
            f"{spec}.automountServiceAccountToken",
            is_false,
            "expected false, or a service account of its own",
        )


def _no_latest(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload):
        yield from expect(container, "image", _pinned, "expected a tag other than latest, or a digest", within=place)


def _probes(workload: Resource) -> Iterator[Answer]:
    for place, container in _containers(workload, init=False):
        for probe in ("readinessProbe", "livenessProbe"):
            yield from expect(container, probe, bool, "expected a probe", within=place)


def _why_secret(name: str, value: Any) -> str:
    """Why an entry of plain config is a secret; empty where it is none. Never contains the value."""
    if isinstance(value, Secret):
        return "holds a value that the program marks as secret"
    if value is not None and _SECRET_NAME.search(name):
        return "is named like a secret"
    if isinstance(value, str) and _URL_WITH_PASSWORD.search(value):
        return "holds a URL with a password"
    return ""


def _no_plain_secret(resource: Resource) -> Iterator[Answer]:
    if resource.kind == tokens.K8S_SECRET:
        yield from _secret_marked(resource)
        return
    for place, entries in _plain_entries(resource):
        if entries is UNKNOWN:
            yield NotCheckable(place)
            continue
        for name, value in entries:
            what = _why_secret(name, value)
            if what:
                yield Violation(f"{place}.{name} {what}")
            elif value is UNKNOWN:
                yield NotCheckable(f"{place}.{name}")


def _plain_entries(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Place and (name, value) pairs of the plain config in a resource; values keep their `Secret`."""
    if resource.kind == tokens.CONFIG_MAP:
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
        for path in ("command", "args"):
            words = [] if container is UNKNOWN else bare(container.get(path))
            if words is UNKNOWN:
                yield f"{place}.{path}", UNKNOWN
            else:
                yield f"{place}.{path}", tuple(_option(word, index) for index, word in enumerate(words or ()))


def _option(word: Any, index: int) -> tuple[str, Any]:
    """Name and value of a command's word: `--name=value` by its name, any other by its place, without a value."""
    name, is_option, value = word.partition("=") if isinstance(word, str) else ("", "", "")
    if is_option and word is not UNKNOWN:
        return name.lstrip("-"), value
    return str(index), word


def _secret_marked(secret: Resource) -> Iterator[Answer]:
    """What the program does not mark as secret is readable in Pulumi's state and in every preview."""
    if not secret.secrecy_known:
        return
    for field in ("data", "stringData"):
        data = secret.inputs.get(field)
        if isinstance(data, Mapping):
            for name, value in data.items():
                if not isinstance(value, Secret) and value is not UNKNOWN:
                    yield Violation(f"{field}.{name} is not marked as secret")


RULES = (
    ResourceRule(
        name="k8s-resources",
        description="Every container has requests and limits for CPU and memory.",
        types=WORKLOADS,
        check=_resources,
        why="without them one service starves its neighbours on the node, and the namespace's quota refuses the pod",
        fix="set resources.requests and resources.limits",
    ),
    ResourceRule(
        name="k8s-non-root",
        description="No container runs as root.",
        types=WORKLOADS,
        check=_non_root,
        why="root in a container is one kernel flaw away from root on the node",
        fix="set runAsNonRoot: true and a numeric runAsUser above 0",
    ),
    ResourceRule(
        name="k8s-no-privilege-escalation",
        description="No container can gain privileges.",
        types=WORKLOADS,
        check=_no_escalation,
        why="a setuid program in the image would give its process more than the pod was given",
        fix="set allowPrivilegeEscalation: false, drop ALL capabilities, and leave the rest of the context out",
    ),
    ResourceRule(
        name="k8s-read-only-root",
        description="Every container's root file system is read-only.",
        types=WORKLOADS,
        check=_read_only_root,
        why="an intruder could replace the program that serves",
        fix="set readOnlyRootFilesystem: true and mount an emptyDir where the program writes",
    ),
    ResourceRule(
        name="k8s-no-host-access",
        description="No pod reaches into its node.",
        types=WORKLOADS,
        check=_no_host,
        why="the node's network and files are outside every NetworkPolicy and every namespace",
        fix="remove hostNetwork, hostPID, hostIPC and hostPort; use the volumes of Pod Security's restricted level",
    ),
    ResourceRule(
        name="k8s-no-shared-token",
        description="No pod has the token of the namespace's default service account.",
        types=WORKLOADS,
        check=_no_shared_token,
        why="an intruder in the pod could call the API server with what all such pods have",
        fix="set automountServiceAccountToken: false, or name a service account of the pod's own",
    ),
    ResourceRule(
        name="k8s-no-latest",
        description="Every image has a version.",
        types=WORKLOADS,
        check=_no_latest,
        why="a restart would roll out whatever was pushed last, and a rollback could not name the previous image",
        fix="name the image by tag and digest",
    ),
    ResourceRule(
        name="k8s-probes",
        description="Every serving container has a readiness and a liveness probe.",
        types=SERVING,
        check=_probes,
        why="without them a rollout counts broken pods as good and sends them traffic",
        fix="add readinessProbe and livenessProbe",
    ),
    ResourceRule(
        name="k8s-no-plain-secret",
        description="No secret is in plain config.",
        types=(tokens.CONFIG_MAP, tokens.K8S_SECRET, *WORKLOADS),
        check=_no_plain_secret,
        why="everyone who may list config can read it, and previews and plans print it",
        fix="put it into the service's Secret, marked as secret, and reference it with secretKeyRef or envFrom",
    ),
)

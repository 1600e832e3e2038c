"""The prod plan's manifests before a real kube-apiserver: what it takes, what it refuses, who may do what."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml

from components.services.resources import DATABASE_CA_PATH
from ops.plan.manifests import manifests
from ops.plan.recorder import Recording
from settings import ROOT
from tests.integration.kubernetes.conftest import ApiServer

DEPLOYER_NAMESPACE = "payload-cms"
NAMESPACES = ("django-api", "payload-cms", "shared")


def pod(name: str, namespace: str = "payload-cms", **container: Any) -> dict[str, Any]:
    """A pod as the services' repositories are to write it: it fits every guard rail."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": "migration" if namespace != "shared" else "pgbouncer",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "app",
                    "image": "example.invalid/app:1",
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "64Mi"},
                        "limits": {"cpu": "200m", "memory": "128Mi"},
                    },
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    **container,
                }
            ],
        },
    }


def with_(document: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at the dotted path replaced."""
    changed = copy.deepcopy(dict(document))
    place: Any = changed
    *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in above:
        place = place[key]
    place[last] = value
    return changed


def documents(recording: Recording) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in manifests(recording).values()]


def test_the_server_holds_every_manifest(recording: Recording, applied: ApiServer) -> None:
    wanted = documents(recording)
    assert len(wanted) == len([r for r in recording.resources if r.type.startswith("kubernetes:")]) >= 60
    for document, found in zip(wanted, held(applied, wanted), strict=True):
        assert found["kind"] == document["kind"]
        assert found["metadata"]["name"] == document["metadata"]["name"]
        assert (found["metadata"]["labels"] or {}).items() >= document["metadata"].get("labels", {}).items()


def test_strict_validation_is_on(applied: ApiServer) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "mistyped", "namespace": "shared"},
        "spec": {"podSelectors": {}},
    }
    answer = applied.apply(json.dumps(policy))
    assert not answer.ok
    assert "podSelectors" in answer.output


def test_a_second_apply_changes_nothing(recording: Recording, applied: ApiServer) -> None:
    wanted = documents(recording)
    before = held(applied, wanted)
    answer = applied.apply(*manifests(recording).values())
    assert answer.ok, answer.output
    assert held(applied, wanted) == before


def held(server: ApiServer, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents as the server holds them, without its own book-keeping (it counts a second apply of a policy)."""
    answer = server(
        "get", "--filename=-", "--output=json", document={"apiVersion": "v1", "kind": "List", "items": wanted}
    )
    assert answer.ok, answer.output
    found: list[dict[str, Any]] = json.loads(answer.output)["items"]
    for document in found:
        metadata = document["metadata"]
        document["metadata"] = {key: metadata.get(key) for key in ("name", "namespace", "labels", "annotations")}
    return found


def test_each_pod_template_is_admitted_as_a_pod(recording: Recording, applied: ApiServer) -> None:
    """A Deployment is accepted whatever its pods are: only a Pod meets Pod Security, quota and service account."""
    templates = [
        (document["metadata"], document["spec"])
        for document in documents(recording)
        if document["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job")
    ]
    assert [(metadata["namespace"], metadata["name"]) for metadata, _ in templates] == [
        ("shared", "cloudflared"),
        ("shared", "pgbouncer"),
        ("shared", "valkey"),
    ]
    for metadata, controller in templates:
        template, claims = controller["template"], controller.get("volumeClaimTemplates", [])
        # As a StatefulSet's controller gives each pod its volumes.
        volumes = [
            {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{metadata['name']}-0"}}
            for name in (claim["metadata"]["name"] for claim in claims)
        ]
        answer = applied.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**template["metadata"], "name": metadata["name"], "namespace": metadata["namespace"]},
                "spec": {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *volumes]},
            }
        )
        assert answer.ok, answer.output
        # `warn: restricted` holds in every namespace, and this one is silent.
        assert answer.warnings == ""
        priority = applied.get("pod", metadata["name"], f"--namespace={metadata['namespace']}")["spec"]["priority"]
        assert priority == (1_000_000 if metadata["name"] == "pgbouncer" else 0)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_well_behaved_pod_is_admitted(applied: ApiServer, namespace: str) -> None:
    answer = applied.create(pod("well-behaved", namespace))
    assert answer.ok, answer.output
    assert answer.warnings == ""


def test_what_the_services_are_to_write_is_admitted(applied: ApiServer) -> None:
    """The example of docs/services.md: strict validation, its pods as Pods, and everything that it names is there."""
    (example,) = re.findall(r"```yaml\n(apiVersion.*?)```", (ROOT / "docs/services.md").read_text(), re.DOTALL)
    workloads = list(yaml.safe_load_all(example))
    assert [workload["kind"] for workload in workloads] == ["Deployment", "Job"]
    for workload in workloads:
        answer = applied.create(workload)
        assert (answer.ok, answer.warnings) == (True, ""), answer.output
        metadata, template = workload["metadata"], workload["spec"]["template"]
        answer = applied.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | template["metadata"], "spec": template["spec"]}
        )
        assert (answer.ok, answer.warnings) == (True, ""), answer.output
        (container,), (volume,) = template["spec"]["containers"], template["spec"]["volumes"]
        for kind, name in (
            ("secret", container["envFrom"][0]["secretRef"]["name"]),
            ("configmap", volume["configMap"]["name"]),
            ("serviceaccount", template["spec"]["serviceAccountName"]),
        ):
            applied.get(kind, name, f"--namespace={metadata['namespace']}")
        (file,) = applied.get("configmap", volume["configMap"]["name"], "--namespace=payload-cms")["data"]
        assert f"{container['volumeMounts'][0]['mountPath']}/{file}" == DATABASE_CA_PATH
        policies = applied.get("networkpolicy", f"--namespace={metadata['namespace']}")["items"]
        assert template["metadata"]["labels"] in [p["spec"]["podSelector"].get("matchLabels") for p in policies]


REFUSED = {
    "privileged": ("spec.containers.0.securityContext", {"privileged": True}, "privileged"),
    "host-network": ("spec.hostNetwork", True, "host namespaces"),
    "host-pid": ("spec.hostPID", True, "host namespaces"),
    "host-path": ("spec.volumes", [{"name": "host", "hostPath": {"path": "/"}}], "hostPath"),
    "host-port": ("spec.containers.0.ports", [{"containerPort": 80, "hostPort": 80}], "hostPort"),
    "added-capability": (
        "spec.containers.0.securityContext",
        {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
        "unrestricted capabilities",
    ),
    "root": ("spec.securityContext.runAsUser", 0, "runAsUser=0"),
    "perhaps-root": (
        "spec.securityContext",
        {"seccompProfile": {"type": "RuntimeDefault"}},
        "runAsNonRoot != true",
    ),
    "escalation": (
        "spec.containers.0.securityContext",
        {"capabilities": {"drop": ["ALL"]}},
        "allowPrivilegeEscalation != false",
    ),
    "no-seccomp": ("spec.securityContext", {"runAsNonRoot": True, "runAsUser": 1000}, "seccompProfile"),
    "unknown-account": ("spec.serviceAccountName", "nobody", 'serviceaccount "nobody" not found'),
    "unknown-priority": ("spec.priorityClassName", "nothing", "no PriorityClass with name nothing"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_pod_that_must_be_refused_is(applied: ApiServer, namespace: str, name: str) -> None:
    path, value, reason = REFUSED[name]
    answer = applied.create(with_(pod(f"refused-{name}", namespace), path, value))
    assert not answer.ok
    assert reason in answer.output


def test_the_deployment_of_a_refused_pod_is_accepted(applied: ApiServer) -> None:
    """Why the pod templates are submitted as Pods: the server only warns about a controller's."""
    template = with_(pod("template"), "spec.hostNetwork", True)
    answer = applied.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "on-the-host", "namespace": "payload-cms"},
            "spec": {
                "selector": {"matchLabels": {"app": "x"}},
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": template["spec"]},
            },
        }
    )
    assert answer.ok, answer.output
    assert "would violate PodSecurity" in answer.warnings


def test_a_container_without_resources_gets_the_limit_ranges(applied: ApiServer) -> None:
    answer = applied.create(with_(pod("no-resources", "django-api"), "spec.containers.0.resources", {}))
    assert answer.ok, answer.output
    held = applied.get("pod", "no-resources", "--namespace=django-api")
    assert held["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi"},
    }


@pytest.mark.parametrize(
    ("resource", "limits", "requests"),
    [
        ("requests.cpu", {"cpu": "7", "memory": "1Gi"}, {"cpu": "7", "memory": "1Gi"}),
        ("requests.memory", {"cpu": "1", "memory": "13Gi"}, {"cpu": "1", "memory": "13Gi"}),
        ("limits.cpu", {"cpu": "13", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}),
        ("limits.memory", {"cpu": "1", "memory": "25Gi"}, {"cpu": "1", "memory": "1Gi"}),
    ],
)
def test_a_pod_above_the_quota_is_refused(
    applied: ApiServer, resource: str, limits: Mapping[str, str], requests: Mapping[str, str]
) -> None:
    greedy = pod("greedy", "django-api", resources={"limits": limits, "requests": requests})
    answer = applied.create(greedy)
    assert not answer.ok
    assert "exceeded quota: quota" in answer.output
    assert resource in answer.output


def test_one_pod_too_many_is_refused(applied: ApiServer) -> None:
    used = applied.get("resourcequota", "quota", "--namespace=payload-cms")["status"]
    room = int(used["hard"]["pods"]) - int(used["used"]["pods"])
    small = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}}
    pods = [pod(f"many-{number}", resources=small) for number in range(room)]
    filled = applied("create", "--filename=-", document={"apiVersion": "v1", "kind": "List", "items": pods})
    assert filled.ok, filled.output
    answer = applied.create(pod("one-too-many", resources=small))
    emptied = applied("delete", "pod", "--namespace=payload-cms", "--now", *(p["metadata"]["name"] for p in pods))
    assert not answer.ok
    assert "exceeded quota: quota, requested: pods=1" in answer.output
    assert emptied.ok, emptied.output


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_no_service_opens_another_way_in(applied: ApiServer, kind: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "way-in", "namespace": "payload-cms"},
        "spec": {"type": kind, "selector": {"app": "x"}, "ports": [{"port": 80}]},
    }
    answer = applied.create(service)
    assert not answer.ok
    assert "exceeded quota: quota" in answer.output


DEPLOYER_MAY = [
    "create deployments.apps",
    "patch deployments.apps",
    "create statefulsets.apps",
    "list replicasets.apps",
    "create horizontalpodautoscalers.autoscaling",
    "create jobs.batch",
    "create cronjobs.batch",
    "create poddisruptionbudgets.policy",
    "create configmaps",
    "get pods",
    "get pods/log",
    "list events",
]
DEPLOYER_MAY_NOT = [
    "get secrets",
    "list secrets",
    "watch secrets",
    "create secrets",
    "create pods/exec",
    "get pods/exec",
    "create pods/attach",
    "create pods/portforward",
    "patch pods/ephemeralcontainers",
    "create pods",
    "create serviceaccounts",
    "create serviceaccounts/token",
    "create roles.rbac.authorization.k8s.io",
    "create rolebindings.rbac.authorization.k8s.io",
    "patch networkpolicies.networking.k8s.io",
    "delete networkpolicies.networking.k8s.io",
    "patch resourcequotas",
    "patch limitranges",
    "patch services",
    "create daemonsets.apps",
    "get nodes",
    "patch namespaces",
    "delete namespaces",
    "create priorityclasses.scheduling.k8s.io",
]


def test_what_the_deployer_may_in_its_namespace(applied: ApiServer) -> None:
    assert may(applied, DEPLOYER_MAY, DEPLOYER_NAMESPACE) == dict.fromkeys(DEPLOYER_MAY, True)


def test_what_the_deployer_may_not(applied: ApiServer) -> None:
    assert may(applied, DEPLOYER_MAY_NOT, DEPLOYER_NAMESPACE) == dict.fromkeys(DEPLOYER_MAY_NOT, False)


@pytest.mark.parametrize("namespace", ["django-api", "shared", "kube-system"])
def test_the_deployer_may_nothing_elsewhere(applied: ApiServer, namespace: str) -> None:
    actions = [*DEPLOYER_MAY, *DEPLOYER_MAY_NOT]
    assert may(applied, actions, namespace) == dict.fromkeys(actions, False)


def may(server: ApiServer, actions: Sequence[str], namespace: str) -> dict[str, bool]:
    """By action (`verb resource[.group][/subresource]`), whether the deployers of DEPLOYER_NAMESPACE may do it."""
    reviews = []
    for action in actions:
        verb, target = action.split()
        resource, _, subresource = target.partition("/")
        resource, _, group = resource.partition(".")
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        reviews.append(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": "a-deploy-job",
                    "groups": [f"lightwave:{DEPLOYER_NAMESPACE}:deployers", "system:authenticated"],
                    "resourceAttributes": {**attributes, "subresource": subresource},
                },
            }
        )
    answer = server(
        "create",
        "--filename=-",
        '--output=jsonpath={.status.allowed}{"\\n"}',
        document={"apiVersion": "v1", "kind": "List", "items": reviews},
    )
    assert answer.ok, answer.output
    return dict(zip(actions, [verdict == "true" for verdict in answer.output.split()], strict=True))

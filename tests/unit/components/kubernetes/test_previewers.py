"""CI's previews read what the platform declares outside namespaces, and nothing else there."""

from collections.abc import Callable

from ops.plan.recorder import Recording
from policies import tokens

PLURAL = {
    "Namespace": ("", "namespaces"),
    "ClusterRole": ("rbac.authorization.k8s.io", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "clusterrolebindings"),
    "PriorityClass": ("scheduling.k8s.io", "priorityclasses"),
    "StorageClass": ("storage.k8s.io", "storageclasses"),
}


def test_they_may_read_every_kind_outside_namespaces(recording_of: Callable[[str], Recording]) -> None:
    objects = [r for r in recording_of("prod").resources if r.type.startswith(tokens.KUBERNETES)]
    kinds = {r.type.rpartition(":")[2] for r in objects if "namespace" not in r.inputs["metadata"]}
    assert {"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding"} <= kinds
    rules = recording_of("prod").one(tokens.CLUSTER_ROLE, "previewers-role").inputs["rules"]
    readable = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    assert {PLURAL[kind] for kind in kinds} <= readable == set(PLURAL.values())


def test_they_only_read(recording_of: Callable[[str], Recording]) -> None:
    (role,) = [r for r in recording_of("prod").of_type(tokens.CLUSTER_ROLE) if r.name == "previewers-role"]
    assert {verb for rule in role.inputs["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert "secrets" not in {resource for rule in role.inputs["rules"] for resource in rule["resources"]}


def test_the_role_is_bound_to_the_group(recording_of: Callable[[str], Recording]) -> None:
    recording = recording_of("prod")
    binding = recording.one(tokens.CLUSTER_ROLE_BINDING, "previewers-binding")
    assert binding.inputs["roleRef"]["name"] == "lightwave-previewers"
    assert binding.inputs["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "lightwave:previewers"}
    ]
    assert recording.one(tokens.CLUSTER_ROLE, "previewers-role").urn in binding.depends_on


def test_a_developers_cluster_has_no_previews(recording_of: Callable[[str], Recording]) -> None:
    assert recording_of("dev").of_type(tokens.CLUSTER_ROLE) == []

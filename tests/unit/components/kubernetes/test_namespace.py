"""A namespace and its limits: exact inputs and options."""

from typing import Any

import pulumi
import pytest

import settings
from components.kubernetes.namespace import DEPLOYER_RULES, Namespace, NamespaceArgs, deployer_group
from components.kubernetes.network_flows import Flow, Networks, Pods
from ops.plan import recorder
from ops.plan.recorder import Recording

CORE = "kubernetes:core/v1:"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1:"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ENTRY = "aws:eks/accessEntry:AccessEntry"
PRINCIPAL = "arn:aws:iam::123456789012:role/payload-deploy"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:kubernetes:Namespace::payload-cms"
FLOWS = (
    Flow(
        name="in-and-out",
        source=Pods(namespace="payload-cms", labels={"app": "a"}),
        destination=Pods(namespace="payload-cms"),
        port=1,
        protocols=("UDP", "TCP"),
    ),
    Flow(name="out", source=Pods(namespace="payload-cms"), destination=Networks(cidrs=["10.0.0.0/16"]), port=2),
    Flow(name="in", source=Pods(namespace="other"), destination=Pods(namespace="payload-cms"), port=3),
    Flow(name="elsewhere", source=Pods(namespace="other"), destination=Pods(namespace="third"), port=4),
)
QUOTA = settings.QuotaSettings.model_validate(
    {"requestsCpu": "4", "requestsMemory": "8Gi", "limitsCpu": "8", "limitsMemory": "16Gi", "pods": 20}
)


def namespace_settings(**changes: Any) -> settings.NamespaceSettings:
    return settings.NamespaceSettings(quota=QUOTA).model_copy(update=changes)


def recording(*, protect: bool = True, cluster: str | None = "lightwave-prod", **changes: Any) -> Recording:
    args = NamespaceArgs(
        namespace="payload-cms", settings=namespace_settings(**changes), flows=FLOWS, cluster=cluster, protect=protect
    )
    return recorder.record(lambda: Namespace("payload-cms", args), stack="prod")


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording(deployer_principal=PRINCIPAL)


def declared(recorded: Recording) -> list[tuple[str, str]]:
    return sorted((r.type.rpartition(":")[2], r.name) for r in recorded.resources if r.custom)


def urns(recorded: Recording, *names: str) -> set[str]:
    return {r.urn for r in recorded.resources if r.name in names}


def test_declares_exactly_these(recorded: Recording) -> None:
    assert declared(recorded) == [
        ("AccessEntry", "payload-cms-deployer-access"),
        ("LimitRange", "payload-cms-limits"),
        ("Namespace", "payload-cms-namespace"),
        ("NetworkPolicy", "payload-cms-default-deny"),
        ("NetworkPolicy", "payload-cms-egress-in-and-out"),
        ("NetworkPolicy", "payload-cms-egress-out"),
        ("NetworkPolicy", "payload-cms-ingress-in"),
        ("NetworkPolicy", "payload-cms-ingress-in-and-out"),
        ("ResourceQuota", "payload-cms-quota"),
        ("Role", "payload-cms-deployer"),
        ("RoleBinding", "payload-cms-deployers"),
    ]


def test_everything_is_a_child_of_the_component(recorded: Recording) -> None:
    assert {r.parent for r in recorded.resources if r.custom} == {COMPONENT}
    assert [r.type for r in recorded.resources if not r.custom] == ["lightwave:kubernetes:Namespace"]
    assert recorded.component_outputs == {COMPONENT: {"namespace": "payload-cms"}}


def test_the_namespace_enforces_pod_security(recorded: Recording) -> None:
    assert recorded.one(f"{CORE}Namespace", "payload-cms-namespace").inputs == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "payload-cms",
            "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "v1.33",
                "pod-security.kubernetes.io/warn": "restricted",
                "pod-security.kubernetes.io/warn-version": "v1.33",
                "pod-security.kubernetes.io/audit": "restricted",
                "pod-security.kubernetes.io/audit-version": "v1.33",
            },
        },
    }


def test_a_weaker_level_still_warns_about_the_strong_one() -> None:
    inputs = recording(pod_security="baseline").one(f"{CORE}Namespace", "payload-cms-namespace").inputs
    labels = inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
    assert labels["pod-security.kubernetes.io/audit"] == "restricted"


def test_only_the_namespace_is_protected(recorded: Recording) -> None:
    assert [r.name for r in recorded.resources if r.protect] == ["payload-cms-namespace"]
    assert not [r for r in recording(protect=False).resources if r.protect]


def test_the_quota(recorded: Recording) -> None:
    inputs = recorded.one(f"{CORE}ResourceQuota", "payload-cms-quota").inputs
    assert inputs["metadata"] == {"name": "quota", "namespace": "payload-cms"}
    assert inputs["spec"] == {
        "hard": {
            "requests.cpu": "4",
            "requests.memory": "8Gi",
            "limits.cpu": "8",
            "limits.memory": "16Gi",
            "pods": "20",
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        }
    }


def test_the_limits_of_a_container_that_states_none(recorded: Recording) -> None:
    inputs = recorded.one(f"{CORE}LimitRange", "payload-cms-limits").inputs
    assert inputs["metadata"] == {"name": "limits", "namespace": "payload-cms"}
    assert inputs["spec"] == {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "500m", "memory": "512Mi"},
                "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
            }
        ]
    }


def test_network_policies_for_its_own_flows(recorded: Recording) -> None:
    specs = {r.inputs["metadata"]["name"]: r.inputs["spec"] for r in recorded.of_type(POLICY)}
    here = {"matchLabels": {"kubernetes.io/metadata.name": "payload-cms"}}
    both = [{"port": 1, "protocol": "UDP"}, {"port": 1, "protocol": "TCP"}]
    assert specs == {
        "default-deny": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        "egress-in-and-out": {
            "podSelector": {"matchLabels": {"app": "a"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"namespaceSelector": here, "podSelector": {}}], "ports": both}],
        },
        "ingress-in-and-out": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"namespaceSelector": here, "podSelector": {"matchLabels": {"app": "a"}}}], "ports": both}
            ],
        },
        "egress-out": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/16"}}], "ports": [{"port": 2, "protocol": "TCP"}]}],
        },
        "ingress-in": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [
                        {
                            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}},
                            "podSelector": {},
                        }
                    ],
                    "ports": [{"port": 3, "protocol": "TCP"}],
                }
            ],
        },
    }
    assert {r.inputs["metadata"]["namespace"] for r in recorded.of_type(POLICY)} == {"payload-cms"}


def test_everything_else_is_denied_only_after_the_flows_are_allowed(recorded: Recording) -> None:
    deny = recorded.one(POLICY, "payload-cms-default-deny")
    allowing = {r.urn for r in recorded.of_type(POLICY)} - {deny.urn}
    assert set(deny.depends_on) == allowing
    assert len(allowing) == 4


def test_everything_in_it_waits_for_the_namespace(recorded: Recording) -> None:
    (namespace,) = urns(recorded, "payload-cms-namespace")
    direct = [r for r in recorded.resources if namespace in r.depends_on]
    assert sorted(r.name for r in direct) == [
        "payload-cms-deployer",
        "payload-cms-egress-in-and-out",
        "payload-cms-egress-out",
        "payload-cms-ingress-in",
        "payload-cms-ingress-in-and-out",
        "payload-cms-limits",
        "payload-cms-quota",
    ]
    assert set(recorded.one(f"{RBAC}RoleBinding", "payload-cms-deployers").depends_on) == urns(
        recorded, "payload-cms-deployer"
    )


READ = ["get", "list", "watch"]
WRITE = ["get", "list", "watch", "create", "update", "patch", "delete"]


def test_the_deployers_role_and_binding(recorded: Recording) -> None:
    role = recorded.one(f"{RBAC}Role", "payload-cms-deployer").inputs
    assert role["metadata"] == {"name": "deployer", "namespace": "payload-cms"}
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": WRITE},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": READ},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": WRITE},
        {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": WRITE},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": WRITE},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": WRITE},
        {"apiGroups": [""], "resources": ["pods", "pods/log", "services", "events"], "verbs": READ},
    ]
    binding = recorded.one(f"{RBAC}RoleBinding", "payload-cms-deployers").inputs
    assert binding["metadata"] == {"name": "deployers", "namespace": "payload-cms"}
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"}
    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "lightwave:payload-cms:deployers"}
    ]


def test_no_rule_of_the_deployer_grants_a_wildcard_or_secrets() -> None:
    granted = {str(word) for rule in DEPLOYER_RULES for words in rule.values() for word in words}  # type: ignore[attr-defined]
    assert not granted & {"*", "secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"}


def test_the_access_entry_of_the_deploy_job(recorded: Recording) -> None:
    assert recorded.one(ENTRY, "payload-cms-deployer-access").inputs == {
        "clusterName": "lightwave-prod",
        "principalArn": PRINCIPAL,
        "kubernetesGroups": ["lightwave:payload-cms:deployers"],
    }
    # EKS refuses groups with these prefixes.
    assert not deployer_group("x").startswith(("system:", "eks:", "aws:", "amazon:", "iam:"))


def test_no_access_entry_without_a_principal() -> None:
    assert recording().of_type(ENTRY) == []
    assert recording(cluster=None).of_type(ENTRY) == []


def test_a_principal_needs_an_eks_cluster() -> None:
    with pytest.raises(pulumi.InputPropertyError, match=r"cluster.*the deployer's EKS access entry needs its name"):
        recording(cluster=None, deployer_principal=PRINCIPAL)

"""A namespace's guard rails and a service's identity in it, by their exact inputs and options."""

from typing import Any

import pulumi
import pytest

import settings
from components.kubernetes import network_flows as flows
from components.kubernetes.namespace import DEPLOYER_RULES, Namespace, NamespaceArgs, deployer_group
from components.kubernetes.network_flows import Flow, Networks, Pods
from components.services.resources import ServiceIdentity, ServiceIdentityArgs
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from settings import Product

CORE = "kubernetes:core/v1:"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1:"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ENTRY = "aws:eks/accessEntry:AccessEntry"
PRINCIPAL = "arn:aws:iam::123456789012:role/payload-deploy"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:kubernetes:Namespace::payload-cms"
IDENTITY = "urn:pulumi:prod::lightwave::lightwave:kubernetes:ServiceIdentity::payload"
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


def test_everything_is_the_components_child(recorded: Recording) -> None:
    assert {r.parent for r in recorded.resources if r.custom} == {COMPONENT}
    assert [r.type for r in recorded.resources if not r.custom] == ["lightwave:kubernetes:Namespace"]
    assert recorded.component_outputs == {COMPONENT: {"namespace": "payload-cms"}}


def test_the_namespace_demands_pod_security(recorded: Recording) -> None:
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


def test_a_weaker_level_still_warns_of_the_strong_one() -> None:
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


def test_the_policies_of_its_own_flows(recorded: Recording) -> None:
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


def test_the_rest_is_denied_only_after_the_flows_are_allowed(recorded: Recording) -> None:
    deny = recorded.one(POLICY, "payload-cms-default-deny")
    allowing = {r.urn for r in recorded.of_type(POLICY)} - {deny.urn}
    assert set(deny.depends_on) == allowing
    assert len(allowing) == 4


def test_what_is_inside_waits_for_the_namespace(recorded: Recording) -> None:
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


def test_no_rule_of_the_deployer_is_a_wildcard_or_a_secrets() -> None:
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
    with pytest.raises(pulumi.InputPropertyError, match="name the cluster"):
        recording(cluster=None, deployer_principal=PRINCIPAL)


# --- a service's identity ---------------------------------------------------------------------------------------------

PAYLOAD = Product(
    name="payload",
    schema="payload",
    framework="payload",
    service="lightwave-media-site/website",
    namespace="payload-cms",
)
DJANGO = Product(
    name="django", schema="django", framework="django", service="lightwave-api-gateway", namespace="django-api"
)


def identity(product: Product, *, payload_namespace: str | None = None) -> Recording:
    args = ServiceIdentityArgs(
        product=product,
        env={"PASSWORD": "open sesame", "PLAIN": "plain"},
        ca_bundle="the bundle",
        payload_namespace=payload_namespace,
    )
    return recorder.record(lambda: ServiceIdentity(product.name, args), stack="prod")


@pytest.fixture(scope="module")
def payload() -> Recording:
    return identity(PAYLOAD)


@pytest.fixture(scope="module")
def django() -> Recording:
    return identity(DJANGO, payload_namespace="payload-cms")


def test_what_each_service_gets(payload: Recording, django: Recording) -> None:
    assert declared(payload) == [
        ("ConfigMap", "payload-database-ca"),
        ("Secret", "payload-env"),
        ("Service", "payload-service"),
        ("ServiceAccount", "payload-account-migration"),
        ("ServiceAccount", "payload-account-payload"),
    ]
    assert declared(django) == [
        ("ConfigMap", "django-database-ca"),
        ("Secret", "django-env"),
        ("Service", "django-payload-alias"),
        ("Service", "django-service"),
        ("ServiceAccount", "django-account-api"),
        ("ServiceAccount", "django-account-migration"),
        ("ServiceAccount", "django-account-worker"),
    ]
    assert {r.parent for r in payload.resources if r.custom} == {IDENTITY}
    for recorded, namespace in ((payload, "payload-cms"), (django, "django-api")):
        assert {r.inputs["metadata"]["namespace"] for r in recorded.resources if r.custom} == {namespace}


def test_service_accounts_mount_no_token(payload: Recording, django: Recording) -> None:
    accounts = [*payload.of_type(f"{CORE}ServiceAccount"), *django.of_type(f"{CORE}ServiceAccount")]
    assert sorted(r.inputs["metadata"]["name"] for r in accounts) == [
        "api",
        "migration",
        "migration",
        "payload",
        "worker",
    ]
    assert {r.inputs["automountServiceAccountToken"] for r in accounts} == {False}


def test_the_env_is_secret_whatever_it_is_given(payload: Recording) -> None:
    secret = payload.one(f"{CORE}Secret", "payload-env")
    assert secret.inputs["metadata"] == {"name": "payload-env", "namespace": "payload-cms"}
    assert secret.inputs["type"] == "Opaque"
    assert secret.inputs["stringData"] == Secret({"PASSWORD": "open sesame", "PLAIN": "plain"})
    assert "stringData" in secret.additional_secret_outputs
    assert "data" not in secret.inputs
    assert "open sesame" not in repr(payload.component_outputs)


def test_the_database_ca(payload: Recording) -> None:
    inputs = payload.one(f"{CORE}ConfigMap", "payload-database-ca").inputs
    assert inputs["metadata"]["name"] == "database-ca"
    assert inputs["data"] == {"ca.pem": "the bundle"}


def service(name: str, port: int) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {"app.kubernetes.io/name": name},
        "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
    }


def test_payload_resolves_where_django_calls_it(payload: Recording, django: Recording) -> None:
    """The seed's client: http://payload:3000/api."""
    own = payload.one(f"{CORE}Service", "payload-service").inputs
    assert own["metadata"]["name"] == "payload"
    assert own["spec"] == service("payload", 3000)
    alias = django.one(f"{CORE}Service", "django-payload-alias").inputs
    assert (alias["metadata"]["name"], alias["metadata"]["namespace"]) == ("payload", "django-api")
    assert alias["spec"] == {"type": "ExternalName", "externalName": "payload.payload-cms.svc.cluster.local"}
    api = django.one(f"{CORE}Service", "django-service").inputs
    assert api["metadata"]["name"] == "api"
    assert api["spec"] == service("api", 8000)


def test_nothing_waits_for_pods_of_other_repositories(payload: Recording, django: Recording) -> None:
    services = [*payload.of_type(f"{CORE}Service"), *django.of_type(f"{CORE}Service")]
    assert len(services) == 3
    assert [r.inputs["metadata"]["annotations"] for r in services] == [{"pulumi.com/skipAwait": "true"}] * 3


def test_outputs(payload: Recording) -> None:
    assert payload.component_outputs == {
        IDENTITY: {"env_secret": "payload-env", "address": "payload.payload-cms.svc.cluster.local:3000"}
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"product": PAYLOAD.model_copy(update={"namespace": None})}, "no namespace or no framework"),
        ({"product": Product(name="createos", schema="createos", namespace="shared")}, "no namespace or no framework"),
        ({"env": {}}, "without its contract"),
        ({"payload_namespace": "payload-cms"}, "resolves there already"),
    ],
)
def test_refused_arguments(changes: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"product": PAYLOAD, "env": {"A": "b"}, "ca_bundle": "", "payload_namespace": None}
    with pytest.raises(pulumi.InputPropertyError, match=reason):
        ServiceIdentityArgs(**{**given, **changes})


def test_the_docs_tell_the_services_what_is_declared(payload: Recording) -> None:
    lines = (settings.ROOT / "docs/services.md").read_text().splitlines()
    table = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|"))
    rows = {key: cells for key, *cells in table}
    ((label, value),) = flows.PAYLOAD.items()
    assert rows["label of the pods"][0] == f"`{label}: {value}`"
    ((label, value),) = flows.API.items()
    assert rows["label of the pods"][1].startswith(f"`{label}: {value}`;")
    assert rows["port"] == [str(flows.PAYLOAD_PORT), str(flows.API_PORT)]
    assert {cell for key, cells in rows.items() if key.startswith("metrics") for cell in cells} == {
        f"port {flows.APPLICATION_METRICS_PORT}"
    }
    accounts = [r.inputs["metadata"]["name"] for r in payload.of_type(f"{CORE}ServiceAccount")]
    assert sorted(rows["service accounts"][0].split(", ")) == sorted(f"`{name}`" for name in accounts)
    assert rows["environment (`envFrom`)"] == ["Secret `payload-env`", "Secret `django-env`"]
    ((label, value),) = flows.MIGRATION.items()
    assert f"Migrations carry `{label}: {value}`" in " ".join(lines)

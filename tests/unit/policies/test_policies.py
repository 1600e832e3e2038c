"""Every rule of the policy pack: what it passes, what it refuses, what it says where the plan does not know."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pulumi_policy
import pytest
from pulumi_policy.policy import PolicyCustomTimeouts, PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from ops.plan import policy, recorder
from policies import pack
from policies.rules import RESOURCE_RULES, RULES, STACK_RULES
from policies.rules.model import UNKNOWN, Finding, NotCheckable, Problem, Resource, Secret
from tests.unit.policies.deep_change import GONE, changed_at

DIGEST = "sha256:" + "0" * 64
K8S = "kubernetes:"
RBAC = f"{K8S}rbac.authorization.k8s.io/v1:"
NETWORKING = f"{K8S}networking.k8s.io/v1:NetworkPolicy"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


def resource(type_: str, inputs: Mapping[str, Any], **fields: Any) -> Resource:
    name = type_.rpartition(":")[2].lower()
    return Resource(urn=f"urn:pulumi:dev::lightwave::{type_}::{name}", type=type_, name=name, inputs=inputs, **fields)


CONTAINER = {
    "name": "app",
    "image": f"registry.example/app:1.2@{DIGEST}",
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "readinessProbe": {"tcpSocket": {"port": 1}},
    "livenessProbe": {"tcpSocket": {"port": 1}},
    "env": [
        {"name": "LOG_LEVEL", "value": "info"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
}
DEPLOYMENT = resource(
    f"{K8S}apps/v1:Deployment",
    {
        "spec": {
            "template": {
                "spec": {
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 70.0},
                    "containers": [CONTAINER],
                    # An init container ends: it has nothing to probe.
                    "initContainers": [{**CONTAINER, "name": "init", "readinessProbe": None, "livenessProbe": None}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }
            }
        }
    },
)
POD = "spec.template.spec"
APP = f"{POD}.containers.0"
INSTANCE = resource(
    "aws:rds/instance:Instance",
    {
        "storageEncrypted": True,
        "publiclyAccessible": False,
        "deletionProtection": True,
        "skipFinalSnapshot": False,
        "finalSnapshotIdentifier": "final",
        "deleteAutomatedBackups": False,
        "backupRetentionPeriod": 7.0,
        "multiAz": True,
        "username": "lightwave_admin",
        "parameterGroupName": "lightwave-postgres15",
        "tags": {"project": "lightwave", "stack": "prod"},
    },
    protect=True,
)
PARAMETERS = resource(
    "aws:rds/parameterGroup:ParameterGroup",
    {"parameters": [{"name": "log_connections", "value": "1"}, {"name": "rds.force_ssl", "value": "1"}]},
)
INGRESS = resource(INGRESS_RULE, {"referencedSecurityGroupId": "sg-1", "cidrIpv4": "10.0.0.0/16"})
OLD_INGRESS = resource("aws:ec2/securityGroupRule:SecurityGroupRule", {"type": "ingress", "cidrBlocks": ["10.0.0.0/8"]})
GROUP = resource("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]})
ROLE = resource(
    "postgresql:index/role:Role",
    {"name": "payload_user", "login": True, "connectionLimit": 40.0, "roles": ["payload_reader"], "superuser": False},
)
GRANT_ROLE = resource("postgresql:index/grantRole:GrantRole", {"role": "a", "grantRole": "payload_reader"})
GRANT = resource("postgresql:index/grant:Grant", {"role": "payload_user", "privileges": ["USAGE"]})
SCHEMA = resource("postgresql:index/schema:Schema", {"name": "payload", "dropCascade": False})
CLOUDFLARE = "cloudflare:index/"
BUCKET = resource(f"{CLOUDFLARE}r2Bucket:R2Bucket", {"name": "media"})
MANAGED_DOMAIN = resource(f"{CLOUDFLARE}r2ManagedDomain:R2ManagedDomain", {"bucketName": "media", "enabled": False})
CUSTOM_DOMAIN = resource(f"{CLOUDFLARE}r2CustomDomain:R2CustomDomain", {"minTls": "1.2"})
LIFECYCLE = resource(
    f"{CLOUDFLARE}r2BucketLifecycle:R2BucketLifecycle", {"rules": [{"abortMultipartUploadsTransition": {}}]}
)
CORS = resource(
    f"{CLOUDFLARE}r2BucketCors:R2BucketCors",
    {"rules": [{"allowed": {"methods": ["GET", "HEAD"], "origins": ["https://a.example"]}}]},
)
TOKEN = resource(
    f"{CLOUDFLARE}accountToken:AccountToken",
    {"policies": [{"resources": '{"com.cloudflare.edge.r2.bucket.a_default_media": "*"}'}]},
)
CONFIG_MAP = resource(f"{K8S}core/v1:ConfigMap", {"data": {"HOST": "pgbouncer.shared", "URL": "https://a.example/p"}})
SECRET = resource(f"{K8S}core/v1:Secret", {"stringData": {"PASSWORD": Secret("hush")}})
NAMESPACE = resource(
    f"{K8S}core/v1:Namespace",
    {"metadata": {"name": "shared", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
)
DENY = resource(
    NETWORKING,
    {
        "metadata": {"namespace": "shared"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    },
)
NARROW_ROLE = resource(f"{RBAC}Role", {"rules": [{"resources": ["deployments"], "verbs": ["get", "patch"]}]})
BINDING = resource(f"{RBAC}ClusterRoleBinding", {"roleRef": {"name": "viewer"}})
PROD_BUCKET = replace(BUCKET, protect=True)


class Case(NamedTuple):
    """One rule: resources that it passes; changes to the first that it refuses; unknowns in the first."""

    good: list[Resource]
    bad: list[tuple[str, Any, str]]
    """Path, value, and what the message says."""
    unknown: list[str]
    """Paths that the rule needs."""


CASES: dict[str, list[Case]] = {
    "rds-encrypted": [
        Case(
            [INSTANCE],
            [
                ("storageEncrypted", False, "storageEncrypted is false; expected true"),
                ("storageEncrypted", GONE, "storageEncrypted is not set"),
                ("storageEncrypted", "false", "storageEncrypted is 'false'"),
            ],
            ["storageEncrypted"],
        )
    ],
    "rds-not-public": [
        Case(
            [INSTANCE],
            [
                ("publiclyAccessible", True, "publiclyAccessible is true"),
                ("publiclyAccessible", GONE, "publiclyAccessible is not set; expected false"),
            ],
            ["publiclyAccessible"],
        )
    ],
    "no-open-ingress": [
        Case(
            [INGRESS],
            [("cidrIpv4", "0.0.0.0/0", "cidrIpv4 is '0.0.0.0/0'"), ("cidrIpv6", "::/0", "cidrIpv6 is '::/0'")],
            ["cidrIpv4"],
        ),
        Case(
            [OLD_INGRESS, replace(OLD_INGRESS, inputs={"type": "egress", "cidrBlocks": ["0.0.0.0/0"]})],
            [("cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0"), ("ipv6CidrBlocks", ["::/0"], "lets in ::/0")],
            ["cidrBlocks", "cidrBlocks.0"],
        ),
        Case([GROUP], [("ingress.0.cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0")], ["ingress", "ingress.0"]),
    ],
    "rds-deletion-protection": [
        Case([INSTANCE], [("deletionProtection", False, "deletionProtection is false")], ["deletionProtection"])
    ],
    "rds-final-snapshot": [
        Case(
            [INSTANCE],
            [
                ("skipFinalSnapshot", True, "skipFinalSnapshot is true"),
                ("finalSnapshotIdentifier", GONE, "finalSnapshotIdentifier is not set"),
                ("deleteAutomatedBackups", GONE, "deleteAutomatedBackups is not set"),
            ],
            ["skipFinalSnapshot", "finalSnapshotIdentifier", "deleteAutomatedBackups"],
        )
    ],
    "rds-backups": [
        Case(
            [INSTANCE],
            [
                ("backupRetentionPeriod", 6.0, "backupRetentionPeriod is 6; expected 7 days or more"),
                ("backupRetentionPeriod", 0.0, "backupRetentionPeriod is 0"),
                ("backupRetentionPeriod", GONE, "backupRetentionPeriod is not set"),
            ],
            ["backupRetentionPeriod"],
        )
    ],
    "rds-multi-az": [Case([INSTANCE], [("multiAz", False, "multiAz is false")], ["multiAz"])],
    "rds-master-name": [
        Case(
            [INSTANCE],
            [("username", "postgres", "username is 'postgres'"), ("username", "Admin", "username is 'Admin'")],
            ["username"],
        )
    ],
    "rds-own-parameters": [
        Case(
            [INSTANCE],
            [
                ("parameterGroupName", GONE, "parameterGroupName is not set"),
                ("parameterGroupName", "default.postgres15", "'default.postgres15'"),
            ],
            ["parameterGroupName"],
        )
    ],
    "rds-force-ssl": [
        Case(
            [PARAMETERS],
            [
                ("parameters.1.value", "0", "rds.force_ssl is 0; expected 1"),
                ("parameters.1", GONE, "rds.force_ssl is not set"),
                ("parameters", GONE, "rds.force_ssl is not set"),
            ],
            ["parameters", "parameters.0", "parameters.1.value"],
        )
    ],
    "role-attributes": [
        Case(
            [ROLE, resource(ROLE.type, {"name": "payload_reader"})],
            [
                (attribute, True, f"{attribute} is true")
                for attribute in ("superuser", "createDatabase", "createRole", "replication", "bypassRowLevelSecurity")
            ],
            ["superuser"],
        )
    ],
    "role-groups": [
        Case(
            [ROLE],
            [
                ("roles", ["payload_reader", "rds_superuser"], "is a member of rds_superuser"),
                ("roles", ["pg_read_all_data"], "is a member of pg_read_all_data"),
                ("roles", ["pg_execute_server_program"], "pg_execute_server_program"),
            ],
            ["roles", "roles.0"],
        ),
        Case([GRANT_ROLE], [("grantRole", "rds_superuser", "is a member of rds_superuser")], ["grantRole"]),
    ],
    "role-connection-limit": [
        Case(
            [ROLE, resource(ROLE.type, {"name": "payload_reader", "login": False})],
            [
                ("connectionLimit", -1.0, "connectionLimit is -1"),
                ("connectionLimit", GONE, "connectionLimit is not set"),
            ],
            ["connectionLimit", "login"],
        )
    ],
    "no-grant-to-public": [
        Case(
            [GRANT, resource(GRANT.type, {"role": "public", "privileges": []})],
            [("role", "public", "grants USAGE to PUBLIC"), ("role", "PUBLIC", "grants USAGE to PUBLIC")],
            ["role"],
        ),
        Case([resource(GRANT.type, {"role": "public", "privileges": []})], [], ["privileges"]),
    ],
    "no-grant-option": [
        Case([GRANT], [("withGrantOption", True, "withGrantOption is true")], ["withGrantOption"]),
    ],
    "r2-dev-off": [Case([MANAGED_DOMAIN], [("enabled", True, "enabled is true")], ["enabled"])],
    "r2-min-tls": [
        Case(
            [CUSTOM_DOMAIN, replace(CUSTOM_DOMAIN, inputs={"minTls": "1.3"})],
            [("minTls", "1.0", "minTls is '1.0'"), ("minTls", GONE, "minTls is not set")],
            ["minTls"],
        )
    ],
    "r2-no-expiry": [
        Case(
            [LIFECYCLE, resource(LIFECYCLE.type, {})],
            [
                (
                    "rules.0.deleteObjectsTransition",
                    {"condition": {}},
                    "rules[0].deleteObjectsTransition is {'condition'",
                )
            ],
            ["rules", "rules.0"],
        )
    ],
    "r2-cors-reads-only": [
        Case(
            [CORS],
            [
                ("rules.0.allowed.methods", ["GET", "PUT"], "methods other than GET and HEAD: GET, PUT"),
                ("rules.0.allowed.origins", ["*"], "allows any origin: *"),
            ],
            ["rules", "rules.0.allowed.methods", "rules.0.allowed.origins"],
        )
    ],
    "cloudflare-token-scope": [
        Case(
            [TOKEN],
            [
                ("policies.0.resources", '{"com.cloudflare.api.account.a": "*"}', "com.cloudflare.api.account.a"),
                ("policies.0.resources", '{"com.cloudflare.edge.r2.bucket.*": "*"}', "expected buckets"),
                ("policies.0.resources", "{}", "nothing that is named"),
            ],
            ["policies", "policies.0.resources"],
        )
    ],
    "k8s-resources": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.resources.requests.cpu", GONE, "containers[app].resources.requests.cpu is not set"),
                (f"{APP}.resources.requests.memory", GONE, "requests.memory is not set"),
                (f"{APP}.resources.limits.cpu", GONE, "limits.cpu is not set"),
                (f"{APP}.resources.limits.memory", GONE, "limits.memory is not set"),
                (f"{POD}.initContainers.0.resources", GONE, "initContainers[init].resources.requests.cpu"),
            ],
            [f"{APP}.resources", f"{POD}.containers", "spec", f"{POD}.initContainers"],
        )
    ],
    "k8s-non-root": [
        Case(
            [DEPLOYMENT],
            [
                (f"{POD}.securityContext.runAsNonRoot", False, "runAsNonRoot is false"),
                (f"{POD}.securityContext.runAsNonRoot", GONE, "runAsNonRoot is not set"),
                (f"{POD}.securityContext.runAsUser", 0.0, "runAsUser is 0"),
                (f"{APP}.securityContext.runAsNonRoot", False, "containers[app].securityContext.runAsNonRoot is false"),
                (f"{APP}.securityContext.runAsUser", 0.0, "containers[app].securityContext.runAsUser is 0"),
            ],
            [f"{POD}.securityContext.runAsNonRoot", f"{APP}.securityContext", APP],
        )
    ],
    "k8s-no-privilege-escalation": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.securityContext.allowPrivilegeEscalation", GONE, "allowPrivilegeEscalation is not set"),
                (f"{APP}.securityContext.privileged", True, "privileged is true"),
                (f"{APP}.securityContext.capabilities", GONE, "capabilities.drop is not set; expected ALL"),
                (f"{APP}.securityContext.capabilities.drop", ["NET_RAW"], "capabilities.drop is NET_RAW"),
                (f"{POD}.initContainers.0.securityContext.privileged", True, "initContainers[init]"),
            ],
            [f"{APP}.securityContext", f"{APP}.securityContext.capabilities.drop.0"],
        )
    ],
    "k8s-read-only-root": [
        Case(
            [DEPLOYMENT],
            [(f"{APP}.securityContext.readOnlyRootFilesystem", GONE, "readOnlyRootFilesystem is not set")],
            [f"{APP}.securityContext.readOnlyRootFilesystem"],
        )
    ],
    "k8s-no-host-access": [
        Case(
            [DEPLOYMENT],
            [
                (f"{POD}.hostNetwork", True, "hostNetwork is true"),
                (f"{POD}.hostPID", True, "hostPID is true"),
                (f"{POD}.hostIPC", True, "hostIPC is true"),
                (f"{POD}.volumes.0.hostPath", {"path": "/"}, "volumes[0].hostPath is {'path': '/'}"),
            ],
            [f"{POD}.hostNetwork", f"{POD}.volumes", f"{POD}.volumes.0"],
        )
    ],
    "k8s-no-latest": [
        Case(
            [DEPLOYMENT, replace(DEPLOYMENT, inputs=changed_at(DEPLOYMENT.inputs, f"{APP}.image", "host:5000/app:1"))],
            [
                (f"{APP}.image", "registry.example/app:latest", "app:latest'"),
                (f"{APP}.image", "registry.example/app", "expected a tag"),
                (f"{APP}.image", "host:5000/app", "expected a tag"),
                (f"{APP}.image", f"registry.example/app:latest@{DIGEST}", "expected a tag"),
                (f"{APP}.image", GONE, "image is not set"),
            ],
            [f"{APP}.image"],
        )
    ],
    "k8s-probes": [
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.readinessProbe", GONE, "readinessProbe is not set"),
                (f"{APP}.livenessProbe", GONE, "livenessProbe is not set"),
            ],
            [f"{APP}.livenessProbe"],
        )
    ],
    "k8s-no-plain-secret": [
        Case(
            [CONFIG_MAP],
            [
                ("data.HOST", Secret("hush"), "data.HOST holds a value that the program marks as secret"),
                ("data.PAYLOAD_SECRET", "hush", "data.PAYLOAD_SECRET is named like a secret"),
                ("data.DATABASE_URI", "hush", "data.DATABASE_URI is named like a secret"),
                ("data.URL", "postgres://u:hush@h/db", "data.URL holds a URL with a password"),
            ],
            ["data", "data.HOST"],
        ),
        Case(
            [DEPLOYMENT],
            [
                (f"{APP}.env.1", {"name": "PASSWORD", "value": "hush"}, "env.PASSWORD is named like a secret"),
                (f"{APP}.env.0.value", Secret("hush"), "env.LOG_LEVEL holds a value"),
            ],
            [f"{APP}.env", f"{APP}.env.0", f"{APP}.env.0.value"],
        ),
        Case([SECRET], [("stringData.PASSWORD", "hush", "stringData.PASSWORD is not marked as secret")], []),
    ],
    "k8s-pod-security": [
        Case(
            [NAMESPACE],
            [
                ("metadata.labels", GONE, "is not set; expected baseline or restricted"),
                (
                    "metadata.labels",
                    {"pod-security.kubernetes.io/enforce": "privileged"},
                    "is 'privileged'; expected baseline or restricted",
                ),
            ],
            ["metadata.labels", "metadata"],
        )
    ],
    "k8s-narrow-role": [
        Case(
            [NARROW_ROLE],
            [
                ("rules.0.verbs", ["*"], "rules[0].verbs has *"),
                ("rules.0.resources", ["secrets"], "rules[0].resources has secrets"),
                ("rules.0.resources", ["pods/exec"], "rules[0].resources has pods/exec"),
            ],
            ["rules", "rules.0.verbs", "rules.0.resources.0"],
        )
    ],
    "k8s-no-automount": [
        Case(
            [resource(f"{K8S}core/v1:ServiceAccount", {"automountServiceAccountToken": False})],
            [
                ("automountServiceAccountToken", True, "automountServiceAccountToken is true"),
                ("automountServiceAccountToken", GONE, "automountServiceAccountToken is not set"),
            ],
            ["automountServiceAccountToken"],
        )
    ],
    "k8s-no-cluster-admin": [
        Case([BINDING], [("roleRef.name", "cluster-admin", "roleRef.name is 'cluster-admin'")], ["roleRef"])
    ],
    "aws-tags": [
        Case(
            [
                INSTANCE,
                resource(INSTANCE.type, {}, provider={"defaultTags": '{"tags": {"project": "p", "stack": "s"}}'}),
                resource(INSTANCE.type, {"tags": {"stack": "s"}}, provider={"defaultTags": {"tags": {"project": "p"}}}),
            ],
            [
                ("tags", GONE, "has no tag project, stack"),
                ("tags.stack", GONE, "has no tag stack"),
                ("tags.stack", "", "has no tag stack"),
            ],
            ["tags"],
        )
    ],
    "no-drop-cascade": [Case([SCHEMA], [("dropCascade", True, "dropCascade is true")], ["dropCascade"])],
    # Rules about the stack: the first resource is the one that is changed and that the finding names.
    "r2-dev-declared": [
        Case([BUCKET, MANAGED_DOMAIN], [("name", "other", "no R2ManagedDomain is declared for it")], ["name"])
    ],
    "k8s-default-deny": [
        Case(
            [NAMESPACE, DENY],
            [("metadata.name", "other", "no NetworkPolicy denies egress and ingress by default")],
            ["metadata.name"],
        )
    ],
    "data-protected": [Case([PROD_BUCKET, INSTANCE], [], [])],
}

BY_NAME = {rule.name: rule for rule in RULES}
ALL_CASES = [
    pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)
]


def answers(name: str, resources: list[Resource]) -> list[Finding]:
    return list(BY_NAME[name].findings(resources))


def test_every_rule_has_its_cases() -> None:
    assert sorted(CASES) == sorted(BY_NAME)
    assert len(BY_NAME) == len(RULES)
    for name, cases in CASES.items():
        if name != "data-protected":  # its own tests below: it looks at no input
            assert any(case.bad for case in cases), name
            assert any(case.unknown for case in cases), name


@pytest.mark.parametrize(("name", "case"), ALL_CASES)
def test_passes(name: str, case: Case) -> None:
    assert answers(name, case.good) == []


@pytest.mark.parametrize(
    ("name", "good", "path", "value", "said"),
    [
        pytest.param(name, case.good, path, value, said, id=f"{name}-{path}-{said}")
        for name, cases in CASES.items()
        for case in cases
        for path, value, said in case.bad
    ],
)
def test_refuses(name: str, good: list[Resource], path: str, value: Any, said: str) -> None:
    bad = replace(good[0], inputs=changed_at(good[0].inputs, path, value))
    found = answers(name, [bad, *good[1:]])
    problems = [answer for where, answer in found if isinstance(answer, Problem) and where is bad]
    assert len(problems) == len(found) == len({p.what for p in problems}) >= 1
    message = BY_NAME[name].message(bad, next(p for p in problems if said in p.what))
    assert message.startswith(f"{bad.type} {bad.name}: ")
    assert "\n  why: " in message
    assert "\n  mend: " in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("name", "good", "path"),
    [
        pytest.param(name, case.good, path, id=f"{name}-{path}")
        for name, cases in CASES.items()
        for case in cases
        for path in case.unknown
    ],
)
def test_says_what_it_cannot_check(name: str, good: list[Resource], path: str) -> None:
    unknown = replace(good[0], inputs=changed_at(good[0].inputs, path, UNKNOWN))
    found = answers(name, [unknown, *good[1:]])
    assert found
    assert all(isinstance(answer, NotCheckable) and where is unknown for where, answer in found)


def test_an_unknown_hides_no_known_problem() -> None:
    inputs = changed_at(changed_at(INSTANCE.inputs, "skipFinalSnapshot", UNKNOWN), "deleteAutomatedBackups", True)
    found = answers("rds-final-snapshot", [replace(INSTANCE, inputs=inputs)])
    assert [type(answer) for _, answer in found] == [NotCheckable, Problem]


def test_a_secret_is_judged_and_not_told() -> None:
    good, bad = (replace(INSTANCE, inputs={"username": Secret(name)}) for name in ("lightwave_admin", "postgres"))
    assert answers("rds-master-name", [good]) == []
    [(_, answer)] = answers("rds-master-name", [bad])
    assert answer == Problem("username is wrong (it is secret); expected a name of its own")


def test_a_rule_is_about_its_own_types() -> None:
    for name in BY_NAME:
        assert answers(name, [resource("random:index/randomPassword:RandomPassword", {})]) == []


@pytest.mark.parametrize("kind", ["batch/v1:CronJob", "batch/v1:Job", "apps/v1:StatefulSet", "core/v1:Pod"])
def test_pods_are_found_in_every_workload(kind: str) -> None:
    pod = {"containers": [{"name": "app", "image": "app:latest"}]}
    inputs: dict[str, Any] = {"spec": {"template": {"spec": pod}}}
    if kind.endswith("CronJob"):
        inputs = {"spec": {"jobTemplate": inputs}}
    elif kind.endswith("Pod"):
        inputs = {"spec": pod}
    assert len(answers("k8s-no-latest", [resource(f"{K8S}{kind}", inputs)])) == 1


# --- stack rules ------------------------------------------------------------------------------------------------------


def deny(**spec: Any) -> Resource:
    return resource(NETWORKING, {"metadata": {"namespace": "shared"}, "spec": spec})


@pytest.mark.parametrize(
    ("policies", "open_"),
    [
        ([], "egress and ingress"),
        ([deny(podSelector={}, policyTypes=["Ingress"])], "egress"),
        ([deny(podSelector={}, policyTypes=["Egress"])], "ingress"),
        ([deny(podSelector={})], "egress"),
        ([deny(podSelector={"matchLabels": {"a": "b"}}, policyTypes=["Ingress", "Egress"])], "egress and ingress"),
        ([deny(podSelector={}, policyTypes=["Ingress", "Egress"], egress=[{}])], "egress"),
        ([deny(podSelector={}, policyTypes=["Ingress", "Egress"], ingress=[{}])], "ingress"),
        ([replace(DENY, inputs=changed_at(DENY.inputs, "metadata.namespace", "other"))], "egress and ingress"),
    ],
)
def test_default_deny_refuses(policies: list[Resource], open_: str) -> None:
    assert answers("k8s-default-deny", [NAMESPACE, *policies]) == [
        Finding(NAMESPACE, Problem(f"no NetworkPolicy denies {open_} by default"))
    ]


def test_default_deny_may_be_two_policies() -> None:
    both = [deny(podSelector={}, policyTypes=["Ingress"]), deny(podSelector={}, policyTypes=["Egress"], egress=[])]
    assert answers("k8s-default-deny", [NAMESPACE, *both]) == []


@pytest.mark.parametrize("path", ["spec", "spec.podSelector", "spec.policyTypes", "metadata.namespace"])
def test_default_deny_does_not_trust_an_unknown_policy(path: str) -> None:
    unknown = replace(DENY, inputs=changed_at(DENY.inputs, path, UNKNOWN))
    [(where, answer)] = answers("k8s-default-deny", [NAMESPACE, unknown])
    assert where is NAMESPACE
    assert isinstance(answer, NotCheckable)
    # A known one beside it settles the matter.
    assert answers("k8s-default-deny", [NAMESPACE, unknown, DENY]) == []


def test_r2_dev_must_be_declared_for_each_bucket() -> None:
    other = replace(BUCKET, name="other", inputs={"name": "other"})
    assert [where for where, _ in answers("r2-dev-declared", [BUCKET, other, MANAGED_DOMAIN])] == [other]
    unknown = replace(MANAGED_DOMAIN, inputs=changed_at(MANAGED_DOMAIN.inputs, "bucketName", UNKNOWN))
    nameless = replace(BUCKET, inputs={"name": UNKNOWN})
    for bucket in (BUCKET, nameless):
        [(_, answer)] = answers("r2-dev-declared", [bucket, unknown])
        assert isinstance(answer, NotCheckable)


HOLDS_DATA = [
    INSTANCE,
    BUCKET,
    SCHEMA,
    ROLE,
    GRANT,
    resource("postgresql:index/defaultPrivileges:DefaultPrivileges", {}),
    resource("aws:secretsmanager/secret:Secret", {}),
    resource("aws:kms/key:Key", {}),
    resource("aws:s3/bucket:Bucket", {}),
    resource(f"{K8S}core/v1:PersistentVolumeClaim", {}),
]


@pytest.mark.parametrize("holder", HOLDS_DATA, ids=lambda holder: holder.type)
def test_what_holds_data_is_protected_in_production(holder: Resource) -> None:
    def prod(resource: Resource, protect: bool) -> Resource:
        return replace(resource, protect=protect, urn=resource.urn.replace(":dev::", ":prod::"))

    unprotected = prod(holder, False)
    assert answers("data-protected", [unprotected]) == [Finding(unprotected, Problem("is not protected"))]
    assert answers("data-protected", [prod(holder, True)]) == []


def test_whatever_runs_on_rds_is_production() -> None:
    assert answers("data-protected", [replace(ROLE, protect=False)]) == []
    assert len(answers("data-protected", [replace(ROLE, protect=False), INSTANCE])) == 1


# --- the two ways to the rules ----------------------------------------------------------------------------------------


def reported(name: str, *resources: tuple[str, dict[str, Any], bool]) -> tuple[list[str], str]:
    """What the pulumi-policy form of a rule reports, and the advice that it raises; as the engine would run it."""
    [rule] = [p for p in pack.POLICIES if p.name == name]
    messages: list[str] = []
    timeouts = PolicyCustomTimeouts(0, 0, 0)

    def report(message: str, _urn: str | None = None) -> None:
        messages.append(message)

    try:
        if isinstance(rule, pulumi_policy.ResourceValidationPolicy):
            for type_, props, protect in resources:
                opts = PolicyResourceOptions(protect, [], None, [], timeouts, [])
                args = pulumi_policy.ResourceValidationArgs(
                    type_, unknown_checking_proxy(props), "urn:pulumi:prod::p::t::n", "n", opts, None
                )
                rule.validate(args, report)
        elif isinstance(rule, pulumi_policy.StackValidationPolicy):
            seen = [
                pulumi_policy.PolicyResource(
                    type_,
                    unknown_checking_proxy(props),
                    f"urn:pulumi:prod::p::t::{index}",
                    "n",
                    PolicyResourceOptions(protect, [], None, [], timeouts, []),
                    None,
                    None,
                    [],
                    {},
                )
                for index, (type_, props, protect) in enumerate(resources)
            ]
            rule.validate(pulumi_policy.StackValidationArgs(seen), report)
    except UnknownValueError as error:
        return messages, error.message
    return messages, ""


def test_the_pack_holds_every_rule_once() -> None:
    assert [p.name for p in pack.POLICIES] == [rule.name for rule in RULES]
    resource_policies = [p for p in pack.POLICIES if isinstance(p, pulumi_policy.ResourceValidationPolicy)]
    assert len(resource_policies) == len(RESOURCE_RULES)
    assert len(pack.POLICIES) == len(RESOURCE_RULES) + len(STACK_RULES)


def test_a_resource_rule_under_the_engine() -> None:
    good = dict(INSTANCE.inputs)
    assert reported("rds-encrypted", (INSTANCE.type, good, True)) == ([], "")
    [message], advice = reported("rds-encrypted", (INSTANCE.type, {**good, "storageEncrypted": False}, True))
    assert message.startswith("aws:rds/instance:Instance n: storageEncrypted is false; expected true\n  why: ")
    assert advice == ""
    assert reported("rds-encrypted", ("other:index:Type", {}, True)) == ([], "")


def test_an_unknown_under_the_engine_is_an_advice_and_hides_nothing() -> None:
    inputs = changed_at(DEPLOYMENT.inputs, f"{APP}.image", UNKNOWN_STRING_VALUE)
    inputs = changed_at(inputs, f"{POD}.initContainers.0.image", "app:latest")
    messages, advice = reported("k8s-no-latest", (DEPLOYMENT.type, inputs, False))
    assert len(messages) == 1
    assert "initContainers[init].image is 'app:latest'" in messages[0]
    assert "n.spec.template.spec.containers[app].image can't be known during preview" in advice


def test_a_stack_rule_under_the_engine() -> None:
    bucket = (BUCKET.type, dict(BUCKET.inputs), False)
    [message], advice = reported("data-protected", bucket)
    assert "is not protected" in message
    assert advice == ""
    assert reported("data-protected", (bucket[0], bucket[1], True)) == ([], "")


def test_secrecy_is_not_judged_where_it_is_not_told() -> None:
    assert reported("k8s-no-plain-secret", (SECRET.type, {"stringData": {"PASSWORD": "hush"}}, False)) == ([], "")


def test_the_offline_view() -> None:
    recorded = recorder.Resource(
        urn="urn:pulumi:prod::p::aws:rds/instance:Instance::n",
        type="aws:rds/instance:Instance",
        name="n",
        custom=True,
        parent="",
        inputs={
            "a": recorder.KNOWN,
            "b": [recorder.Secret({"c": recorder.KNOWN})],
            "d": f"x{recorder.KNOWN}",
            "e": 1.0,
        },
        protect=True,
        depends_on=(),
        provider="urn:provider",
        delete_before_replace=False,
        retain_on_delete=False,
        ignore_changes=(),
        replace_on_changes=(),
        additional_secret_outputs=(),
        aliases=(),
        import_id="",
        deleted_with="",
    )
    provider = replace(recorded, urn="urn:provider", inputs={"defaultTags": '{"tags": {}}'}, provider="", protect=False)
    recording = recorder.Recording("prod", (recorded, provider), {}, {}, (), ())
    [seen, seen_provider] = policy.view(recording)
    assert seen.inputs == {"a": UNKNOWN, "b": [Secret({"c": UNKNOWN})], "d": "x<known at deploy>", "e": 1.0}
    assert seen.protect
    assert not seen_provider.protect
    assert seen.provider == {"defaultTags": '{"tags": {}}'}
    assert seen.secrecy_known


def test_make_policy_passes_dev(capsys: pytest.CaptureFixture[str]) -> None:
    assert policy.run("dev") == 0
    assert f"{len(RULES)} rules, 0 broken, 0 not known before the deploy" in capsys.readouterr().out


def test_make_policy_fails_and_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bad = replace(INSTANCE, inputs=changed_at(changed_at(INSTANCE.inputs, "multiAz", False), "username", UNKNOWN))
    monkeypatch.setattr(policy, "view", lambda _: [bad])
    assert policy.run("dev") == 1
    printed = capsys.readouterr().out
    assert (
        "BROKEN rds-multi-az: aws:rds/instance:Instance instance: multiAz is false; expected true\n  why: " in printed
    )
    assert "not known before the deploy: rds-master-name: aws:rds/instance:Instance instance: username\n" in printed
    assert "1 resources, " in printed
    assert "1 broken, 1 not known before the deploy" in printed

"""The rules about all resources of a stack together."""

import json
from dataclasses import replace
from typing import Any

import pytest

from policies import tokens
from policies.rules.model import UNKNOWN, Finding, NotCheckable, Resource, Violation
from tests.unit.policies.answers import answers
from tests.unit.policies.deep_change import changed_at
from tests.unit.policies.resources import (
    BUCKET,
    DENY,
    GRANT,
    INSTANCE,
    MANAGED_DOMAIN,
    NAMESPACE,
    ROLE,
    SCHEMA,
    resource,
)


def deny(**spec: Any) -> Resource:
    return resource(tokens.NETWORK_POLICY, {"metadata": {"namespace": "shared"}, "spec": spec})


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
        Finding(NAMESPACE, Violation(f"no NetworkPolicy denies {open_} by default"))
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
    # A known policy beside it is enough.
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
    resource(tokens.DEFAULT_PRIVILEGES, {}),
    resource(tokens.AWS_SECRET, {}),
    resource(tokens.KMS_KEY, {}),
    resource(tokens.S3_BUCKET, {}),
    resource(tokens.VOLUME_CLAIM, {}),
    resource(tokens.VOLUME, {}),
    resource(tokens.NAMESPACE, {}),
    resource(tokens.GRANT_ROLE, {}),
    resource(tokens.RDS_CLUSTER, {}),
    resource(tokens.RDS_SNAPSHOT, {}),
    resource("aws:s3/bucketV2:BucketV2", {}),
    resource("kubernetes:core/v1:NamespacePatch", {}),
]


@pytest.mark.parametrize("holder", HOLDS_DATA, ids=lambda holder: holder.type)
def test_what_holds_data_is_protected_in_production(holder: Resource) -> None:
    def prod(resource: Resource, protect: bool) -> Resource:
        return replace(resource, protect=protect, urn=resource.urn.replace(":dev::", ":prod::"))

    unprotected = prod(holder, False)
    assert answers("data-protected", [unprotected]) == [Finding(unprotected, Violation("is not protected"))]
    assert answers("data-protected", [prod(holder, True)]) == []


def test_a_stack_on_rds_is_production_by_default() -> None:
    assert answers("data-protected", [replace(ROLE, protect=False)]) == []
    assert len(answers("data-protected", [replace(ROLE, protect=False), INSTANCE])) == 1


def of_tier(tier: object, resource: Resource = INSTANCE, *, encode: bool = True) -> Resource:
    tags = {"tags": {"tier": tier}}
    return replace(resource, provider_inputs={"defaultTags": json.dumps(tags) if encode else tags})


def test_a_stack_that_says_staging_may_be_unprotected() -> None:
    bare = [replace(ROLE, protect=False), replace(BUCKET, protect=False)]
    assert answers("data-protected", [*bare, of_tier("staging", replace(INSTANCE, protect=False))]) == []


CHEAP = {"multiAz": False, "deletionProtection": False, "skipFinalSnapshot": True, "finalSnapshotIdentifier": None}
RULES_OF_PRODUCTION = ("rds-multi-az", "rds-deletion-protection", "rds-final-snapshot")


@pytest.mark.parametrize("rule", RULES_OF_PRODUCTION)
def test_what_production_alone_must_have(rule: str) -> None:
    cheap = replace(INSTANCE, inputs={**INSTANCE.inputs, **CHEAP})
    assert answers(rule, [of_tier("staging", cheap)]) == []
    for hidden in (cheap, of_tier("production", cheap), of_tier("development", cheap), of_tier("", cheap)):
        assert answers(rule, [hidden])


def test_staging_has_backups_too() -> None:
    def kept(days: int) -> list[Finding]:
        return answers("rds-backups", [of_tier("staging", replace(INSTANCE, inputs={"backupRetentionPeriod": days}))])

    assert kept(1) == []
    assert [finding.answer for finding in kept(0)] == [Violation("backupRetentionPeriod is 0; expected 1 days or more")]


@pytest.mark.parametrize(
    "hidden",
    [
        INSTANCE,
        of_tier(UNKNOWN, encode=False),
        replace(INSTANCE, provider_inputs={"defaultTags": UNKNOWN}),
        of_tier("Staging"),
        # A tag that is written to one resource says nothing about the stack.
        replace(INSTANCE, inputs={**INSTANCE.inputs, "tags": {"tier": "staging"}}),
        # The stack `prod` is production, whatever it says.
        replace(of_tier("staging"), urn=INSTANCE.urn.replace(":dev::", ":prod::")),
    ],
)
def test_a_stack_that_hides_its_tier_is_production(hidden: Resource) -> None:
    assert len(answers("data-protected", [replace(ROLE, protect=False), hidden])) == 1
    assert answers("rds-multi-az", [replace(hidden, inputs={**hidden.inputs, "multiAz": False})])


def test_a_secret_of_staging_may_go_at_once_and_a_key_may_not() -> None:
    secret = resource(tokens.AWS_SECRET, {"recoveryWindowInDays": 0})
    assert answers("recoverable", [of_tier("staging", secret)]) == []
    assert answers("recoverable", [of_tier("production", secret)])
    assert answers("recoverable", [secret])
    assert answers("recoverable", [of_tier("staging", resource(tokens.KMS_KEY, {"deletionWindowInDays": 0}))])


def test_one_server_that_says_staging_does_not_speak_for_another() -> None:
    assert len(answers("data-protected", [replace(ROLE, protect=False), of_tier("staging"), INSTANCE])) == 1


@pytest.mark.parametrize(
    ("type_", "what"),
    [
        ("command:local:Command", "no rule knows the package command"),
        ("pulumi-python:dynamic:Resource", "no rule knows the package pulumi-python"),
        ("aws-native:rds:DbInstance", "no rule knows the package aws-native"),
        (tokens.HELM_RELEASE, "creates objects that are not resources of their own"),
        ("kubernetes:rbac.authorization.k8s.io/v1:RoleBindingList", "creates objects that are not"),
        ("kubernetes:core/v1:SecretList", "creates objects that are not"),
    ],
)
def test_what_no_rule_can_read_is_refused(type_: str, what: str) -> None:
    [(where, answer)] = answers("visible", [INSTANCE, resource(type_, {})])
    assert where.type == type_
    assert isinstance(answer, Violation)
    assert answer.what.startswith(what)


@pytest.mark.parametrize(
    "type_", ["kubernetes:helm.sh/v4:Chart", "pulumi:providers:aws", "pulumi:pulumi:StackReference"]
)
def test_what_the_rules_can_read_is_accepted(type_: str) -> None:
    assert answers("visible", [resource(type_, {})]) == []


@pytest.mark.parametrize(("type_", "kind"), [(tokens.IAM_USER, "User"), (tokens.IAM_ACCESS_KEY, "AccessKey")])
def test_users_and_access_keys_are_refused(type_: str, kind: str) -> None:
    [(_, answer)] = answers("iam-no-users", [resource(type_, {})])
    assert answer == Violation(f"{kind} lives until somebody deletes it; expected a role")


def test_rules_of_other_security_groups_do_not_count_together() -> None:
    def rule(cidr: str, group: Any) -> Resource:
        return resource(tokens.INGRESS_RULE, {"securityGroupId": group, "cidrIpv4": cidr})

    halves = ("8.8.8.0/24", "8.8.9.0/24")
    name = "no-open-ingress-together"
    assert len(answers(name, [rule(half, "sg-1") for half in halves])) == 1
    assert answers(name, [rule(half, group) for half, group in zip(halves, ("sg-1", "sg-2"), strict=True)]) == []
    # A new group's id is not known: its rules count together.
    assert len(answers(name, [rule(half, UNKNOWN) for half in halves])) == 1
    # One that is open alone is the other rule's finding.
    assert answers(name, [rule("0.0.0.0/0", "sg-1"), rule("8.8.8.0/24", "sg-1")]) == []
    older = resource(
        tokens.SECURITY_GROUP_RULE, {"type": "ingress", "securityGroupId": "sg-1", "cidrBlocks": ["8.8.9.0/24"]}
    )
    assert len(answers(name, [rule("8.8.8.0/24", "sg-1"), older])) == 1


def test_a_bootstrap_role_may_be_administrator() -> None:
    inputs = {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"}
    deploy = resource(tokens.ACCESS_POLICY, inputs)
    assert len(answers("eks-narrow-access-policy", [deploy])) == 1
    urn = f"urn:pulumi:prod::lightwave::lightwave:bootstrap:CiAccess${tokens.ACCESS_POLICY}::ci-deploy-cluster-policy"
    assert answers("eks-narrow-access-policy", [replace(deploy, urn=urn)]) == []


def test_a_view_of_secrets_is_for_single_namespaces() -> None:
    inputs = {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminViewPolicy"}
    scope = {"accessScope": {"type": "namespace", "namespaces": ["shared"]}}
    assert answers("eks-narrow-access-policy", [resource(tokens.ACCESS_POLICY, inputs | scope)]) == []

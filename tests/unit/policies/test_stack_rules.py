"""The rules about all resources of a stack together."""

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
]


@pytest.mark.parametrize("holder", HOLDS_DATA, ids=lambda holder: holder.type)
def test_what_holds_data_is_protected_in_production(holder: Resource) -> None:
    def prod(resource: Resource, protect: bool) -> Resource:
        return replace(resource, protect=protect, urn=resource.urn.replace(":dev::", ":prod::"))

    unprotected = prod(holder, False)
    assert answers("data-protected", [unprotected]) == [Finding(unprotected, Violation("is not protected"))]
    assert answers("data-protected", [prod(holder, True)]) == []


def test_a_stack_on_rds_is_production() -> None:
    assert answers("data-protected", [replace(ROLE, protect=False)]) == []
    assert len(answers("data-protected", [replace(ROLE, protect=False), INSTANCE])) == 1

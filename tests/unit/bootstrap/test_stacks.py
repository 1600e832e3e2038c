"""Bootstrap for a second stack, in the same AWS account: no name in common, and no way from one stack into another."""

import re
from typing import Any

import pulumi
import pytest

from bootstrap.ci_access import CiAccessArgs
from bootstrap.state_store import StateStoreArgs
from ops.plan.recorder import Recording
from tests.unit.bootstrap.program import ACCOUNT, BUCKET_ARN, KEY_ARN, REGION, STAGING, document, one, recorded
from tests.unit.bootstrap.test_ci_policies import NEEDS, READS, SECRET, STATE_WRITES, arn, may
from tests.unit.bootstrap.test_service_deployers import DEPLOYERS

OF_STAGING = {"stack": "staging", **STAGING}


def names(recording: Recording) -> set[tuple[str, str]]:
    """What AWS would know the resources by; a role's policies are inside it."""
    keys = ("name", "bucket", "url")
    return {
        (resource.type, str(resource.inputs[key]))
        for resource in recording.resources
        for key in keys
        if key in resource.inputs and not resource.type.endswith(":RolePolicy")
    }


def test_two_stacks_share_no_name() -> None:
    """The OIDC provider alone is the account's: the second stack is given its ARN."""
    prod = names(recorded(deployers=DEPLOYERS))
    staging = names(
        recorded(**OF_STAGING, deployers=DEPLOYERS, oidcProviderArn="arn:aws:iam::123456789012:oidc-provider/x")
    )
    assert ("aws:kms/alias:Alias", "alias/lightwave-state-staging") in staging
    assert ("aws:iam/role:Role", "lightwave-release-payload-cms-staging") in staging
    assert len(staging) == len(prod) - 1
    assert prod & staging == set()


@pytest.mark.parametrize(
    ("role", "environments"),
    [
        ("ci-preview", ["staging-preview", "staging-drift"]),
        ("ci-deploy", ["staging"]),
        ("deployers-payload-cms", ["staging"]),
    ],
)
def test_a_role_of_staging_is_for_its_own_environments(role: str, environments: list[str]) -> None:
    [statement] = document(one("iam/role:Role", role, **OF_STAGING, deployers=DEPLOYERS).inputs["assumeRolePolicy"])
    subjects = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert [subject.rpartition(":")[2] for subject in subjects] == environments


def test_its_roles_have_access_to_its_cluster() -> None:
    entries = recorded(**OF_STAGING).of_type("aws:eks/accessEntry:AccessEntry")
    assert {entry.inputs["clusterName"] for entry in entries} == {"lightwave-staging"}


UNNAMED = re.compile(r"vpc/|security-group|og:default")
"""What AWS scopes by tag, see below, or what is everybody's."""


@pytest.mark.parametrize(
    ("action", "resource"),
    [need for needs in NEEDS.values() for need in needs if not UNNAMED.search(need[1])]
    + [read for read in READS if read[1] == SECRET],
)
def test_staging_reaches_nothing_of_prods(action: str, resource: str) -> None:
    assert may("deploy", action, resource)
    for purpose in ("preview", "deploy"):
        assert not may(purpose, action, resource, **OF_STAGING)
    own = resource.replace("lightwave-platform", "lightwave-staging").replace("/prod/", "/staging/")
    assert may("deploy", action, own, **OF_STAGING)
    assert not may("deploy", action, own)


@pytest.mark.parametrize(
    ("action", "resource"), [call for call in [*READS, *STATE_WRITES] if call[1].startswith(BUCKET_ARN)]
)
def test_staging_does_not_reach_prods_state(action: str, resource: str) -> None:
    assert may("deploy", action, resource)
    assert not may("deploy", action, resource, **OF_STAGING)
    assert may("deploy", action, resource.replace(BUCKET_ARN, f"{BUCKET_ARN}-staging"), **OF_STAGING)


def test_staging_changes_only_security_groups_with_its_tag() -> None:
    policy = one("iam/rolePolicy:RolePolicy", "ci-deploy-permissions", **OF_STAGING).inputs["policy"]
    by_sid = {statement["Sid"]: statement for statement in document(policy)}
    for sid, kind in (("OwnSecurityGroups", "Resource"), ("NewTaggedSecurityGroup", "Request")):
        assert by_sid[sid]["Condition"]["StringEquals"][f"aws:{kind}Tag/stack"] == "staging"
    assert by_sid["ServiceDeployers"]["Resource"][0] == arn("eks", "cluster/lightwave-staging")


@pytest.mark.parametrize("name", ["cluster", "database"])
def test_prods_names_are_refused_for_another_stack(name: str) -> None:
    given: dict[str, Any] = {"cluster": "lightwave-staging", "database": "lightwave-staging"}
    given[name] = {"cluster": "lightwave-prod", "database": "lightwave-platform"}[name]
    with pytest.raises(
        pulumi.InputPropertyError, match=f"{given[name]} may belong to another stack; expected: .*such as"
    ):
        CiAccessArgs(
            stack="staging",
            account_id=ACCOUNT,
            region=REGION,
            repository="a/b",
            state_bucket_arn=BUCKET_ARN,
            state_key_arn=KEY_ARN,
            **given,
        )


def test_prods_bucket_is_refused_for_another_stack() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="lightwave-state may belong to another stack"):
        StateStoreArgs(stack="staging", bucket="lightwave-state", region=REGION)

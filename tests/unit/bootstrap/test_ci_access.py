"""Who may assume CI's roles, and the roles' access to the cluster."""

from typing import Any

import pulumi
import pytest
import yaml

from bootstrap.ci_access import DEPLOY_ENVIRONMENT, PREVIEW_ENVIRONMENTS, CiAccessArgs
from policies import tokens
from settings import ROOT
from tests.unit.bootstrap.program import ACCOUNT, BUCKET_ARN, KEY_ARN, PROVIDER_ARN, REGION, document, one, recorded


def test_github_is_trusted_for_sts_only() -> None:
    assert one("iam/openIdConnectProvider:OpenIdConnectProvider", "ci-github").inputs == {
        "url": "https://token.actions.githubusercontent.com",
        "clientIdLists": ["sts.amazonaws.com"],
    }


def trusted(environments: list[str], provider: str = PROVIDER_ARN) -> list[dict[str, Any]]:
    return [
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                    "token.actions.githubusercontent.com:sub": [
                        f"repo:lightwave/platform-infra:environment:{name}" for name in environments
                    ],
                }
            },
        }
    ]


@pytest.mark.parametrize(
    ("purpose", "environments", "seconds"),
    [("preview", ["prod-preview", "prod-drift"], 3600), ("deploy", ["prod"], 7200)],
)
def test_a_role_is_assumed_in_its_environments_only(purpose: str, environments: list[str], seconds: int) -> None:
    role = one("iam/role:Role", f"ci-{purpose}").inputs
    assert role["name"] == f"lightwave-{purpose}"
    assert role["maxSessionDuration"] == seconds
    assert set(role) == {"name", "description", "assumeRolePolicy", "maxSessionDuration"}
    assert document(role["assumeRolePolicy"]) == trusted(environments)


def test_the_environments_are_those_of_the_workflows() -> None:
    by_role: dict[str, set[str]] = {"PREVIEW_ROLE_ARN": set(), "DEPLOY_ROLE_ARN": set()}
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for role, environments in by_role.items():
                if f"vars.{role}" in yaml.safe_dump(job):
                    environments.add(job["environment"])
    assert by_role["PREVIEW_ROLE_ARN"] == set(PREVIEW_ENVIRONMENTS)
    assert by_role["DEPLOY_ROLE_ARN"] == {DEPLOY_ENVIRONMENT}


def test_a_provider_that_exists_is_used() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/existing"
    recording = recorded(oidcProviderArn=arn)
    assert recording.of_type(tokens.OIDC_PROVIDER) == []
    role = one("iam/role:Role", "ci-deploy", oidcProviderArn=arn)
    assert document(role.inputs["assumeRolePolicy"]) == trusted(["prod"], arn)


@pytest.mark.parametrize("repository", ["*", "lightwave/*", "lightwave", "a/b/c", "lightwave/", "", "a/b:ref", "a/b\n"])
def test_a_repository_that_is_a_pattern_is_refused(repository: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match="owner/name"):
        access_args(repository=repository)


def test_a_malformed_account_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="12 digits"):
        access_args(account_id="*")


def access_args(**changes: str) -> CiAccessArgs:
    good = {"account_id": ACCOUNT, "region": REGION, "repository": "a/b", "cluster": "c"}
    return CiAccessArgs(state_bucket_arn=BUCKET_ARN, state_key_arn=KEY_ARN, **{**good, **changes})


@pytest.mark.parametrize(
    ("purpose", "cluster_policy"),
    [("preview", "AmazonEKSAdminViewPolicy"), ("deploy", "AmazonEKSClusterAdminPolicy")],
)
def test_the_access_to_the_cluster(purpose: str, cluster_policy: str) -> None:
    who = {"clusterName": "lightwave-prod", "principalArn": f"arn:aws:iam::{ACCOUNT}:role/lightwave-{purpose}"}
    assert one("eks/accessEntry:AccessEntry", f"ci-{purpose}-cluster").inputs == who
    association = "eks/accessPolicyAssociation:AccessPolicyAssociation"
    assert one(association, f"ci-{purpose}-cluster-policy").inputs == {
        **who,
        "policyArn": f"arn:aws:eks::aws:cluster-access-policy/{cluster_policy}",
        "accessScope": {"type": "cluster"},
    }

"""The roles of the services' own repositories: who may assume them, and what little they may do."""

import json
from typing import Any

import pulumi
import pytest

from bootstrap.service_deployers import ServiceDeployersArgs
from ops.plan import policy
from tests.unit.bootstrap.program import ACCOUNT, PROVIDER_ARN, REGION, document, one, recorded

DEPLOYERS = json.dumps(
    {
        "payload-cms": {"repository": "lightwave/website"},
        "django-api": {
            "repository": "lightwave/api",
            "environment": "live",
            "repositoryOwnerId": "111",
            "repositoryId": "222",
        },
    }
)
ISSUER = "token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("namespace", "claims"),
    [
        ("payload-cms", {"sub": ["repo:lightwave/website:environment:production"]}),
        (
            "django-api",
            {
                "sub": ["repo:lightwave/api:environment:live", "repo:lightwave@111/api@222:environment:live"],
                "repository_id": "222",
            },
        ),
    ],
)
def test_only_the_services_own_deploy_job_may_assume_its_role(namespace: str, claims: dict[str, Any]) -> None:
    role = one("iam/role:Role", f"deployers-{namespace}", deployers=DEPLOYERS).inputs
    assert role["name"] == f"lightwave-release-{namespace}"
    [statement] = document(role["assumeRolePolicy"])
    assert statement["Principal"] == {"Federated": PROVIDER_ARN}
    exact = {"aud": "sts.amazonaws.com", "ref": "refs/heads/main", **claims}
    assert statement["Condition"] == {"StringEquals": {f"{ISSUER}:{claim}": value for claim, value in exact.items()}}


def test_it_may_find_the_cluster_and_nothing_else() -> None:
    permissions = one("iam/rolePolicy:RolePolicy", "deployers-payload-cms-permissions", deployers=DEPLOYERS).inputs
    assert document(permissions["policy"]) == [
        {
            "Sid": "FindCluster",
            "Effect": "Allow",
            "Action": ["eks:DescribeCluster"],
            "Resource": [f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/lightwave-prod"],
        }
    ]


def test_the_platform_is_given_their_arns() -> None:
    assert recorded(deployers=DEPLOYERS).outputs["SERVICE_DEPLOYERS"] == {
        namespace: f"arn:aws:iam::{ACCOUNT}:role/lightwave-release-{namespace}"
        for namespace in ("payload-cms", "django-api")
    }
    assert list(policy.verdicts(recorded(deployers=DEPLOYERS).resources)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "deployers.payload-cms.repository.*expected: owner/name, without wildcards"),
        ({"repository": "lightwave/*"}, "expected: owner/name, without wildcards"),
        ({"repository": "a/b", "environment": "*"}, "environment.*without wildcards"),
        ({"repository": "a/b", "branch": "x"}, "branch.*expected: environment, repository, repositoryId"),
        ({"repository": "a/b", "repositoryId": "1"}, "expected: together with repositoryOwnerId"),
    ],
)
def test_what_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match=message):
        ServiceDeployersArgs(
            stack="prod",
            account_id=ACCOUNT,
            region=REGION,
            cluster="c",
            oidc_provider_arn="arn",
            deployers={"payload-cms": given},
        )

"""Who may assume CI's roles, and the roles' access to the cluster."""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
import yaml

import settings
from bootstrap.ci_access import (
    DEFAULT_CLUSTER,
    DEFAULT_DATABASE,
    DEPLOY_REF,
    PREVIEWERS,
    CiAccessArgs,
)
from ops.plan.recorder import Recording
from policies import tokens
from settings import ROOT
from tests.unit.bootstrap.program import ACCOUNT, BUCKET_ARN, KEY_ARN, PROVIDER_ARN, REGION, document, one, recorded


def test_github_is_trusted_for_sts_only() -> None:
    assert one("iam/openIdConnectProvider:OpenIdConnectProvider", "ci-github").inputs == {
        "url": "https://token.actions.githubusercontent.com",
        "clientIdLists": ["sts.amazonaws.com"],
    }


NAMES, WITH_IDS = "lightwave/platform-infra", "lightwave@111/platform-infra@222"
IDS = {"repositoryOwnerId": "111", "repositoryId": "222"}


def trusted(
    environments: list[str],
    claims: Mapping[str, str],
    *,
    provider: str = PROVIDER_ARN,
    repositories: tuple[str, ...] = (NAMES,),
) -> list[dict[str, Any]]:
    issuer = "token.actions.githubusercontent.com"
    return [
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{issuer}:aud": "sts.amazonaws.com",
                    f"{issuer}:sub": [
                        f"repo:{repository}:environment:{name}" for repository in repositories for name in environments
                    ],
                    **{f"{issuer}:{claim}": value for claim, value in claims.items()},
                }
            },
        }
    ]


MAIN = {"ref": "refs/heads/main"}
PURPOSES = [("preview", ["prod-preview", "prod-drift"], {}, 3600), ("deploy", ["prod"], MAIN, 7200)]


@pytest.mark.parametrize(("purpose", "environments", "claims", "seconds"), PURPOSES)
def test_a_role_is_assumed_in_its_environments_only(
    purpose: str, environments: list[str], claims: dict[str, str], seconds: int
) -> None:
    role = one("iam/role:Role", f"ci-{purpose}").inputs
    assert role["name"] == f"lightwave-{purpose}"
    assert role["maxSessionDuration"] == seconds
    assert set(role) == {"name", "description", "assumeRolePolicy", "maxSessionDuration"}
    assert document(role["assumeRolePolicy"]) == trusted(environments, claims)


@pytest.mark.parametrize(("purpose", "environments", "claims", "seconds"), PURPOSES)
def test_with_ids_both_forms_of_the_subject_are_trusted_from_that_repository(
    purpose: str, environments: list[str], claims: dict[str, str], seconds: int
) -> None:
    role = one("iam/role:Role", f"ci-{purpose}", **IDS).inputs
    expected = trusted(environments, {"repository_id": "222", **claims}, repositories=(NAMES, WITH_IDS))
    assert document(role["assumeRolePolicy"]) == expected
    assert role["maxSessionDuration"] == seconds


def token(environment: str, repository: str = WITH_IDS, **claims: str) -> dict[str, str]:
    """The claims of a job of the repository, as GitHub issues them."""
    return {
        "aud": "sts.amazonaws.com",
        "sub": f"repo:{repository}:environment:{environment}",
        "repository_id": "222",
        "ref": "refs/heads/main",
        **claims,
    }


def admits(purpose: str, claims: dict[str, str]) -> bool:
    """Whether the role's trust policy accepts the token: IAM's StringEquals, every key of it."""
    [statement] = document(one("iam/role:Role", f"ci-{purpose}", **IDS).inputs["assumeRolePolicy"])
    assert list(statement["Condition"]) == ["StringEquals"]
    expected = {key.rpartition(":")[2]: value for key, value in statement["Condition"]["StringEquals"].items()}
    return all(claims.get(key) in (value if isinstance(value, list) else [value]) for key, value in expected.items())


@pytest.mark.parametrize(
    ("purpose", "claims", "admitted"),
    [
        ("deploy", token("prod"), True),
        ("deploy", token("prod", NAMES), True),
        ("preview", token("prod-preview", ref="refs/pull/7/merge"), True),
        ("preview", token("prod-drift", NAMES), True),
        ("deploy", token("prod", ref="refs/heads/feature"), False),
        ("deploy", token("prod", ref="refs/pull/7/merge"), False),
        ("deploy", token("prod-preview"), False),
        ("preview", token("prod"), False),
        ("preview", {**token("x"), "sub": f"repo:{WITH_IDS}:pull_request"}, False),
        # Somebody else's repository that got the name later.
        ("deploy", token("prod", NAMES, repository_id="333"), False),
        ("deploy", token("prod", "lightwave@111/platform-infra@333", repository_id="333"), False),
        ("deploy", token("prod", "lightwave@999/platform-infra@222"), False),
        ("deploy", token("prod", "lightwave-111/platform-infra-222"), False),
        ("deploy", token("prod", aud="https://github.com/lightwave"), False),
    ],
)
def test_tokens(purpose: str, claims: dict[str, str], admitted: bool) -> None:
    assert admits(purpose, claims) is admitted


def test_the_deploy_job_runs_on_the_trusted_branch_only() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())
    assert workflow[True] == {"push": {"branches": [DEPLOY_REF.removeprefix("refs/heads/")]}}


def test_the_environments_are_those_of_the_workflows() -> None:
    """Each environment's variables are its own stack's, so a job takes the role of that stack."""
    by_role: dict[str, set[str]] = {"PREVIEW_ROLE_ARN": set(), "DEPLOY_ROLE_ARN": set()}
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for role, environments in by_role.items():
                if f"vars.{role}" in yaml.safe_dump(job):
                    stacks = job.get("strategy", {}).get("matrix", {}).get("stack", [""])
                    environments |= {job["environment"].replace("${{ matrix.stack }}", stack) for stack in stacks}
    both = [access_args(), access_args(stack="staging", cluster="c-staging", database="d-staging")]
    assert by_role["PREVIEW_ROLE_ARN"] == {name for args in both for name in args.preview_environments}
    assert by_role["DEPLOY_ROLE_ARN"] == {args.deploy_environment for args in both} == {"prod", "staging"}


def test_a_provider_that_exists_is_used() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/existing"
    recording = recorded(oidcProviderArn=arn)
    assert recording.of_type(tokens.OIDC_PROVIDER) == []
    role = one("iam/role:Role", "ci-deploy", oidcProviderArn=arn)
    assert document(role.inputs["assumeRolePolicy"]) == trusted(["prod"], MAIN, provider=arn)


@pytest.mark.parametrize(
    "repository", ["*", "lightwave/*", "lightwave", "a/b/c", "lightwave/", "", "a/b:ref", "a/b\n", "a@1/b@2"]
)
def test_a_repository_that_is_a_pattern_is_refused(repository: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match="owner/name"):
        access_args(repository=repository)


def test_a_malformed_account_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="12 digits"):
        access_args(account_id="*")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repository_id": "222"}, "together with repository_owner_id"),
        ({"repository_owner_id": "111"}, "together with repository_owner_id"),
        ({"repository_owner_id": "lightwave", "repository_id": "222"}, "the digits that gh api"),
        ({"repository_owner_id": "111", "repository_id": "2*"}, "the digits that gh api"),
        ({"repository_owner_id": "111", "repository_id": "222\n"}, "the digits that gh api"),
        ({"cluster": "*"}, "without wildcards"),
        ({"database": "lightwave-*"}, "without wildcards"),
        ({"database": ""}, "without wildcards"),
        ({"namespaces": ["*"]}, "without wildcards"),
        ({"namespaces": []}, "without wildcards"),
    ],
)
def test_what_would_widen_a_role_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match=message):
        access_args(**changes)


def access_args(**changes: Any) -> CiAccessArgs:
    good = {"stack": "prod", "account_id": ACCOUNT, "region": REGION, "repository": "a/b", "cluster": "c"}
    return CiAccessArgs(state_bucket_arn=BUCKET_ARN, state_key_arn=KEY_ARN, **{**good, **changes})


def role_arn(purpose: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/lightwave-{purpose}"


def cluster_access(purpose: str, **changes: str) -> dict[str, Any]:
    """By AWS access policy of the role, where it holds."""
    found = {}
    for association in recorded(**changes).of_type(tokens.ACCESS_POLICY):
        inputs = association.inputs
        assert inputs["clusterName"] == "lightwave-prod"
        if inputs["principalArn"] == role_arn(purpose):
            found[inputs["policyArn"].removeprefix("arn:aws:eks::aws:cluster-access-policy/")] = inputs["accessScope"]
    return found


def test_the_access_entries() -> None:
    for purpose, groups in (("preview", {"kubernetesGroups": ["lightwave:previewers"]}), ("deploy", {})):
        entry = one("eks/accessEntry:AccessEntry", f"ci-{purpose}-cluster").inputs
        assert entry == {"clusterName": "lightwave-prod", "principalArn": role_arn(purpose), **groups}


def test_previews_read_secrets_in_the_platforms_namespaces_only() -> None:
    namespaces = ["django-api", "payload-cms", "shared"]
    assert cluster_access("preview") == {
        "AmazonEKSViewPolicy": {"type": "cluster"},
        "AmazonEKSAdminViewPolicy": {"type": "namespace", "namespaces": namespaces},
    }
    other = cluster_access("preview", namespaces='["a", "b"]')
    assert other["AmazonEKSAdminViewPolicy"] == {"type": "namespace", "namespaces": ["a", "b"]}
    assert list(settings.stack_config("prod")["lightwave:kubernetes"]["namespaces"]) == namespaces


def test_deploys_administer_the_cluster() -> None:
    assert cluster_access("deploy") == {"AmazonEKSClusterAdminPolicy": {"type": "cluster"}}


def test_the_platform_binds_the_group_of_the_previews(recording_of: Callable[[str], Recording]) -> None:
    bound = {
        subject["name"]
        for binding in recording_of("prod").of_type(tokens.CLUSTER_ROLE_BINDING)
        for subject in binding.inputs["subjects"]
        if binding.inputs["roleRef"]["name"] == "lightwave-previewers"
    }
    assert bound == {PREVIEWERS}


def test_the_defaults_are_the_platforms_own_names() -> None:
    with settings.offline():
        prod = settings.load("prod", settings.stack_config("prod"))
    assert prod.kubernetes is not None
    assert isinstance(prod.database, settings.RdsSettings)
    assert (prod.kubernetes.cluster, prod.database.identifier) == (DEFAULT_CLUSTER, DEFAULT_DATABASE)

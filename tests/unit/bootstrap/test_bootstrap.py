"""What exists before the first deploy: who may take which role, what each may do, and where the state lies."""

import json
import re
import runpy
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pulumi
import pytest
import yaml

from bootstrap.ci_access import DEPLOY_ENVIRONMENT, PREVIEW_ENVIRONMENTS, CiAccessArgs
from bootstrap.state_store import StateStoreArgs
from ops.plan import policy, recorder
from ops.plan.recorder import Recording, Resource
from settings import ROOT

ACCOUNT = "123456789012"
REGION = "eu-central-1"
CONFIG = {
    "aws:region": REGION,
    "lightwave-bootstrap:accountId": ACCOUNT,
    "lightwave-bootstrap:repository": "lightwave/platform-infra",
    "lightwave-bootstrap:stateBucket": "lightwave-state",
    "lightwave-bootstrap:cluster": "lightwave-prod",
}
STATE = "urn:pulumi:prod::lightwave::lightwave:bootstrap:StateStore::state"
ACCESS = "urn:pulumi:prod::lightwave::lightwave:bootstrap:CiAccess::ci"
BUCKET_ARN = "arn:aws:s3:::lightwave-state"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/state"
PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"


@cache
def recorded(**changes: str) -> Recording:
    """The bootstrap program's recording, with ARNs as AWS would make them."""
    config = {**CONFIG, **{f"lightwave-bootstrap:{key}": value for key, value in changes.items()}}
    arns: dict[str, Callable[[Any], dict[str, Any]]] = {
        "aws:s3/bucket:Bucket": lambda inputs: {"arn": f"arn:aws:s3:::{inputs['bucket']}"},
        "aws:kms/key:Key": lambda _: {"arn": KEY_ARN, "keyId": "state"},
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda _: {"arn": PROVIDER_ARN},
        "aws:iam/role:Role": lambda inputs: {"arn": f"arn:aws:iam::{ACCOUNT}:role/{inputs['name']}"},
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorder, "COMPUTED", arns)
        return recorder.record(
            lambda: runpy.run_path(str(ROOT / "bootstrap" / "__main__.py"), run_name="__main__"),
            stack="prod",
            config=config,
        )


def one(type_: str, name: str, **changes: str) -> Resource:
    return recorded(**changes).one(f"aws:{type_}", name)


def document(text: str) -> list[dict[str, Any]]:
    parsed = json.loads(text)
    assert parsed["Version"] == "2012-10-17"
    statements: list[dict[str, Any]] = parsed["Statement"]
    return statements


# --- what is declared -------------------------------------------------------------------------------------------------


def test_declares_exactly_these() -> None:
    found = sorted(f"{r.type.split(':')[-1]} {r.name}" for r in recorded().resources if r.custom)
    assert found == [
        "AccessEntry ci-deploy-cluster",
        "AccessEntry ci-preview-cluster",
        "AccessPolicyAssociation ci-deploy-cluster-policy",
        "AccessPolicyAssociation ci-preview-cluster-policy",
        "Alias state-key-alias",
        "Bucket state-bucket",
        "BucketLifecycleConfiguration state-lifecycle",
        "BucketOwnershipControls state-ownership",
        "BucketPolicy state-bucket-policy",
        "BucketPublicAccessBlock state-public-access",
        "BucketServerSideEncryptionConfiguration state-encryption",
        "BucketVersioning state-versions",
        "Key state-key",
        "OpenIdConnectProvider ci-github",
        "Role ci-deploy",
        "Role ci-preview",
        "RolePolicy ci-deploy-permissions",
        "RolePolicy ci-preview-permissions",
        "aws aws",
    ]


def test_parents_provider_and_policies() -> None:
    for resource in recorded().resources:
        if resource.custom and resource.name != "aws":
            assert resource.parent == (STATE if resource.name.startswith("state") else ACCESS), resource.name
            assert resource.provider.endswith("::aws"), resource.name
    assert list(policy.verdicts(policy.view(recorded()))) == []


def test_the_provider_refuses_another_account() -> None:
    [provider] = recorded().of_type("pulumi:providers:aws")
    assert provider.inputs["region"] == REGION
    assert json.loads(provider.inputs["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider.inputs["defaultTags"]) == {
        "tags": {"project": "lightwave", "stack": "prod", "managed-by": "pulumi"}
    }


def test_outputs_are_what_ci_and_the_operator_need() -> None:
    assert recorded().outputs == {
        "AWS_REGION": REGION,
        "DEPLOY_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy",
        "PREVIEW_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lightwave-preview",
        "PULUMI_BACKEND_URL": f"s3://lightwave-state?region={REGION}",
        "secrets_provider": f"awskms://alias/lightwave-state?region={REGION}",
    }


# --- the state --------------------------------------------------------------------------------------------------------


def test_the_whole_state_store_is_protected_and_nothing_else() -> None:
    protected = {r.name for r in recorded().resources if r.protect}
    assert protected == {r.name for r in recorded().children(STATE)}


def test_key() -> None:
    assert one("kms/key:Key", "state-key").inputs == {
        "description": "Pulumi's state of the Lightwave platform, and the secrets in it",
        "enableKeyRotation": True,
        "deletionWindowInDays": 30,
    }
    assert one("kms/alias:Alias", "state-key-alias").inputs == {
        "name": "alias/lightwave-state",
        "targetKeyId": "state",
    }


def test_bucket() -> None:
    shared = {"bucket": "lightwave-state"}
    assert one("s3/bucket:Bucket", "state-bucket").inputs == {**shared, "forceDestroy": False}
    assert one("s3/bucketVersioning:BucketVersioning", "state-versions").inputs == {
        **shared,
        "versioningConfiguration": {"status": "Enabled"},
    }
    encryption = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    assert one(encryption, "state-encryption").inputs == {
        **shared,
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY_ARN},
                "bucketKeyEnabled": True,
            }
        ],
    }
    assert one("s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "state-public-access").inputs == {
        **shared,
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert one("s3/bucketOwnershipControls:BucketOwnershipControls", "state-ownership").inputs == {
        **shared,
        "rule": {"objectOwnership": "BucketOwnerEnforced"},
    }


def test_only_old_versions_expire() -> None:
    lifecycle = one("s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "state-lifecycle")
    assert lifecycle.inputs == {
        "bucket": "lightwave-state",
        "rules": [
            {
                "id": "old-versions",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrentVersionExpiration": {"noncurrentDays": 365},
                "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
            }
        ],
    }


def test_the_bucket_refuses_plain_http() -> None:
    bucket_policy = one("s3/bucketPolicy:BucketPolicy", "state-bucket-policy")
    assert document(bucket_policy.inputs["policy"]) == [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [BUCKET_ARN, f"{BUCKET_ARN}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    assert any(urn.endswith("::state-public-access") for urn in bucket_policy.depends_on)


# --- who may take a role ----------------------------------------------------------------------------------------------


def test_github_is_trusted_for_sts_alone() -> None:
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
def test_a_role_is_taken_in_its_environments_alone(purpose: str, environments: list[str], seconds: int) -> None:
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
    assert recording.of_type("aws:iam/openIdConnectProvider:OpenIdConnectProvider") == []
    role = one("iam/role:Role", "ci-deploy", oidcProviderArn=arn)
    assert document(role.inputs["assumeRolePolicy"]) == trusted(["prod"], arn)


@pytest.mark.parametrize("repository", ["*", "lightwave/*", "lightwave", "a/b/c", "lightwave/", "", "a/b:ref", "a/b\n"])
def test_a_repository_that_is_a_pattern_is_refused(repository: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match="owner/name"):
        access_args(repository=repository)


def test_an_account_that_is_none_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError, match="12 digits"):
        access_args(account_id="*")


def access_args(**changes: str) -> CiAccessArgs:
    good = {"account_id": ACCOUNT, "region": REGION, "repository": "a/b", "cluster": "c"}
    return CiAccessArgs(state_bucket_arn=BUCKET_ARN, state_key_arn=KEY_ARN, **{**good, **changes})


@pytest.mark.parametrize("bucket", ["", "ab", "Upper", "dotted.name", "-a-", "a" * 64, "name\n"])
def test_a_malformed_bucket_name_is_refused(bucket: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match="3 to 63"):
        StateStoreArgs(bucket=bucket, region=REGION)


# --- what a role may do -----------------------------------------------------------------------------------------------


def permissions(purpose: str) -> list[dict[str, Any]]:
    inputs = one("iam/rolePolicy:RolePolicy", f"ci-{purpose}-permissions").inputs
    assert inputs["role"] == f"lightwave-{purpose}"
    # AWS counts a role's inline policies together, without white space.
    assert len(re.sub(r"\s", "", inputs["policy"])) <= 10_240
    return document(inputs["policy"])


def may(purpose: str, action: str, resource: str) -> bool:
    """Whether the role may, its conditions taken as met: IAM's own rule, a Deny before any Allow."""
    effects = {
        statement["Effect"]
        for statement in permissions(purpose)
        if any(fnmatchcase(action, pattern) for pattern in statement["Action"])
        and any(
            fnmatchcase(resource, pattern)
            for pattern in (
                [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]
            )
        )
    }
    return effects == {"Allow"}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


STATE_FILE = f"{BUCKET_ARN}/.pulumi/stacks/lightwave/prod.json"
SECRET = arn("secretsmanager", "secret:lightwave/prod/database/admin-AbCdEf")
MONITORING_ROLE = f"arn:aws:iam::{ACCOUNT}:role/lightwave-platform-monitoring"
DATABASE = arn("rds", "db:lightwave-platform")

NEEDS: dict[str, list[tuple[str, str]]] = {
    "aws:cloudwatch/logGroup:LogGroup": [
        ("logs:CreateLogGroup", arn("logs", "log-group:/aws/rds/instance/lightwave-platform/postgresql")),
        ("logs:PutRetentionPolicy", arn("logs", "log-group:/aws/rds/instance/lightwave-platform/upgrade:*")),
    ],
    "aws:cloudwatch/metricAlarm:MetricAlarm": [
        ("cloudwatch:PutMetricAlarm", arn("cloudwatch", "alarm:lightwave-platform-cpu"))
    ],
    "aws:ec2/securityGroup:SecurityGroup": [
        ("ec2:CreateSecurityGroup", arn("ec2", "vpc/vpc-1")),
        ("ec2:CreateSecurityGroup", arn("ec2", "security-group/sg-1")),
        ("ec2:RevokeSecurityGroupEgress", arn("ec2", "security-group/sg-1")),
    ],
    "aws:iam/role:Role": [("iam:CreateRole", MONITORING_ROLE), ("iam:PassRole", MONITORING_ROLE)],
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": [("iam:AttachRolePolicy", MONITORING_ROLE)],
    "aws:rds/eventSubscription:EventSubscription": [
        ("rds:CreateEventSubscription", arn("rds", "es:lightwave-platform-events"))
    ],
    "aws:rds/instance:Instance": [
        ("rds:CreateDBInstance", DATABASE),
        ("rds:CreateDBInstance", arn("rds", "subgrp:lightwave-platform")),
        ("rds:CreateDBInstance", arn("rds", "og:default:postgres-15")),
        ("rds:ModifyDBInstance", DATABASE),
    ],
    "aws:rds/parameterGroup:ParameterGroup": [
        ("rds:CreateDBParameterGroup", arn("rds", "pg:lightwave-platform-postgres15")),
        ("rds:ModifyDBParameterGroup", arn("rds", "pg:lightwave-platform-postgres15")),
    ],
    "aws:rds/subnetGroup:SubnetGroup": [("rds:CreateDBSubnetGroup", arn("rds", "subgrp:lightwave-platform"))],
    "aws:secretsmanager/secret:Secret": [("secretsmanager:CreateSecret", SECRET)],
    "aws:secretsmanager/secretVersion:SecretVersion": [("secretsmanager:PutSecretValue", SECRET)],
    "aws:sns/topic:Topic": [("sns:CreateTopic", arn("sns", "lightwave-platform-alarms"))],
    "aws:sns/topicPolicy:TopicPolicy": [("sns:SetTopicAttributes", arn("sns", "lightwave-platform-alarms"))],
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": [
        ("ec2:AuthorizeSecurityGroupIngress", arn("ec2", "security-group/sg-1")),
        ("ec2:AuthorizeSecurityGroupIngress", arn("ec2", "security-group-rule/sgr-1")),
    ],
}
"""By type of what prod declares at AWS: calls that make it, from the AWS provider's behaviour."""

READS = [
    ("s3:ListBucket", BUCKET_ARN),
    ("s3:GetObject", STATE_FILE),
    ("kms:Decrypt", KEY_ARN),
    ("secretsmanager:GetSecretValue", SECRET),
    ("eks:DescribeCluster", arn("eks", "cluster/lightwave-prod")),
    ("rds:DescribeDBInstances", DATABASE),
]
STATE_WRITES = [
    ("s3:PutObject", STATE_FILE),
    ("s3:DeleteObject", f"{BUCKET_ARN}/.pulumi/locks/prod/1.json"),
    ("kms:Encrypt", KEY_ARN),
    ("kms:GenerateDataKey", KEY_ARN),
]
NOBODY = [
    ("rds:DeleteDBInstance", DATABASE),
    ("rds:DeleteDBSnapshot", arn("rds", "snapshot:lightwave-platform-final")),
    ("secretsmanager:DeleteSecret", SECRET),
    ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:payroll-AbCdEf")),
    ("s3:DeleteObjectVersion", STATE_FILE),
    ("s3:PutBucketVersioning", BUCKET_ARN),
    ("s3:GetObject", "arn:aws:s3:::payroll/x"),
    ("s3:PutBucketPolicy", BUCKET_ARN),
    ("kms:Decrypt", arn("kms", "key/other")),
    ("kms:ScheduleKeyDeletion", KEY_ARN),
    ("rds:ModifyDBInstance", arn("rds", "db:payroll")),
    ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/anybody"),
    ("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy"),
    ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy"),
    ("iam:PutRolePolicy", MONITORING_ROLE),
    ("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lightwave-preview"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x"),
    ("eks:AssociateAccessPolicy", arn("eks", "access-entry/lightwave-prod/role/x/y")),
    ("eks:DeleteCluster", arn("eks", "cluster/lightwave-prod")),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
]


def test_every_aws_type_of_prod_is_in_the_table(recording_of: Callable[[str], Recording]) -> None:
    assert {r.type for r in recording_of("prod").resources if r.type.startswith("aws:")} == set(NEEDS)


@pytest.mark.parametrize(("action", "resource"), [need for needs in NEEDS.values() for need in needs])
def test_deploy_may_make_what_prod_declares_and_preview_may_not(action: str, resource: str) -> None:
    assert may("deploy", action, resource)
    assert not may("preview", action, resource)


@pytest.mark.parametrize(("action", "resource"), READS)
def test_both_may_look(action: str, resource: str) -> None:
    assert may("preview", action, resource)
    assert may("deploy", action, resource)


@pytest.mark.parametrize(("action", "resource"), STATE_WRITES)
def test_deploy_alone_writes_the_state(action: str, resource: str) -> None:
    assert may("deploy", action, resource)
    assert not may("preview", action, resource)


@pytest.mark.parametrize(("action", "resource"), NOBODY)
def test_neither_may(action: str, resource: str) -> None:
    assert not may("deploy", action, resource)
    assert not may("preview", action, resource)


def test_deleting_data_is_denied_whatever_else_the_role_is_given() -> None:
    allowed = {a for s in permissions("deploy") if s["Effect"] == "Allow" for a in s["Action"]}
    [denied] = [s for s in permissions("deploy") if s["Effect"] == "Deny"]
    assert denied["Resource"] == "*"
    assert not set(denied["Action"]) & allowed
    assert set(denied["Action"]) == {
        "kms:DisableKey",
        "kms:ScheduleKeyDeletion",
        "rds:DeleteDBInstance",
        "rds:DeleteDBInstanceAutomatedBackup",
        "rds:DeleteDBSnapshot",
        "s3:DeleteBucket",
        "s3:DeleteObjectVersion",
        "s3:PutBucketVersioning",
        "s3:PutLifecycleConfiguration",
        "secretsmanager:DeleteSecret",
    }


LOOKING = re.compile(r"[a-z0-9]+:(Describe|Get|List)[A-Za-z]+|kms:Decrypt")


def test_preview_only_looks() -> None:
    actions = [action for statement in permissions("preview") for action in statement["Action"]]
    assert [action for action in actions if not LOOKING.fullmatch(action)] == []
    assert len(actions) == len(set(actions))


def test_no_wildcard_in_an_action_and_none_in_a_changed_resource() -> None:
    for purpose in ("preview", "deploy"):
        for statement in permissions(purpose):
            assert [action for action in statement["Action"] if "*" in action] == []
            looks = all(LOOKING.fullmatch(action) for action in statement["Action"])
            if statement["Resource"] == ["*"]:
                assert looks or statement["Sid"] == "AlarmSubscriptions", statement


CONDITIONS = {
    "AttachRolePolicy": (
        "MonitoringRolePolicy",
        {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"}},
    ),
    "PassRole": ("PassMonitoringRole", {"StringEquals": {"iam:PassedToService": "monitoring.rds.amazonaws.com"}}),
    "DeleteSecurityGroup": ("OwnSecurityGroups", {"StringEquals": {"aws:ResourceTag/project": "lightwave"}}),
    "CreateServiceLinkedRole": ("FirstDatabase", {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}}),
}


@pytest.mark.parametrize("action", CONDITIONS)
def test_what_no_name_scopes_a_condition_does(action: str) -> None:
    sid, condition = CONDITIONS[action]
    [statement] = [s for s in permissions("deploy") if any(a.endswith(f":{action}") for a in s["Action"])]
    assert (statement["Sid"], statement["Condition"]) == (sid, condition)


def test_security_groups_are_tagged_when_they_are_made() -> None:
    by_sid = {statement["Sid"]: statement for statement in permissions("deploy")}
    assert by_sid["NewTaggedSecurityGroup"]["Condition"] == {"StringEquals": {"aws:RequestTag/project": "lightwave"}}
    assert by_sid["TagAtCreation"]["Condition"] == {
        "StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"]}
    }


@pytest.mark.parametrize(
    ("purpose", "cluster_policy"),
    [("preview", "AmazonEKSAdminViewPolicy"), ("deploy", "AmazonEKSClusterAdminPolicy")],
)
def test_the_way_into_the_cluster(purpose: str, cluster_policy: str) -> None:
    who = {"clusterName": "lightwave-prod", "principalArn": f"arn:aws:iam::{ACCOUNT}:role/lightwave-{purpose}"}
    assert one("eks/accessEntry:AccessEntry", f"ci-{purpose}-cluster").inputs == who
    association = "eks/accessPolicyAssociation:AccessPolicyAssociation"
    assert one(association, f"ci-{purpose}-cluster-policy").inputs == {
        **who,
        "policyArn": f"arn:aws:eks::aws:cluster-access-policy/{cluster_policy}",
        "accessScope": {"type": "cluster"},
    }


# --- the page about it ------------------------------------------------------------------------------------------------


def test_the_page_names_every_setting_and_output() -> None:
    page = (ROOT / "docs" / "bootstrap.md").read_text()
    declared = yaml.safe_load((ROOT / "bootstrap" / "Pulumi.yaml").read_text())["config"]
    assert {key for key in declared if key != "aws:region"} <= set(re.findall(r"lightwave-bootstrap:\w+", page))
    for name in [*recorded().outputs, *PREVIEW_ENVIRONMENTS, DEPLOY_ENVIRONMENT]:
        assert f"`{name}`" in page, name
    commands = set(re.findall(r"`make ([a-z-]+)", page))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands
    assert commands <= targets

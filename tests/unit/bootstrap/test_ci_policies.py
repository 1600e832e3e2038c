"""What CI's roles may do."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

import settings
from bootstrap import ci_actions
from ops.plan.recorder import Recording, record_stack
from policies import tokens
from settings import ROOT
from tests.unit.bootstrap.program import ACCOUNT, BUCKET_ARN, KEY_ARN, REGION, document, one
from tests.unit.conftest import FACTS_OF_PROD, full_config


def permissions(purpose: str, **of: str) -> list[dict[str, Any]]:
    inputs = one("iam/rolePolicy:RolePolicy", f"ci-{purpose}-permissions", **of).inputs
    assert inputs["role"] == f"lightwave-{purpose}{'-staging' if of else ''}"
    # AWS counts a role's inline policies together, without white space.
    assert len(re.sub(r"\s", "", inputs["policy"])) <= 10_240
    return document(inputs["policy"])


def may(purpose: str, action: str, resource: str, **of: str) -> bool:
    """Whether the role may, with its conditions met: a Deny overrides any Allow. `of` is another stack's config."""
    effects = {
        statement["Effect"]
        for statement in permissions(purpose, **of)
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
"""Calls that create what prod declares, with the resources that they are about."""

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
    ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:lightwave/staging/database/admin-AbCdEf")),
    ("secretsmanager:PutSecretValue", arn("secretsmanager", "secret:lightwave/prod2/database/admin-AbCdEf")),
    ("s3:DeleteObjectVersion", STATE_FILE),
    ("s3:PutBucketVersioning", BUCKET_ARN),
    ("s3:GetObject", "arn:aws:s3:::payroll/x"),
    ("s3:PutBucketPolicy", BUCKET_ARN),
    ("kms:Decrypt", arn("kms", "key/other")),
    ("kms:ScheduleKeyDeletion", KEY_ARN),
    ("rds:ModifyDBInstance", arn("rds", "db:payroll")),
    ("rds:ModifyDBInstance", arn("rds", "db:lightwave-billing")),
    ("rds:ModifyDBInstance", arn("rds", "db:lightwave-platform2")),
    ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy"),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy"),
    ("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy"),
    ("eks:CreateAccessEntry", arn("eks", "cluster/lightwave-staging")),
    ("eks:DeleteAccessEntry", arn("eks", "access-entry/lightwave-staging/role/x/y/z")),
    ("logs:DeleteLogGroup", arn("logs", "log-group:/aws/rds/instance/lightwave-platform2/postgresql")),
    ("sns:DeleteTopic", arn("sns", "lightwave-billing-alarms")),
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


# --- the table of actions ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything() -> Recording:
    """Production with every option that declares or looks up something more at AWS."""
    database = {"alarmEmail": "oncall@lightwave-media.site", "kmsKeyArn": arn("kms", "key/database")}
    kubernetes = settings.stack_config("prod")["lightwave:kubernetes"]
    deployer = {"deployerPrincipal": f"arn:aws:iam::{ACCOUNT}:role/payload-deploy"}
    namespaces = {**kubernetes["namespaces"], "payload-cms": {**kubernetes["namespaces"]["payload-cms"], **deployer}}
    config = full_config("prod")
    return record_stack(
        "prod",
        overrides={
            **{f"lightwave:{section}": config[f"lightwave:{section}"] for section in FACTS_OF_PROD},
            "lightwave:database": {**config["lightwave:database"], **database},
            "lightwave:kubernetes": {**kubernetes, "namespaces": namespaces},
        },
    )


def test_the_table_has_every_type_that_prod_declares_and_no_other(everything: Recording) -> None:
    declared = {r.type for r in everything.resources if r.type.startswith("aws:")}
    assert declared == ci_actions.RESOURCES.keys()
    # What this module's examples are about: all but what is optional.
    assert declared - {tokens.ACCESS_ENTRY, tokens.SNS_SUBSCRIPTION} == set(NEEDS)


def test_the_table_has_every_lookup_of_prod_and_no_other(everything: Recording) -> None:
    assert {token for token, _ in everything.calls if token.startswith("aws:")} == ci_actions.DATA_SOURCES.keys()


def test_the_table_has_every_aws_command_of_ops() -> None:
    source = (ROOT / "ops" / "aws.py").read_text()
    commands = set(re.findall(r"\(\"([a-z]+)\", \"([a-z-]+)\"", source))
    assert {" ".join(command) for command in commands} == ci_actions.COMMANDS.keys()


ACTIONS = [need for needs in (ci_actions.RESOURCES, ci_actions.DATA_SOURCES) for need in needs.items()]


@pytest.mark.parametrize(("type_", "needs"), ACTIONS)
def test_both_roles_may_read_what_the_platform_declares_and_looks_up(type_: str, needs: ci_actions.Needs) -> None:
    assert needs.read, type_
    for action in needs.read:
        assert READING.fullmatch(action), action
        for purpose in ("preview", "deploy"):
            assert may(purpose, action, SECRET if action == "secretsmanager:GetSecretValue" else "*"), action


@pytest.mark.parametrize(("type_", "needs"), ACTIONS)
def test_only_deploy_may_write_it(type_: str, needs: ci_actions.Needs) -> None:
    assert bool(needs.write) is (type_ in ci_actions.RESOURCES)
    given = {a for s in permissions("deploy") if s["Effect"] == "Allow" for a in s["Action"]}
    assert set(needs.write) <= given
    assert not set(needs.write) & {a for s in permissions("preview") for a in s["Action"]}


def test_the_roles_have_no_action_that_is_not_in_the_table() -> None:
    table = {action for _, needs in ACTIONS for action in (*needs.read, *needs.write)} | {*ci_actions.COMMANDS.values()}
    state = {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    state |= {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
    given = {a for s in permissions("deploy") if s["Effect"] == "Allow" for a in s["Action"]}
    assert given - table - state == set()
    assert {a for s in permissions("preview") for a in s["Action"]} - table - state == set()


def test_every_entry_names_its_source() -> None:
    sources = [needs.source for _, needs in ACTIONS]
    assert all(re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+\.go", source) for source in sources)
    assert len(sources) == len(set(sources))


# --- what a role may do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "resource"), [need for needs in NEEDS.values() for need in needs])
def test_deploy_may_create_what_prod_declares_and_preview_may_not(action: str, resource: str) -> None:
    assert may("deploy", action, resource)
    assert not may("preview", action, resource)


@pytest.mark.parametrize(("action", "resource"), READS)
def test_both_may_read(action: str, resource: str) -> None:
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


READING = re.compile(r"[a-z0-9]+:(Describe|Get|List)[A-Za-z]+|kms:Decrypt")


def test_preview_only_reads() -> None:
    actions = [action for statement in permissions("preview") for action in statement["Action"]]
    assert [action for action in actions if not READING.fullmatch(action)] == []
    assert len(actions) == len(set(actions))


def test_no_wildcard_in_an_action_and_none_in_a_changed_resource() -> None:
    for purpose in ("preview", "deploy"):
        for statement in permissions(purpose):
            assert [action for action in statement["Action"] if "*" in action] == []
            reads = all(READING.fullmatch(action) for action in statement["Action"])
            if statement["Resource"] == ["*"]:
                assert reads or statement["Sid"] == "AlarmSubscriptions", statement


def test_the_names_that_deploy_may_use_are_parameters() -> None:
    """An adopted database and cluster may be called anything."""
    changed = {"database": "media-db", "cluster": "company-eks"}
    statements = document(one("iam/rolePolicy:RolePolicy", "ci-deploy-permissions", **changed).inputs["policy"])
    by_sid = {statement["Sid"]: statement["Resource"] for statement in statements}
    assert arn("rds", "db:media-db") in by_sid["Database"]
    assert arn("rds", "pg:media-db-*") in by_sid["Database"]
    assert by_sid["Logs"] == [arn("logs", "log-group:/aws/rds/instance/media-db/*")]
    assert by_sid["Alarms"] == [arn("cloudwatch", "alarm:media-db"), arn("cloudwatch", "alarm:media-db-*")]
    assert by_sid["AlarmTopic"] == [arn("sns", "media-db"), arn("sns", "media-db-*")]
    assert by_sid["MonitoringRole"] == [f"arn:aws:iam::{ACCOUNT}:role/media-db-monitoring"]
    assert by_sid["ServiceDeployers"] == [arn("eks", "cluster/company-eks"), arn("eks", "access-entry/company-eks/*")]
    assert "lightwave-platform" not in str(statements)
    assert "lightwave-prod" not in str(statements)


CONDITIONS = {
    "AttachRolePolicy": (
        "MonitoringRolePolicy",
        {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"}},
    ),
    "PassRole": ("PassMonitoringRole", {"StringEquals": {"iam:PassedToService": "monitoring.rds.amazonaws.com"}}),
    "DeleteSecurityGroup": (
        "OwnSecurityGroups",
        {"StringEquals": {"aws:ResourceTag/project": "lightwave", "aws:ResourceTag/stack": "prod"}},
    ),
    "CreateServiceLinkedRole": ("FirstDatabase", {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}}),
}


@pytest.mark.parametrize("action", CONDITIONS)
def test_a_condition_scopes_what_no_name_can(action: str) -> None:
    sid, condition = CONDITIONS[action]
    [statement] = [s for s in permissions("deploy") if any(a.endswith(f":{action}") for a in s["Action"])]
    assert (statement["Sid"], statement["Condition"]) == (sid, condition)


def test_security_groups_are_tagged_when_they_are_created() -> None:
    by_sid = {statement["Sid"]: statement for statement in permissions("deploy")}
    assert by_sid["NewTaggedSecurityGroup"]["Condition"] == {
        "StringEquals": {"aws:RequestTag/project": "lightwave", "aws:RequestTag/stack": "prod"}
    }
    assert by_sid["TagAtCreation"]["Condition"] == {
        "StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"]}
    }

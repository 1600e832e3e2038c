"""What CI's roles may do in the account, as IAM policies.

The actions are those that the AWS provider calls for the resources that the platform declares, and no others; a test
checks them against production's plan. Where AWS cannot scope an action by name, a tag scopes it: the platform's
provider puts `project: lightwave` on everything it creates.
"""

import json
from collections.abc import Sequence
from typing import Any

Statement = dict[str, Any]

OURS = "lightwave-*"
"""Names of what the platform creates, including the database's identifier."""

_OURS_BY_TAG = {"StringEquals": {"aws:ResourceTag/project": "lightwave"}}

READ_ACTIONS = (
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "eks:DescribeAccessEntry",
    "eks:DescribeCluster",
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListRolePolicies",
    "kms:DescribeKey",
    "logs:DescribeLogGroups",
    "logs:ListTagsForResource",
    "rds:DescribeDBInstances",
    "rds:DescribeDBParameterGroups",
    "rds:DescribeDBParameters",
    "rds:DescribeDBSubnetGroups",
    "rds:DescribeEventSubscriptions",
    "rds:ListTagsForResource",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "sns:GetSubscriptionAttributes",
    "sns:GetTopicAttributes",
    "sns:ListTagsForResource",
)
"""Describe, List and Get calls; none of them returns a secret value."""


def policy(statements: Sequence[Statement]) -> str:
    """The policy document of the statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def assumed_by_workflows(provider_arn: str, repository: str, environments: Sequence[str]) -> str:
    """Trust for the repository's jobs in the environments, and for nothing else at GitHub.

    A job's subject names its environment, so GitHub's protection rules (reviewers, branches) apply before the role can
    be assumed. The subjects are exact, never patterns: `repo:owner/name:*` would admit every pull request.
    """
    issuer = "token.actions.githubusercontent.com"
    return policy(
        [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{issuer}:aud": "sts.amazonaws.com",
                        f"{issuer}:sub": [f"repo:{repository}:environment:{name}" for name in environments],
                    }
                },
            }
        ]
    )


def read_state(bucket_arn: str, key_arn: str) -> list[Statement]:
    """Read the state and the secrets in it. A preview takes no lock, so it writes nothing."""
    return [
        _allow("ReadState", ["s3:GetObject"], f"{bucket_arn}/*"),
        _allow("ListState", ["s3:ListBucket"], bucket_arn),
        _allow("DecryptState", ["kms:Decrypt"], key_arn),
    ]


def write_state(bucket_arn: str, key_arn: str) -> list[Statement]:
    """Write the state. Its old versions cannot be deleted: no `s3:DeleteObjectVersion`."""
    return [
        *read_state(bucket_arn, key_arn),
        _allow("WriteState", ["s3:PutObject", "s3:DeleteObject"], f"{bucket_arn}/*"),
        _allow("EncryptState", ["kms:Encrypt", "kms:GenerateDataKey"], key_arn),
    ]


def read_platform(account_id: str, region: str) -> list[Statement]:
    """Read everything that the platform declares.

    That includes the platform's own secrets: a refresh compares them, `verify` logs in with one, and the state that the
    role reads contains the same values.
    """
    return [
        _allow("ReadPlatform", list(READ_ACTIONS), "*"),
        _allow("ReadSecrets", ["secretsmanager:GetSecretValue"], _secrets(account_id, region)),
    ]


def write_platform(account_id: str, region: str) -> list[Statement]:
    """Create and change what the platform declares; delete what holds no data."""

    def arn(service: str, resource: str) -> str:
        return f"arn:aws:{service}:{region}:{account_id}:{resource}"

    monitoring_role = f"arn:aws:iam::{account_id}:role/{OURS}-monitoring"
    rds = [arn("rds", f"{kind}:{OURS}") for kind in ("db", "pg", "subgrp", "es")]
    groups = arn("ec2", "security-group/*")
    return [
        *read_platform(account_id, region),
        _allow(
            "Database",
            [
                "rds:AddSourceIdentifierToSubscription",
                "rds:AddTagsToResource",
                "rds:CreateDBInstance",
                "rds:CreateDBParameterGroup",
                "rds:CreateDBSubnetGroup",
                "rds:CreateEventSubscription",
                "rds:DeleteDBParameterGroup",
                "rds:DeleteDBSubnetGroup",
                "rds:DeleteEventSubscription",
                "rds:ModifyDBInstance",
                "rds:ModifyDBParameterGroup",
                "rds:ModifyDBSubnetGroup",
                "rds:ModifyEventSubscription",
                "rds:RebootDBInstance",
                "rds:RemoveSourceIdentifierFromSubscription",
                "rds:RemoveTagsFromResource",
                "rds:ResetDBParameterGroup",
            ],
            *rds,
            # Used by every instance without its own option group.
            arn("rds", "og:default:*"),
        ),
        _allow(
            "FirstDatabase",
            ["iam:CreateServiceLinkedRole"],
            f"arn:aws:iam::{account_id}:role/aws-service-role/rds.amazonaws.com/*",
            condition={"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}},
        ),
        _allow("NewSecurityGroup", ["ec2:CreateSecurityGroup"], arn("ec2", "vpc/*")),
        _allow(
            "NewTaggedSecurityGroup",
            ["ec2:CreateSecurityGroup"],
            groups,
            condition={"StringEquals": {"aws:RequestTag/project": "lightwave"}},
        ),
        _allow(
            "TagAtCreation",
            ["ec2:CreateTags"],
            groups,
            arn("ec2", "security-group-rule/*"),
            condition={
                "StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"]},
            },
        ),
        _allow(
            "OwnSecurityGroups",
            [
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateTags",
                "ec2:DeleteSecurityGroup",
                "ec2:DeleteTags",
                "ec2:ModifySecurityGroupRules",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
            ],
            groups,
            arn("ec2", "security-group-rule/*"),
            condition=_OURS_BY_TAG,
        ),
        # The rule that the call creates has no tag yet.
        _allow("NewSecurityGroupRule", ["ec2:AuthorizeSecurityGroupIngress"], arn("ec2", "security-group-rule/*")),
        _allow(
            "MonitoringRole",
            [
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DetachRolePolicy",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRoleDescription",
            ],
            monitoring_role,
        ),
        _allow(
            "MonitoringRolePolicy",
            ["iam:AttachRolePolicy"],
            monitoring_role,
            condition={
                "ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"}
            },
        ),
        _allow(
            "PassMonitoringRole",
            ["iam:PassRole"],
            monitoring_role,
            condition={"StringEquals": {"iam:PassedToService": "monitoring.rds.amazonaws.com"}},
        ),
        _allow(
            "Logs",
            [
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            arn("logs", f"log-group:/aws/rds/instance/{OURS}"),
        ),
        _allow(
            "Alarms",
            [
                "cloudwatch:DeleteAlarms",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
            ],
            arn("cloudwatch", f"alarm:{OURS}"),
        ),
        _allow(
            "AlarmTopic",
            [
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:SetTopicAttributes",
                "sns:Subscribe",
                "sns:TagResource",
                "sns:UntagResource",
            ],
            arn("sns", OURS),
        ),
        # AWS cannot scope either of them by topic.
        _allow("AlarmSubscriptions", ["sns:SetSubscriptionAttributes", "sns:Unsubscribe"], "*"),
        _allow(
            "Secrets",
            [
                "secretsmanager:CreateSecret",
                "secretsmanager:PutSecretValue",
                "secretsmanager:TagResource",
                "secretsmanager:UntagResource",
                "secretsmanager:UpdateSecret",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            _secrets(account_id, region),
        ),
        _allow(
            "ServiceDeployers",
            [
                "eks:CreateAccessEntry",
                "eks:DeleteAccessEntry",
                "eks:TagResource",
                "eks:UntagResource",
                "eks:UpdateAccessEntry",
            ],
            arn("eks", f"cluster/{OURS}"),
            arn("eks", f"access-entry/{OURS}"),
        ),
        {
            "Sid": "NeverDeleteData",
            "Effect": "Deny",
            "Action": [
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
            ],
            "Resource": "*",
        },
    ]


def _secrets(account_id: str, region: str) -> str:
    return f"arn:aws:secretsmanager:{region}:{account_id}:secret:lightwave/*"


def _allow(sid: str, actions: list[str], *resources: str, condition: dict[str, Any] | None = None) -> Statement:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement

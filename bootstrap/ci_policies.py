"""What CI's roles may do in the account, as IAM policies.

The actions come from `ci_actions`. Where AWS cannot scope an action by name, a tag scopes it: the platform's provider
puts `project: lightwave` and `stack` on everything it creates.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap import ci_actions
from policies import tokens

Statement = dict[str, Any]

GITHUB = "token.actions.githubusercontent.com"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A GitHub repository whose workflows are trusted."""

    name: str
    """As owner/name."""
    owner_id: str | None = None
    repository_id: str | None = None
    """Both or neither; required for a repository that was created, renamed or transferred since 15 July 2026."""

    def subjects(self, environments: Sequence[str]) -> list[str]:
        """The `sub` claims of its jobs in the environments, in both of GitHub's forms where the ids are known."""
        names = [self.name]
        if self.repository_id:
            owner, _, repository = self.name.partition("/")
            names.append(f"{owner}@{self.owner_id}/{repository}@{self.repository_id}")
        return [f"repo:{name}:environment:{environment}" for name in names for environment in environments]


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """Where the platform is, and what its resources are called."""

    stack: str
    account_id: str
    region: str
    cluster: str
    """The EKS cluster."""
    database: str
    """Identifier of the RDS instance: the name, or the beginning of the name, of everything that belongs to it."""

    def arn(self, service: str, *resources: str) -> list[str]:
        """ARNs in the platform's region."""
        return [f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}" for resource in resources]

    def named(self, service: str, *kinds: str) -> list[str]:
        """ARNs of what is named after the database."""
        return self.arn(service, *(f"{kind}{name}" for kind in kinds for name in (self.database, f"{self.database}-*")))

    @property
    def monitoring_role(self) -> str:
        """ARN of RDS's role for enhanced monitoring."""
        return f"arn:aws:iam::{self.account_id}:role/{self.database}-monitoring"

    @property
    def secrets(self) -> list[str]:
        """ARNs of the stack's secrets."""
        return self.arn("secretsmanager", f"secret:lightwave/{self.stack}/*")

    def tagged(self, kind: str) -> dict[str, Any]:
        """The condition that a resource, or the request that creates it, has the stack's tags."""
        return {"StringEquals": {f"aws:{kind}Tag/project": "lightwave", f"aws:{kind}Tag/stack": self.stack}}


def policy(statements: Sequence[Statement]) -> str:
    """The policy document of the statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def assumed_by_workflows(
    provider_arn: str, repository: Repository, environments: Sequence[str], ref: str | None = None
) -> str:
    """Trust for the repository's jobs in the environments, and for nothing else at GitHub; with `ref`, only from there.

    A job's subject names its environment, so GitHub's protection rules (reviewers, branches) apply before the role can
    be assumed. Every claim is exact, never a pattern: `repo:owner/name:*` would admit every pull request. With the
    repository's id, another repository that gets its name later is not trusted.
    """
    claims = {
        "aud": "sts.amazonaws.com",
        "sub": repository.subjects(environments),
        **({"repository_id": repository.repository_id} if repository.repository_id else {}),
        **({"ref": ref} if ref else {}),
    }
    return policy(
        [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{GITHUB}:{claim}": value for claim, value in claims.items()}},
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


def read_platform(platform: Platform) -> list[Statement]:
    """Read everything that the platform declares.

    That includes the platform's own secrets: a refresh compares them, `verify` logs in with one, and the state that the
    role reads contains the same values.
    """
    return [
        _allow("ReadPlatform", [action for action in ci_actions.reads() if action != _SECRET_VALUE], "*"),
        _allow("ReadSecrets", [_SECRET_VALUE], *platform.secrets),
    ]


_SECRET_VALUE = "secretsmanager:GetSecretValue"  # noqa: S105 (an action): the one read that returns a secret


def write_platform(platform: Platform) -> list[Statement]:
    """Create and change what the platform declares; delete what holds no data."""
    return [
        *read_platform(platform),
        *_database(platform),
        *_security_groups(platform),
        *_monitoring_role(platform),
        *_alarms(platform),
        _allow(
            "Secrets",
            ci_actions.writes((tokens.AWS_SECRET, tokens.AWS_SECRET_VERSION), service="secretsmanager"),
            *platform.secrets,
        ),
        _allow(
            "ServiceDeployers",
            ci_actions.writes((tokens.ACCESS_ENTRY,), service="eks"),
            *platform.arn("eks", f"cluster/{platform.cluster}", f"access-entry/{platform.cluster}/*"),
        ),
        {"Sid": "NeverDeleteData", "Effect": "Deny", "Action": list(NEVER), "Resource": "*"},
    ]


NEVER = (
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
)
"""What the deploy role may never do, whatever else it is given: each of them loses data."""


def _database(platform: Platform) -> list[Statement]:
    types = (
        tokens.RDS_EVENT_SUBSCRIPTION,
        tokens.RDS_INSTANCE,
        tokens.RDS_PARAMETER_GROUP,
        tokens.RDS_SUBNET_GROUP,
    )
    return [
        _allow(
            "Database",
            ci_actions.writes(types, service="rds"),
            *platform.named("rds", "db:", "pg:", "subgrp:", "es:"),
            # Used by every instance without its own option group.
            *platform.arn("rds", "og:default:*"),
        ),
        _allow(
            "FirstDatabase",
            ["iam:CreateServiceLinkedRole"],
            f"arn:aws:iam::{platform.account_id}:role/aws-service-role/rds.amazonaws.com/*",
            condition={"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}},
        ),
        _allow(
            "Logs",
            ci_actions.writes((tokens.LOG_GROUP,), service="logs"),
            *platform.arn("logs", f"log-group:/aws/rds/instance/{platform.database}/*"),
        ),
    ]


def _security_groups(platform: Platform) -> list[Statement]:
    groups, rules = platform.arn("ec2", "security-group/*", "security-group-rule/*")
    create, authorize = "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"
    actions = ci_actions.writes((tokens.SECURITY_GROUP, tokens.INGRESS_RULE), service="ec2")
    return [
        _allow("NewSecurityGroup", [create], *platform.arn("ec2", "vpc/*")),
        _allow(
            "NewTaggedSecurityGroup",
            [create],
            groups,
            condition=platform.tagged("Request"),
        ),
        _allow(
            "TagAtCreation",
            ["ec2:CreateTags"],
            groups,
            rules,
            condition={
                "StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress"]},
            },
        ),
        _allow(
            "OwnSecurityGroups",
            [action for action in actions if action != create],
            groups,
            rules,
            condition=platform.tagged("Resource"),
        ),
        # The rule that the call creates has no tag yet.
        _allow("NewSecurityGroupRule", [authorize], rules),
    ]


def _monitoring_role(platform: Platform) -> list[Statement]:
    attach = "iam:AttachRolePolicy"
    actions = ci_actions.writes((tokens.IAM_ROLE, tokens.IAM_ROLE_ATTACHMENT), service="iam")
    enhanced_monitoring = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    return [
        _allow("MonitoringRole", [action for action in actions if action != attach], platform.monitoring_role),
        _allow(
            "MonitoringRolePolicy",
            [attach],
            platform.monitoring_role,
            condition={"ArnEquals": {"iam:PolicyARN": enhanced_monitoring}},
        ),
        _allow(
            "PassMonitoringRole",
            ["iam:PassRole"],
            platform.monitoring_role,
            condition={"StringEquals": {"iam:PassedToService": "monitoring.rds.amazonaws.com"}},
        ),
    ]


def _alarms(platform: Platform) -> list[Statement]:
    # AWS cannot scope either of them by topic.
    unscoped = ["sns:SetSubscriptionAttributes", "sns:Unsubscribe"]
    topics = ci_actions.writes((tokens.SNS_TOPIC, tokens.SNS_TOPIC_POLICY, tokens.SNS_SUBSCRIPTION), service="sns")
    return [
        _allow(
            "Alarms",
            ci_actions.writes((tokens.METRIC_ALARM,), service="cloudwatch"),
            *platform.named("cloudwatch", "alarm:"),
        ),
        _allow("AlarmTopic", [action for action in topics if action not in unscoped], *platform.named("sns", "")),
        _allow("AlarmSubscriptions", unscoped, "*"),
    ]


def _allow(sid: str, actions: list[str], *resources: str, condition: dict[str, Any] | None = None) -> Statement:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement

"""The AWS actions that each resource type and data source needs.

They are the calls of the Terraform provider's sources, which the Pulumi provider wraps: `source` is the file below
`internal/service/` of hashicorp/terraform-provider-aws, version 6. Only the calls for inputs that the platform sets are
here. A test compares the table with production's plan and its lookups, so that a new type fails without its actions.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from policies import tokens


class Needs(NamedTuple):
    """What one type needs."""

    source: str
    read: tuple[str, ...]
    write: tuple[str, ...] = ()
    """To create, change and tag it; to delete it only where it holds no data."""


RESOURCES: Mapping[str, Needs] = {
    tokens.LOG_GROUP: Needs(
        "logs/group.go",
        read=("logs:DescribeLogGroups", "logs:ListTagsForResource"),
        write=(
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:DeleteRetentionPolicy",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ),
    ),
    tokens.METRIC_ALARM: Needs(
        "cloudwatch/metric_alarm.go",
        read=("cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"),
        write=(
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            "cloudwatch:UntagResource",
        ),
    ),
    tokens.SECURITY_GROUP: Needs(
        "ec2/vpc_security_group.go",
        read=("ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
        write=(
            "ec2:CreateSecurityGroup",
            "ec2:CreateTags",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteTags",
            # A new group starts with a rule that lets everything out.
            "ec2:RevokeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress",
        ),
    ),
    tokens.INGRESS_RULE: Needs(
        "ec2/vpc_security_group_ingress_rule.go",
        read=("ec2:DescribeSecurityGroupRules",),
        write=(
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateTags",
            "ec2:DeleteTags",
            "ec2:ModifySecurityGroupRules",
            "ec2:RevokeSecurityGroupIngress",
        ),
    ),
    tokens.ACCESS_ENTRY: Needs(
        "eks/access_entry.go",
        read=("eks:DescribeAccessEntry",),
        write=(
            "eks:CreateAccessEntry",
            "eks:DeleteAccessEntry",
            "eks:TagResource",
            "eks:UntagResource",
            "eks:UpdateAccessEntry",
        ),
    ),
    tokens.IAM_ROLE: Needs(
        "iam/role.go",
        read=(
            "iam:GetRole",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
        ),
        write=(
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRoleDescription",
        ),
    ),
    tokens.IAM_ROLE_ATTACHMENT: Needs(
        "iam/role_policy_attachment.go",
        read=("iam:ListAttachedRolePolicies",),
        write=("iam:AttachRolePolicy", "iam:DetachRolePolicy"),
    ),
    tokens.RDS_EVENT_SUBSCRIPTION: Needs(
        "rds/event_subscription.go",
        read=("rds:DescribeEventSubscriptions", "rds:ListTagsForResource"),
        write=(
            "rds:AddSourceIdentifierToSubscription",
            "rds:AddTagsToResource",
            "rds:CreateEventSubscription",
            "rds:DeleteEventSubscription",
            "rds:ModifyEventSubscription",
            "rds:RemoveSourceIdentifierFromSubscription",
            "rds:RemoveTagsFromResource",
        ),
    ),
    tokens.RDS_INSTANCE: Needs(
        "rds/instance.go",
        # KMS: where database.kmsKeyArn names a key.
        read=("kms:DescribeKey", "rds:DescribeDBInstances", "rds:ListTagsForResource"),
        write=(
            "iam:CreateServiceLinkedRole",
            "iam:PassRole",
            "rds:AddTagsToResource",
            "rds:CreateDBInstance",
            "rds:ModifyDBInstance",
            "rds:RebootDBInstance",
            "rds:RemoveTagsFromResource",
        ),
    ),
    tokens.RDS_PARAMETER_GROUP: Needs(
        "rds/parameter_group.go",
        read=("rds:DescribeDBParameterGroups", "rds:DescribeDBParameters", "rds:ListTagsForResource"),
        write=(
            "rds:AddTagsToResource",
            "rds:CreateDBParameterGroup",
            "rds:DeleteDBParameterGroup",
            "rds:ModifyDBParameterGroup",
            "rds:RemoveTagsFromResource",
            "rds:ResetDBParameterGroup",
        ),
    ),
    tokens.RDS_SUBNET_GROUP: Needs(
        "rds/subnet_group.go",
        read=("rds:DescribeDBSubnetGroups", "rds:ListTagsForResource"),
        write=(
            "rds:AddTagsToResource",
            "rds:CreateDBSubnetGroup",
            "rds:DeleteDBSubnetGroup",
            "rds:ModifyDBSubnetGroup",
            "rds:RemoveTagsFromResource",
        ),
    ),
    tokens.AWS_SECRET: Needs(
        "secretsmanager/secret.go",
        read=("secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"),
        write=(
            "secretsmanager:CreateSecret",
            "secretsmanager:TagResource",
            "secretsmanager:UntagResource",
            "secretsmanager:UpdateSecret",
        ),
    ),
    tokens.AWS_SECRET_VERSION: Needs(
        "secretsmanager/secret_version.go",
        read=("secretsmanager:GetSecretValue", "secretsmanager:ListSecretVersionIds"),
        write=("secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"),
    ),
    tokens.SNS_TOPIC: Needs(
        "sns/topic.go",
        read=("sns:GetTopicAttributes", "sns:ListTagsForResource"),
        write=(
            "sns:CreateTopic",
            "sns:DeleteTopic",
            "sns:SetTopicAttributes",
            "sns:TagResource",
            "sns:UntagResource",
        ),
    ),
    tokens.SNS_TOPIC_POLICY: Needs(
        "sns/topic_policy.go", read=("sns:GetTopicAttributes",), write=("sns:SetTopicAttributes",)
    ),
    tokens.SNS_SUBSCRIPTION: Needs(
        "sns/topic_subscription.go",
        read=("sns:GetSubscriptionAttributes",),
        write=("sns:SetSubscriptionAttributes", "sns:Subscribe", "sns:Unsubscribe"),
    ),
}
"""By type of what the platform declares."""

DATA_SOURCES: Mapping[str, Needs] = {
    tokens.GET_CLUSTER: Needs("eks/cluster_data_source.go", read=("eks:DescribeCluster",)),
    tokens.GET_SUBNETS: Needs("ec2/vpc_subnets_data_source.go", read=("ec2:DescribeSubnets",)),
    tokens.GET_SUBNET: Needs("ec2/vpc_subnet_data_source.go", read=("ec2:DescribeSubnets",)),
}
"""By token of the provider functions that the platform calls."""

COMMANDS: Mapping[str, str] = {
    "eks describe-cluster": "eks:DescribeCluster",
    "rds describe-db-instances": "rds:DescribeDBInstances",
    "secretsmanager get-secret-value": "secretsmanager:GetSecretValue",
    "sts get-caller-identity": "",
}
"""By AWS CLI command of `ops`, its action; none for what every caller may do."""


def reads() -> list[str]:
    """Every action that reads."""
    needs = (*RESOURCES.values(), *DATA_SOURCES.values())
    return sorted({action for need in needs for action in need.read} | set(COMMANDS.values()) - {""})


def writes(types: Iterable[str], *, service: str) -> list[str]:
    """Every action of one service that creates or changes the types."""
    return sorted({a for type_ in types for a in RESOURCES[type_].write if a.startswith(f"{service}:")})

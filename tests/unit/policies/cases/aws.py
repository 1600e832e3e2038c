"""Cases of the rules about security groups and tags."""

import json
from dataclasses import replace
from typing import Any

from policies import tokens
from policies.rules.model import Resource
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import GROUP, INGRESS, INSTANCE, OLD_INGRESS, resource

GITHUB = "token.actions.githubusercontent.com"
AWS_POLICIES = "arn:aws:iam::aws:policy"
SWITCHES = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def document(**statement: Any) -> str:
    """A policy of one Allow statement."""
    return json.dumps({"Statement": [{"Effect": "Allow", **statement}]})


def policy(type_: str, **statement: Any) -> Resource:
    """A resource with a policy of one Allow statement."""
    return resource(type_, {"policy": document(**statement)})


def trust(condition: Any) -> str:
    """A policy that trusts GitHub's tokens under a condition."""
    return document(Principal={"Federated": "a"}, Action="sts:AssumeRoleWithWebIdentity", Condition=condition)


def rule(cidr: str, group: str = "sg-1") -> Resource:
    """An ingress rule of a security group."""
    return resource(tokens.INGRESS_RULE, {"securityGroupId": group, "cidrIpv4": cidr})


CASES: dict[str, list[Case]] = {
    "no-open-ingress": [
        Case(
            [INGRESS],
            [
                ("cidrIpv4", "0.0.0.0/0", "cidrIpv4 is '0.0.0.0/0'"),
                ("cidrIpv4", "0.0.0.0/1", "cidrIpv4 is '0.0.0.0/1'; expected the cluster's security group"),
                ("cidrIpv4", "8.0.0.0/8", "cidrIpv4 is '8.0.0.0/8'"),
                ("cidrIpv4", "everywhere", "cidrIpv4 is 'everywhere'"),
                ("cidrIpv6", "::/0", "cidrIpv6 is '::/0'"),
                ("cidrIpv6", "2000::/3", "cidrIpv6 is '2000::/3'"),
                ("prefixListId", "pl-1", "prefixListId is 'pl-1'"),
            ],
            ["cidrIpv4"],
        ),
        Case(
            [OLD_INGRESS, replace(OLD_INGRESS, inputs={"type": "egress", "cidrBlocks": ["0.0.0.0/0"]})],
            [
                ("cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0"),
                ("cidrBlocks", ["10.0.0.0/8", "0.0.0.0/1"], "lets in 10.0.0.0/8, 0.0.0.0/1"),
                ("cidrBlocks", [f"8.8.{third}.0/25" for third in range(3)], "lets in 8.8.0.0/25, 8.8.1.0/25"),
                ("ipv6CidrBlocks", ["::/0"], "lets in ::/0"),
                ("prefixListIds", ["pl-1"], "lets in pl-1"),
            ],
            ["cidrBlocks", "cidrBlocks.0"],
        ),
        Case([GROUP], [("ingress.0.cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0")], ["ingress", "ingress.0"]),
    ],
    "aws-tags": [
        Case(
            [
                INSTANCE,
                resource(
                    INSTANCE.type, {}, provider_inputs={"defaultTags": '{"tags": {"project": "p", "stack": "s"}}'}
                ),
                resource(
                    INSTANCE.type, {"tags": {"stack": "s"}}, provider_inputs={"defaultTags": {"tags": {"project": "p"}}}
                ),
            ],
            [
                ("tags", GONE, "has no tag project, stack"),
                ("tags.stack", GONE, "has no tag stack"),
                ("tags.stack", "", "has no tag stack"),
            ],
            ["tags"],
        )
    ],
    "no-open-ingress-together": [
        Case(
            [rule("8.8.8.0/25"), rule("8.8.8.128/25"), rule("10.0.0.0/8"), rule("8.8.9.0/24", "another")],
            [("cidrIpv4", "8.8.9.0/24", "together, the security group's rules let in 8.8.9.0/24, 8.8.8.128/25")],
            [],
        )
    ],
    "iam-narrow-policy": [
        Case(
            [policy(tokens.IAM_ROLE_POLICY, Action=["rds:DescribeDBInstances"], Resource="*")],
            [
                ("policy", document(Action="*", Resource="*"), "actions *; expected each action by its name"),
                ("policy", document(Action=["s3:*"], Resource="a"), "actions s3:*"),
                ("policy", document(Action="iam:Create?ser", Resource="a"), "actions iam:Create?ser"),
                ("policy", document(NotAction="iam:*", Resource="a"), "NotAction allows everything"),
                ("policy", document(Action="iam:PassRole", Resource="*"), "iam:PassRole on every resource"),
                ("policy", document(Action="sts:AssumeRole", NotResource="a"), "NotResource allows everything"),
            ],
            ["policy"],
        ),
        Case(
            [
                policy(
                    tokens.SNS_TOPIC_POLICY, Principal={"Service": "cloudwatch.amazonaws.com"}, Action="sns:Publish"
                ),
                resource(tokens.S3_BUCKET_POLICY, {"policy": '{"Statement": {"Effect": "Deny", "Principal": "*"}}'}),
                resource(tokens.KMS_KEY, {}),
            ],
            [
                ("policy", document(Principal="*", Action="sns:Publish"), "every AWS account is a principal"),
                (
                    "policy",
                    document(Principal={"AWS": ["*"]}, Action="sns:Publish"),
                    "every AWS account is a principal",
                ),
                ("policy", document(NotPrincipal={"AWS": "a"}, Action="sns:Publish"), "NotPrincipal allows everything"),
            ],
            ["policy"],
        ),
        Case(
            [
                resource(
                    tokens.IAM_ROLE,
                    {"assumeRolePolicy": trust({"StringEquals": {f"{GITHUB}:aud": "a", f"{GITHUB}:sub": "b"}})},
                )
            ],
            [
                (
                    "assumeRolePolicy",
                    trust({"StringEquals": {f"{GITHUB}:aud": "a"}}),
                    "no StringEquals on the token's sub",
                ),
                (
                    "assumeRolePolicy",
                    trust({"StringEquals": {f"{GITHUB}:aud": "a"}, "StringLike": {f"{GITHUB}:sub": "repo:a/*"}}),
                    "no StringEquals on the token's sub",
                ),
                (
                    "inlinePolicies",
                    [{"policy": document(Action="*", Resource="a")}],
                    "inlinePolicies[0], Allow statement 0",
                ),
            ],
            ["assumeRolePolicy", "inlinePolicies"],
        ),
    ],
    "iam-no-managed-administrator": [
        Case(
            [
                resource(
                    tokens.IAM_ROLE_ATTACHMENT,
                    {"policyArn": f"{AWS_POLICIES}/service-role/AmazonRDSEnhancedMonitoringRole"},
                ),
                resource(tokens.IAM_ROLE_ATTACHMENT, {"policyArn": "arn:aws:iam::123456789012:policy/own"}),
            ],
            [
                ("policyArn", f"{AWS_POLICIES}/AdministratorAccess", "AdministratorAccess"),
                ("policyArn", f"{AWS_POLICIES}/IAMFullAccess", "IAMFullAccess"),
            ],
            ["policyArn"],
        ),
        Case(
            [resource(tokens.IAM_ROLE, {})],
            [("managedPolicyArns", [f"{AWS_POLICIES}/PowerUserAccess"], "managedPolicyArns has")],
            ["managedPolicyArns"],
        ),
    ],
    "iam-no-users": [Case([resource(tokens.IAM_ROLE, {})], [], [])],
    "recoverable": [
        Case(
            [resource(tokens.AWS_SECRET, {"recoveryWindowInDays": 30.0}), resource(tokens.KMS_KEY, {})],
            [("recoveryWindowInDays", 0.0, "recoveryWindowInDays is 0; expected 7 days or more")],
            ["recoveryWindowInDays"],
        ),
        Case(
            [resource(tokens.KMS_KEY, {"deletionWindowInDays": 7.0})],
            [("isEnabled", False, "isEnabled is false; expected true")],
            ["deletionWindowInDays"],
        ),
        Case([resource(tokens.S3_BUCKET, {})], [("forceDestroy", True, "forceDestroy is true")], ["forceDestroy"]),
    ],
    "s3-closed": [
        Case(
            [resource(tokens.S3_PUBLIC_ACCESS_BLOCK, dict.fromkeys(SWITCHES, True))],
            [(switch, value, f"{switch} is") for switch in SWITCHES for value in (False, GONE)],
            ["blockPublicAcls"],
        )
    ],
    "visible": [Case([resource("random:index/randomPassword:RandomPassword", {})], [], [])],
}

"""AWS: closed security groups, and tags on everything."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Violation,
    bare,
    expect,
    items_at,
    value_at,
)

REQUIRED_TAGS = ("project", "stack")

TAGGABLE = (
    tokens.LOG_GROUP,
    tokens.METRIC_ALARM,
    tokens.SECURITY_GROUP,
    tokens.OIDC_PROVIDER,
    tokens.IAM_ROLE,
    tokens.KMS_KEY,
    tokens.RDS_EVENT_SUBSCRIPTION,
    tokens.RDS_INSTANCE,
    tokens.RDS_PARAMETER_GROUP,
    tokens.RDS_SUBNET_GROUP,
    tokens.S3_BUCKET,
    tokens.AWS_SECRET,
    tokens.SNS_TOPIC,
    tokens.INGRESS_RULE,
)

EVERYWHERE = ("0.0.0.0/0", "::/0")


def _tags(resource: Resource) -> Iterator[Answer]:
    tags: dict[str, object] = {}
    for source in (_default_tags(resource), value_at(resource.inputs, "tags")):
        if source is UNKNOWN:
            yield NotCheckable("tags")
            return
        tags |= source if isinstance(source, Mapping) else {}
    missing = [tag for tag in REQUIRED_TAGS if not tags.get(tag)]
    if missing:
        yield Violation(f"has no tag {', '.join(missing)}")


def _default_tags(resource: Resource) -> object:
    """The tags that the provider adds to everything. A provider's inputs travel as JSON."""
    value = bare(resource.provider_inputs.get("defaultTags"))
    if isinstance(value, str) and value is not UNKNOWN:
        value = json.loads(value)
    return value_at(value, "tags")


def _no_open_ingress(resource: Resource) -> Iterator[Answer]:
    inputs = resource.inputs
    if resource.type == tokens.INGRESS_RULE:
        for path in ("cidrIpv4", "cidrIpv6"):
            yield from expect(
                inputs, path, lambda cidr: cidr not in EVERYWHERE, "expected the cluster's security group"
            )
        return
    # Both older types hold lists. A SecurityGroupRule may be an egress rule.
    if resource.type == tokens.SECURITY_GROUP_RULE:
        rules: Any = [inputs] if value_at(inputs, "type") != "egress" else []
    else:
        rules = items_at(inputs, "ingress")
    if rules is UNKNOWN:
        yield NotCheckable("ingress")
        return
    for rule in rules:
        for path in ("cidrBlocks", "ipv6CidrBlocks"):
            cidrs = items_at(rule, path)
            if cidrs is UNKNOWN or UNKNOWN in cidrs:
                yield NotCheckable(path)
            elif set(cidrs) & set(EVERYWHERE):
                yield Violation(f"{path} lets in {', '.join(cidrs)}; expected the cluster's security group")


RULES = (
    ResourceRule(
        name="no-open-ingress",
        description="No security group admits the whole internet.",
        types=(tokens.INGRESS_RULE, tokens.SECURITY_GROUP_RULE, tokens.SECURITY_GROUP),
        check=_no_open_ingress,
        why="the database is meant to be reached from the cluster only",
        fix="name the cluster's security group as the source",
    ),
    ResourceRule(
        name="aws-tags",
        description=f"Every AWS resource has the tags {', '.join(REQUIRED_TAGS)}.",
        types=TAGGABLE,
        check=_tags,
        why="without them the bill, and anyone who cleans up the account, cannot tell whose it is",
        fix="give the AWS provider default_tags, or the resource tags",
    ),
)

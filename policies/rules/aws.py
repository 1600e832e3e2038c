"""AWS: every resource says whose it is."""

import json
from collections.abc import Iterator, Mapping

from policies.rules.model import UNKNOWN, Answer, NotCheckable, Problem, Resource, ResourceRule, bare, value_at

REQUIRED_TAGS = ("project", "stack")

TAGGABLE = (
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    "aws:iam/role:Role",
    "aws:kms/key:Key",
    "aws:rds/eventSubscription:EventSubscription",
    "aws:rds/instance:Instance",
    "aws:rds/parameterGroup:ParameterGroup",
    "aws:rds/subnetGroup:SubnetGroup",
    "aws:s3/bucket:Bucket",
    "aws:secretsmanager/secret:Secret",
    "aws:sns/topic:Topic",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
)


def _tags(resource: Resource) -> Iterator[Answer]:
    tags: dict[str, object] = {}
    for source in (_default_tags(resource), value_at(resource.inputs, "tags")):
        if source is UNKNOWN:
            yield NotCheckable("tags")
            return
        tags |= source if isinstance(source, Mapping) else {}
    missing = [tag for tag in REQUIRED_TAGS if not tags.get(tag)]
    if missing:
        yield Problem(f"has no tag {', '.join(missing)}")


def _default_tags(resource: Resource) -> object:
    """What the provider puts on everything; a provider's inputs travel as JSON."""
    value = bare(resource.provider.get("defaultTags"))
    return value_at(json.loads(value) if isinstance(value, str) else value, "tags")


RULES = (
    ResourceRule(
        name="aws-tags",
        description=f"Every AWS resource has the tags {', '.join(REQUIRED_TAGS)}.",
        types=TAGGABLE,
        check=_tags,
        why="the bill and whoever cleans the account up cannot tell whose it is",
        mend="give the AWS provider default_tags, or the resource tags",
    ),
)

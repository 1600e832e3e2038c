"""AWS: closed security groups, and tags on everything."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies import tokens
from policies.rules import addresses, tiers
from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Resource,
    ResourceRule,
    StackRule,
    Violation,
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


def _tags(resource: Resource) -> Iterator[Answer]:
    tags: dict[str, object] = {}
    for source in (tiers.default_tags(resource), value_at(resource.inputs, "tags")):
        if source is UNKNOWN:
            yield NotCheckable("tags")
            return
        tags |= source if isinstance(source, Mapping) else {}
    missing = [tag for tag in REQUIRED_TAGS if not tags.get(tag)]
    if missing:
        yield Violation(f"has no tag {', '.join(missing)}")


_FIX = "name the cluster's security group as the source"
_EXPECTED = "expected the cluster's security group"


def _is_open(cidrs: Sequence[str]) -> bool:
    """Whether the blocks together let in more than an office; so does a block that cannot be read."""
    try:
        return addresses.is_wide(map(addresses.network, cidrs))
    except ValueError:
        return True


def _ingress(resource: Resource) -> Any:
    """The ingress rules in a resource of any of the types; UNKNOWN where the plan does not know them."""
    if resource.kind in (tokens.SECURITY_GROUP, tokens.DEFAULT_SECURITY_GROUP):
        return items_at(resource.inputs, "ingress")
    # A SecurityGroupRule may be an egress rule.
    return [] if value_at(resource.inputs, "type") == "egress" else [resource.inputs]


def _no_open_ingress(resource: Resource) -> Iterator[Answer]:
    rules = _ingress(resource)
    if rules is UNKNOWN:
        yield NotCheckable("ingress")
        return
    for rule in rules:
        for path in ("cidrIpv4", "cidrIpv6"):
            yield from expect(rule, path, lambda cidr: cidr is None or not _is_open([cidr]), _EXPECTED)
        # A plan does not show which addresses are in a prefix list.
        yield from expect(rule, "prefixListId", lambda list_: not list_, _EXPECTED)
        for path in ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds"):
            items = items_at(rule, path)
            if items is UNKNOWN or UNKNOWN in items:
                yield NotCheckable(path)
            elif items and (path == "prefixListIds" or _is_open(items)):
                yield Violation(f"{path} lets in {', '.join(items)}; {_EXPECTED}")


def _not_open_together(resources: Sequence[Resource]) -> Iterator[Finding]:
    groups: dict[str, list[tuple[Resource, str]]] = {}
    for resource in resources:
        if resource.kind in (tokens.INGRESS_RULE, tokens.SECURITY_GROUP_RULE):
            # New groups have no id yet: their rules count together.
            group = groups.setdefault(str(value_at(resource.inputs, "securityGroupId")), [])
            group += ((resource, cidr) for rule in _ingress(resource) for cidr in _cidrs(rule))
    for entries in groups.values():
        alone = any(_is_open([cidr]) for _, cidr in entries)
        if not alone and _is_open([cidr for _, cidr in entries]):
            what = f"together, the security group's rules let in {', '.join(cidr for _, cidr in entries)}"
            yield Finding(entries[0][0], Violation(f"{what}; {_EXPECTED}"))


def _cidrs(rule: Any) -> list[str]:
    lists = [items_at(rule, path) for path in ("cidrBlocks", "ipv6CidrBlocks")]
    single = [value_at(rule, path) for path in ("cidrIpv4", "cidrIpv6")]
    known = [cidr for items in (*lists, single) if items is not UNKNOWN for cidr in items]
    return [cidr for cidr in known if cidr is not None and cidr is not UNKNOWN]


RULES = (
    ResourceRule(
        name="no-open-ingress",
        description="No security group admits more of the internet than an office.",
        types=(
            tokens.INGRESS_RULE,
            tokens.SECURITY_GROUP_RULE,
            tokens.SECURITY_GROUP,
            tokens.DEFAULT_SECURITY_GROUP,
        ),
        check=_no_open_ingress,
        why="the database is meant to be reached from the cluster only",
        fix=_FIX,
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
STACK_RULES = (
    StackRule(
        name="no-open-ingress-together",
        description="The rules of a security group together do not admit the internet either.",
        check=_not_open_together,
        why="0.0.0.0/1 and 128.0.0.0/1 are the internet, in two rules that look narrower",
        fix=_FIX,
    ),
)

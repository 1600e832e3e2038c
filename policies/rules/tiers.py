"""Which resources are production's. What says nothing about its tier is."""

import json
from collections.abc import Sequence

from policies import tokens
from policies.rules.model import UNKNOWN, Resource, bare, value_at

SERVERS = (tokens.RDS_INSTANCE, tokens.RDS_CLUSTER)


def default_tags(resource: Resource) -> object:
    """The tags that its AWS provider adds to everything. A provider's inputs travel as JSON."""
    value = bare(resource.provider_inputs.get("defaultTags"))
    if isinstance(value, str) and value is not UNKNOWN:
        value = json.loads(value)
    return value_at(value, "tags")


def is_production(resources: Sequence[Resource]) -> bool:
    """Whether they are production's: the stack is called `prod`, or a tier other than staging has RDS.

    The tier is the tag `tier` of the AWS provider. A tag of the resource's own counts for nothing.
    """
    return any(
        resource.urn.startswith("urn:pulumi:prod::")
        or (resource.kind in SERVERS and value_at(default_tags(resource), "tier") != "staging")
        for resource in resources
    )

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


def is_staging(resource: Resource) -> bool:
    """Whether its AWS provider's tag `tier` says so, and its stack is not `prod`. A tag of its own does not count."""
    return not _is_prods(resource) and value_at(default_tags(resource), "tier") == "staging"


def is_production(resources: Sequence[Resource]) -> bool:
    """Whether they are production's: the stack is called `prod`, or has RDS that is not staging's."""
    return any(_is_prods(r) or (r.kind in SERVERS and not is_staging(r)) for r in resources)


def _is_prods(resource: Resource) -> bool:
    return resource.urn.startswith("urn:pulumi:prod::")

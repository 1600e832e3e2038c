"""Resources that hold data, or decide who may read it, cannot be deleted by accident; and the rules see all of them."""

from collections.abc import Iterator, Sequence

from policies import tokens
from policies.rules.model import Answer, Finding, Resource, ResourceRule, StackRule, Violation, expect, is_not_true
from policies.rules.tiers import is_production

HOLDS_DATA = (
    tokens.RDS_INSTANCE,
    tokens.RDS_CLUSTER,
    tokens.RDS_SNAPSHOT,
    tokens.R2_BUCKET,
    tokens.DATABASE,
    tokens.SCHEMA,
    tokens.ROLE,
    tokens.GRANT,
    tokens.GRANT_ROLE,
    tokens.DEFAULT_PRIVILEGES,
    tokens.KMS_KEY,
    tokens.S3_BUCKET,
    tokens.AWS_SECRET,
    tokens.EBS_VOLUME,
    tokens.EFS_FILE_SYSTEM,
    # Deleting a namespace deletes everything in it, volume claims too.
    tokens.NAMESPACE,
    tokens.VOLUME,
    tokens.VOLUME_CLAIM,
)

KNOWN_PACKAGES = ("pulumi", "lightwave", "aws", "cloudflare", "kubernetes", "postgresql", "random")
"""The packages whose resources the rules can read."""


def _protected(resources: Sequence[Resource]) -> Iterator[Finding]:
    if is_production(resources):
        for resource in resources:
            if resource.kind in HOLDS_DATA and not resource.protect:
                yield Finding(resource, Violation("is not protected"))


def _no_cascade(schema: Resource) -> Iterator[Answer]:
    yield from expect(schema.inputs, "dropCascade", is_not_true, "expected false")


def _visible(resources: Sequence[Resource]) -> Iterator[Finding]:
    for resource in resources:
        package, _, kind = resource.type.partition(":")
        if package not in KNOWN_PACKAGES:
            yield Finding(resource, Violation(f"no rule knows the package {package}"))
        elif resource.type == tokens.HELM_RELEASE or (package == "kubernetes" and kind.endswith("List")):
            yield Finding(resource, Violation("creates objects that are not resources of their own"))


RULES = (
    ResourceRule(
        name="no-drop-cascade",
        description="No schema is dropped with its tables.",
        types=(tokens.SCHEMA,),
        check=_no_cascade,
        why="PostgreSQL's refusal to drop a schema that holds tables is the last guard of a product's data",
        fix="set drop_cascade=False",
    ),
)
STACK_RULES = (
    StackRule(
        name="data-protected",
        description="In production every resource that holds data, every role and every grant is protected.",
        check=_protected,
        why="without it, removing an entry from the config deletes grants, roles and data in one deploy",
        fix="set lightwave:protect to true; to remove something on purpose follow docs/runbooks",
    ),
    StackRule(
        name="visible",
        description="Every resource is one that the rules can read.",
        check=_visible,
        why="a command, a dynamic provider or a Helm release does things that no rule sees",
        fix="declare each object as a resource (Helm: kubernetes.helm.v4.Chart), or teach the rules the package",
    ),
)

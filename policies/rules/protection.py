"""Resources that hold data, or decide who may read it, cannot be deleted by accident."""

from collections.abc import Iterator, Sequence

from policies import tokens
from policies.rules.model import Answer, Finding, Resource, ResourceRule, StackRule, Violation, expect, is_not_true

HOLDS_DATA = (
    tokens.RDS_INSTANCE,
    tokens.R2_BUCKET,
    tokens.DATABASE,
    tokens.SCHEMA,
    tokens.ROLE,
    tokens.GRANT,
    tokens.DEFAULT_PRIVILEGES,
    tokens.KMS_KEY,
    tokens.S3_BUCKET,
    tokens.AWS_SECRET,
    tokens.VOLUME_CLAIM,
)


def is_production(resources: Sequence[Resource]) -> bool:
    """A stack with an RDS instance is production, and so is the stack `prod`."""
    return any(r.type == tokens.RDS_INSTANCE or r.urn.startswith("urn:pulumi:prod::") for r in resources)


def _protected(resources: Sequence[Resource]) -> Iterator[Finding]:
    if is_production(resources):
        for resource in resources:
            if resource.type in HOLDS_DATA and not resource.protect:
                yield Finding(resource, Violation("is not protected"))


def _no_cascade(schema: Resource) -> Iterator[Answer]:
    yield from expect(schema.inputs, "dropCascade", is_not_true, "expected false")


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
)

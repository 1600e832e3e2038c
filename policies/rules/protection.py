"""What holds data, or says who may read it, cannot be deleted by accident."""

from collections.abc import Iterator, Sequence

from policies.rules.database import INSTANCE
from policies.rules.media import BUCKET
from policies.rules.model import Answer, Finding, Problem, Resource, ResourceRule, StackRule, expect, is_not_true
from policies.rules.roles import DEFAULT_PRIVILEGES, GRANT, ROLE

SCHEMA = "postgresql:index/schema:Schema"

HOLDS_DATA = (
    INSTANCE,
    BUCKET,
    SCHEMA,
    ROLE,
    GRANT,
    DEFAULT_PRIVILEGES,
    "aws:kms/key:Key",
    "aws:s3/bucket:Bucket",
    "aws:secretsmanager/secret:Secret",
    "kubernetes:core/v1:PersistentVolumeClaim",
    "postgresql:index/database:Database",
)


def is_production(resources: Sequence[Resource]) -> bool:
    """Whatever runs on RDS is production, and so is the stack of that name."""
    return any(r.type == INSTANCE or r.urn.startswith("urn:pulumi:prod::") for r in resources)


def _protected(resources: Sequence[Resource]) -> Iterator[Finding]:
    if is_production(resources):
        for resource in resources:
            if resource.type in HOLDS_DATA and not resource.protect:
                yield Finding(resource, Problem("is not protected"))


def _no_cascade(schema: Resource) -> Iterator[Answer]:
    yield from expect(schema.inputs, "dropCascade", is_not_true, "expected false")


RULES = (
    ResourceRule(
        name="no-drop-cascade",
        description="No schema is dropped with its tables.",
        types=(SCHEMA,),
        check=_no_cascade,
        why="PostgreSQL's refusal to drop a schema that holds tables is the last guard of a product's data",
        mend="set drop_cascade=False",
    ),
)
STACK_RULES = (
    StackRule(
        name="data-protected",
        description="In production what holds data, and every role and grant, is protected.",
        check=_protected,
        why="without it, an entry taken out of the config deletes grants, roles and data in one deploy",
        mend="set lightwave:protect to true; to remove it on purpose follow docs/runbooks",
    ),
)

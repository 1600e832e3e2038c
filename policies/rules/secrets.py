"""Secrets are marked as secret, and what deletes them leaves time to take it back."""

from collections.abc import Iterator

from policies import tokens
from policies.rules.model import Answer, Resource, ResourceRule, Secret, Violation, expect, is_not_true, is_true
from policies.rules.tiers import is_staging

_SECRET_INPUTS = {
    tokens.RDS_INSTANCE: ("password",),
    tokens.RDS_CLUSTER: ("masterPassword",),
    tokens.AWS_SECRET_VERSION: ("secretString", "secretBinary"),
    tokens.ROLE: ("password",),
    tokens.POSTGRESQL_PROVIDER: ("password",),
    tokens.TUNNEL: ("tunnelSecret",),
}
"""By type, the inputs that hold a secret."""

LEAST_RECOVERY_DAYS = 7


def _marked(resource: Resource) -> Iterator[Answer]:
    if not resource.secrecy_known:
        return
    for path in _SECRET_INPUTS[resource.kind]:
        value = resource.inputs.get(path)
        if value is not None and not isinstance(value, Secret):
            yield Violation(f"{path} is not marked as secret")


def _recoverable(resource: Resource) -> Iterator[Answer]:
    # A secret in its recovery window keeps its name, and a staging stack that was deleted could not be built again.
    paths = ("deletionWindowInDays",) if is_staging(resource) else ("recoveryWindowInDays", "deletionWindowInDays")
    for path in paths:
        yield from expect(
            resource.inputs,
            path,
            lambda days: days is None or days >= LEAST_RECOVERY_DAYS,
            f"expected {LEAST_RECOVERY_DAYS} days or more",
        )
    yield from expect(resource.inputs, "forceDestroy", is_not_true, "expected false")
    yield from expect(resource.inputs, "isEnabled", lambda enabled: enabled is not False, "expected true")


def _closed_bucket(block: Resource) -> Iterator[Answer]:
    for path in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        yield from expect(block.inputs, path, is_true, "expected true")


RULES = (
    ResourceRule(
        name="secret-marked",
        description="Every password and secret is marked as secret.",
        types=tuple(_SECRET_INPUTS),
        check=_marked,
        why="what is not marked is readable in Pulumi's state, in every preview and in CI's logs",
        fix="wrap the value in pulumi.Output.secret, or set it with pulumi config set --secret",
    ),
    ResourceRule(
        name="recoverable",
        description="A deleted secret, key or bucket can be recovered.",
        types=(tokens.AWS_SECRET, tokens.KMS_KEY, tokens.S3_BUCKET),
        check=_recoverable,
        why="a key that is gone takes everything encrypted with it; the window is the time to notice",
        fix=f"leave the window at its default, or at {LEAST_RECOVERY_DAYS} days or more, and force_destroy out",
    ),
    ResourceRule(
        name="s3-closed",
        description="No bucket can be made public.",
        types=(tokens.S3_PUBLIC_ACCESS_BLOCK,),
        check=_closed_bucket,
        why="the state of production is in a bucket, with every password",
        fix="set all four of the block's switches to true",
    ),
)

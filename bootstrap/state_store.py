"""Where a stack's state is kept: an S3 bucket, and the KMS key that encrypts it and the secrets in it."""

import json
import re
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from settings.names import is_own, label, named

KEY_ALIAS = "alias/lightwave-state"
"""Production's; another stack's has the stack's name at its end."""

KEY_DELETION_DAYS = 30
"""How long a scheduled deletion of the key can be cancelled: the longest that KMS offers."""

OLD_VERSION_DAYS = 365
"""How long an overwritten or deleted state file can be restored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateStoreArgs:
    """What `StateStore` needs."""

    stack: str
    """The platform's stack, which has a bucket and a key of its own: who reads a state reads every password in it."""
    bucket: str
    region: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", self.bucket):
            raise pulumi.InputPropertyError(
                "bucket", "expected: 3 to 63 lower-case letters, digits and inner hyphens (a dot breaks TLS)"
            )
        if not is_own(self.stack, self.bucket):
            expected = f'a name with "{label(self.stack)}" in it'
            raise pulumi.InputPropertyError(
                "bucket", f"{self.bucket} may belong to another stack; expected: {expected}"
            )


class StateStore(pulumi.ComponentResource):
    """A versioned, encrypted bucket without public access, over TLS only. Every resource is protected: without the key,
    every secret in the state is lost."""

    backend_url: pulumi.Output[str]
    """The value of PULUMI_BACKEND_URL."""
    secrets_provider: pulumi.Output[str]
    """The value of `pulumi stack init --secrets-provider`."""
    bucket_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: StateStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:bootstrap:StateStore", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self, protect=True)

        alias = named(KEY_ALIAS, args.stack)
        # With KMS's default policy, the account's IAM policies decide who may use the key.
        key = aws.kms.Key(
            f"{name}-key",
            description="Pulumi's state of the Lightwave platform, and the secrets in it",
            enable_key_rotation=True,
            deletion_window_in_days=KEY_DELETION_DAYS,
            opts=child,
        )
        aws.kms.Alias(f"{name}-key-alias", name=alias, target_key_id=key.key_id, opts=child)
        bucket = aws.s3.Bucket(f"{name}-bucket", bucket=args.bucket, force_destroy=False, opts=child)
        aws.s3.BucketVersioning(
            f"{name}-versions",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=child,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            f"{name}-public-access",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketOwnershipControls(
            f"{name}-ownership",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSION_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                }
            ],
            opts=child,
        )
        aws.s3.BucketPolicy(
            f"{name}-bucket-policy",
            bucket=bucket.bucket,
            policy=bucket.arn.apply(_tls_only),
            # AWS refuses two changes of a bucket's access at once.
            opts=pulumi.ResourceOptions(parent=self, protect=True, depends_on=[closed]),
        )

        self.backend_url = pulumi.Output.concat("s3://", bucket.bucket, f"?region={args.region}")
        self.secrets_provider = pulumi.Output.from_input(f"awskms://{alias}?region={args.region}")
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.register_outputs(
            {
                "backend_url": self.backend_url,
                "secrets_provider": self.secrets_provider,
                "bucket_arn": self.bucket_arn,
                "key_arn": self.key_arn,
            }
        )


def _tls_only(bucket_arn: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "TlsOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket_arn, f"{bucket_arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
    )

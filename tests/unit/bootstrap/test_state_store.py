"""The bucket and the key that keep production's state."""

import pulumi
import pytest

from bootstrap.state_store import StateStoreArgs
from tests.unit.bootstrap.program import BUCKET_ARN, KEY_ARN, REGION, STATE, document, one, recorded


def test_the_whole_state_store_is_protected_and_nothing_else() -> None:
    protected = {r.name for r in recorded().resources if r.protect}
    assert protected == {r.name for r in recorded().children(STATE)}


def test_key() -> None:
    assert one("kms/key:Key", "state-key").inputs == {
        "description": "Pulumi's state of the Lightwave platform, and the secrets in it",
        "enableKeyRotation": True,
        "deletionWindowInDays": 30,
    }
    assert one("kms/alias:Alias", "state-key-alias").inputs == {
        "name": "alias/lightwave-state",
        "targetKeyId": "state",
    }


def test_bucket() -> None:
    shared = {"bucket": "lightwave-state"}
    assert one("s3/bucket:Bucket", "state-bucket").inputs == {**shared, "forceDestroy": False}
    assert one("s3/bucketVersioning:BucketVersioning", "state-versions").inputs == {
        **shared,
        "versioningConfiguration": {"status": "Enabled"},
    }
    encryption = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    assert one(encryption, "state-encryption").inputs == {
        **shared,
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY_ARN},
                "bucketKeyEnabled": True,
            }
        ],
    }
    assert one("s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "state-public-access").inputs == {
        **shared,
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert one("s3/bucketOwnershipControls:BucketOwnershipControls", "state-ownership").inputs == {
        **shared,
        "rule": {"objectOwnership": "BucketOwnerEnforced"},
    }


def test_only_old_versions_expire() -> None:
    lifecycle = one("s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "state-lifecycle")
    assert lifecycle.inputs == {
        "bucket": "lightwave-state",
        "rules": [
            {
                "id": "old-versions",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrentVersionExpiration": {"noncurrentDays": 365},
                "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
            }
        ],
    }


def test_the_bucket_refuses_plain_http() -> None:
    bucket_policy = one("s3/bucketPolicy:BucketPolicy", "state-bucket-policy")
    assert document(bucket_policy.inputs["policy"]) == [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [BUCKET_ARN, f"{BUCKET_ARN}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    assert any(urn.endswith("::state-public-access") for urn in bucket_policy.depends_on)


@pytest.mark.parametrize("bucket", ["", "ab", "Upper", "dotted.name", "-a-", "a" * 64, "name\n"])
def test_a_malformed_bucket_name_is_refused(bucket: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match="3 to 63"):
        StateStoreArgs(stack="prod", bucket=bucket, region=REGION)

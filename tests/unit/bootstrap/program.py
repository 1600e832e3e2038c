"""The recorded bootstrap program, for its tests."""

import json
import runpy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from ops.plan import recorder
from ops.plan.recorder import RecordedResource, Recording
from policies import tokens
from settings import ROOT

ACCOUNT = "123456789012"
REGION = "eu-central-1"
CONFIG = {
    "aws:region": REGION,
    "lightwave-bootstrap:accountId": ACCOUNT,
    "lightwave-bootstrap:repository": "lightwave/platform-infra",
    "lightwave-bootstrap:stateBucket": "lightwave-state",
    "lightwave-bootstrap:cluster": "lightwave-prod",
}
STATE = "urn:pulumi:prod::lightwave::lightwave:bootstrap:StateStore::state"
ACCESS = "urn:pulumi:prod::lightwave::lightwave:bootstrap:CiAccess::ci"
BUCKET_ARN = "arn:aws:s3:::lightwave-state"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/state"
PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"


STAGING = {"stateBucket": "lightwave-state-staging", "cluster": "lightwave-staging", "database": "lightwave-staging"}
"""What config of a second stack changes."""


@cache
def recorded(stack: str = "prod", **changes: str) -> Recording:
    """The bootstrap program's recording with some of its config changed, and with ARNs as AWS would make them."""
    config = {**CONFIG, **{f"lightwave-bootstrap:{key}": value for key, value in changes.items()}}
    arns: dict[str, Callable[[Any], dict[str, Any]]] = {
        tokens.S3_BUCKET: lambda inputs: {"arn": f"arn:aws:s3:::{inputs['bucket']}"},
        tokens.KMS_KEY: lambda _: {"arn": KEY_ARN, "keyId": "state"},
        tokens.OIDC_PROVIDER: lambda _: {"arn": PROVIDER_ARN},
        tokens.IAM_ROLE: lambda inputs: {"arn": f"arn:aws:iam::{ACCOUNT}:role/{inputs['name']}"},
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorder, "COMPUTED", arns)
        return recorder.record(
            lambda: runpy.run_path(str(ROOT / "bootstrap" / "__main__.py"), run_name="__main__"),
            stack=stack,
            config=config,
        )


def one(type_: str, name: str, **changes: str) -> RecordedResource:
    """Its one resource of that type at AWS, such as `iam/role:Role`, and name."""
    return recorded(**changes).one(f"aws:{type_}", name)


def document(text: str) -> list[dict[str, Any]]:
    """The statements of a policy document."""
    parsed = json.loads(text)
    assert parsed["Version"] == "2012-10-17"
    statements: list[dict[str, Any]] = parsed["Statement"]
    return statements

"""The whole bootstrap program: what it declares and exports, and the page about it."""

import json
import re

import yaml

from ops.plan import policy
from settings import ROOT
from tests.unit.bootstrap.program import ACCESS, ACCOUNT, REGION, STATE, recorded


def test_declares_exactly_these() -> None:
    found = sorted(f"{r.type.split(':')[-1]} {r.name}" for r in recorded().resources if r.custom)
    assert found == [
        "AccessEntry ci-deploy-cluster",
        "AccessEntry ci-preview-cluster",
        "AccessPolicyAssociation ci-deploy-cluster-policy",
        "AccessPolicyAssociation ci-preview-cluster-policy",
        "AccessPolicyAssociation ci-preview-namespaces-policy",
        "Alias state-key-alias",
        "Bucket state-bucket",
        "BucketLifecycleConfiguration state-lifecycle",
        "BucketOwnershipControls state-ownership",
        "BucketPolicy state-bucket-policy",
        "BucketPublicAccessBlock state-public-access",
        "BucketServerSideEncryptionConfiguration state-encryption",
        "BucketVersioning state-versions",
        "Key state-key",
        "OpenIdConnectProvider ci-github",
        "Role ci-deploy",
        "Role ci-preview",
        "RolePolicy ci-deploy-permissions",
        "RolePolicy ci-preview-permissions",
        "aws aws",
    ]


def test_parents_provider_and_policies() -> None:
    for resource in recorded().resources:
        if resource.custom and resource.name != "aws":
            assert resource.parent == (STATE if resource.name.startswith("state") else ACCESS), resource.name
            assert resource.provider.endswith("::aws"), resource.name
    assert list(policy.verdicts(recorded().resources)) == []


def test_the_provider_refuses_another_account() -> None:
    [provider] = recorded().of_type("pulumi:providers:aws")
    assert provider.inputs["region"] == REGION
    assert json.loads(provider.inputs["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider.inputs["defaultTags"]) == {
        "tags": {"project": "lightwave", "stack": "prod", "managed-by": "pulumi"}
    }


def test_outputs_are_what_ci_and_the_operator_need() -> None:
    assert recorded().outputs == {
        "AWS_REGION": REGION,
        "DEPLOY_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lightwave-deploy",
        "PREVIEW_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/lightwave-preview",
        "PULUMI_BACKEND_URL": f"s3://lightwave-state?region={REGION}",
        "secrets_provider": f"awskms://alias/lightwave-state?region={REGION}",
    }


def test_the_docs_name_every_setting_and_output() -> None:
    page = (ROOT / "docs" / "bootstrap.md").read_text()
    declared = yaml.safe_load((ROOT / "bootstrap" / "Pulumi.yaml").read_text())["config"]
    assert {key for key in declared if key != "aws:region"} <= set(re.findall(r"lightwave-bootstrap:\w+", page))
    for name in [
        *recorded().outputs,
        "prod-preview",
        "prod-drift",
        "prod",
        "staging-preview",
        "staging-drift",
        "staging",
    ]:
        assert f"`{name}`" in page, name
    commands = set(re.findall(r"`make ([a-z-]+)", page))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands
    assert commands <= targets

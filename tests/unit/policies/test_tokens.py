"""One token stands for every form of a type."""

import pytest

from policies import tokens
from policies.rules import RESOURCE_RULES


@pytest.mark.parametrize(
    ("type_", "token"),
    [
        ("kubernetes:apps/v1:Deployment", tokens.DEPLOYMENT),
        ("kubernetes:apps/v1beta2:Deployment", tokens.DEPLOYMENT),
        ("kubernetes:extensions/v1beta1:Deployment", tokens.DEPLOYMENT),
        ("kubernetes:apps/v1:DeploymentPatch", tokens.DEPLOYMENT),
        ("kubernetes:batch/v1beta1:CronJob", tokens.CRON_JOB),
        ("kubernetes:extensions/v1beta1:NetworkPolicy", tokens.NETWORK_POLICY),
        ("kubernetes:rbac.authorization.k8s.io/v1beta1:RoleBinding", tokens.ROLE_BINDING),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBindingPatch", tokens.CLUSTER_ROLE_BINDING),
        ("aws:s3/bucketV2:BucketV2", tokens.S3_BUCKET),
        ("kubernetes:apps/v1:ControllerRevision", "kubernetes:apps/v1:ControllerRevision"),
        ("postgresql:index/role:Role", tokens.ROLE),
        ("aws:iam/role:Role", tokens.IAM_ROLE),
        ("lightwave:kubernetes:Namespace", "lightwave:kubernetes:Namespace"),
    ],
)
def test_versions_and_patches_are_one_kind(type_: str, token: str) -> None:
    assert tokens.canonical(type_) == token


def test_every_rule_names_canonical_types() -> None:
    types = {type_ for rule in RESOURCE_RULES for type_ in rule.types}
    assert {type_ for type_ in types if tokens.canonical(type_) != type_} == set()
    # A Kubernetes type that a rule names is known in every version.
    kinds = {type_ for type_ in types if type_.startswith(tokens.KUBERNETES)}
    assert {tokens.canonical(type_.replace("/v1:", "/v1alpha9:")) for type_ in kinds} == kinds

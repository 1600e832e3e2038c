"""How GitHub Actions gets into the account: no access key, one role for previews and one for deploys."""

import re
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from bootstrap import ci_policies

PREVIEW_ENVIRONMENTS = ("prod-preview", "prod-drift")
"""GitHub environments of the jobs that only read. A preview runs pull-request code: give `prod-preview` reviewers."""

DEPLOY_ENVIRONMENT = "prod"
"""GitHub environment of the job that deploys: reviewers, and the main branch only."""

PREVIEW_SECONDS = 3600
DEPLOY_SECONDS = 2 * 3600
"""Seconds. The first deploy waits about 20 minutes for RDS; the job itself ends after 90 minutes."""

_CLUSTER_POLICIES = "arn:aws:eks::aws:cluster-access-policy"


@dataclass(frozen=True, kw_only=True, slots=True)
class CiAccessArgs:
    """What `CiAccess` needs."""

    account_id: str
    region: str
    repository: str
    """On GitHub, as owner/name."""
    state_bucket_arn: pulumi.Input[str]
    state_key_arn: pulumi.Input[str]
    cluster: str
    oidc_provider_arn: str | None = None
    """ARN of GitHub's OIDC provider if the account has one; an account can have only one."""

    def __post_init__(self) -> None:
        # A pattern in a trust policy would admit other repositories.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", self.repository):
            raise pulumi.InputPropertyError("repository", "expected: owner/name, without wildcards")
        if not re.fullmatch(r"\d{12}", self.account_id):
            raise pulumi.InputPropertyError("account_id", "expected: the 12 digits of an AWS account")


class CiAccess(pulumi.ComponentResource):
    """GitHub's OIDC provider and the two roles, with their access to the cluster."""

    preview_role_arn: pulumi.Output[str]
    """May read everything that the platform declares, and its state; may change nothing."""
    deploy_role_arn: pulumi.Output[str]
    """May create and change what the platform declares; may delete nothing that holds data."""

    def __init__(self, name: str, args: CiAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:bootstrap:CiAccess", name, {}, opts)
        self._name = name
        self._args = args
        self._provider_arn = self._oidc_provider()
        state = pulumi.Output.all(args.state_bucket_arn, args.state_key_arn)

        preview = self._role(
            purpose="preview",
            description="Reads: previews of pull requests and the search for drift",
            environments=PREVIEW_ENVIRONMENTS,
            seconds=PREVIEW_SECONDS,
            permissions=state.apply(lambda arns: ci_policies.policy(self._preview_permissions(*arns))),
            # Reads Secrets too, because a refresh compares them. A preview's dry run is refused, and Pulumi continues.
            cluster_policy="AmazonEKSAdminViewPolicy",
        )
        deploy = self._role(
            purpose="deploy",
            description="Deploys: pulumi up of the main branch",
            environments=(DEPLOY_ENVIRONMENT,),
            seconds=DEPLOY_SECONDS,
            permissions=state.apply(lambda arns: ci_policies.policy(self._deploy_permissions(*arns))),
            # Creates namespaces, roles and a priority class.
            cluster_policy="AmazonEKSClusterAdminPolicy",
        )

        self.preview_role_arn = preview.arn
        self.deploy_role_arn = deploy.arn
        self.register_outputs({"preview_role_arn": self.preview_role_arn, "deploy_role_arn": self.deploy_role_arn})

    def _oidc_provider(self) -> pulumi.Output[str]:
        if self._args.oidc_provider_arn:
            return pulumi.Output.from_input(self._args.oidc_provider_arn)
        provider = aws.iam.OpenIdConnectProvider(
            f"{self._name}-github",
            url="https://token.actions.githubusercontent.com",
            client_id_lists=["sts.amazonaws.com"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        return provider.arn

    def _preview_permissions(self, bucket_arn: str, key_arn: str) -> list[ci_policies.Statement]:
        return [
            *ci_policies.read_state(bucket_arn, key_arn),
            *ci_policies.read_platform(self._args.account_id, self._args.region),
        ]

    def _deploy_permissions(self, bucket_arn: str, key_arn: str) -> list[ci_policies.Statement]:
        return [
            *ci_policies.write_state(bucket_arn, key_arn),
            *ci_policies.write_platform(self._args.account_id, self._args.region),
        ]

    def _role(
        self,
        *,
        purpose: str,
        description: str,
        environments: tuple[str, ...],
        seconds: int,
        permissions: pulumi.Output[str],
        cluster_policy: str,
    ) -> aws.iam.Role:
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            f"{self._name}-{purpose}",
            name=f"lightwave-{purpose}",
            description=description,
            assume_role_policy=self._provider_arn.apply(
                lambda arn: ci_policies.assumed_by_workflows(arn, self._args.repository, environments)
            ),
            max_session_duration=seconds,
            opts=child,
        )
        aws.iam.RolePolicy(
            f"{self._name}-{purpose}-permissions", name="permissions", role=role.name, policy=permissions, opts=child
        )
        entry = aws.eks.AccessEntry(
            f"{self._name}-{purpose}-cluster", cluster_name=self._args.cluster, principal_arn=role.arn, opts=child
        )
        aws.eks.AccessPolicyAssociation(
            f"{self._name}-{purpose}-cluster-policy",
            cluster_name=self._args.cluster,
            principal_arn=entry.principal_arn,
            policy_arn=f"{_CLUSTER_POLICIES}/{cluster_policy}",
            access_scope={"type": "cluster"},
            opts=child,
        )
        return role

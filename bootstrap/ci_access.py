"""How GitHub Actions gets into the account: no access key, one role for previews and one for deploys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from bootstrap import ci_policies
from settings.names import PROJECT, is_own, label, named

DEPLOY_REF = "refs/heads/main"
"""The branch of the job that deploys."""

PREVIEWERS = "lightwave:previewers"
"""Kubernetes group of the preview role; the platform binds it to what it declares outside namespaces."""

DEFAULT_CLUSTER = "lightwave-prod"
DEFAULT_DATABASE = "lightwave-platform"
DEFAULT_NAMESPACES = ("django-api", "payload-cms", "shared")

PREVIEW_SECONDS = 3600
DEPLOY_SECONDS = 2 * 3600
"""Seconds. The first deploy waits about 20 minutes for RDS; the job itself ends after 90 minutes."""

_CLUSTER_POLICIES = "arn:aws:eks::aws:cluster-access-policy"


@dataclass(frozen=True, kw_only=True, slots=True)
class CiAccessArgs:
    """What `CiAccess` needs."""

    stack: str
    """The platform's stack, whose name begins the names of its GitHub environments."""
    account_id: str
    region: str
    repository: str
    """On GitHub, as owner/name."""
    repository_owner_id: str | None = None
    repository_id: str | None = None
    """GitHub's numbers of both: both or neither."""
    state_bucket_arn: pulumi.Input[str]
    state_key_arn: pulumi.Input[str]
    cluster: str = DEFAULT_CLUSTER
    database: str = DEFAULT_DATABASE
    """Identifier of the RDS instance; everything else that belongs to it is named after it."""
    namespaces: Sequence[str] = DEFAULT_NAMESPACES
    """The platform's namespaces, whose Secrets the preview role reads."""
    oidc_provider_arn: str | None = None
    """ARN of GitHub's OIDC provider if the account has one; an account can have only one."""

    def __post_init__(self) -> None:
        # A pattern in a trust policy would admit other repositories.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", self.repository):
            raise pulumi.InputPropertyError("repository", "expected: owner/name, without wildcards")
        if not re.fullmatch(r"\d{12}", self.account_id):
            raise pulumi.InputPropertyError("account_id", "expected: the 12 digits of an AWS account")
        for name in ("repository_owner_id", "repository_id"):
            if not re.fullmatch(r"\d+", getattr(self, name) or "0"):
                raise pulumi.InputPropertyError(name, "expected: the digits that gh api repos/<owner>/<name> shows")
        if (self.repository_id is None) != (self.repository_owner_id is None):
            raise pulumi.InputPropertyError("repository_id", "expected: together with repository_owner_id")
        for name, values in (
            ("cluster", [self.cluster]),
            ("database", [self.database]),
            ("namespaces", self.namespaces),
        ):
            # A pattern here would be one in the role's permissions.
            if not values or not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", value) for value in values):
                raise pulumi.InputPropertyError(name, "expected: letters, digits and hyphens, without wildcards")
        for name, value in (("cluster", self.cluster), ("database", self.database)):
            # The roles of a stack must not reach another one.
            if not is_own(self.stack, value):
                expected = f'a name with "{label(self.stack)}" in it, such as {named(PROJECT, self.stack)}'
                raise pulumi.InputPropertyError(name, f"{value} may belong to another stack; expected: {expected}")

    @property
    def preview_environments(self) -> tuple[str, ...]:
        """GitHub environments of the jobs that only read. A preview runs pull-request code: give it reviewers."""
        return f"{self.stack}-preview", f"{self.stack}-drift"

    @property
    def deploy_environment(self) -> str:
        """GitHub environment of the job that deploys. Give production's reviewers, and each the main branch only."""
        return self.stack


class CiAccess(pulumi.ComponentResource):
    """GitHub's OIDC provider and the two roles, with their access to the cluster."""

    preview_role_arn: pulumi.Output[str]
    """May read everything that the platform declares, and its state; may change nothing."""
    deploy_role_arn: pulumi.Output[str]
    """May create and change what the platform declares; may delete nothing that holds data."""
    oidc_provider_arn: pulumi.Output[str]
    """Of GitHub's OIDC provider."""

    def __init__(self, name: str, args: CiAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:bootstrap:CiAccess", name, {}, opts)
        self._name = name
        self._args = args
        self.oidc_provider_arn = self._oidc_provider()
        self._platform = ci_policies.Platform(
            stack=args.stack,
            account_id=args.account_id,
            region=args.region,
            cluster=args.cluster,
            database=args.database,
        )
        state = pulumi.Output.all(args.state_bucket_arn, args.state_key_arn)

        preview = self._role(
            purpose="preview",
            description="Reads: previews of pull requests and the search for drift",
            environments=args.preview_environments,
            seconds=PREVIEW_SECONDS,
            permissions=state.apply(lambda arns: ci_policies.policy(self._preview_permissions(*arns))),
        )
        # Secrets only where the platform has its own, because a refresh compares them: AWS's view has none, and nothing
        # outside namespaces. A preview's dry run is refused, and Pulumi continues without it.
        entry = self._access_entry("preview", preview, groups=[PREVIEWERS])
        self._access_policy("preview-cluster-policy", entry, "AmazonEKSViewPolicy")
        self._access_policy("preview-namespaces-policy", entry, "AmazonEKSAdminViewPolicy", args.namespaces)
        deploy = self._role(
            purpose="deploy",
            description="Deploys: pulumi up of the main branch",
            environments=(args.deploy_environment,),
            seconds=DEPLOY_SECONDS,
            permissions=state.apply(lambda arns: ci_policies.policy(self._deploy_permissions(*arns))),
            ref=DEPLOY_REF,
        )
        # Creates namespaces, roles and a priority class.
        entry = self._access_entry("deploy", deploy)
        self._access_policy("deploy-cluster-policy", entry, "AmazonEKSClusterAdminPolicy")

        self.preview_role_arn = preview.arn
        self.deploy_role_arn = deploy.arn
        self.register_outputs(
            {
                "preview_role_arn": self.preview_role_arn,
                "deploy_role_arn": self.deploy_role_arn,
                "oidc_provider_arn": self.oidc_provider_arn,
            }
        )

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
        return [*ci_policies.read_state(bucket_arn, key_arn), *ci_policies.read_platform(self._platform)]

    def _deploy_permissions(self, bucket_arn: str, key_arn: str) -> list[ci_policies.Statement]:
        return [*ci_policies.write_state(bucket_arn, key_arn), *ci_policies.write_platform(self._platform)]

    def _role(
        self,
        *,
        purpose: str,
        description: str,
        environments: tuple[str, ...],
        seconds: int,
        permissions: pulumi.Output[str],
        ref: str | None = None,
    ) -> aws.iam.Role:
        child = pulumi.ResourceOptions(parent=self)
        repository = ci_policies.Repository(
            name=self._args.repository,
            owner_id=self._args.repository_owner_id,
            repository_id=self._args.repository_id,
        )
        role = aws.iam.Role(
            f"{self._name}-{purpose}",
            name=named(f"lightwave-{purpose}", self._args.stack),
            description=description,
            assume_role_policy=self.oidc_provider_arn.apply(
                lambda arn: ci_policies.assumed_by_workflows(arn, repository, environments, ref)
            ),
            max_session_duration=seconds,
            opts=child,
        )
        aws.iam.RolePolicy(
            f"{self._name}-{purpose}-permissions", name="permissions", role=role.name, policy=permissions, opts=child
        )
        return role

    def _access_entry(self, purpose: str, role: aws.iam.Role, groups: Sequence[str] = ()) -> aws.eks.AccessEntry:
        return aws.eks.AccessEntry(
            f"{self._name}-{purpose}-cluster",
            cluster_name=self._args.cluster,
            principal_arn=role.arn,
            kubernetes_groups=groups or None,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _access_policy(
        self, name: str, entry: aws.eks.AccessEntry, policy: str, namespaces: Sequence[str] = ()
    ) -> None:
        scope: dict[str, Any] = {"type": "namespace", "namespaces": namespaces} if namespaces else {"type": "cluster"}
        aws.eks.AccessPolicyAssociation(
            f"{self._name}-{name}",
            cluster_name=self._args.cluster,
            principal_arn=entry.principal_arn,
            policy_arn=f"{_CLUSTER_POLICIES}/{policy}",
            access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(**scope),
            opts=pulumi.ResourceOptions(parent=self),
        )

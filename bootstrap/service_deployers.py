"""How a service's own repository gets into its namespace: one role for each, without an access key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from bootstrap import ci_policies
from bootstrap.ci_access import DEPLOY_REF
from settings.names import PRODUCTION, named

_KEYS = {"repository", "environment", "repositoryOwnerId", "repositoryId"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceDeployersArgs:
    """What `ServiceDeployers` needs."""

    stack: str
    """The platform's stack that the services run in."""
    account_id: str
    region: str
    cluster: str
    oidc_provider_arn: pulumi.Input[str]
    """Of GitHub's OIDC provider in the account."""
    deployers: Mapping[str, Mapping[str, str]]
    """By namespace: `repository` as owner/name, and perhaps `environment` and GitHub's numbers of both."""

    def __post_init__(self) -> None:
        for namespace, given in self.deployers.items():
            key = f"deployers.{namespace}"
            if unknown := sorted(given.keys() - _KEYS):
                raise pulumi.InputPropertyError(f"{key}.{unknown[0]}", f"expected: {', '.join(sorted(_KEYS))}")
            # A pattern in a trust policy would admit other repositories.
            for name, pattern, expected in (
                ("repository", r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", "owner/name, without wildcards"),
                ("environment", r"[A-Za-z0-9][A-Za-z0-9._-]*", "a GitHub environment, without wildcards"),
            ):
                value = given.get(name, self.environment if name == "environment" else "")
                if not re.fullmatch(pattern, value):
                    raise pulumi.InputPropertyError(f"{key}.{name}", f"expected: {expected}")
            if ("repositoryId" in given) != ("repositoryOwnerId" in given):
                raise pulumi.InputPropertyError(f"{key}.repositoryId", "expected: together with repositoryOwnerId")

    @property
    def environment(self) -> str:
        """GitHub environment of a service's deploy job by default. Give it reviewers, and the main branch only."""
        return "production" if self.stack == PRODUCTION else self.stack


class ServiceDeployers(pulumi.ComponentResource):
    """A role for each namespace's deploy job. It may find the cluster and nothing else in the account.

    What it may do in the namespace is the platform's: `kubernetes.namespaces.<name>.deployerPrincipal` takes the ARN,
    and the access entry binds it to the namespace's deployer Role.
    """

    role_arns: pulumi.Output[dict[str, str]]
    """By namespace."""

    def __init__(self, name: str, args: ServiceDeployersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:bootstrap:ServiceDeployers", name, {}, opts)
        self._name = name
        self._args = args
        arns: dict[str, Any] = {
            namespace: self._role(namespace, given).arn for namespace, given in args.deployers.items()
        }
        self.role_arns = pulumi.Output.all(**arns)
        self.register_outputs({"role_arns": self.role_arns})

    def _role(self, namespace: str, given: Mapping[str, str]) -> aws.iam.Role:
        args, child = self._args, pulumi.ResourceOptions(parent=self)
        repository = ci_policies.Repository(
            name=given["repository"],
            owner_id=given.get("repositoryOwnerId"),
            repository_id=given.get("repositoryId"),
        )
        environments = [given.get("environment", args.environment)]
        role = aws.iam.Role(
            f"{self._name}-{namespace}",
            name=named(f"lightwave-release-{namespace}", args.stack),
            description=f"Releases of {given['repository']} into the namespace {namespace}",
            assume_role_policy=pulumi.Output.from_input(args.oidc_provider_arn).apply(
                lambda arn: ci_policies.assumed_by_workflows(arn, repository, environments, DEPLOY_REF)
            ),
            opts=child,
        )
        find_cluster = {
            "Sid": "FindCluster",
            "Effect": "Allow",
            "Action": ["eks:DescribeCluster"],
            "Resource": [f"arn:aws:eks:{args.region}:{args.account_id}:cluster/{args.cluster}"],
        }
        aws.iam.RolePolicy(
            f"{self._name}-{namespace}-permissions",
            name="permissions",
            role=role.name,
            policy=ci_policies.policy([find_cluster]),
            opts=child,
        )
        return role

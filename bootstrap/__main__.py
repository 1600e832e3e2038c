"""What must exist before the platform's first deploy; `docs/bootstrap.md` says how to run it."""

import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws

# The Pulumi CLI starts this file with only its own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap.ci_access import DEFAULT_CLUSTER, DEFAULT_DATABASE, DEFAULT_NAMESPACES, CiAccess, CiAccessArgs
from bootstrap.service_deployers import ServiceDeployers, ServiceDeployersArgs
from bootstrap.state_store import StateStore, StateStoreArgs

config = pulumi.Config("lightwave-bootstrap")
stack = pulumi.get_stack()
"""The platform's stack of the same name uses what is declared here."""
region = pulumi.Config("aws").require("region")
account_id = config.require("accountId")

provider = aws.Provider(
    "aws",
    region=region,
    allowed_account_ids=[account_id],
    default_tags={"tags": {"project": "lightwave", "stack": stack, "managed-by": "pulumi"}},
)
state = StateStore(
    "state",
    StateStoreArgs(stack=stack, bucket=config.require("stateBucket"), region=region),
    pulumi.ResourceOptions(provider=provider),
)
access = CiAccess(
    "ci",
    CiAccessArgs(
        stack=stack,
        account_id=account_id,
        region=region,
        repository=config.require("repository"),
        repository_owner_id=config.get("repositoryOwnerId") or None,
        repository_id=config.get("repositoryId") or None,
        state_bucket_arn=state.bucket_arn,
        state_key_arn=state.key_arn,
        cluster=config.get("cluster", DEFAULT_CLUSTER),
        database=config.get("database", DEFAULT_DATABASE),
        namespaces=config.get_object("namespaces") or DEFAULT_NAMESPACES,
        oidc_provider_arn=config.get("oidcProviderArn") or None,
    ),
    pulumi.ResourceOptions(provider=provider),
)
deployers = config.get_object("deployers") or {}
if deployers:
    roles = ServiceDeployers(
        "deployers",
        ServiceDeployersArgs(
            stack=stack,
            account_id=account_id,
            region=region,
            cluster=config.get("cluster", DEFAULT_CLUSTER),
            oidc_provider_arn=access.oidc_provider_arn,
            deployers=deployers,
        ),
        pulumi.ResourceOptions(provider=provider),
    )
    pulumi.export("SERVICE_DEPLOYERS", roles.role_arns)

pulumi.export("PULUMI_BACKEND_URL", state.backend_url)
pulumi.export("secrets_provider", state.secrets_provider)
pulumi.export("PREVIEW_ROLE_ARN", access.preview_role_arn)
pulumi.export("DEPLOY_ROLE_ARN", access.deploy_role_arn)
pulumi.export("AWS_REGION", region)

"""What the EKS cluster tells about its network and its API: the one place of lookups at AWS."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from settings import AwsSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFacts:
    """Facts that components take as arguments; none of them asks AWS itself."""

    name: str
    arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    """URL of the Kubernetes API server."""
    certificate_authority: pulumi.Output[str]
    """The API server's CA, PEM in base64, as a kubeconfig holds it."""
    vpc_id: pulumi.Output[str]
    private_subnet_ids: pulumi.Output[list[str]]
    """At least two, sorted: AWS promises no order, and another order must not look like a change."""
    database_cidrs: pulumi.Output[list[str]]
    """Networks in which the database may listen: the VPC's own IPv4 range."""
    security_group_id: pulumi.Output[str]
    """The cluster security group: every node and pod has it, nothing outside the cluster does."""


def cluster_facts(
    name: str, overrides: AwsSettings, database_cidrs: Sequence[str] = (), provider: aws.Provider | None = None
) -> ClusterFacts:
    """Looks the cluster up; a fact in `overrides` (the stack's `aws` config) or `database_cidrs` stands in place of its
    lookup.

    The private subnets are those of the cluster's subnets whose instances get no public address. Where a VPC marks them
    in another way, or where there are fewer than the two that RDS needs, the config names them; RunError says so.
    """
    options = pulumi.InvokeOutputOptions(provider=provider)
    cluster = aws.eks.get_cluster_output(name=name, opts=options)
    network = cluster.vpc_config
    if overrides.private_subnet_ids:
        subnets = pulumi.Output.from_input(list(overrides.private_subnet_ids))
    else:
        subnets = aws.ec2.get_subnets_output(
            filters=network.subnet_ids.apply(
                lambda ids: [
                    aws.ec2.GetSubnetsFilterArgs(name="subnet-id", values=ids),
                    aws.ec2.GetSubnetsFilterArgs(name="map-public-ip-on-launch", values=["false"]),
                ]
            ),
            opts=options,
        ).ids
    vpc_id = pulumi.Output.from_input(overrides.vpc_id) if overrides.vpc_id else network.vpc_id
    return ClusterFacts(
        name=name,
        arn=cluster.arn,
        endpoint=cluster.endpoint,
        certificate_authority=cluster.certificate_authorities[0].data,
        vpc_id=vpc_id,
        private_subnet_ids=subnets.apply(lambda ids: _enough(name, ids)),
        database_cidrs=(
            pulumi.Output.from_input(list(database_cidrs))
            if database_cidrs
            else aws.ec2.get_vpc_output(id=vpc_id, opts=options).cidr_block.apply(lambda cidr: [cidr])
        ),
        security_group_id=pulumi.Output.from_input(
            overrides.cluster_security_group_id or network.cluster_security_group_id
        ),
    )


def _enough(cluster: str, subnet_ids: list[str]) -> list[str]:
    if len(set(subnet_ids)) < 2:
        raise pulumi.RunError(
            f"RDS needs private subnets in two availability zones; of the EKS cluster {cluster}'s: "
            f"{', '.join(subnet_ids) or 'none'}. Name them: "
            "pulumi config set --path 'lightwave:aws.privateSubnetIds[0]' <subnet id>, and [1]"
        )
    return sorted(set(subnet_ids))

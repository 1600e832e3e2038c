"""Network and API facts of the EKS cluster: the only lookups at AWS."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from settings import AwsSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFacts:
    """Facts that components take as arguments; no component asks AWS itself."""

    name: str
    region: str
    arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    """URL of the Kubernetes API server."""
    certificate_authority: pulumi.Output[str]
    """The API server's CA certificate: PEM in base64, as in a kubeconfig."""
    vpc_id: pulumi.Output[str]
    private_subnet_ids: pulumi.Output[list[str]]
    """At least two, sorted: AWS returns them in any order, and a different order must not look like a change."""
    database_cidrs: pulumi.Output[list[str]]
    """IPv4 networks in which the database may listen: those of its subnets unless configured."""
    security_group_id: pulumi.Output[str]
    """The cluster security group, which every node and pod has and nothing outside the cluster."""


def cluster_facts(
    name: str, settings: AwsSettings, database_cidrs: Sequence[str] = (), provider: aws.Provider | None = None
) -> ClusterFacts:
    """Looks up the cluster. A fact in `settings` or `database_cidrs` replaces its lookup.

    Private subnets are the cluster's subnets whose instances get no public address. Raises RunError where fewer than
    two are found, which RDS requires: the config must then name them.
    """
    options = pulumi.InvokeOutputOptions(provider=provider)
    cluster = aws.eks.get_cluster_output(name=name, opts=options)
    network = cluster.vpc_config
    if settings.private_subnet_ids:
        subnets = pulumi.Output.from_input(list(settings.private_subnet_ids))
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
    vpc_id = pulumi.Output.from_input(settings.vpc_id) if settings.vpc_id else network.vpc_id
    private_subnet_ids = subnets.apply(lambda ids: _enough(name, ids))
    return ClusterFacts(
        name=name,
        region=settings.region,
        arn=cluster.arn,
        endpoint=cluster.endpoint,
        certificate_authority=cluster.certificate_authorities[0].data,
        vpc_id=vpc_id,
        private_subnet_ids=private_subnet_ids,
        database_cidrs=(
            pulumi.Output.from_input(list(database_cidrs))
            if database_cidrs
            else private_subnet_ids.apply(lambda ids: _cidrs(ids, options))
        ),
        security_group_id=pulumi.Output.from_input(
            settings.cluster_security_group_id or network.cluster_security_group_id
        ),
    )


def _cidrs(subnet_ids: list[str], options: pulumi.InvokeOutputOptions) -> pulumi.Output[list[str]]:
    """The subnets' own networks, which may lie in a secondary range of the VPC; the rest of it is not the database."""
    found = [aws.ec2.get_subnet_output(id=subnet_id, opts=options).cidr_block for subnet_id in subnet_ids]
    return pulumi.Output.all(*found).apply(lambda cidrs: sorted(set(cidrs)))


def _enough(cluster: str, subnet_ids: list[str]) -> list[str]:
    if len(set(subnet_ids)) < 2:
        raise pulumi.RunError(
            "RDS needs private subnets in two availability zones; found for the EKS cluster "
            f"{cluster}: {', '.join(subnet_ids) or 'none'}. Name them: "
            "pulumi config set --path 'lightwave:aws.privateSubnetIds[0]' <subnet id>, and [1]"
        )
    return sorted(set(subnet_ids))

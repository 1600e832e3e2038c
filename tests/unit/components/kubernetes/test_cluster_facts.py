"""Facts looked up from the EKS cluster, and the config that replaces lookups."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.kubernetes.cluster_facts import cluster_facts
from ops.plan.recorder import Recording, record
from settings import AwsSettings

FACTS: dict[str, dict[str, Any]] = {
    "aws:eks/getCluster:getCluster": {
        "arn": "arn:aws:eks:eu-central-1:123456789012:cluster/lightwave-prod",
        "endpoint": "https://eks.example",
        "certificateAuthorities": [{"data": "Q0E="}],
        "vpcConfig": {
            "vpcId": "vpc-found",
            "subnetIds": ["subnet-c", "subnet-a", "subnet-public"],
            "clusterSecurityGroupId": "sg-found",
        },
    },
    "aws:ec2/getSubnets:getSubnets": {"ids": ["subnet-c", "subnet-a"]},
    "aws:ec2/getSubnet:getSubnet": {"cidrBlock": "100.64.7.0/24"},
}
FOUND = {
    "name": "lightwave-prod",
    "region": "eu-central-1",
    "arn": "arn:aws:eks:eu-central-1:123456789012:cluster/lightwave-prod",
    "endpoint": "https://eks.example",
    "certificate_authority": "Q0E=",
    "vpc_id": "vpc-found",
    "private_subnet_ids": ["subnet-a", "subnet-c"],
    "database_cidrs": ["100.64.7.0/24"],
    "security_group_id": "sg-found",
}
CLUSTER_CALL = ("aws:eks/getCluster:getCluster", {"name": "lightwave-prod"})


def looked_up(
    facts: dict[str, dict[str, Any]] | None = None, *, database_cidrs: tuple[str, ...] = (), **overrides: Any
) -> Recording:
    settings = AwsSettings.model_validate({"accountId": "123456789012", "region": "eu-central-1", **overrides})

    def program() -> None:
        found = cluster_facts("lightwave-prod", settings, database_cidrs)
        for field in FOUND:
            pulumi.export(field, getattr(found, field))

    return record(program, stack="prod", facts={**FACTS, **(facts or {})})


def test_everything_is_derived_from_the_cluster() -> None:
    recorded = looked_up()
    assert recorded.outputs == FOUND
    assert recorded.calls == (
        ("aws:ec2/getSubnet:getSubnet", {"id": "subnet-a"}),
        ("aws:ec2/getSubnet:getSubnet", {"id": "subnet-c"}),
        (
            "aws:ec2/getSubnets:getSubnets",
            {
                "filters": [
                    {"name": "subnet-id", "values": ["subnet-c", "subnet-a", "subnet-public"]},
                    {"name": "map-public-ip-on-launch", "values": ["false"]},
                ]
            },
        ),
        CLUSTER_CALL,
    )
    assert recorded.resources == ()


def test_config_replaces_each_lookup() -> None:
    recorded = looked_up(
        vpcId="vpc-0a1b2c3d",
        privateSubnetIds=("subnet-0b0b0b0b", "subnet-0a0a0a0a"),
        clusterSecurityGroupId="sg-0a1b2c3d",
        database_cidrs=("10.1.0.0/24", "10.1.1.0/24"),
    )
    assert recorded.outputs == {
        **FOUND,
        "vpc_id": "vpc-0a1b2c3d",
        "private_subnet_ids": ["subnet-0a0a0a0a", "subnet-0b0b0b0b"],
        "database_cidrs": ["10.1.0.0/24", "10.1.1.0/24"],
        "security_group_id": "sg-0a1b2c3d",
    }
    assert recorded.calls == (CLUSTER_CALL,)


def test_the_networks_are_those_of_the_subnets_in_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each subnet's own: not the VPC's primary range, which they need not be in."""
    networks = {"subnet-0b0b0b0b": "100.64.9.0/24", "subnet-0a0a0a0a": "10.1.0.0/24"}

    def get_subnet(**arguments: Any) -> Any:
        return SimpleNamespace(cidr_block=pulumi.Output.from_input(networks[arguments["id"]]))

    monkeypatch.setattr(aws.ec2, "get_subnet_output", get_subnet)
    recorded = looked_up(privateSubnetIds=tuple(networks))
    assert recorded.outputs["database_cidrs"] == ["10.1.0.0/24", "100.64.9.0/24"]
    assert recorded.calls == (CLUSTER_CALL,)


@pytest.mark.parametrize("ids", [[], ["subnet-a"], ["subnet-a", "subnet-a"]])
def test_fewer_than_two_private_subnets_are_refused(ids: list[str]) -> None:
    with pytest.raises(pulumi.RunError, match=r"two availability zones.*aws\.privateSubnetIds\[0\]"):
        looked_up({"aws:ec2/getSubnets:getSubnets": {"ids": ids}})


def test_one_named_subnet_is_refused_too() -> None:
    with pytest.raises(pulumi.RunError, match="subnet-0a0a0a0a"):
        looked_up(privateSubnetIds=("subnet-0a0a0a0a",))


def test_the_plan_needs_no_account() -> None:
    def program() -> None:
        settings = AwsSettings.model_validate({"accountId": "123456789012", "region": "eu-central-1"})
        pulumi.export("vpc", cluster_facts("lightwave-prod", settings).vpc_id)

    assert record(program, stack="prod").outputs == {"vpc": "<known at deploy>"}


def test_the_lookups_go_through_the_given_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[Any] = []
    used: list[aws.Provider] = []

    def listening(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            providers.append(arguments["opts"].provider)
            return real(**arguments)

        return call

    monkeypatch.setattr(aws.eks, "get_cluster_output", listening(aws.eks.get_cluster_output))
    monkeypatch.setattr(aws.ec2, "get_subnets_output", listening(aws.ec2.get_subnets_output))
    monkeypatch.setattr(aws.ec2, "get_subnet_output", listening(aws.ec2.get_subnet_output))

    def program() -> None:
        settings = AwsSettings.model_validate({"accountId": "123456789012", "region": "eu-central-1"})
        provider = aws.Provider("aws", region="eu-central-1")
        cluster_facts("lightwave-prod", settings, provider=provider)
        used.append(provider)

    record(program, stack="prod", facts=FACTS)
    assert providers == used * 4

"""No two stacks share a name, even in one AWS account, one region and one Cloudflare zone.

Every text in every input of what is declared outside a stack's own cluster and database server counts as a name, unless
it stands in `MAY_BE_EQUAL` with a reason. So does every argument of a lookup.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from ops.plan.recorder import Recording, record_stack
from policies.rules.model import UNKNOWN, Secret
from tests.configs import FULL_MONITORING, SERVICES
from tests.unit.conftest import STACKS, full_config

PLACES_OF_ITS_OWN = {
    "kubernetes": "in the stack's own cluster, which pulumi:providers:kubernetes.clusterIdentifier names",
    "postgresql": "in the stack's own server, whose address nobody chooses",
    "random": "generated values",
    "lightwave": "components, which are at no provider",
}
"""By package, why its resources' names may be the same in two stacks."""

MAY_BE_EQUAL: dict[str, tuple[str, ...]] = {
    "where it is: two stacks may be in one account, region and zone": (
        "*.accountId", "*.zoneId", "aws.allowedAccountIds", "aws.region",
    ),
    "a choice among the provider's own values": (
        "AccountToken.policies.effect", "DnsRecord.type", "EventSubscription.eventCategories",
        "EventSubscription.sourceType", "Instance.caCertIdentifier", "Instance.databaseInsightsMode",
        "Instance.enabledCloudwatchLogsExports", "Instance.engine", "Instance.engineLifecycleSupport",
        "Instance.engineVersion", "Instance.storageType", "MetricAlarm.comparisonOperator", "MetricAlarm.metricName",
        "MetricAlarm.namespace", "MetricAlarm.statistic", "MetricAlarm.treatMissingData",
        "MetricAlarm.metricQueries.label", "ParameterGroup.family", "ParameterGroup.parameters.applyMethod",
        "ParameterGroup.parameters.name", "ParameterGroup.parameters.value", "*.jurisdiction", "R2Bucket.storageClass",
        "R2BucketCors.rules.allowed.methods", "*.abortMultipartUploadsTransition.condition.type",
        "R2BucketLifecycle.rules.conditions.prefix", "R2CustomDomain.minTls", "*.policyArn",
        "SecurityGroupIngressRule.ipProtocol", "TopicSubscription.protocol", "ZeroTrustAccessApplication.type",
        "ZeroTrustAccessPolicy.decision", "ZeroTrustTunnelCloudflared.configSrc", "getSubnets.filters.name",
        "getSubnets.filters.values", "getAccountApiTokenPermissionGroupsList.name",
    ),
    "how it behaves, not what it is called": (
        "Instance.backupWindow", "Instance.maintenanceWindow", "ZeroTrustAccessApplication.sessionDuration",
        "aws.skipCredentialsValidation", "aws.skipRegionValidation", "kubernetes.enableConfigMapMutable",
        "kubernetes.enableSecretMutable", "kubernetes.upsertExistingObjects", "postgresql.connectTimeout",
        "postgresql.sslmode", "postgresql.sslrootcert", "postgresql.superuser",
    ),
    "words for people": ("*.description",),
    "people, who may be the same": ("TopicSubscription.endpoint", "ZeroTrustAccessPolicy.includes.email.email"),
    "names one resource inside another one of the stack's own": (
        "MetricAlarm.metricQueries.id", "R2BucketCors.rules.id", "R2BucketLifecycle.rules.id",
    ),
    "the database and its admin, in a server of the stack's own": (
        "Instance.dbName", "Instance.username", "postgresql.database", "postgresql.port", "postgresql.username",
    ),
    "names in the cluster, which is the stack's own": (
        "AccessEntry.kubernetesGroups", "ZeroTrustTunnelCloudflaredConfig.config.ingresses.service",
    ),
    "an ARN that bootstrap made; the access entry is one of the stack's cluster": ("AccessEntry.principalArn",),
    "a policy that names no resource but those that the deploy knows": (
        "Role.assumeRolePolicy", "TopicPolicy.policy",
    ),
    "an id that the deploy knows": (
        "DnsRecord.content", "Instance.vpcSecurityGroupIds", "MetricAlarm.metricQueries.expression",
        "SecretVersion.secretId", "SecurityGroupIngressRule.securityGroupId", "SubnetGroup.subnetIds", "getSubnet.id",
        "ZeroTrustAccessApplication.policies.id", "ZeroTrustTunnelCloudflaredConfig.tunnelId",
    ),
}  # fmt: skip
"""By reason, the properties that two stacks may have the same value of; `*` stands for the beginning of a path."""


def texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text below a value, with the path of its property; neither secrets nor what the deploy knows."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, path)
    elif isinstance(value, str) and value is not UNKNOWN and not isinstance(value, Secret):
        yield path, value


def names(recording: Recording) -> set[tuple[str, str]]:
    """The property and the text of everything that could be a name, outside `PLACES_OF_ITS_OWN`."""
    declared = [(r.type, r.inputs) for r in recording.resources if r.type.partition(":")[0] not in PLACES_OF_ITS_OWN]
    found = [pair for type_, inputs in [*declared, *recording.calls] for pair in texts(inputs, type_.split(":")[-1])]
    allowed = tuple(pattern for patterns in MAY_BE_EQUAL.values() for pattern in patterns)
    return {(path, text) for path, text in found if not any(matches(pattern, path) for pattern in allowed)}


def matches(pattern: str, path: str) -> bool:
    return path.endswith(pattern[1:]) if pattern.startswith("*") else path == pattern


@pytest.fixture(scope="module")
def full() -> Callable[[str], Recording]:
    """A stack with everything that it can have switched on, in one account and zone with the others."""

    @cache
    def recorded(stack: str) -> Recording:
        config = full_config(stack)
        if stack == "dev":
            config["lightwave:media"] = {
                **full_config("prod")["lightwave:media"],
                "bucket": "lightwave-media-dev",
                "domain": "cdn-dev.lightwave-media.site",
                "zoneSingletons": False,
            }
            del config["lightwave:media"]["corsOrigins"]
            return record_stack(stack, overrides=config)
        config["lightwave:database"]["alarmEmail"] = "on-call@lightwave-media.site"
        config["lightwave:edge"]["admins"] = ["ana@lightwave-media.site"]
        config["lightwave:monitoring"] = {**FULL_MONITORING, "storageClass": "gp3"}
        config["lightwave:services"] = {"django": {"image": SERVICES["django"]["image"]}}
        deployer = {"deployerPrincipal": "arn:aws:iam::123456789012:role/deployer"}
        config["lightwave:kubernetes"]["namespaces"]["payload-cms"] |= deployer
        return record_stack(stack, overrides=config)

    return recorded


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(STACKS, 2)])
def test_no_two_stacks_share_a_name(full: Callable[[str], Recording], one: str, other: str) -> None:
    assert names(full(one)) & names(full(other)) == set()


def test_every_name_is_seen(full: Callable[[str], Recording]) -> None:
    """A second stack with production's file would collide in all of these."""
    seen: dict[str, set[str]] = {}
    for path, text in names(full("prod")):
        seen.setdefault(path, set()).add(text)
    assert {path: seen[path] for path in SEEN} == SEEN
    assert len(seen["MetricAlarm.name"]) > 5


SEEN = {
    "AccessEntry.clusterName": {"lightwave-prod"},
    "AccountToken.name": {"lightwave-media objects"},
    "DnsRecord.name": {"cms.lightwave-media.site"},
    "EventSubscription.name": {"lightwave-platform-events"},
    "Instance.finalSnapshotIdentifier": {"lightwave-platform-final"},
    "Instance.identifier": {"lightwave-platform"},
    "LogGroup.name": {f"/aws/rds/instance/lightwave-platform/{log}" for log in ("postgresql", "upgrade")},
    "ParameterGroup.name": {"lightwave-platform-postgres15"},
    "R2Bucket.name": {"lightwave-media"},
    "R2CustomDomain.domain": {"cdn.lightwave-media.site"},
    "Role.name": {"lightwave-platform-monitoring"},
    "Secret.name": {"lightwave/prod/database/admin"},
    "SecurityGroup.name": {"lightwave-platform-database"},
    "SubnetGroup.name": {"lightwave-platform"},
    "Topic.name": {"lightwave-platform-alarms"},
    "ZeroTrustAccessApplication.domain": {"cms.lightwave-media.site/admin"},
    "ZeroTrustAccessPolicy.name": {"Administrators of cms.lightwave-media.site"},
    "ZeroTrustTunnelCloudflared.name": {"lightwave-prod"},
    "getCluster.name": {"lightwave-prod"},
    "kubernetes.clusterIdentifier": {"lightwave-prod"},
}


def test_no_exception_is_left_over(full: Callable[[str], Recording]) -> None:
    """An exception that nothing needs any more would let a later name pass."""
    paths = {
        path
        for stack in ("staging", "prod")
        for type_, inputs in [*((r.type, r.inputs) for r in full(stack).resources), *full(stack).calls]
        for path, _ in texts(inputs, type_.split(":")[-1])
    }
    patterns = {pattern for patterns in MAY_BE_EQUAL.values() for pattern in patterns}
    assert {pattern for pattern in patterns if not any(matches(pattern, path) for path in paths)} == set()

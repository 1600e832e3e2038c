"""The database's alarms, events and topic, by exact inputs."""

import json
from typing import Any

import pulumi
import pytest
from pydantic import ValidationError

from components.database.alarms import DatabaseAlarms, DatabaseAlarmsArgs
from ops.plan.recorder import KNOWN, Recording, record
from policies.rules.model import Resource
from settings import RdsSettings
from settings.names import IDLE_IN_TRANSACTION_MS

COMPONENT = "urn:pulumi:prod::lightwave::lightwave:database:DatabaseAlarms::alarms"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
ACCOUNT = "123456789012"
IDLE = "alarms-idle-transactions"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"

# db.t3.medium: 4 GiB, 576 credits at most; 50 GiB of storage; a budget of 372 connections.
EXPECTED = {
    "lightwave-platform-cpu": ("CPUUtilization", "Average", ABOVE, 80, "breaching"),
    "lightwave-platform-cpu-credits": ("CPUCreditBalance", "Average", BELOW, 57.6, "missing"),
    "lightwave-platform-memory": ("FreeableMemory", "Average", BELOW, 429_496_729, "missing"),
    "lightwave-platform-swap": ("SwapUsage", "Average", ABOVE, 268_435_456, "missing"),
    "lightwave-platform-storage": ("FreeStorageSpace", "Average", BELOW, 5_368_709_120, "missing"),
    "lightwave-platform-connections": ("DatabaseConnections", "Maximum", ABOVE, 297, "missing"),
    "lightwave-platform-disk-queue": ("DiskQueueDepth", "Average", ABOVE, 60, "missing"),
    "lightwave-platform-transaction-ids": ("MaximumUsedTransactionIDs", "Maximum", ABOVE, 1e9, "missing"),
    "lightwave-platform-io-balance": ("EBSIOBalance%", "Average", BELOW, 20, "notBreaching"),
    "lightwave-platform-throughput-balance": ("EBSByteBalance%", "Average", BELOW, 20, "notBreaching"),
}


def rds(**changes: Any) -> RdsSettings:
    return RdsSettings.model_validate({"server": "rds", "alarmEmail": "oncall@lightwave-media.site", **changes})


def arguments(**changes: Any) -> DatabaseAlarmsArgs:
    return DatabaseAlarmsArgs(
        **{
            "settings": rds(),
            "instance": "lightwave-platform",
            "resource_id": pulumi.Output.from_input("db-ABCDEFGHIJKL"),
            "connection_budget": 372,
            "account_id": ACCOUNT,
            **changes,
        }
    )


def recording(**changes: Any) -> Recording:
    return record(lambda: DatabaseAlarms("alarms", arguments(**changes)), stack="prod")


def of_metrics(recorded: Recording) -> list[Resource]:
    """The alarms on a metric of CloudWatch itself."""
    return [alarm for alarm in recorded.of_type(ALARM) if alarm.name != IDLE]


def thresholds(recorded: Recording) -> dict[str, float]:
    return {r.inputs["metricName"]: r.inputs["threshold"] for r in of_metrics(recorded)}


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def test_declares_exactly_these(recorded: Recording) -> None:
    assert sorted((r.type, r.name) for r in recorded.resources) == [
        *sorted((ALARM, name.replace("lightwave-platform", "alarms")) for name in (*EXPECTED, IDLE)),
        ("aws:rds/eventSubscription:EventSubscription", "alarms-events"),
        ("aws:sns/topic:Topic", "alarms-topic"),
        ("aws:sns/topicPolicy:TopicPolicy", "alarms-topic-policy"),
        ("aws:sns/topicSubscription:TopicSubscription", "alarms-email"),
        ("lightwave:database:DatabaseAlarms", "alarms"),
    ]
    assert {r.parent for r in recorded.resources if r.urn != COMPONENT} == {COMPONENT}
    assert recorded.component_outputs[COMPONENT] == {"topic_arn": KNOWN}


def test_every_alarm(recorded: Recording) -> None:
    alarms = of_metrics(recorded)
    assert {
        r.inputs["name"]: (
            r.inputs["metricName"],
            r.inputs["statistic"],
            r.inputs["comparisonOperator"],
            r.inputs["threshold"],
            r.inputs["treatMissingData"],
        )
        for r in alarms
    } == EXPECTED
    for alarm in alarms:
        assert {key: alarm.inputs.get(key) for key in ("namespace", "dimensions", "unit", "period")} == {
            "namespace": "AWS/RDS",
            "dimensions": {"DBInstanceIdentifier": "lightwave-platform"},
            "unit": None,
            "period": 300,
        }
        assert (alarm.inputs["evaluationPeriods"], alarm.inputs["datapointsToAlarm"]) == (3, 3)
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [KNOWN]
        assert alarm.inputs["alarmDescription"].startswith("lightwave-platform: ")


def test_an_idle_transaction_is_reported_before_its_session_is_ended(recorded: Recording) -> None:
    alarm = recorded.one(ALARM, IDLE).inputs
    (query,) = alarm["metricQueries"]
    assert query == {
        "id": "idle",
        "expression": "DB_PERF_INSIGHTS('RDS', 'db-ABCDEFGHIJKL', 'db.state.idle_in_transaction_max_time.max')",
        "label": "db.state.idle_in_transaction_max_time.max",
        "period": 60,
        "returnData": True,
    }
    assert (alarm["comparisonOperator"], alarm["threshold"], alarm["evaluationPeriods"]) == (ABOVE, 60, 1)
    assert alarm["threshold"] * 1000 < min(IDLE_IN_TRANSACTION_MS.values())
    assert "metricName" not in alarm
    assert alarm["treatMissingData"] == "notBreaching"
    assert alarm["alarmActions"] == alarm["okActions"] == [KNOWN]


def test_events_are_subscribed_to_once_rds_may_publish(recorded: Recording) -> None:
    events = recorded.one("aws:rds/eventSubscription:EventSubscription", "alarms-events")
    assert events.inputs == {
        "name": "lightwave-platform-events",
        "snsTopic": KNOWN,
        "sourceType": "db-instance",
        "sourceIds": ["lightwave-platform"],
        "enabled": True,
        "eventCategories": [
            "availability",
            "configuration change",
            "deletion",
            "failover",
            "failure",
            "low storage",
            "maintenance",
            "notification",
            "recovery",
        ],
    }
    assert "alarms-topic-policy" in {urn.rpartition("::")[2] for urn in events.depends_on}


def test_only_cloudwatch_and_rds_of_this_account_may_publish(recorded: Recording) -> None:
    topic = recorded.one("aws:sns/topic:Topic", "alarms-topic")
    assert topic.inputs == {"name": "lightwave-platform-alarms"}  # no KMS key: RDS would not deliver
    policy = recorded.one("aws:sns/topicPolicy:TopicPolicy", "alarms-topic-policy")
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {
            "Sid": "AlarmsAndEvents",
            "Effect": "Allow",
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]},
            "Action": "sns:Publish",
            "Resource": KNOWN,
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ]


def test_an_alarm_email_is_subscribed(recorded: Recording) -> None:
    subscription = recorded.one("aws:sns/topicSubscription:TopicSubscription", "alarms-email")
    assert subscription.inputs == {"topic": KNOWN, "protocol": "email", "endpoint": "oncall@lightwave-media.site"}
    assert not recording(settings=rds(alarmEmail=None)).of_type("aws:sns/topicSubscription:TopicSubscription")


@pytest.mark.parametrize(
    ("instance_class", "memory", "swap", "credits_left"),
    [
        ("db.t4g.large", 858_993_459, 536_870_912, 86.4),
        ("db.t3.2xlarge", 3_435_973_836, 2_147_483_648, 460.8),
        ("db.m6g.large", 858_993_459, 536_870_912, None),
        ("db.r6g.xlarge", 3_435_973_836, 2_147_483_648, None),
    ],
)
def test_thresholds_follow_the_class(instance_class: str, memory: int, swap: int, credits_left: float | None) -> None:
    found = thresholds(recording(settings=rds(instanceClass=instance_class)))
    assert found["FreeableMemory"] == memory
    assert found["SwapUsage"] == swap
    if credits_left:
        assert found["CPUCreditBalance"] == pytest.approx(credits_left)
    else:
        assert "CPUCreditBalance" not in found


def test_thresholds_follow_storage_and_budget() -> None:
    found = thresholds(recording(settings=rds(allocatedStorageGib=100), connection_budget=1000))
    assert found["FreeStorageSpace"] == 10 * 1024**3
    assert found["DatabaseConnections"] == 800


def test_a_budget_of_no_connections_is_refused() -> None:
    with pytest.raises(pulumi.InputPropertyError) as refused:
        recording(connection_budget=0)
    assert f"{refused.value.property_path}: {refused.value.reason}" == "connection_budget: 0; expected: above 0"


def test_a_storage_of_no_size_is_refused_by_the_settings() -> None:
    with pytest.raises(ValidationError, match="allocatedStorageGib"):
        rds(allocatedStorageGib=-1)


@pytest.mark.parametrize(
    ("size", "credits_left"),
    [("micro", 28.8), ("small", 57.6), ("medium", 57.6), ("large", 86.4), ("xlarge", 230.4), ("2xlarge", 460.8)],
)
def test_a_tenth_of_a_days_credits_rings(size: str, credits_left: float) -> None:
    """AWS: a t3 or t4g class earns 12, 24, 24, 36, 96 and 192 credits an hour, and keeps those of 24 hours."""
    found = thresholds(recording(settings=rds(instanceClass=f"db.t3.{size}")))
    assert found["CPUCreditBalance"] == pytest.approx(credits_left)

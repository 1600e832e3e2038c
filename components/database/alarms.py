"""CloudWatch alarms and RDS events of the database, sent to one SNS topic.

The topic is not encrypted: RDS does not deliver events to an encrypted one, and an alarm contains no data.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from components.database.connection_budget import MEMORY_GIB
from settings import RdsSettings

GIB = 1024**3

PERIOD_SECONDS = 300
PERIODS = 3
"""An alarm takes 15 minutes: failovers, backups and minor upgrades are over sooner."""

IDLE_SECONDS = 60
"""An idle transaction that is reported: half of the shortest limit that a framework's role has."""

CREDITS_PER_HOUR = {"micro": 12, "small": 24, "medium": 24, "large": 36, "xlarge": 96, "2xlarge": 192}
"""CPU credits that a t3 or t4g class earns, by size. The balance holds 24 hours' worth (AWS: Key concepts for burstable
performance instances)."""

EVENT_CATEGORIES = (
    "availability",
    "configuration change",
    "deletion",
    "failover",
    "failure",
    "low storage",
    "maintenance",
    "notification",
    "recovery",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAlarmsArgs:
    """Arguments of `DatabaseAlarms`."""

    settings: RdsSettings
    """Its `identifier` is the prefix of every name here. AWS asks `alarm_email` for a confirmation before it sends;
    without that address the topic has no subscriber."""
    instance: pulumi.Input[str]
    """The identifier as the instance's output: only an existing instance's events can be subscribed to."""
    resource_id: pulumi.Output[str]
    """The instance's resource id (`db-…`), by which Performance Insights knows it."""
    connection_budget: int
    """Connections that products may use: less than the server's max_connections."""
    account_id: str
    """AWS account: only its alarms and events may publish."""

    def __post_init__(self) -> None:
        if self.connection_budget <= 0:
            raise pulumi.InputPropertyError("connection_budget", f"{self.connection_budget}; expected: above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Alarm:
    name: str
    metric: str
    when: Literal["above", "below"]
    threshold: float
    """In the metric's own unit. The alarm itself names none: CloudWatch would ignore data with another unit."""
    meaning: str
    statistic: Literal["Average", "Maximum"] = "Average"
    missing: Literal["missing", "breaching", "notBreaching"] = "missing"
    """Treatment of missing data. missing: INSUFFICIENT_DATA, no notification; notBreaching: for metrics that not every
    class has."""


def _alarms(args: DatabaseAlarmsArgs) -> Iterator[_Alarm]:
    settings = args.settings
    memory = MEMORY_GIB[settings.instance_class] * GIB
    _, family, size = settings.instance_class.split(".")
    yield _Alarm(
        name="cpu",
        metric="CPUUtilization",
        when="above",
        threshold=80,  # percent
        meaning="CPU above 80 %, or no word from the instance",
        # RDS sends it every minute while the instance runs, so this alarm also reports an instance that fell silent.
        missing="breaching",
    )
    if family.startswith("t"):
        yield _Alarm(
            name="cpu-credits",
            metric="CPUCreditBalance",
            when="below",
            # Credits. A new instance starts at 0, so this alarm fires in its first hours.
            threshold=CREDITS_PER_HOUR[size] * 24 / 10,
            meaning="less than a tenth of the CPU credits left: bursting is billed, or ends",
        )
    yield _Alarm(
        name="memory",
        metric="FreeableMemory",
        when="below",
        threshold=memory // 10,  # bytes
        meaning="less than a tenth of the memory freeable",
    )
    yield _Alarm(
        name="swap",
        metric="SwapUsage",
        when="above",
        threshold=memory // 16,  # bytes
        meaning="swap in use: the working set does not fit the memory",
    )
    yield _Alarm(
        name="storage",
        metric="FreeStorageSpace",
        when="below",
        # Bytes. RDS grows the storage at a tenth free, at most every six hours; the alarm is for when it could not.
        threshold=settings.allocated_storage_gib * GIB // 10,
        meaning="storage nearly full in spite of autoscaling",
    )
    yield _Alarm(
        name="connections",
        metric="DatabaseConnections",
        when="above",
        threshold=args.connection_budget * 8 // 10,  # count
        meaning="more than 80 % of the connection budget in use",
        statistic="Maximum",
    )
    yield _Alarm(
        name="disk-queue",
        metric="DiskQueueDepth",
        when="above",
        threshold=60,  # requests: gp3's 3,000 per second, each waiting 20 ms
        meaning="the disk cannot keep up",
    )
    yield _Alarm(
        name="transaction-ids",
        metric="MaximumUsedTransactionIDs",
        when="above",
        threshold=1_000_000_000,  # count; PostgreSQL stops taking writes near 2.1 billion
        meaning="vacuum does not keep up: half way to transaction id wraparound",
        statistic="Maximum",
    )
    for name, metric in (("io-balance", "EBSIOBalance%"), ("throughput-balance", "EBSByteBalance%")):
        yield _Alarm(
            name=name,
            metric=metric,
            when="below",
            threshold=20,  # percent
            meaning="the instance has used up most of its burst of disk requests or throughput",
            missing="notBreaching",
        )


class DatabaseAlarms(pulumi.ComponentResource):
    """Alarms and events of one RDS instance, and the topic that they are sent to."""

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:database:DatabaseAlarms", name, {}, opts)
        self._name = name
        self._args = args
        identifier = args.settings.identifier

        topic, may_publish = self._topic()
        for alarm in _alarms(args):
            aws.cloudwatch.MetricAlarm(
                f"{name}-{alarm.name}",
                name=f"{identifier}-{alarm.name}",
                alarm_description=f"{identifier}: {alarm.meaning}",
                namespace="AWS/RDS",
                metric_name=alarm.metric,
                dimensions={"DBInstanceIdentifier": args.instance},
                statistic=alarm.statistic,
                period=PERIOD_SECONDS,
                evaluation_periods=PERIODS,
                datapoints_to_alarm=PERIODS,
                comparison_operator="GreaterThanThreshold" if alarm.when == "above" else "LessThanThreshold",
                threshold=alarm.threshold,
                treat_missing_data=alarm.missing,
                alarm_actions=[topic.arn],
                ok_actions=[topic.arn],
                opts=self._child(),
            )
        self._idle_transactions(topic)
        aws.rds.EventSubscription(
            f"{name}-events",
            name=f"{identifier}-events",
            sns_topic=topic.arn,
            source_type="db-instance",
            source_ids=[args.instance],
            event_categories=list(EVENT_CATEGORIES),
            enabled=True,
            # RDS rejects a topic that it may not publish to.
            opts=self._child(may_publish),
        )
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": self.topic_arn})

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _idle_transactions(self, topic: aws.sns.Topic) -> None:
        """An alarm before PostgreSQL ends a session whose transaction is idle: that loses the transaction's writes.

        The metric is a counter of Performance Insights, which CloudWatch reads through metric math alone.
        """
        identifier = self._args.settings.identifier
        counter = "db.state.idle_in_transaction_max_time.max"
        expression = self._args.resource_id.apply(
            lambda resource_id: f"DB_PERF_INSIGHTS('RDS', '{resource_id}', '{counter}')"
        )
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-idle-transactions",
            name=f"{identifier}-idle-transactions",
            alarm_description=f"{identifier}: a transaction has been idle for more than {IDLE_SECONDS} s",
            metric_queries=[
                aws.cloudwatch.MetricAlarmMetricQueryArgs(
                    id="idle", expression=expression, label=counter, period=60, return_data=True
                )
            ],
            evaluation_periods=1,
            datapoints_to_alarm=1,
            comparison_operator="GreaterThanThreshold",
            threshold=IDLE_SECONDS,
            treat_missing_data="notBreaching",
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            opts=self._child(),
        )

    def _topic(self) -> tuple[aws.sns.Topic, aws.sns.TopicPolicy]:
        settings = self._args.settings
        topic = aws.sns.Topic(f"{self._name}-topic", name=f"{settings.identifier}-alarms", opts=self._child())
        policy = aws.sns.TopicPolicy(
            f"{self._name}-topic-policy", arn=topic.arn, policy=topic.arn.apply(self._policy), opts=self._child()
        )
        if settings.alarm_email is not None:
            aws.sns.TopicSubscription(
                f"{self._name}-email",
                topic=topic.arn,
                protocol="email",
                endpoint=settings.alarm_email,
                opts=self._child(),
            )
        return topic, policy

    def _policy(self, topic_arn: str) -> str:
        """Lets CloudWatch and RDS of this account publish, and nobody else do anything."""
        return json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "AlarmsAndEvents",
                        "Effect": "Allow",
                        "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"]},
                        "Action": "sns:Publish",
                        "Resource": topic_arn,
                        "Condition": {"StringEquals": {"aws:SourceAccount": self._args.account_id}},
                    }
                ],
            }
        )

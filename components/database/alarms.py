"""What wakes somebody for the database: CloudWatch alarms and RDS events, to one SNS topic.

The topic is not encrypted: RDS does not deliver events to an encrypted one, and an alarm tells no data.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from components.database.connection_budget import MEMORY_GIB

GIB = 1024**3

PERIOD_SECONDS = 300
PERIODS = 3
"""An alarm needs a quarter of an hour: failovers, backups and minor upgrades are over sooner."""

CREDITS_AN_HOUR = {"micro": 12, "small": 24, "medium": 24, "large": 36, "xlarge": 96, "2xlarge": 192}
"""CPU credits that a burstable class earns, by size, for t3 and t4g alike; its balance holds 24 hours' worth (AWS: Key
concepts for burstable performance instances)."""

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
    """What `DatabaseAlarms` needs."""

    identifier: str
    """Name of the instance, and the beginning of every name here."""
    instance: pulumi.Input[str]
    """The identifier as the instance's output: its events can be subscribed to once it exists."""
    instance_class: str
    allocated_storage_gib: int
    connection_budget: int
    """Connections that the server is planned to serve, below its max_connections."""
    account_id: str
    """The account whose alarms and events alone may publish."""
    email: str | None = None
    """Who is written to; AWS asks that address for a confirmation first. Without it the topic has no subscriber."""

    def __post_init__(self) -> None:
        if self.instance_class not in MEMORY_GIB:
            raise pulumi.InputPropertyError("instance_class", f"{self.instance_class} is not known")
        for field in ("connection_budget", "allocated_storage_gib"):
            if getattr(self, field) <= 0:
                raise pulumi.InputPropertyError(field, f"{getattr(self, field)}; allowed: above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Alarm:
    name: str
    metric: str
    when: Literal["above", "below"]
    threshold: float
    """In the metric's own unit. The alarm names no unit: CloudWatch would drop data sent under another."""
    meaning: str
    statistic: Literal["Average", "Maximum"] = "Average"
    missing: Literal["missing", "breaching", "notBreaching"] = "missing"
    """missing: the alarm says INSUFFICIENT_DATA and calls nobody; notBreaching: not every class has the metric."""


def _alarms(args: DatabaseAlarmsArgs) -> Iterator[_Alarm]:
    memory = MEMORY_GIB[args.instance_class] * GIB
    _, family, size = args.instance_class.split(".")
    yield _Alarm(
        name="cpu",
        metric="CPUUtilization",
        when="above",
        threshold=80,  # percent
        meaning="CPU above 80 %, or no word from the instance",
        # RDS sends it each minute as long as the instance runs: this one alarm stands for an instance gone silent.
        missing="breaching",
    )
    if family.startswith("t"):
        yield _Alarm(
            name="cpu-credits",
            metric="CPUCreditBalance",
            when="below",
            # Credits. A new instance starts at 0, so this one fires in its first hours.
            threshold=CREDITS_AN_HOUR[size] * 24 / 10,
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
        # Bytes. RDS grows the storage at a tenth free, at most every six hours: this is for when it could not.
        threshold=args.allocated_storage_gib * GIB // 10,
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
        threshold=60,  # requests: gp3's 3,000 a second, each waiting 20 ms
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
    """The alarms of one RDS instance, its events, and the topic they go to."""

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:database:DatabaseAlarms", name, {}, opts)
        self._name = name
        self._args = args

        topic, may_publish = self._topic()
        for alarm in _alarms(args):
            aws.cloudwatch.MetricAlarm(
                f"{name}-{alarm.name}",
                name=f"{args.identifier}-{alarm.name}",
                alarm_description=f"{args.identifier}: {alarm.meaning}",
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
                opts=self._options(),
            )
        aws.rds.EventSubscription(
            f"{name}-events",
            name=f"{args.identifier}-events",
            sns_topic=topic.arn,
            source_type="db-instance",
            source_ids=[args.instance],
            event_categories=list(EVENT_CATEGORIES),
            enabled=True,
            # RDS refuses a topic that it may not publish to.
            opts=self._options(may_publish),
        )
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": self.topic_arn})

    def _options(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _topic(self) -> tuple[aws.sns.Topic, aws.sns.TopicPolicy]:
        topic = aws.sns.Topic(f"{self._name}-topic", name=f"{self._args.identifier}-alarms", opts=self._options())
        policy = aws.sns.TopicPolicy(
            f"{self._name}-topic-policy",
            arn=topic.arn,
            policy=topic.arn.apply(self._policy),
            opts=self._options(),
        )
        if self._args.email is not None:
            aws.sns.TopicSubscription(
                f"{self._name}-email",
                topic=topic.arn,
                protocol="email",
                endpoint=self._args.email,
                opts=self._options(),
            )
        return topic, policy

    def _policy(self, topic_arn: str) -> str:
        """CloudWatch and RDS of this account may publish, nobody else may do anything."""
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

"""RDS: encrypted, private, backed up, hard to delete, TLS only."""

from collections.abc import Iterator
from typing import Any

from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Problem,
    Resource,
    ResourceRule,
    expect,
    is_false,
    is_true,
    items_at,
    value_at,
)

INSTANCE = "aws:rds/instance:Instance"
PARAMETER_GROUP = "aws:rds/parameterGroup:ParameterGroup"

LEAST_BACKUP_DAYS = 7
DEFAULT_MASTER_NAMES = ("postgres", "admin", "administrator", "root", "master", "rdsadmin")
EVERYWHERE = ("0.0.0.0/0", "::/0")


def _encrypted(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "storageEncrypted", is_true, "expected true")


def _private(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "publiclyAccessible", is_false, "expected false")


def _deletion_protection(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "deletionProtection", is_true, "expected true")


def _final_snapshot(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "skipFinalSnapshot", is_false, "expected false")
    yield from expect(instance.inputs, "finalSnapshotIdentifier", bool, "expected a name")
    yield from expect(instance.inputs, "deleteAutomatedBackups", is_false, "expected false")


def _backups(instance: Resource) -> Iterator[Answer]:
    yield from expect(
        instance.inputs,
        "backupRetentionPeriod",
        lambda days: days is not None and days >= LEAST_BACKUP_DAYS,
        f"expected {LEAST_BACKUP_DAYS} days or more",
    )


def _multi_az(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "multiAz", is_true, "expected true")


def _master_name(instance: Resource) -> Iterator[Answer]:
    yield from expect(
        instance.inputs,
        "username",
        lambda name: bool(name) and name.lower() not in DEFAULT_MASTER_NAMES,
        "expected a name of its own",
    )


def _own_parameters(instance: Resource) -> Iterator[Answer]:
    yield from expect(
        instance.inputs,
        "parameterGroupName",
        lambda name: bool(name) and not name.startswith("default."),
        "expected a parameter group of its own, which sets rds.force_ssl",
    )


def _force_ssl(group: Resource) -> Iterator[Answer]:
    parameters = items_at(group.inputs, "parameters")
    if parameters is UNKNOWN or UNKNOWN in parameters:
        yield NotCheckable("parameters")
        return
    values: list[Any] = [value_at(p, "value") for p in parameters if value_at(p, "name") == "rds.force_ssl"]
    if UNKNOWN in values:
        yield NotCheckable("parameters.rds.force_ssl")
    elif values != ["1"]:
        yield Problem(f"parameter rds.force_ssl is {', '.join(map(str, values)) or 'not set'}; expected 1")


_INGRESS_RULES = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:ec2/securityGroup:SecurityGroup",
)


def _no_open_ingress(resource: Resource) -> Iterator[Answer]:
    inputs = resource.inputs
    if resource.type == _INGRESS_RULES[0]:
        for path in ("cidrIpv4", "cidrIpv6"):
            yield from expect(
                inputs, path, lambda cidr: cidr not in EVERYWHERE, "expected the cluster's security group"
            )
        return
    # Both older forms carry lists; a rule of the second may be an egress.
    if resource.type == _INGRESS_RULES[1]:
        rules: Any = [inputs] if value_at(inputs, "type") != "egress" else []
    else:
        rules = items_at(inputs, "ingress")
    if rules is UNKNOWN:
        yield NotCheckable("ingress")
        return
    for rule in rules:
        for path in ("cidrBlocks", "ipv6CidrBlocks"):
            cidrs = items_at(rule, path)
            if cidrs is UNKNOWN or UNKNOWN in cidrs:
                yield NotCheckable(path)
            elif set(cidrs) & set(EVERYWHERE):
                yield Problem(f"{path} lets in {', '.join(cidrs)}; expected the cluster's security group")


RULES = (
    ResourceRule(
        name="rds-encrypted",
        description="The database's storage is encrypted.",
        types=(INSTANCE,),
        check=_encrypted,
        why="snapshots and disks hold every customer's data; RDS cannot encrypt an instance later",
        mend="set storage_encrypted=True",
    ),
    ResourceRule(
        name="rds-not-public",
        description="The database has no public address.",
        types=(INSTANCE,),
        check=_private,
        why="a public address leaves the passwords as the only guard",
        mend="set publicly_accessible=False; reach it through `make tunnel`",
    ),
    ResourceRule(
        name="no-open-ingress",
        description="No security group lets the whole internet in.",
        types=_INGRESS_RULES,
        check=_no_open_ingress,
        why="the database is to be reached from the cluster alone",
        mend="name the cluster's security group as the source",
    ),
    ResourceRule(
        name="rds-deletion-protection",
        description="RDS refuses to delete the database.",
        types=(INSTANCE,),
        check=_deletion_protection,
        why="it is the last guard when Pulumi's own protection has been taken away",
        mend="set deletion_protection=True",
    ),
    ResourceRule(
        name="rds-final-snapshot",
        description="Deleting the database leaves a final snapshot and its backups.",
        types=(INSTANCE,),
        check=_final_snapshot,
        why="without them a deletion is final",
        mend="set skip_final_snapshot=False, final_snapshot_identifier and delete_automated_backups=False",
    ),
    ResourceRule(
        name="rds-backups",
        description=f"Backups are kept for {LEAST_BACKUP_DAYS} days at least.",
        types=(INSTANCE,),
        check=_backups,
        why="damage that is noticed after a weekend must still be reversible to a point in time",
        mend="raise database.backupRetentionDays in the stack's config",
    ),
    ResourceRule(
        name="rds-multi-az",
        description="The database has a standby in another zone.",
        types=(INSTANCE,),
        check=_multi_az,
        why="the loss of one zone would take every service down until a restore",
        mend="set database.multiAz to true in the stack's config",
    ),
    ResourceRule(
        name="rds-master-name",
        description="The master role does not bear a default name.",
        types=(INSTANCE,),
        check=_master_name,
        why="default names are what password guessing starts with",
        mend="choose another username; on an existing instance that means a restore into a new one",
    ),
    ResourceRule(
        name="rds-own-parameters",
        description="The database has a parameter group of its own.",
        types=(INSTANCE,),
        check=_own_parameters,
        why="AWS's default group cannot be changed",
        mend="set parameter_group_name to the platform's group",
    ),
    ResourceRule(
        name="rds-force-ssl",
        description="The database refuses connections without TLS.",
        types=(PARAMETER_GROUP,),
        check=_force_ssl,
        why="otherwise a client with the wrong sslmode sends its queries and their answers in the clear",
        mend="put rds.force_ssl = 1 into the parameter group",
    ),
)

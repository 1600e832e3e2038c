"""RDS: encrypted, private, backed up, TLS only; in production highly available and hard to delete too."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Violation,
    expect,
    is_false,
    is_true,
    items_at,
    value_at,
)
from policies.rules.tiers import SERVERS, is_production

LEAST_BACKUP_DAYS = 7
"""In production."""
DEFAULT_MASTER_NAMES = ("postgres", "admin", "administrator", "root", "master", "rdsadmin")


def _encrypted(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "storageEncrypted", is_true, "expected true")


def _private(instance: Resource) -> Iterator[Answer]:
    yield from expect(instance.inputs, "publiclyAccessible", is_false, "expected false")


def _deletion_protection(instance: Resource) -> Iterator[Answer]:
    if is_production([instance]):
        yield from expect(instance.inputs, "deletionProtection", is_true, "expected true")


def _final_snapshot(instance: Resource) -> Iterator[Answer]:
    if not is_production([instance]):
        return
    yield from expect(instance.inputs, "skipFinalSnapshot", is_false, "expected false")
    yield from expect(instance.inputs, "finalSnapshotIdentifier", bool, "expected a name")
    yield from expect(instance.inputs, "deleteAutomatedBackups", is_false, "expected false")


def _backups(instance: Resource) -> Iterator[Answer]:
    least = LEAST_BACKUP_DAYS if is_production([instance]) else 1
    yield from expect(
        instance.inputs,
        "backupRetentionPeriod",
        lambda days: days is not None and days >= least,
        f"expected {least} days or more",
    )


def _multi_az(instance: Resource) -> Iterator[Answer]:
    if is_production([instance]):
        yield from expect(instance.inputs, "multiAz", is_true, "expected true")


def _master_name(instance: Resource) -> Iterator[Answer]:
    yield from expect(
        instance.inputs,
        "username",
        lambda name: bool(name) and name.lower() not in DEFAULT_MASTER_NAMES,
        "expected a name that is not a default",
    )


def _own_parameters(instance: Resource) -> Iterator[Answer]:
    yield from expect(
        instance.inputs,
        "parameterGroupName",
        lambda name: bool(name) and not name.startswith("default."),
        "expected a parameter group of its own, which sets rds.force_ssl",
    )


def _milliseconds(least: int) -> Callable[[str], bool]:
    return lambda value: value == "-1" or (value.isdigit() and int(value) >= least)


_SAFE_PARAMETERS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "password_encryption": (lambda value: value == "scram-sha-256", "scram-sha-256"),
    "ssl_min_protocol_version": (lambda value: value in ("TLSv1.2", "TLSv1.3"), "TLSv1.2 or TLSv1.3"),
    # Statements hold passwords, and what customers entered.
    "log_statement": (lambda value: value == "none", "none"),
    "log_min_duration_statement": (_milliseconds(100), "-1, or 100 ms or more"),
    "auto_explain.log_min_duration": (_milliseconds(100), "-1, or 100 ms or more"),
    "row_security": (lambda value: value in ("1", "on"), "1"),
}
"""By parameter, the values that are safe, and how a message names them."""


def _safe_parameters(group: Resource) -> Iterator[Answer]:
    parameters = items_at(group.inputs, "parameters")
    if parameters is UNKNOWN or UNKNOWN in parameters:
        yield NotCheckable("parameters")
        return
    for parameter in parameters:
        name, value = value_at(parameter, "name"), value_at(parameter, "value")
        if UNKNOWN in (name, value):
            yield NotCheckable(f"parameters.{name}")
        elif name in _SAFE_PARAMETERS:
            is_safe, expected = _SAFE_PARAMETERS[name]
            if not is_safe(str(value)):
                yield Violation(f"parameter {name} is {value}; expected {expected}")


def _snapshot_private(snapshot: Resource) -> Iterator[Answer]:
    accounts = items_at(snapshot.inputs, "sharedAccounts")
    if accounts is UNKNOWN:
        yield NotCheckable("sharedAccounts")
    elif accounts:
        yield Violation(f"is shared with {', '.join(map(str, accounts))}; expected no account")


def _force_ssl(group: Resource) -> Iterator[Answer]:
    parameters = items_at(group.inputs, "parameters")
    if parameters is UNKNOWN or UNKNOWN in parameters:
        yield NotCheckable("parameters")
        return
    values: list[Any] = [value_at(p, "value") for p in parameters if value_at(p, "name") == "rds.force_ssl"]
    if UNKNOWN in values:
        yield NotCheckable("parameters.rds.force_ssl")
    elif values != ["1"]:
        yield Violation(f"parameter rds.force_ssl is {', '.join(map(str, values)) or 'not set'}; expected 1")


RULES = (
    ResourceRule(
        name="rds-encrypted",
        description="The database's storage is encrypted.",
        types=SERVERS,
        check=_encrypted,
        why="snapshots and disks hold all customer data; RDS cannot encrypt an instance later",
        fix="set storage_encrypted=True",
    ),
    ResourceRule(
        name="rds-not-public",
        description="The database has no public address.",
        types=(tokens.RDS_INSTANCE, tokens.RDS_CLUSTER_INSTANCE),
        check=_private,
        why="with a public address the passwords are the only protection",
        fix="set publicly_accessible=False; reach it through `make tunnel`",
    ),
    ResourceRule(
        name="rds-deletion-protection",
        description="In production RDS refuses to delete the database.",
        types=SERVERS,
        check=_deletion_protection,
        why="it is the last guard when Pulumi's own protection has been removed",
        fix="set deletion_protection=True",
    ),
    ResourceRule(
        name="rds-final-snapshot",
        description="In production deleting the database leaves a final snapshot and its backups.",
        types=SERVERS,
        check=_final_snapshot,
        why="without them a deletion cannot be undone",
        fix="set skip_final_snapshot=False, final_snapshot_identifier and delete_automated_backups=False",
    ),
    ResourceRule(
        name="rds-backups",
        description=f"Backups are kept for at least {LEAST_BACKUP_DAYS} days in production, for one elsewhere.",
        types=SERVERS,
        check=_backups,
        why="damage that is noticed after a weekend must still be recoverable to a point in time",
        fix="raise database.backupRetentionDays in the stack's config",
    ),
    ResourceRule(
        name="rds-multi-az",
        description="In production the database has a standby in another zone.",
        types=(tokens.RDS_INSTANCE,),
        check=_multi_az,
        why="the loss of one zone would take every service down until a restore",
        fix="set database.multiAz to true in the stack's config",
    ),
    ResourceRule(
        name="rds-master-name",
        description="The master role does not have a default name.",
        types=(tokens.RDS_INSTANCE,),
        check=_master_name,
        why="password guessing starts with default names",
        fix="choose another username; on an existing instance that means a restore into a new one",
    ),
    ResourceRule(
        name="rds-own-parameters",
        description="The database has a parameter group of its own.",
        types=(tokens.RDS_INSTANCE,),
        check=_own_parameters,
        why="AWS's default group cannot be changed",
        fix="set parameter_group_name to the platform's group",
    ),
    ResourceRule(
        name="rds-force-ssl",
        description="The database refuses connections without TLS.",
        types=(tokens.RDS_PARAMETER_GROUP,),
        check=_force_ssl,
        why="otherwise a client with the wrong sslmode sends queries and results unencrypted",
        fix="set rds.force_ssl = 1 in the parameter group",
    ),
    ResourceRule(
        name="rds-safe-parameters",
        description="No parameter weakens passwords or TLS, or logs statements.",
        types=(tokens.RDS_PARAMETER_GROUP,),
        check=_safe_parameters,
        why="logs are read by more people than the database, and statements hold passwords and customers' data",
        fix="leave the parameter at its default",
    ),
    ResourceRule(
        name="rds-snapshot-private",
        description="No snapshot is shared.",
        types=(tokens.RDS_SNAPSHOT,),
        check=_snapshot_private,
        why="a snapshot is the whole database, and 'all' is every AWS account",
        fix="remove shared_accounts",
    ),
)

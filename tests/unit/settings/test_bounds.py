"""The bounds and defaults of every number in the config, in literal values: the generated page follows the models."""

from collections.abc import Iterator
from typing import Any

from settings import words

Bounds = tuple[int | None, int | None, int | None]

BOUNDS: dict[str, Bounds] = {
    "products.<name>.pool.size": (1, 200, 5),
    "products.<name>.pool.reserve": (0, 100, 2),
    "products.<name>.connectionLimit": (1, 1000, 40),
    "products.<name>.statementTimeoutMs": (1000, 3_600_000, 30_000),
    "products.<name>.idleInTransactionTimeoutMs": (1000, 3_600_000, None),
    "products.<name>.egress[n].port": (1, 65535, None),
    "database.maxConnections": (20, 1000, 200),
    "database.allocatedStorageGib": (20, 65536, 50),
    "database.maxAllocatedStorageGib": (26, 65536, 200),
    "database.backupRetentionDays": (1, 35, 14),
    "database.logRetentionDays": (None, None, 30),
    "database.adminEndpoint.port": (1, 65535, None),
    "pgbouncer.maxClientConnections": (10, 20_000, 1000),
    "pgbouncer.replicas": (1, 20, 1),
    "pgbouncer.maxSurge": (0, 5, 0),
    "valkey.maxMemoryMib": (64, 16384, 256),
    "valkey.storageGib": (1, 1024, 8),
    "rotations.<name>": (1, 1_000_000, None),
    "kubernetes.namespaces.<name>.quota.pods": (1, 500, None),
    "local.databasePort": (1, 65535, None),
    "local.pgbouncerPort": (1, 65535, None),
    "monitoring.email.port": (1, 65535, 587),
    "monitoring.retentionDays": (1, 365, 15),
    "monitoring.storageGib": (2, 1024, 10),
    "edge.replicas": (2, 10, 2),
    "edge.loginLimit": (1, 1000, 5),
    "services.<name>.replicas": (0, 100, None),
    "services.<name>.autoscaling.min": (1, 100, None),
    "services.<name>.autoscaling.max": (1, 100, None),
    "services.<name>.autoscaling.cpuPercent": (10, 100, 70),
    "services.<name>.migration.minutes": (1, 1440, 15),
    "services.<name>.worker.replicas": (0, 100, None),
    "services.<name>.worker.autoscaling.min": (1, 100, None),
    "services.<name>.worker.autoscaling.max": (1, 100, None),
    "services.<name>.worker.autoscaling.cpuPercent": (10, 100, 70),
}
"""By key: the least and the most that it takes, and its default."""

SWITCHES = {
    "protect": False,
    "database.multiAz": True,
    "pgbouncer.clientTls": False,
    "media.zoneSingletons": True,
    "kubernetes.networkPolicyEnforced": False,
    "kubernetes.waitForRollout": True,
    "services.<name>.migration.enabled": True,
}
"""By key, its default."""


def fields(key: str, field: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """By key, every value's schema and default."""
    schema = words.resolved(field)
    yield key, schema, field.get("default", schema.get("default"))
    for reference in schema.get("discriminator", {}).get("mapping", {}).values():
        yield from fields(key, {"$ref": reference})
    inner = {f".{name}": value for name, value in schema.get("properties", {}).items()}
    for name, entries in ((".<name>", schema.get("additionalProperties")), ("[n]", schema.get("items"))):
        inner |= {name: entries} if isinstance(entries, dict) else {}
    for name, value in inner.items():
        yield from fields(f"{key}{name}".removeprefix("."), value)


def of_type(type_: str) -> list[tuple[str, dict[str, Any], Any]]:
    return [field for field in fields("", words.schema_of_settings()) if field[1].get("type") == type_]


def test_every_number_has_these_bounds_and_this_default() -> None:
    found = {key: (s.get("minimum"), s.get("maximum"), default) for key, s, default in of_type("integer")}
    assert found == BOUNDS


def test_every_switch_has_this_default() -> None:
    assert {key: default for key, _, default in of_type("boolean")} == SWITCHES

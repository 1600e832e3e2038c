"""Whether PostgreSQL has enough connections when every pool is full: arithmetic over the settings."""

from collections.abc import Iterator
from dataclasses import dataclass

from settings import LocalDatabaseSettings, Mistake, PgBouncerSettings, Settings, refusal

_BURSTABLE_GIB = {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}
_TIMES_LARGE = {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8, "8xlarge": 16, "12xlarge": 24, "16xlarge": 32}
_LARGE_GIB = {**dict.fromkeys(("m5", "m6g", "m6i", "m7g", "m7i"), 8), **dict.fromkeys(("r5", "r6g", "r6i", "r7g"), 16)}
MEMORY_GIB = {
    **{f"db.{family}.{size}": gib for family in ("t3", "t4g") for size, gib in _BURSTABLE_GIB.items()},
    **{f"db.{family}.{size}": gib * n for family, gib in _LARGE_GIB.items() for size, n in _TIMES_LARGE.items()},
}
"""Memory in GiB of the RDS instance classes that run PostgreSQL 15 (AWS: Hardware specifications for DB instance
classes)."""

BYTES_PER_CONNECTION = 9_531_392
"""RDS's default: max_connections = LEAST({DBInstanceClassMemory/9531392}, 5000) (AWS: Quotas and constraints)."""

_CEILING = 5000
_SYSTEM_SHARE = 0.10
_SYSTEM_LEAST_BYTES = 384 * 1024**2
"""DBInstanceClassMemory is the class's memory without the share of the operating system and RDS, which AWS does not
publish. We assume a tenth, at least 384 MiB; `SHOW max_connections` on the running instance shows the real value."""

SUPERUSER_RESERVED = 3
"""PostgreSQL's default of superuser_reserved_connections, which no product can use."""

ADMIN_ALLOWANCE = 25
"""For the admin: up to 20 for the postgresql provider (its max_connections), 5 for monitoring, `verify` and psql."""

DIRECT_PER_PRODUCT = 1
"""Connections that bypass PgBouncer: one migration at a time."""


def planned_max_connections(instance_class: str) -> int:
    """The max_connections to plan with on an RDS instance class, rounded down to tens.

    It is 400 on db.t3.medium, where RDS's formula gives 450 before the system's share. Raises KeyError for a class that
    is not in MEMORY_GIB.
    """
    memory = MEMORY_GIB[instance_class] * 1024**3
    left = memory - max(int(memory * _SYSTEM_SHARE), _SYSTEM_LEAST_BYTES)
    return min(left // BYTES_PER_CONNECTION, _CEILING) // 10 * 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One product's part of the budget, in connections."""

    role: str
    pool: int
    """Pool and reserve on one PgBouncer instance."""
    worst: int
    """At most: pools and reserves of all instances, and direct connections."""
    limit: int
    """CONNECTION LIMIT of the role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The connections of a stack's PostgreSQL and who uses them."""

    source: str
    """Where max_connections comes from, for the reader."""
    max_connections: int
    instances: int
    """The most PgBouncer instances (`instances_at_worst`)."""
    shares: tuple[Share, ...]

    @property
    def available(self) -> int:
        """Connections that all products together may use."""
        return self.max_connections - SUPERUSER_RESERVED - ADMIN_ALLOWANCE

    @property
    def pooled(self) -> int:
        """The most server connections of all PgBouncer instances."""
        return self.instances * sum(share.pool for share in self.shares)

    @property
    def worst(self) -> int:
        """The most connections that all products together use."""
        return sum(share.worst for share in self.shares)

    def lines(self) -> list[str]:
        """The arithmetic line by line, for the plan and for error messages."""
        pools = " + ".join(str(share.pool) for share in self.shares)
        direct = len(self.shares) * DIRECT_PER_PRODUCT
        kept = f"{SUPERUSER_RESERVED} - {ADMIN_ALLOWANCE}"
        return [
            f"max_connections: {self.max_connections} ({self.source})",
            f"for products: {self.max_connections} - {kept} (superuser, admin) = {self.available}",
            f"pools and reserves: {self.instances} x ({pools}) = {self.pooled}",
            f"direct, past the pooler: {len(self.shares)} x {DIRECT_PER_PRODUCT} = {direct}",
            f"at worst: {self.pooled} + {direct} = {self.worst} of {self.available}",
            *(f"{share.role}: at worst {share.worst}, connection limit {share.limit}" for share in self.shares),
        ]


def instances_at_worst(pgbouncer: PgBouncerSettings) -> int:
    """How many PgBouncer instances hold server connections at most: in the middle of a rollout.

    `replicas` and `maxSurge` run, and as many as are stopped at a time still drain.
    """
    return pgbouncer.replicas + pgbouncer.max_surge + max(pgbouncer.max_surge, 1)


def connection_budget(settings: Settings) -> Budget:
    """The budget of a stack. Raises SettingsError where it does not fit, with the arithmetic, the keys and the fix."""
    database = settings.database
    if isinstance(database, LocalDatabaseSettings):
        source, maximum = "database.maxConnections", database.max_connections
    else:
        if database.instance_class not in MEMORY_GIB:
            what = f"{database.instance_class} has no known memory"
            unknown = Mistake(("database", "instanceClass"), what, expected=", ".join(sorted(MEMORY_GIB)))
            raise refusal(settings.stack, [unknown])
        source, maximum = f"planned for {database.instance_class}", planned_max_connections(database.instance_class)

    # The local PgBouncer is one instance, stopped before it starts again; a developer's cluster runs its own as well.
    instances = 1 if isinstance(database, LocalDatabaseSettings) else 0
    instances += instances_at_worst(settings.pgbouncer) if settings.kubernetes else 0
    budget = Budget(
        source=source,
        max_connections=maximum,
        instances=instances,
        shares=tuple(
            Share(
                role=product.login_role,
                pool=product.pool.size + product.pool.reserve,
                worst=instances * (product.pool.size + product.pool.reserve) + DIRECT_PER_PRODUCT,
                limit=product.connection_limit,
            )
            for product in settings.products.values()
        ),
    )
    mistakes = list(_mistakes(settings, budget))
    if mistakes:
        raise refusal(settings.stack, mistakes)
    return budget


def _mistakes(settings: Settings, budget: Budget) -> Iterator[Mistake]:
    for name, share in zip(settings.products, budget.shares, strict=True):
        # The server rejects a login above the role's limit, and PgBouncer then blocks the whole pool for a while.
        if share.limit < share.worst:
            yield Mistake(
                key=("products", name, "connectionLimit"),
                what=f"{share.limit} is too small for {budget.instances} PgBouncer instances x {share.pool} (pool.size"
                f" + pool.reserve) + {DIRECT_PER_PRODUCT} direct",
                expected=f"{share.worst} or more, or smaller pools",
            )
    if budget.worst > budget.available:
        key = "maxConnections" if isinstance(settings.database, LocalDatabaseSettings) else "instanceClass"
        yield Mistake(
            key=("database", key),
            what=f"too few connections ({'; '.join(budget.lines()[:5])})",
            expected="a larger one, or less of products.*.pool, pgbouncer.replicas, pgbouncer.maxSurge",
        )

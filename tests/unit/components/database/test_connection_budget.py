"""The connection budget: its arithmetic and its errors."""

from typing import Any

import pytest

import settings
from components.database.connection_budget import connection_budget, planned_max_connections
from settings import Settings, SettingsError
from tests.configs import ON_KIND
from tests.unit.conftest import full_config, local_state


def configured(stack: str, **sections: Any) -> Settings:
    """The stack with whole sections of its config replaced, products with entries merged in."""
    config = full_config(stack)
    # They require Django and Payload, which the tables here may not have.
    for section in ("valkey", "edge"):
        config.pop(f"lightwave:{section}", None)
    for name, value in sections.items():
        config[f"lightwave:{name}"] = {**config.get(f"lightwave:{name}", {}), **value}
    return settings.load(stack, config, local=local_state() if stack == "dev" else None)


def test_production_fits() -> None:
    budget = connection_budget(configured("prod"))
    # By hand: 2 instances and one that drains, pools and reserves 20 + 25 + 7 + 7 + 7 = 66,
    # one direct connection for each of 5 products.
    assert (budget.max_connections, budget.instances, budget.pooled, budget.worst) == (400, 3, 198, 203)
    assert budget.available == 400 - 3 - 25
    assert {share.role: share.worst for share in budget.shares} == {
        "payload_user": 61,
        "django_user": 76,
        "createos_user": 22,
        "cineos_user": 22,
        "photographyos_user": 22,
    }


def test_a_local_stack_uses_its_configured_max_connections() -> None:
    budget = connection_budget(configured("dev", database={"maxConnections": 120}))
    assert (budget.max_connections, budget.pooled, budget.worst) == (120, 66, 71)


def test_the_arithmetic_in_words() -> None:
    assert connection_budget(configured("prod")).lines()[:5] == [
        "max_connections: 400 (planned for db.t3.medium)",
        "for products: 400 - 3 - 25 (superuser, admin) = 372",
        "pools and reserves: 3 x (20 + 25 + 7 + 7 + 7) = 198",
        "direct, past the pooler: 5 x 1 = 5",
        "at worst: 198 + 5 = 203 of 372",
    ]


def test_a_surge_counts() -> None:
    surging = configured(
        "prod",
        pgbouncer={"maxSurge": 1},
        products={"payload": {"connectionLimit": 100}, "django": {"connectionLimit": 100}},
    )
    # Two that run, one surging, one draining.
    assert connection_budget(surging).pooled == 4 * (14 + 7 * 3)


@pytest.mark.parametrize(
    ("instance_class", "connections"),
    [
        ("db.t3.micro", 70),  # 1 GiB: the system's 384 MiB weigh more than a tenth
        ("db.t3.medium", 400),  # 4 GiB: 450 before the system's share
        ("db.t4g.medium", 400),
        ("db.m5.large", 810),
        ("db.r6g.xlarge", 3240),
        ("db.r5.16xlarge", 5000),  # RDS's ceiling
    ],
)
def test_the_connections_of_an_instance_class(instance_class: str, connections: int) -> None:
    assert planned_max_connections(instance_class) == connections


def refused(config: Settings) -> str:
    with pytest.raises(SettingsError) as error:
        connection_budget(config)
    return str(error.value)


def test_an_unknown_class_is_refused_and_the_known_ones_listed() -> None:
    message = refused(configured("prod", database={"instanceClass": "db.t2.medium"}))
    assert "lightwave:database.instanceClass" in message
    assert "db.t2.medium" in message
    assert "db.t3.medium" in message
    assert "pulumi config set --stack prod --path lightwave:database.instanceClass" in message


def test_too_small_a_class_is_refused_with_the_arithmetic_and_the_fix() -> None:
    message = refused(configured("prod", database={"instanceClass": "db.t3.micro"}))
    assert "lightwave:database.instanceClass" in message
    assert "70 - 3 - 25 (superuser, admin) = 42" in message
    assert "198 + 5 = 203 of 42" in message
    assert "pgbouncer.replicas" in message
    assert "pulumi config set --stack prod" in message


def test_a_developers_cluster_runs_pgbouncer_in_addition_to_the_local_one() -> None:
    on_kind = configured("dev", **ON_KIND)
    # One that runs, one draining, and the local one.
    assert connection_budget(on_kind).instances == 3
    message = refused(configured("dev", **{**ON_KIND, "database": {"maxConnections": 200}}))
    assert "lightwave:database.maxConnections" in message
    assert "198 + 5 = 203 of 172" in message


def test_the_last_connection_counts() -> None:
    assert connection_budget(configured("dev", database={"maxConnections": 71 + 28})).worst == 71
    message = refused(configured("dev", database={"maxConnections": 71 + 28 - 1}))
    assert "lightwave:database.maxConnections" in message


@pytest.mark.parametrize(("limit", "fits"), [(61, True), (60, False)])
def test_the_limit_of_a_role_covers_its_pools_and_a_direct_connection(limit: int, *, fits: bool) -> None:
    entry = {"pool": {"size": 15, "reserve": 5}, "connectionLimit": limit}
    config = configured("prod", products={"payload": entry})
    if fits:
        assert connection_budget(config).shares[0].worst == 61
    else:
        message = refused(config)
        assert "lightwave:products.payload.connectionLimit" in message
        assert "61 or more" in message


def test_all_errors_are_reported_together() -> None:
    message = refused(
        configured(
            "prod",
            database={"instanceClass": "db.t3.micro"},
            products={"payload": {"connectionLimit": 1}, "django": {"connectionLimit": 1}},
        )
    )
    assert message.startswith("stack prod: 3 errors")

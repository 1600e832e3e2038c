"""The connection budget: its arithmetic, and what it refuses."""

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
    # It needs a Django, which the tables here may lack.
    config.pop("lightwave:valkey", None)
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


def test_dev_takes_the_local_servers_own_figure() -> None:
    budget = connection_budget(configured("dev", database={"maxConnections": 120}))
    assert (budget.max_connections, budget.pooled, budget.worst) == (120, 66, 71)


def test_the_arithmetic_is_said() -> None:
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
    # Two that run, one above them, one that drains.
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
def test_an_instance_classs_connections(instance_class: str, connections: int) -> None:
    assert planned_max_connections(instance_class) == connections


def refused(config: Settings) -> str:
    with pytest.raises(SettingsError) as error:
        connection_budget(config)
    return str(error.value)


def test_an_unknown_class_is_refused_with_those_known() -> None:
    said = refused(configured("prod", database={"instanceClass": "db.t2.medium"}))
    assert "lightwave:database.instanceClass" in said
    assert "db.t2.medium" in said
    assert "db.t3.medium" in said
    assert "pulumi config set --stack prod --path lightwave:database.instanceClass" in said


def test_too_small_a_class_is_refused_with_the_arithmetic_and_the_cure() -> None:
    said = refused(configured("prod", database={"instanceClass": "db.t3.micro"}))
    assert "lightwave:database.instanceClass" in said
    assert "70 - 3 - 25 (superuser, admin) = 42" in said
    assert "198 + 5 = 203 of 42" in said
    assert "pgbouncer.replicas" in said
    assert "pulumi config set --stack prod" in said


def test_a_developers_cluster_has_a_pooler_besides_the_local_one() -> None:
    on_kind = configured("dev", **ON_KIND)
    # One that runs, one that drains, and the local one.
    assert connection_budget(on_kind).instances == 3
    said = refused(configured("dev", **{**ON_KIND, "database": {"maxConnections": 200}}))
    assert "lightwave:database.maxConnections" in said
    assert "198 + 5 = 203 of 172" in said


def test_the_last_connection_counts() -> None:
    assert connection_budget(configured("dev", database={"maxConnections": 71 + 28})).worst == 71
    said = refused(configured("dev", database={"maxConnections": 71 + 28 - 1}))
    assert "lightwave:database.maxConnections" in said


@pytest.mark.parametrize(("limit", "fits"), [(61, True), (60, False)])
def test_a_roles_limit_covers_its_pools_and_a_direct_connection(limit: int, *, fits: bool) -> None:
    entry = {"pool": {"size": 15, "reserve": 5}, "connectionLimit": limit}
    config = configured("prod", products={"payload": entry})
    if fits:
        assert connection_budget(config).shares[0].worst == 61
    else:
        said = refused(config)
        assert "lightwave:products.payload.connectionLimit" in said
        assert "61 or more" in said


def test_every_error_is_said_at_once() -> None:
    said = refused(
        configured(
            "prod",
            database={"instanceClass": "db.t3.micro"},
            products={"payload": {"connectionLimit": 1}, "django": {"connectionLimit": 1}},
        )
    )
    assert said.startswith("stack prod: 3 errors")

"""The providers of the whole program and its order, in literal values: what a changed golden plan would only show."""

import json
from typing import Any

import pytest

from ops.plan.recorder import Recording, record_stack
from policies.rules.model import Secret
from tests.unit.conftest import full_config

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def prod() -> Recording:
    return record_stack("prod", overrides=full_config("prod"))


def inputs(recording: Recording, package: str, name: str) -> dict[str, Any]:
    return dict(recording.one(f"pulumi:providers:{package}", name).inputs)


def test_aws_refuses_another_account(prod: Recording) -> None:
    provider = inputs(prod, "aws", "aws")
    assert provider["region"] == "eu-central-1"
    assert json.loads(provider["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider["defaultTags"])["tags"] == {
        "project": "lightwave",
        "stack": "prod",
        "tier": "production",
        "managed-by": "pulumi",
    }
    assert "skipCredentialsValidation" not in provider or provider["skipCredentialsValidation"] == "false"


def test_kubernetes_changes_in_place_what_running_pods_mount(prod: Recording) -> None:
    provider = inputs(prod, "kubernetes", "kubernetes")
    assert provider["enableSecretMutable"] == "true"
    assert provider["enableConfigMapMutable"] == "true"
    assert provider["upsertExistingObjects"] == "true"
    assert provider["clusterIdentifier"] == "lightwave-prod"
    assert "context" not in provider


def test_the_admin_logs_in_to_a_server_that_it_verifies(prod: Recording) -> None:
    provider = inputs(prod, "postgresql", "postgres")
    assert provider["sslmode"] == "verify-full"
    assert provider["sslrootcert"] == "rds-ca.pem"
    assert (provider["username"], provider["database"]) == ("lightwave_admin", "lightwave_platform")
    assert (provider["port"], provider["superuser"], provider["connectTimeout"]) == ("5432", "false", "30")
    assert isinstance(provider["password"], Secret)


@pytest.mark.parametrize("ssl_mode", ["verify-ca", "verify-full"])
def test_a_tunnel_keeps_the_verification(ssl_mode: str) -> None:
    config = full_config("prod")
    config["lightwave:database"]["adminEndpoint"] = {"host": "127.0.0.1", "port": 15432, "sslMode": ssl_mode}
    provider = inputs(record_stack("prod", overrides=config), "postgresql", "postgres")
    assert (provider["host"], provider["port"], provider["sslmode"]) == ("127.0.0.1", "15432", ssl_mode)
    assert provider["sslrootcert"] == "rds-ca.pem"


def test_a_local_server_is_on_the_loopback_address() -> None:
    provider = inputs(record_stack("dev"), "postgresql", "postgres")
    assert (provider["host"], provider["sslmode"], provider["superuser"]) == ("127.0.0.1", "disable", "false")


def test_the_pooler_follows_the_roles_and_verifies_the_server(prod: Recording) -> None:
    """A rotated password must be on the server before PgBouncer uses it."""
    after = {urn.rpartition("::")[2] for urn in prod.one("lightwave:kubernetes:PgBouncer", "pgbouncer").depends_on}
    assert after >= {f"access-{name}-login" for name in ("payload", "django", "createos", "cineos", "photographyos")}
    assert after >= {"access-payload-schema", "access-payload-own", "shared-namespace", "shared-default-deny"}
    ini = prod.one("kubernetes:core/v1:ConfigMap", "pgbouncer-config").inputs["data"]["pgbouncer.ini"].splitlines()
    assert "server_tls_sslmode = verify-full" in ini
    assert "auth_type = scram-sha-256" in ini


def test_the_database_outlives_a_mistake(prod: Recording) -> None:
    instance = prod.one("aws:rds/instance:Instance", "database-instance")
    kept = {
        "publiclyAccessible": False,
        "deletionProtection": True,
        "skipFinalSnapshot": False,
        "deleteAutomatedBackups": False,
        "storageEncrypted": True,
        "multiAz": True,
        "backupRetentionPeriod": 14,
        "applyImmediately": False,
        "allowMajorVersionUpgrade": False,
        "copyTagsToSnapshot": True,
        "performanceInsightsEnabled": True,
        "engineVersion": "15",
        "username": "lightwave_admin",
    }
    assert {name: instance.inputs.get(name) for name in kept} == kept
    assert instance.protect


@pytest.mark.parametrize(
    "type_",
    [
        "aws:rds/instance:Instance",
        "aws:secretsmanager/secret:Secret",
        "cloudflare:index/r2Bucket:R2Bucket",
        "kubernetes:core/v1:Namespace",
        "postgresql:index/role:Role",
        "postgresql:index/schema:Schema",
        "postgresql:index/grant:Grant",
        "postgresql:index/defaultPrivileges:DefaultPrivileges",
    ],
)
def test_what_holds_data_or_rights_is_protected_in_production_alone(prod: Recording, type_: str) -> None:
    found = list(prod.of_type(type_))
    assert found
    assert [r.name for r in found if not r.protect] == []
    assert [r.name for r in record_stack("dev").of_type(type_) if r.protect] == []

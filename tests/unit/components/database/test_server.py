"""The RDS instance and the resources around it: exact inputs, options and secrecy."""

import json
from typing import Any

import pulumi
import pytest

from components.database.server import DatabaseServer, DatabaseServerArgs
from ops.plan.recorder import KNOWN, Recording, record
from policies.rules.model import Secret
from settings import RdsSettings

COMPONENT = "urn:pulumi:prod::lightwave::lightwave:database:DatabaseServer::server"
PASSWORD = "pw-sentinel"
ACCOUNT = "123456789012"
KMS_KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"


def rds(**changes: Any) -> RdsSettings:
    return RdsSettings.model_validate({"server": "rds", **changes})


def arguments(**changes: Any) -> DatabaseServerArgs:
    return DatabaseServerArgs(
        **{
            "settings": rds(),
            "database": "lightwave_platform",
            "admin": "lightwave_admin",
            "password": pulumi.Output.from_input(PASSWORD),
            "secret_name": "lightwave/prod/database/admin",
            "account_id": ACCOUNT,
            "vpc_id": "vpc-0a1b2c3d",
            "private_subnet_ids": ["subnet-0a", "subnet-0b"],
            "client_security_group_id": "sg-cluster",
            "protect": True,
            **changes,
        }
    )


def recording(**changes: Any) -> Recording:
    return record(lambda: DatabaseServer("server", arguments(**changes)), stack="prod")


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def test_declares_exactly_these(recorded: Recording) -> None:
    assert sorted((r.type, r.name) for r in recorded.resources) == [
        ("aws:cloudwatch/logGroup:LogGroup", "server-postgresql-log"),
        ("aws:cloudwatch/logGroup:LogGroup", "server-upgrade-log"),
        ("aws:ec2/securityGroup:SecurityGroup", "server-security-group"),
        ("aws:iam/role:Role", "server-monitoring"),
        ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "server-monitoring-policy"),
        ("aws:rds/instance:Instance", "server-instance"),
        ("aws:rds/parameterGroup:ParameterGroup", "server-parameters"),
        ("aws:rds/subnetGroup:SubnetGroup", "server-subnets"),
        ("aws:secretsmanager/secret:Secret", "server-admin-secret"),
        ("aws:secretsmanager/secretVersion:SecretVersion", "server-admin-login"),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "server-from-cluster"),
        ("lightwave:database:DatabaseServer", "server"),
    ]


def test_everything_is_a_child_of_the_component(recorded: Recording) -> None:
    assert {r.parent for r in recorded.resources if r.urn != COMPONENT} == {COMPONENT}


def test_the_instance(recorded: Recording) -> None:
    instance = recorded.one("aws:rds/instance:Instance", "server-instance")
    assert instance.inputs == {
        "identifier": "lightwave-platform",
        "engine": "postgres",
        "engineVersion": "15",
        "engineLifecycleSupport": "open-source-rds-extended-support-disabled",
        "autoMinorVersionUpgrade": True,
        "allowMajorVersionUpgrade": False,
        "instanceClass": "db.t3.medium",
        "storageType": "gp3",
        "allocatedStorage": 50,
        "maxAllocatedStorage": 200,
        "storageEncrypted": True,
        "dbName": "lightwave_platform",
        "username": "lightwave_admin",
        "password": Secret(PASSWORD),
        "port": 5432,
        "multiAz": True,
        "dbSubnetGroupName": "lightwave-platform",
        "vpcSecurityGroupIds": ["server-security-group-id"],
        "publiclyAccessible": False,
        "caCertIdentifier": "rds-ca-rsa2048-g1",
        "parameterGroupName": "lightwave-platform-postgres15",
        "backupRetentionPeriod": 14,
        "backupWindow": "02:00-03:00",
        "maintenanceWindow": "sun:03:30-sun:04:30",
        "applyImmediately": False,
        "deleteAutomatedBackups": False,
        "copyTagsToSnapshot": True,
        "deletionProtection": True,
        "skipFinalSnapshot": False,
        "finalSnapshotIdentifier": "lightwave-platform-final",
        "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
        "performanceInsightsEnabled": True,
        "performanceInsightsRetentionPeriod": 7,
        "databaseInsightsMode": "standard",
        "monitoringInterval": 60,
        "monitoringRoleArn": KNOWN,
    }
    assert instance.import_id == ""
    assert instance.ignore_changes == ()


def test_the_instance_waits_for_log_groups_monitoring_and_the_open_port(recorded: Recording) -> None:
    instance = recorded.one("aws:rds/instance:Instance", "server-instance")
    after = {urn.rpartition("::")[2] for urn in instance.depends_on}
    assert after >= {
        "server-postgresql-log",
        "server-upgrade-log",
        "server-monitoring-policy",
        "server-from-cluster",
    }


def test_only_the_cluster_reaches_it(recorded: Recording) -> None:
    group = recorded.one("aws:ec2/securityGroup:SecurityGroup", "server-security-group")
    assert group.inputs == {
        "name": "lightwave-platform-database",
        "description": "PostgreSQL, from the EKS cluster only",
        "vpcId": "vpc-0a1b2c3d",
    }
    rule = recorded.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "server-from-cluster")
    assert rule.inputs == {
        "securityGroupId": "server-security-group-id",
        "referencedSecurityGroupId": "sg-cluster",
        "ipProtocol": "tcp",
        "fromPort": 5432,
        "toPort": 5432,
        "description": "PostgreSQL from the nodes and pods of the cluster",
    }
    subnets = recorded.one("aws:rds/subnetGroup:SubnetGroup", "server-subnets")
    assert subnets.inputs["subnetIds"] == ["subnet-0a", "subnet-0b"]
    assert subnets.inputs["name"] == "lightwave-platform"


def test_parameters(recorded: Recording) -> None:
    group = recorded.one("aws:rds/parameterGroup:ParameterGroup", "server-parameters")
    assert (group.inputs["family"], group.inputs["name"]) == ("postgres15", "lightwave-platform-postgres15")
    assert {p["name"]: (p["value"], p["applyMethod"]) for p in group.inputs["parameters"]} == {
        "rds.force_ssl": ("1", "pending-reboot"),
        "password_encryption": ("scram-sha-256", "pending-reboot"),
        "shared_preload_libraries": ("pg_stat_statements", "pending-reboot"),
        "log_min_duration_statement": ("1000", "immediate"),
        "log_connections": ("1", "immediate"),
        "log_disconnections": ("1", "immediate"),
        "log_lock_waits": ("1", "immediate"),
        "log_temp_files": ("10240", "immediate"),
        "idle_in_transaction_session_timeout": ("300000", "immediate"),
        "pg_stat_statements.track_utility": ("0", "immediate"),
    }
    assert len(group.inputs["parameters"]) == 10


def test_log_groups_are_declared_and_expire(recorded: Recording) -> None:
    assert sorted(
        (r.inputs["name"], r.inputs["retentionInDays"]) for r in recorded.of_type("aws:cloudwatch/logGroup:LogGroup")
    ) == [("/aws/rds/instance/lightwave-platform/postgresql", 30), ("/aws/rds/instance/lightwave-platform/upgrade", 30)]


def test_only_rds_of_this_account_may_assume_the_monitoring_role(recorded: Recording) -> None:
    role = recorded.one("aws:iam/role:Role", "server-monitoring")
    assert role.inputs["name"] == "lightwave-platform-monitoring"
    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "monitoring.rds.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ]
    attached = recorded.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert [r.inputs for r in attached] == [
        {
            "role": "lightwave-platform-monitoring",
            "policyArn": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
        }
    ]


def test_the_admins_login_is_in_secrets_manager(recorded: Recording) -> None:
    secret = recorded.one("aws:secretsmanager/secret:Secret", "server-admin-secret")
    assert secret.inputs == {
        "name": "lightwave/prod/database/admin",
        "description": "Login of lightwave_admin, the master role of lightwave-platform",
        "recoveryWindowInDays": 30,
    }
    version = recorded.one("aws:secretsmanager/secretVersion:SecretVersion", "server-admin-login")
    assert version.inputs["secretId"] == "server-admin-secret-id"
    assert isinstance(version.inputs["secretString"], Secret)
    assert json.loads(version.inputs["secretString"].value) == {
        "username": "lightwave_admin",
        "password": PASSWORD,
        "host": KNOWN,
        "port": 5432,
        "dbname": "lightwave_platform",
    }


def test_the_password_is_nowhere_in_plain_text(recorded: Recording) -> None:
    # The password is passed unmarked on purpose. The repr of a Secret hides its value; any other repr shows it.
    assert PASSWORD not in repr(recorded)
    holders = [r.name for r in recorded.resources for value in r.inputs.values() if PASSWORD in _revealed(value)]
    assert sorted(holders) == ["server-admin-login", "server-instance"]


def _revealed(value: Any) -> str:
    return str(value.value) if isinstance(value, Secret) else repr(value)


def test_only_what_holds_data_is_protected(recorded: Recording) -> None:
    assert [r.name for r in recorded.resources if r.protect] == ["server-instance", "server-admin-secret"]


def test_a_stack_without_protection_can_be_deleted_and_built_again() -> None:
    """A final snapshot, or a secret in its recovery window, would keep the name."""
    unprotected = recording(protect=False)
    assert not any(r.protect for r in unprotected.resources)
    instance = unprotected.one("aws:rds/instance:Instance", "server-instance").inputs
    assert (instance["deletionProtection"], instance["skipFinalSnapshot"]) == (False, True)
    assert "finalSnapshotIdentifier" not in instance
    secret = unprotected.one("aws:secretsmanager/secret:Secret", "server-admin-secret").inputs
    assert secret["recoveryWindowInDays"] == 0


def test_outputs(recorded: Recording) -> None:
    assert recorded.component_outputs[COMPONENT] == {
        "identifier": "lightwave-platform",
        "address": KNOWN,
        "port": 5432,
        "arn": KNOWN,
        "resource_id": KNOWN,
        "security_group_id": "server-security-group-id",
        "admin_secret_arn": KNOWN,
    }
    assert set(recorded.component_outputs[COMPONENT]) == set(DatabaseServer.__annotations__)


def test_the_settings_reach_the_resources() -> None:
    changed = rds(
        identifier="other",
        instanceClass="db.m6g.large",
        allocatedStorageGib=100,
        maxAllocatedStorageGib=500,
        multiAz=False,
        backupRetentionDays=35,
        backupWindow="01:00-02:00",
        maintenanceWindow="mon:04:00-mon:05:00",
        logRetentionDays=90,
        kmsKeyArn=KMS_KEY,
    )
    other = recording(settings=changed)
    inputs = other.one("aws:rds/instance:Instance", "server-instance").inputs
    expected = {
        "identifier": "other",
        "finalSnapshotIdentifier": "other-final",
        "instanceClass": "db.m6g.large",
        "allocatedStorage": 100,
        "maxAllocatedStorage": 500,
        "multiAz": False,
        "backupRetentionPeriod": 35,
        "backupWindow": "01:00-02:00",
        "maintenanceWindow": "mon:04:00-mon:05:00",
        "kmsKeyId": KMS_KEY,
        "performanceInsightsKmsKeyId": KMS_KEY,
    }
    assert {key: inputs.get(key) for key in expected} == expected
    assert other.one("aws:secretsmanager/secret:Secret", "server-admin-secret").inputs["kmsKeyId"] == KMS_KEY
    logs = other.of_type("aws:cloudwatch/logGroup:LogGroup")
    assert {(r.inputs["name"].split("/")[4], r.inputs["retentionInDays"]) for r in logs} == {("other", 90)}


def test_adoption_imports_and_changes_nothing() -> None:
    adopted = recording(settings=rds(identifier="old-one", importId="old-one"))
    instance = adopted.one("aws:rds/instance:Instance", "server-instance")
    assert instance.import_id == "old-one"
    assert instance.ignore_changes == ("*",)
    assert instance.protect
    assert [r.name for r in adopted.resources if r.import_id] == ["server-instance"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "plain"}, "password: is plain text"),
        ({"admin": "postgres"}, "admin: postgres is easy to guess"),
        ({"admin": "admin"}, "admin: admin is easy to guess"),
        ({"secret_name": "database/admin"}, "secret_name: expected: lightwave/"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as refused:
        recording(**changes)
    assert message in f"{refused.value.property_path}: {refused.value.reason}"

"""RDS PostgreSQL 15: private, encrypted, backed up, reachable only from the cluster.

**The first `up`** on an empty account creates the instance (about 20 minutes with Multi-AZ) before anything that logs
in to it: only then is `address` known, and the cluster may already reach its port.

**Adopting an existing instance.** With `settings.import_id` the instance enters the state unchanged: every difference
is ignored for that one deploy. Once the id is removed from the config, the preview shows what would change, and the
password becomes the generated one. Until then nothing can log in with the generated password, so that first deploy
must target this component only.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from settings import RdsSettings

PORT = 5432
LOG_EXPORTS = ("postgresql", "upgrade")
"""Every log that RDS can export for PostgreSQL 15, except iam-db-auth-error (IAM logins are off)."""

MONITORING_SECONDS = 60
"""Interval of enhanced monitoring, in seconds."""

PERFORMANCE_INSIGHTS_DAYS = 7
"""The longest retention that is free, in days."""

SECRET_RECOVERY_DAYS = 30
"""How long a deleted secret can be restored, in days: the maximum of Secrets Manager."""

_AT_ONCE = {
    "log_min_duration_statement": "1000",  # ms
    "log_connections": "1",
    "log_disconnections": "1",
    "log_lock_waits": "1",
    "log_temp_files": "10240",  # kB
    "idle_in_transaction_session_timeout": "300000",  # ms: for roles without one of their own, such as the admin
    # ALTER ROLE … PASSWORD would keep its SCRAM verifier among the recorded statements.
    "pg_stat_statements.track_utility": "0",
}
# shared_preload_libraries is static and accepts no other method. The other two repeat postgres15's defaults, which AWS
# always reports as pending-reboot: with `immediate` every preview would show a change.
_AT_REBOOT = {
    "rds.force_ssl": "1",
    "password_encryption": "scram-sha-256",
    "shared_preload_libraries": "pg_stat_statements",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseServerArgs:
    """Arguments of `DatabaseServer`."""

    settings: RdsSettings
    """Its `identifier` is the prefix of every other name here."""
    database: str
    """Name of the database that RDS creates with the instance."""
    admin: str
    """The master role."""
    password: pulumi.Input[str]
    """The master role's password, as an Output; the SDK marks it secret."""
    secret_name: str
    """Name of the secret in Secrets Manager with the admin's login."""
    account_id: str
    """AWS account: only its RDS may assume the monitoring role."""
    vpc_id: pulumi.Input[str]
    private_subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    client_security_group_id: pulumi.Input[str]
    """Security group of the cluster: only its members reach the database."""
    protect: bool
    """Whether the instance and the admin's secret are protected from deletion: by Pulumi and RDS, and where they are
    deleted all the same, by a final snapshot and a recovery window. Without it a deleted stack can be built again at
    once under the same names."""

    def __post_init__(self) -> None:
        if not isinstance(self.password, pulumi.Output):
            raise pulumi.InputPropertyError("password", "is plain text; expected: an Output")
        if self.admin in ("postgres", "admin", "rdsadmin"):
            raise pulumi.InputPropertyError("admin", f"{self.admin} is easy to guess; expected: another name")
        if not self.secret_name.startswith("lightwave/"):
            raise pulumi.InputPropertyError(
                "secret_name", "expected: lightwave/<stack>/…, which the deploy role may read"
            )


class DatabaseServer(pulumi.ComponentResource):
    """The instance with its network, parameters, logs and monitoring, and the admin's login in Secrets Manager."""

    identifier: pulumi.Output[str]
    address: pulumi.Output[str]
    """Host name, as in the server's certificate."""
    port: pulumi.Output[int]
    arn: pulumi.Output[str]
    resource_id: pulumi.Output[str]
    """The instance's id at Performance Insights: `db-…`."""
    security_group_id: pulumi.Output[str]
    admin_secret_arn: pulumi.Output[str]
    """Secrets Manager: JSON with username, password, host, port and dbname."""

    def __init__(self, name: str, args: DatabaseServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:database:DatabaseServer", name, {}, opts)
        self._name = name
        self._args = args

        security_group, open_to_clients = self._network_access()
        monitoring, may_monitor = self._monitoring_role()
        instance = self._instance(
            security_group,
            monitoring,
            # RDS would create log groups that keep logs for ever. Clients connect as soon as the address is known.
            after=[*self._log_groups(), may_monitor, open_to_clients],
        )
        secret = self._admin_secret(instance)

        self.identifier = instance.identifier
        self.address = instance.address
        self.port = instance.port
        self.arn = instance.arn
        self.resource_id = instance.resource_id
        self.security_group_id = security_group.id
        self.admin_secret_arn = secret.arn
        self.register_outputs(
            {
                "identifier": self.identifier,
                "address": self.address,
                "port": self.port,
                "arn": self.arn,
                "resource_id": self.resource_id,
                "security_group_id": self.security_group_id,
                "admin_secret_arn": self.admin_secret_arn,
            }
        )

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _network_access(self) -> tuple[aws.ec2.SecurityGroup, aws.vpc.SecurityGroupIngressRule]:
        group = aws.ec2.SecurityGroup(
            f"{self._name}-security-group",
            name=f"{self._args.settings.identifier}-database",
            # AWS cannot change a description: a new text would replace the group.
            description="PostgreSQL, from the EKS cluster only",
            vpc_id=self._args.vpc_id,
            opts=self._child(),
        )
        # A database opens no connections: the provider removes AWS's allow-all egress rule, and none replaces it.
        rule = aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-from-cluster",
            security_group_id=group.id,
            referenced_security_group_id=self._args.client_security_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            description="PostgreSQL from the nodes and pods of the cluster",
            opts=self._child(),
        )
        return group, rule

    def _log_groups(self) -> list[aws.cloudwatch.LogGroup]:
        return [
            aws.cloudwatch.LogGroup(
                f"{self._name}-{log}-log",
                name=f"/aws/rds/instance/{self._args.settings.identifier}/{log}",
                retention_in_days=self._args.settings.log_retention_days,
                opts=self._child(),
            )
            for log in LOG_EXPORTS
        ]

    def _monitoring_role(self) -> tuple[aws.iam.Role, aws.iam.RolePolicyAttachment]:
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "monitoring.rds.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    # Otherwise RDS could be made to use the role for an instance of another account.
                    "Condition": {"StringEquals": {"aws:SourceAccount": self._args.account_id}},
                }
            ],
        }
        role = aws.iam.Role(
            f"{self._name}-monitoring",
            name=f"{self._args.settings.identifier}-monitoring",
            description="Lets RDS write enhanced monitoring to CloudWatch Logs",
            assume_role_policy=json.dumps(trust),
            opts=self._child(),
        )
        attachment = aws.iam.RolePolicyAttachment(
            f"{self._name}-monitoring-policy",
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
            opts=self._child(),
        )
        return role, attachment

    def _instance(
        self, security_group: aws.ec2.SecurityGroup, monitoring: aws.iam.Role, after: Sequence[pulumi.Resource]
    ) -> aws.rds.Instance:
        args, settings = self._args, self._args.settings
        subnets = aws.rds.SubnetGroup(
            f"{self._name}-subnets",
            name=settings.identifier,
            description="Private subnets of the EKS cluster",
            subnet_ids=args.private_subnet_ids,
            opts=self._child(),
        )
        parameters = aws.rds.ParameterGroup(
            f"{self._name}-parameters",
            name=f"{settings.identifier}-postgres15",
            family="postgres15",
            description="Lightwave: TLS, SCRAM, pg_stat_statements, slow and lock-waiting statements logged",
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name=name, value=value, apply_method=method)
                for method, values in (("immediate", _AT_ONCE), ("pending-reboot", _AT_REBOOT))
                for name, value in values.items()
            ],
            opts=self._child(),
        )
        return aws.rds.Instance(
            f"{self._name}-instance",
            identifier=settings.identifier,
            engine="postgres",
            # Only the major version: AWS selects the newest minor one, and old ones can no longer be created.
            engine_version="15",
            auto_minor_version_upgrade=True,
            allow_major_version_upgrade=False,
            # By default AWS bills extended support once PostgreSQL 15 is past its standard support.
            engine_lifecycle_support="open-source-rds-extended-support-disabled",
            instance_class=settings.instance_class,
            # Below 400 GiB gp3 has a fixed 3,000 IOPS; RDS refuses iops and throughput there.
            storage_type="gp3",
            allocated_storage=settings.allocated_storage_gib,
            max_allocated_storage=settings.max_allocated_storage_gib,
            storage_encrypted=True,
            kms_key_id=settings.kms_key_arn,
            db_name=args.database,
            username=args.admin,
            password=args.password,
            port=PORT,
            multi_az=settings.multi_az,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[security_group.id],
            publicly_accessible=False,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            parameter_group_name=parameters.name,
            backup_retention_period=settings.backup_retention_days,
            backup_window=settings.backup_window,
            maintenance_window=settings.maintenance_window,
            # Changes that restart the instance wait for the window. RDS sets a new password at once.
            apply_immediately=False,
            delete_automated_backups=False,
            copy_tags_to_snapshot=True,
            deletion_protection=args.protect,
            skip_final_snapshot=not args.protect,
            final_snapshot_identifier=f"{settings.identifier}-final" if args.protect else None,
            enabled_cloudwatch_logs_exports=list(LOG_EXPORTS),
            performance_insights_enabled=True,
            performance_insights_retention_period=PERFORMANCE_INSIGHTS_DAYS,
            performance_insights_kms_key_id=settings.kms_key_arn,
            database_insights_mode="standard",
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=monitoring.arn,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(after),
                protect=args.protect,
                import_=settings.import_id,
                ignore_changes=["*"] if settings.import_id else None,
            ),
        )

    def _admin_secret(self, instance: aws.rds.Instance) -> aws.secretsmanager.Secret:
        secret = aws.secretsmanager.Secret(
            f"{self._name}-admin-secret",
            name=self._args.secret_name,
            description=f"Login of {self._args.admin}, the master role of {self._args.settings.identifier}",
            kms_key_id=self._args.settings.kms_key_arn,
            recovery_window_in_days=SECRET_RECOVERY_DAYS if self._args.protect else 0,
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect),
        )
        login = {
            "username": self._args.admin,
            "password": self._args.password,
            "host": instance.address,
            "port": instance.port,
            "dbname": self._args.database,
        }
        aws.secretsmanager.SecretVersion(
            f"{self._name}-admin-login",
            secret_id=secret.id,
            secret_string=pulumi.Output.json_dumps(login, sort_keys=True),
            opts=self._child(),
        )
        return secret

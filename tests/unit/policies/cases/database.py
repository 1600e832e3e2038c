"""Cases of the rules about RDS."""

from policies import tokens
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import INSTANCE, PARAMETERS, resource

CASES: dict[str, list[Case]] = {
    "rds-encrypted": [
        Case(
            [INSTANCE],
            [
                ("storageEncrypted", False, "storageEncrypted is false; expected true"),
                ("storageEncrypted", GONE, "storageEncrypted is not set"),
                ("storageEncrypted", "false", "storageEncrypted is 'false'"),
            ],
            ["storageEncrypted"],
        )
    ],
    "rds-not-public": [
        Case(
            [INSTANCE],
            [
                ("publiclyAccessible", True, "publiclyAccessible is true"),
                ("publiclyAccessible", GONE, "publiclyAccessible is not set; expected false"),
            ],
            ["publiclyAccessible"],
        )
    ],
    "rds-deletion-protection": [
        Case([INSTANCE], [("deletionProtection", False, "deletionProtection is false")], ["deletionProtection"])
    ],
    "rds-final-snapshot": [
        Case(
            [INSTANCE],
            [
                ("skipFinalSnapshot", True, "skipFinalSnapshot is true"),
                ("finalSnapshotIdentifier", GONE, "finalSnapshotIdentifier is not set"),
                ("deleteAutomatedBackups", GONE, "deleteAutomatedBackups is not set"),
            ],
            ["skipFinalSnapshot", "finalSnapshotIdentifier", "deleteAutomatedBackups"],
        )
    ],
    "rds-backups": [
        Case(
            [INSTANCE],
            [
                ("backupRetentionPeriod", 6.0, "backupRetentionPeriod is 6; expected 7 days or more"),
                ("backupRetentionPeriod", 0.0, "backupRetentionPeriod is 0"),
                ("backupRetentionPeriod", GONE, "backupRetentionPeriod is not set"),
            ],
            ["backupRetentionPeriod"],
        )
    ],
    "rds-multi-az": [Case([INSTANCE], [("multiAz", False, "multiAz is false")], ["multiAz"])],
    "rds-master-name": [
        Case(
            [INSTANCE],
            [("username", "postgres", "username is 'postgres'"), ("username", "Admin", "username is 'Admin'")],
            ["username"],
        )
    ],
    "rds-own-parameters": [
        Case(
            [INSTANCE],
            [
                ("parameterGroupName", GONE, "parameterGroupName is not set"),
                ("parameterGroupName", "default.postgres15", "'default.postgres15'"),
            ],
            ["parameterGroupName"],
        )
    ],
    "rds-force-ssl": [
        Case(
            [PARAMETERS],
            [
                ("parameters.1.value", "0", "rds.force_ssl is 0; expected 1"),
                ("parameters.1", GONE, "rds.force_ssl is not set"),
                ("parameters", GONE, "rds.force_ssl is not set"),
            ],
            ["parameters", "parameters.0", "parameters.1.value"],
        )
    ],
    "rds-safe-parameters": [
        Case(
            [
                resource(
                    tokens.RDS_PARAMETER_GROUP,
                    {
                        "parameters": [
                            {"name": "password_encryption", "value": "scram-sha-256"},
                            {"name": "log_min_duration_statement", "value": "1000"},
                            {"name": "work_mem", "value": "0"},
                        ]
                    },
                ),
                *(
                    resource(
                        tokens.RDS_PARAMETER_GROUP,
                        {"parameters": [{"name": "log_min_duration_statement", "value": value}]},
                    )
                    for value in ("-1", "100")
                ),
            ],
            [
                ("parameters.0.value", "md5", "password_encryption is md5; expected scram-sha-256"),
                ("parameters.1.value", "0", "log_min_duration_statement is 0; expected -1, or 100 ms or more"),
                ("parameters.1.value", "99", "log_min_duration_statement is 99; expected -1, or 100 ms or more"),
                ("parameters.1.value", "", "log_min_duration_statement is ; expected -1, or 100 ms or more"),
                ("parameters.1.value", "-2", "log_min_duration_statement is -2; expected -1, or 100 ms or more"),
                ("parameters.2", {"name": "log_statement", "value": "all"}, "log_statement is all; expected none"),
                ("parameters.2", {"name": "log_statement", "value": "ddl"}, "log_statement is ddl"),
                ("parameters.2", {"name": "ssl_min_protocol_version", "value": "TLSv1"}, "is TLSv1; expected TLSv1.2"),
                ("parameters.2", {"name": "auto_explain.log_min_duration", "value": "0"}, "auto_explain"),
                ("parameters.2", {"name": "row_security", "value": "off"}, "row_security is off"),
            ],
            ["parameters", "parameters.1", "parameters.1.value"],
        )
    ],
    "rds-snapshot-private": [
        Case(
            [resource(tokens.RDS_SNAPSHOT, {"dbInstanceIdentifier": "a"})],
            [
                ("sharedAccounts", ["all"], "is shared with all"),
                ("sharedAccounts", ["210987654321"], "is shared with 2"),
            ],
            ["sharedAccounts"],
        )
    ],
}

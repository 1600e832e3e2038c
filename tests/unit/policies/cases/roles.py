"""Cases of the rules about PostgreSQL roles, grants and schemas."""

from policies import tokens
from policies.rules.model import UNKNOWN, Secret
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import GRANT, GRANT_ROLE, INSTANCE, PROD_BUCKET, ROLE, SCHEMA, resource

READER_ROLE = resource(tokens.ROLE, {"name": "payload_reader"})
DEFAULT_PRIVILEGES = resource(tokens.DEFAULT_PRIVILEGES, {"role": "a", "objectType": "table", "privileges": ["SELECT"]})

PREDEFINED = (
    *("pg_signal_backend", "pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"),
    *("pg_write_all_data", "pg_checkpoint", "pg_database_owner", "pg_read_server_files", "pg_write_server_files"),
    *("rds_iam", "rds_password", "rds_replication", "rdsadmin"),
)

CASES: dict[str, list[Case]] = {
    "role-attributes": [
        Case(
            [ROLE, resource(ROLE.type, {"name": "payload_reader"})],
            [
                (attribute, True, f"{attribute} is true")
                for attribute in ("superuser", "createDatabase", "createRole", "replication", "bypassRowLevelSecurity")
            ],
            ["superuser"],
        )
    ],
    "role-groups": [
        Case(
            [ROLE],
            [
                ("roles", ["payload_reader", "rds_superuser"], "is a member of rds_superuser"),
                ("roles", ["pg_read_all_data"], "is a member of pg_read_all_data"),
                ("roles", ["pg_execute_server_program"], "pg_execute_server_program"),
                *(("roles", [group], f"is a member of {group}") for group in PREDEFINED),
            ],
            ["roles", "roles.0"],
        ),
        Case([GRANT_ROLE], [("grantRole", "rds_superuser", "is a member of rds_superuser")], ["grantRole"]),
    ],
    "role-connection-limit": [
        Case(
            [ROLE, resource(ROLE.type, {"name": "payload_reader", "login": False})],
            [
                ("connectionLimit", -1.0, "connectionLimit is -1"),
                ("connectionLimit", GONE, "connectionLimit is not set"),
                ("connectionLimit", 100000.0, "connectionLimit is 100000; expected 1 to 1000"),
            ],
            ["connectionLimit", "login"],
        )
    ],
    "no-grant-to-public": [
        Case(
            [GRANT, resource(GRANT.type, {"role": "public", "privileges": []})],
            [("role", "public", "grants USAGE to PUBLIC"), ("role", "PUBLIC", "grants USAGE to PUBLIC")],
            ["role"],
        ),
        Case([resource(GRANT.type, {"role": "public", "privileges": []})], [], ["privileges"]),
    ],
    "no-grant-option": [
        Case([GRANT], [("withGrantOption", True, "withGrantOption is true")], ["withGrantOption"]),
    ],
    "no-drop-cascade": [Case([SCHEMA], [("dropCascade", True, "dropCascade is true")], ["dropCascade"])],
    "data-protected": [Case([PROD_BUCKET, INSTANCE], [], [])],
    "narrow-grant": [
        Case(
            [
                resource(
                    GRANT.type, {"role": "a", "objectType": "schema", "schema": "a", "privileges": ["USAGE", "CREATE"]}
                ),
                resource(GRANT.type, {"role": "a", "objectType": "database", "privileges": ["CONNECT"]}),
                resource(
                    GRANT.type, {"role": "a", "objectType": "schema", "schema": "public", "privileges": ["USAGE"]}
                ),
                resource(GRANT.type, {"role": "public", "objectType": "database", "privileges": []}),
            ],
            [
                ("privileges", ["all"], "grants ALL; expected each privilege"),
                ("privileges", ["ALL PRIVILEGES"], "grants ALL PRIVILEGES"),
                ("schema", "public", "grants CREATE, USAGE on the schema public"),
                ("objectType", "database", "on the database; expected CONNECT"),
                ("objectType", "foreign_server", "connect to other servers through a foreign_server"),
            ],
            ["privileges", "privileges.0", "objectType"],
        ),
        Case([DEFAULT_PRIVILEGES], [("privileges", ["ALL"], "grants ALL")], ["privileges"]),
    ],
    "trusted-extension": [
        Case(
            [
                resource(tokens.EXTENSION, {"name": "pg_trgm"}),
                resource(tokens.EXTENSION, {"name": "pg_stat_statements"}),
            ],
            [
                ("name", "dblink", "name is 'dblink'"),
                ("name", "aws_lambda", "is 'aws_lambda'"),
                ("name", GONE, "not set"),
            ],
            ["name"],
        )
    ],
    "role-groups-declared": [
        Case(
            [ROLE, READER_ROLE, resource(ROLE.type, {"name": "django_user", "login": True})],
            [
                ("roles", ["django_user"], "is a member of django_user, which is no group role of this program"),
                ("roles", ["lightwave_admin"], "is a member of lightwave_admin"),
            ],
            ["roles", "roles.0", "name"],
        ),
        Case(
            [GRANT_ROLE, READER_ROLE],
            [("grantRole", "lightwave_admin", "is a member of lightwave_admin")],
            ["grantRole"],
        ),
        Case(
            [
                resource(ROLE.type, {"name": "payload_migration", "login": True, "roles": ["payload_user"]}),
                ROLE,
                READER_ROLE,
            ],
            [("name", "django_migration", "is a member of payload_user")],
            [],
        ),
    ],
    "secret-marked": [
        Case(
            [resource(ROLE.type, {"name": "a", "password": Secret("hush")}), READER_ROLE],
            [("password", "hush", "password is not marked as secret"), ("password", UNKNOWN, "is not marked")],
            [],
        ),
        Case(
            [resource(tokens.AWS_SECRET_VERSION, {"secretString": Secret("hush")})],
            [("secretString", "hush", "secretString is not marked"), ("secretBinary", "hush", "secretBinary is not")],
            [],
        ),
        Case(
            [resource(tokens.POSTGRESQL_PROVIDER, {"password": Secret("hush")})],
            [("password", "hush", "password is not marked")],
            [],
        ),
    ],
}

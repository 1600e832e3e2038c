"""Cases of the rules about PostgreSQL roles, grants and schemas."""

from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import GRANT, GRANT_ROLE, INSTANCE, PROD_BUCKET, ROLE, SCHEMA, resource

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
}

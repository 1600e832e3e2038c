"""What somebody may change by hand, and the check that must name it."""

from typing import NamedTuple


class Deviation(NamedTuple):
    """A change by hand as the superuser, how to undo it, and the check that must fail."""

    do: str
    undo: str
    check: tuple[str, str, str, str, str, str]
    """Role, schema, object, privilege, expected and actual value."""


DEVIATIONS = {
    "a table granted to a role": Deviation(
        "GRANT INSERT ON payload.pages TO django_user",
        "REVOKE INSERT ON payload.pages FROM django_user",
        ("django_user", "payload", "table pages", "INSERT", "absent", "granted"),
    ),
    "a view granted to a role": Deviation(
        "GRANT SELECT ON payload.slugs TO cineos_user",
        "REVOKE SELECT ON payload.slugs FROM cineos_user",
        ("cineos_user", "payload", "table slugs", "SELECT", "absent", "granted"),
    ),
    "a table granted to PUBLIC": Deviation(
        "GRANT SELECT ON payload.pages TO PUBLIC",
        "REVOKE SELECT ON payload.pages FROM PUBLIC",
        ("PUBLIC", "payload", "table pages", "SELECT", "absent", "granted"),
    ),
    "a column granted": Deviation(
        "GRANT UPDATE (slug) ON payload.pages TO django_user",
        "REVOKE UPDATE (slug) ON payload.pages FROM django_user",
        ("django_user", "payload", "column pages.slug", "UPDATE", "absent", "granted"),
    ),
    "a sequence granted": Deviation(
        "GRANT USAGE ON payload.pages_id_seq TO django_user",
        "REVOKE USAGE ON payload.pages_id_seq FROM django_user",
        ("django_user", "payload", "sequence pages_id_seq", "USAGE", "absent", "granted"),
    ),
    "a function granted": Deviation(
        "GRANT EXECUTE ON FUNCTION payload.one() TO django_user",
        "REVOKE EXECUTE ON FUNCTION payload.one() FROM django_user",
        ("django_user", "payload", "function payload.one()", "EXECUTE", "absent", "granted"),
    ),
    "a system function granted": Deviation(
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO django_user",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM django_user",
        ("django_user", "", "function pg_read_file(text)", "any", "absent", "granted"),
    ),
    "a parameter granted": Deviation(
        "GRANT SET ON PARAMETER log_statement TO django_user",
        "REVOKE SET ON PARAMETER log_statement FROM django_user",
        ("django_user", "", "parameter log_statement", "any", "absent", "granted"),
    ),
    "a schema granted to a role": Deviation(
        "GRANT USAGE ON SCHEMA payload TO cineos_user",
        "REVOKE USAGE ON SCHEMA payload FROM cineos_user",
        ("cineos_user", "payload", "schema", "USAGE", "absent", "granted"),
    ),
    "CREATE on public": Deviation(
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ("PUBLIC", "public", "schema", "CREATE", "absent", "granted"),
    ),
    "WITH GRANT OPTION": Deviation(
        "GRANT USAGE ON SCHEMA payload TO payload_user WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR USAGE ON SCHEMA payload FROM payload_user",
        ("payload_user", "payload", "schema", "USAGE WITH GRANT OPTION", "absent", "granted"),
    ),
    "a grant of the schema missing": Deviation(
        "REVOKE CREATE ON SCHEMA django FROM django_user",
        "GRANT CREATE ON SCHEMA django TO django_user",
        ("django_user", "django", "schema", "CREATE", "granted", "absent"),
    ),
    "a reader's grant missing": Deviation(
        "REVOKE SELECT ON payload.pages FROM payload_reader",
        "GRANT SELECT ON payload.pages TO payload_reader",
        ("payload_reader", "payload", "table pages", "SELECT", "granted", "absent"),
    ),
    "an owner's own right missing": Deviation(
        "REVOKE DELETE ON payload.pages FROM payload_user",
        "GRANT DELETE ON payload.pages TO payload_user",
        ("payload_user", "payload", "table pages", "DELETE", "granted", "absent"),
    ),
    "default privileges in a schema": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload GRANT SELECT ON TABLES TO django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload REVOKE SELECT ON TABLES FROM django_user",
        ("django_user", "payload", "later tables of payload_user", "SELECT", "absent", "granted"),
    ),
    "default privileges everywhere": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE SELECT ON TABLES FROM PUBLIC",
        ("PUBLIC", "", "later tables of payload_user", "SELECT", "absent", "granted"),
    ),
    "later functions for PUBLIC": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        ("PUBLIC", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "later functions for a role": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM django_user",
        ("django_user", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "later functions for PUBLIC and a role": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user GRANT EXECUTE ON FUNCTIONS TO PUBLIC, django_user",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC, django_user",
        ("PUBLIC", "", "later functions of payload_user", "EXECUTE", "absent", "granted"),
    ),
    "a function left to PUBLIC": Deviation(
        "GRANT EXECUTE ON FUNCTION payload.one() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION payload.one() FROM PUBLIC",
        ("PUBLIC", "payload", "function payload.one()", "EXECUTE", "absent", "granted"),
    ),
    "default privileges missing": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload REVOKE SELECT ON TABLES FROM payload_reader",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payload_user IN SCHEMA payload GRANT SELECT ON TABLES TO payload_reader",
        ("payload_reader", "payload", "later tables of payload_user", "SELECT", "granted", "absent"),
    ),
    "default privileges of the admin": Deviation(
        "ALTER DEFAULT PRIVILEGES FOR ROLE lightwave_admin IN SCHEMA public GRANT INSERT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE lightwave_admin IN SCHEMA public REVOKE INSERT ON TABLES FROM PUBLIC",
        ("payload_user", "public", "later table", "INSERT", "refused", "allowed"),
    ),
    "CONNECT for PUBLIC": Deviation(
        "GRANT CONNECT ON DATABASE lightwave_platform TO PUBLIC",
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM PUBLIC",
        ("PUBLIC", "", "database lightwave_platform", "CONNECT", "absent", "granted"),
    ),
    "TEMP for PUBLIC": Deviation(
        "GRANT TEMPORARY ON DATABASE lightwave_platform TO PUBLIC",
        "REVOKE TEMPORARY ON DATABASE lightwave_platform FROM PUBLIC",
        ("PUBLIC", "", "database lightwave_platform", "TEMPORARY", "absent", "granted"),
    ),
    "CREATE on the database": Deviation(
        "GRANT CREATE ON DATABASE lightwave_platform TO payload_user",
        "REVOKE CREATE ON DATABASE lightwave_platform FROM payload_user",
        ("payload_user", "", "database lightwave_platform", "CREATE", "absent", "granted"),
    ),
    "no CONNECT for the login group": Deviation(
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM lightwave_login",
        "GRANT CONNECT ON DATABASE lightwave_platform TO lightwave_login",
        ("lightwave_login", "", "database lightwave_platform", "CONNECT", "granted", "absent"),
    ),
    "a reader that is not declared": Deviation(
        "GRANT payload_reader TO django_user",
        "REVOKE payload_reader FROM django_user",
        ("django_user", "", "membership", "payload_reader", "absent", "granted"),
    ),
    "a predefined role": Deviation(
        "GRANT pg_read_all_data TO django_user",
        "REVOKE pg_read_all_data FROM django_user",
        ("django_user", "payload", "table pages", "SELECT", "refused", "allowed"),
    ),
    "a membership with admin option": Deviation(
        "GRANT lightwave_login TO django_user WITH ADMIN OPTION",
        "REVOKE ADMIN OPTION FOR lightwave_login FROM django_user",
        ("django_user", "", "membership", "lightwave_login WITH ADMIN OPTION", "absent", "granted"),
    ),
    "a membership missing": Deviation(
        "REVOKE lightwave_login FROM cineos_user",
        "GRANT lightwave_login TO cineos_user",
        ("cineos_user", "", "membership", "lightwave_login", "granted", "absent"),
    ),
    "the admin left in a login role": Deviation(
        "GRANT payload_user TO lightwave_admin",
        "REVOKE payload_user FROM lightwave_admin",
        ("lightwave_admin", "", "membership", "payload_user", "absent", "granted"),
    ),
    "CREATEDB": Deviation(
        "ALTER ROLE django_user CREATEDB",
        "ALTER ROLE django_user NOCREATEDB",
        ("django_user", "", "role", "CREATEDB", "no", "yes"),
    ),
    "BYPASSRLS on a group": Deviation(
        "ALTER ROLE payload_reader BYPASSRLS",
        "ALTER ROLE payload_reader NOBYPASSRLS",
        ("payload_reader", "", "role", "BYPASSRLS", "no", "yes"),
    ),
    "an admin that is superuser": Deviation(
        "ALTER ROLE lightwave_admin SUPERUSER",
        "ALTER ROLE lightwave_admin NOSUPERUSER",
        ("lightwave_admin", "", "role", "SUPERUSER", "no", "yes"),
    ),
    "a group that may log in": Deviation(
        "ALTER ROLE payload_reader LOGIN",
        "ALTER ROLE payload_reader NOLOGIN",
        ("payload_reader", "", "role", "LOGIN", "no", "yes"),
    ),
    "NOINHERIT": Deviation(
        "ALTER ROLE django_user NOINHERIT",
        "ALTER ROLE django_user INHERIT",
        ("django_user", "", "role", "INHERIT", "yes", "no"),
    ),
    "an expiry date": Deviation(
        "ALTER ROLE django_user VALID UNTIL '2030-01-01'",
        "ALTER ROLE django_user VALID UNTIL 'infinity'",
        ("django_user", "", "role", "VALID UNTIL", "no", "yes"),
    ),
    "another connection limit": Deviation(
        "ALTER ROLE django_user CONNECTION LIMIT -1",
        "ALTER ROLE django_user CONNECTION LIMIT 12",
        ("django_user", "", "role", "CONNECTION LIMIT", "12", "-1"),
    ),
    "another search_path": Deviation(
        "ALTER ROLE django_user SET search_path TO public, django",
        "ALTER ROLE django_user SET search_path TO django, public",
        ("django_user", "", "setting", "search_path", "django, public", "public, django"),
    ),
    "a timeout for one database": Deviation(
        "ALTER ROLE django_user IN DATABASE lightwave_platform SET statement_timeout TO 0",
        "ALTER ROLE django_user IN DATABASE lightwave_platform RESET statement_timeout",
        ("django_user", "", "setting", "statement_timeout in lightwave_platform", "unset", "0"),
    ),
    "a timeout for everybody": Deviation(
        "ALTER DATABASE lightwave_platform SET lock_timeout TO '1s'",
        "ALTER DATABASE lightwave_platform RESET lock_timeout",
        ("PUBLIC", "", "setting", "lock_timeout in lightwave_platform", "unset", "1s"),
    ),
    "a schema that its service owns": Deviation(
        "ALTER SCHEMA payload OWNER TO payload_user",
        # The new owner's own grant went with the ownership.
        "ALTER SCHEMA payload OWNER TO lightwave_admin; GRANT USAGE, CREATE ON SCHEMA payload TO payload_user",
        ("lightwave_admin", "payload", "schema", "owner", "lightwave_admin", "payload_user"),
    ),
    "a table of another owner": Deviation(
        "ALTER TABLE payload.pages OWNER TO lightwave_admin",
        "ALTER TABLE payload.pages OWNER TO payload_user",
        ("payload_user", "payload", "table pages", "owner", "payload_user", "lightwave_admin"),
    ),
    "a database of another owner": Deviation(
        # The admin's own CONNECT goes with the ownership.
        "ALTER DATABASE lightwave_platform OWNER TO postgres;"
        " GRANT CONNECT ON DATABASE lightwave_platform TO lightwave_admin",
        "REVOKE CONNECT ON DATABASE lightwave_platform FROM lightwave_admin;"
        " ALTER DATABASE lightwave_platform OWNER TO lightwave_admin",
        ("lightwave_admin", "", "database lightwave_platform", "owner", "lightwave_admin", "postgres"),
    ),
    "a stranger who may log in": Deviation(
        "CREATE ROLE mallory LOGIN",
        "DROP ROLE mallory",
        ("mallory", "", "role", "login", "undeclared", "exists"),
    ),
    "an undeclared schema": Deviation(
        "CREATE SCHEMA analytics AUTHORIZATION django_user",
        "DROP SCHEMA analytics",
        ("django_user", "analytics", "schema", "exists", "no", "yes"),
    ),
    "a role gone": Deviation(
        "ALTER ROLE cineos_reader RENAME TO cineos_readers",
        "ALTER ROLE cineos_readers RENAME TO cineos_reader",
        ("cineos_reader", "", "role", "exists", "yes", "no"),
    ),
    "a schema gone": Deviation(
        "ALTER SCHEMA cineos RENAME TO cinema",
        "ALTER SCHEMA cinema RENAME TO cineos",
        ("lightwave_admin", "cineos", "schema", "exists", "yes", "no"),
    ),
}

WIRE = {
    "CREATE on public": ("payload_user", "public", "later schema", "CREATE", "refused", "allowed"),
    "a grant of the schema missing": ("django_user", "django", "later schema", "CREATE", "allowed", "refused"),
    "TEMP for PUBLIC": ("cineos_user", "", "database", "TEMPORARY", "refused", "allowed"),
    "CREATE on the database": ("payload_user", "", "database", "CREATE EXTENSION", "refused", "allowed"),
    "a predefined role": ("django_user", "", "SET ROLE", "pg_read_all_data", "refused", "allowed"),
    "a schema that its service owns": ("payload_user", "payload", "own schema", "ownership", "refused", "allowed"),
    "WITH GRANT OPTION": ("payload_user", "payload", "own schema", "USAGE, granted onward", "refused", "allowed"),
    "another search_path": ("django_user", "", "session", "search_path", "django, public", "public, django"),
}
"""The failed check of an attempt, for those deviations that an attempt can see."""

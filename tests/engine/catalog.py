"""What PostgreSQL's catalogs say about roles and rights, in a form that two databases can be compared by."""

from collections.abc import Mapping
from typing import Any, LiteralString

import psycopg

Catalog = Mapping[str, list[tuple[Any, ...]]]

_ACL: LiteralString = """
  SELECT grantor::regrole::text, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
         privilege_type, is_grantable
"""

_QUERIES: Mapping[str, LiteralString] = {
    "roles": """
        SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
               rolconnlimit, coalesce(rolvaliduntil, 'infinity')::text
          FROM pg_roles WHERE rolname !~ '^pg_'""",
    "settings": """
        SELECT setrole::regrole::text, coalesce(datname, ''), unnest(setconfig)
          FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase""",
    "memberships": """
        SELECT member::regrole::text, roleid::regrole::text, grantor::regrole::text, admin_option
          FROM pg_auth_members""",
    "databases": f"""
        SELECT datname, datdba::regrole::text, acl.*
          FROM pg_database LEFT JOIN LATERAL ({_ACL} FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))) acl
               ON true
         WHERE datname = current_database()""",
    "schemas": f"""
        SELECT nspname, nspowner::regrole::text, acl.*
          FROM pg_namespace
               LEFT JOIN LATERAL ({_ACL} FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner)))) acl ON true
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'""",
    "tables and sequences": f"""
        SELECT nspname, relname, relkind::text, relowner::regrole::text, acl.*
          FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
               LEFT JOIN LATERAL ({_ACL} FROM aclexplode(coalesce(
                 relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner)))) acl ON true
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')""",
    "functions": f"""
        SELECT nspname, p.oid::regprocedure::text, proowner::regrole::text, acl.*
          FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
               LEFT JOIN LATERAL ({_ACL} FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))) acl ON true
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'""",
    "default privileges": f"""
        SELECT defaclrole::regrole::text, coalesce(nspname, ''), defaclobjtype::text, acl.*
          FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
               LEFT JOIN LATERAL ({_ACL} FROM aclexplode(defaclacl)) acl ON true""",
    "extensions": """
        SELECT extname, extowner::regrole::text, nspname
          FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace""",
}


def snapshot(connection: psycopg.Connection[Any]) -> Catalog:
    """Roles' attributes and settings, memberships, owners and every ACL of the connected database; no passwords.

    An ACL that was never touched and one that says the same thing in so many words are equal here.
    """
    return {name: sorted(connection.execute(query).fetchall(), key=repr) for name, query in _QUERIES.items()}

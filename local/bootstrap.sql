-- What RDS itself sets up before anybody logs in; run once, by the bootstrap superuser, in lightwave_platform.
-- The session must hold the admin's SCRAM verifier in lightwave.admin_verifier: no password is sent in plain text.

CREATE ROLE lightwave_admin LOGIN NOSUPERUSER CREATEROLE CREATEDB NOREPLICATION NOBYPASSRLS;

DO $$
BEGIN
  EXECUTE format('ALTER ROLE lightwave_admin PASSWORD %L', current_setting('lightwave.admin_verifier'));
END
$$;

ALTER DATABASE lightwave_platform OWNER TO lightwave_admin;

-- On RDS the admin may create this extension; in plain PostgreSQL only a superuser may.
CREATE SCHEMA extensions AUTHORIZATION lightwave_admin;

CREATE EXTENSION pg_stat_statements SCHEMA extensions;

-- From now on nobody logs in as superuser over the network.
ALTER ROLE postgres PASSWORD NULL;

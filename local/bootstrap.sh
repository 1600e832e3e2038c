# Run once by the postgres image, in its own shell: bootstrap.sql in a session that knows the admin's verifier.
{
  printf "SET lightwave.admin_verifier = '%s';\n" "$(cat /run/secrets/admin_verifier)"
  cat /bootstrap.sql
} | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=lightwave_platform

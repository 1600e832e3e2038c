#!/usr/bin/env bash
# Installs what the tests run against: Debian's PostgreSQL 15, PgBouncer, Redis (for Valkey), rclone, etcd and Chromium, and a
# kube-apiserver built from its Go module. Prints what cannot be installed and continues: the tests that need it are skipped with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

packages=()
[ -x /usr/lib/postgresql/15/bin/initdb ] || command -v initdb >/dev/null || packages+=(postgresql-15)
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
command -v valkey-server >/dev/null || command -v redis-server >/dev/null || packages+=(redis-server)
command -v etcd >/dev/null || packages+=(etcd-server)
command -v rclone >/dev/null || packages+=(rclone)
command -v openssl >/dev/null || packages+=(openssl)
# Ubuntu's are snaps; its runners have Chrome.
command -v chromedriver >/dev/null || ! grep -qx ID=debian /etc/os-release || packages+=(chromium chromium-driver)

if [ ${#packages[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
    echo "servers: ${packages[*]} are missing and cannot be installed by this user; their tests will be skipped"
  else
    echo "servers: installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q >/dev/null
    as_root apt-get install -q -y postgresql-common >/dev/null
    # Keep Debian from starting servers of its own on the usual ports.
    as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    # Only Debian 12 has PostgreSQL 15; postgresql-common can add PostgreSQL's own repository.
    apt-cache show postgresql-15 >/dev/null 2>&1 || as_root /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
    as_root apt-get install -q -y --no-install-recommends "${packages[@]}" >/dev/null
    # One by one: systemctl does nothing at all if one of the names is not a unit.
    for unit in "${packages[@]/etcd-server/etcd}"; do
      if [ -d /run/systemd/system ]; then as_root systemctl disable --now "$unit" >/dev/null 2>&1 || true; fi
    done
  fi
fi

command -v kubectl >/dev/null || echo "servers: kubectl is missing; the Kubernetes tests will be skipped"
if command -v go >/dev/null; then
  nice .venv/bin/python -m tests.integration.kubernetes.build_servers >/dev/null ||
    echo "servers: kube-apiserver cannot be built; its tests will be skipped"
else
  echo "servers: Go is missing, so kube-apiserver cannot be built; its tests will be skipped"
fi

# The nodes, pods' images and Kubernetes of tests/cluster, where its tests can run.
nice .venv/bin/python -m tests.cluster.build --where-possible ||
  echo "servers: not everything of the cluster can be built; what needs it will be skipped"

# The store of local stacks (versitygw), and the example services that the clients' tests run.
.venv/bin/python -c 'from ops.dev import packages; packages.versitygw(print)'
if command -v npm >/dev/null; then
  nice .venv/bin/python -m tests.clients.builds >/dev/null ||
    echo "servers: the example services cannot be built; their tests will fail"
else
  echo "servers: npm is missing; the tests of the example services will be skipped"
fi

if command -v pulumi >/dev/null; then
  .venv/bin/python - <<'EOF' || echo "servers: not every provider of Pulumi can be installed; its tests will be skipped"
from ops.deploy import install

try:
    install.find("dev", local=True, providers=("postgresql", "kubernetes", "random"))
except install.NoPulumiError as reason:
    raise SystemExit(f"servers: {reason}") from None
EOF
fi

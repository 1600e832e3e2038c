"""Stack config that tests of every kind lay over the stacks' own."""

from typing import Any

import settings

IMAGES = {
    "image": f"edoburu/pgbouncer:v1.25.2-p0@sha256:{'c' * 64}",
    "exporterImage": f"prometheuscommunity/pgbouncer-exporter:v0.11.0@sha256:{'d' * 64}",
}
"""Of PgBouncer on Kubernetes."""

VALKEY_IMAGES = {
    "image": f"valkey/valkey:8.1.4@sha256:{'e' * 64}",
    "exporterImage": f"oliver006/redis_exporter:v1.74.0@sha256:{'f' * 64}",
}

SERVICES: dict[str, dict[str, Any]] = {
    "payload": {
        "image": f"ghcr.io/example/payload:1.4.0@sha256:{'1' * 64}",
        "migration": {"image": f"ghcr.io/example/payload-migrate:1.4.0@sha256:{'2' * 64}"},
    },
    "django": {
        "image": f"ghcr.io/example/django:2.0.1@sha256:{'3' * 64}",
        "autoscaling": {"min": 2, "max": 5},
        "worker": {"replicas": 3},
        "beat": {},
    },
}
"""Releases of both services, as `lightwave:services` names them."""

ON_KIND: dict[str, dict[str, Any]] = {
    "kubernetes": {
        "context": "kind-lightwave",
        "databaseHost": "172.18.0.1",
        "databaseCidrs": ["172.18.0.0/16"],
        "namespaces": settings.stack_config("prod")["lightwave:kubernetes"]["namespaces"],
    },
    "pgbouncer": IMAGES,
    # For the local pooler and the cluster's.
    "database": {"server": "local", "maxConnections": 300},
}
"""Sections of dev's config that switch a developer's own cluster on."""

WITH_CLIENT_TLS = {"clientTls": True, "clientCaFile": "pgbouncer-ca.pem"}
"""Keys of `pgbouncer` with which the pooler takes TLS from its clients, and nothing else."""

OWN_BUCKET = {"bucket": "lightwave-media-dev", "zoneSingletons": False}
"""Keys of `media` in dev: nothing of production's."""

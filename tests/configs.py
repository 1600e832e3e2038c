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

MONITORING = {
    "delivery": "own",
    "webhookUrl": "https://chat.example.com/hook",
    "runbooks": "https://git.example.com/platform/docs/runbooks",
    "image": f"prom/prometheus:v3.5.0@sha256:{'4' * 64}",
    "alertmanagerImage": f"prom/alertmanager:v0.28.1@sha256:{'5' * 64}",
}
"""Prometheus and Alertmanager, as `lightwave:monitoring` names them."""

EMAIL = {
    "to": "on-call@example.com",
    "from": "alerts@example.com",
    "host": "smtp.example.com",
    "username": "alerts",
    "password": "s3cr3t-of-the-mail-server",
}

KUBE_STATE_METRICS = {
    "image": f"registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.16.0@sha256:{'6' * 64}",
    "apiServerCidrs": ["172.20.0.1/32", "10.0.0.0/20"],
}

FULL_MONITORING = {**MONITORING, "email": EMAIL, "kubeStateMetrics": KUBE_STATE_METRICS}
"""With everything that this program can run itself."""

OPERATOR_MONITORING = {
    "delivery": "operator",
    "prometheusNamespace": "monitoring",
    "labels": {"release": "kube-prometheus-stack"},
    "runbooks": MONITORING["runbooks"],
}
"""On a cluster with the Prometheus operator."""

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

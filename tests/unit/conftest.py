"""What the unit tests share: the stacks' real config and recording, each read once a test process."""

import copy
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest

import settings
from ops.plan.recorder import Recording, record_stack
from tests.configs import FULL_MONITORING, IMAGES, OPERATOR_MONITORING, SERVICES, VALKEY_IMAGES

STACKS = ("dev", "staging", "prod")
PROD_WITH_SERVICES = "prod with services"
"""Prod that names the services' images."""
PROD_WITH_MONITORING = "prod with monitoring"
PROD_WITH_OPERATOR = "prod with the Prometheus operator"
PROD_WITH_ADMINS = "prod with administrators"
"""Prod with people for Cloudflare Access."""
RECORDED = (*STACKS, PROD_WITH_SERVICES, PROD_WITH_MONITORING, PROD_WITH_OPERATOR, PROD_WITH_ADMINS)

FACTS_OF_PROD: dict[str, dict[str, Any]] = {
    "aws": {"accountId": "123456789012", "region": "eu-central-1"},
    "media": {"accountId": "a" * 32, "zoneId": "b" * 32},
    "pgbouncer": IMAGES,
    "kubernetes": {"edgeNamespace": "ingress-nginx", "dnsCidrs": []},
    "valkey": {**VALKEY_IMAGES, "storageClass": "gp3"},
    "edge": {"image": f"cloudflare/cloudflared:2026.11.0@sha256:{'6' * 64}"},
}
"""What the repository does not know and a deploy must be given, of prod and of staging."""


def full_config(stack: str) -> dict[str, Any]:
    """The stack's own config without its releases; for one on RDS with the facts that a deploy supplies."""
    config = settings.stack_config(stack)
    # A release is a change of the config alone: no test may depend on one.
    config["lightwave:services"] = {}
    if stack != "dev":
        for section, facts in FACTS_OF_PROD.items():
            config[f"lightwave:{section}"] = {**config[f"lightwave:{section}"], **facts}
    return copy.deepcopy(config)


def local_state(
    products: tuple[str, ...] = ("payload", "django", "createos", "cineos", "photographyos"),
) -> dict[str, Any]:
    """The dev stack's state as `make up` would write it, with passwords that a message must never repeat."""
    roles = ["pgbouncer_stats", *(f"{name}_user" for name in products)]
    return {
        "databasePort": 5432,
        "pgbouncerPort": 6432,
        "passwords": {role: f"s3cr3t-{role}" for role in ["lightwave_admin", *roles]},
        "scramVerifiers": {role: f"SCRAM-SHA-256$s3cr3t-{role}" for role in roles},
        "secrets": {
            "PAYLOAD_SECRET": "s3cr3t-payload",
            "DJANGO_SECRET_KEY": "s3cr3t-django",
            "VALKEY_PASSWORD": "s3cr3t-valkey",
            "VALKEY_METRICS_PASSWORD": "s3cr3t-valkey-metrics",
        },
    }


def workload_pod(recorded: Recording, kind: str) -> Mapping[str, Any]:
    """The pod spec of the recording's one workload of a kind, such as Deployment."""
    (workload,) = recorded.of_type(f"kubernetes:apps/v1:{kind}")
    spec: Mapping[str, Any] = workload.inputs["spec"]["template"]["spec"]
    return spec


def container_of(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Its container of that name."""
    (found,) = [container for container in pod["containers"] if container["name"] == name]
    assert isinstance(found, Mapping)
    return found


@pytest.fixture(scope="session")
def recording_of() -> Callable[[str], Recording]:
    """The recording of a whole stack, one of RECORDED, made once a test process."""

    @cache
    def recorded(stack: str) -> Recording:
        if stack == PROD_WITH_SERVICES:
            return record_stack("prod", overrides={"lightwave:services": SERVICES})
        if stack == PROD_WITH_MONITORING:
            return record_stack("prod", overrides={"lightwave:monitoring": FULL_MONITORING})
        if stack == PROD_WITH_OPERATOR:
            return record_stack("prod", overrides={"lightwave:monitoring": OPERATOR_MONITORING})
        if stack == PROD_WITH_ADMINS:
            edge = settings.stack_config("prod")["lightwave:edge"]
            return record_stack(
                "prod", overrides={"lightwave:edge": {**edge, "admins": ["ana@example.com", "example.org"]}}
            )
        return record_stack(stack)

    return recorded

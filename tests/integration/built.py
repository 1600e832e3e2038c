"""The dev stack's database, built from the plan's SQL on servers of its own."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import settings
from ops import sql, verify
from ops.recorder import record_stack
from tests.integration.conftest import Platform, running_platform


@contextmanager
def built_platform(overrides: Mapping[str, Any] | None = None) -> Iterator[Platform]:
    """A platform with every schema, role and grant of the dev stack, its config's keys replaced by `overrides`."""
    recording = record_stack("dev", overrides=overrides)
    with running_platform() as platform:
        with closing(platform.connect()) as admin:
            sql.apply(admin, recording, {r: v.get_secret_value() for r, v in platform.state.scram_verifiers.items()})
        yield platform


def with_products(told: settings.Settings, **changes: Mapping[str, Any]) -> settings.Settings:
    """The settings with some fields of some products replaced."""
    products = {name: product.model_copy(update=dict(changes.get(name, {}))) for name, product in told.products.items()}
    return told.model_copy(update={"products": products})


def direct(platform: Platform) -> verify.Endpoint:
    """Its PostgreSQL."""
    return verify.Endpoint(host=platform.running.host, port=platform.running.database_port)


def pooled(platform: Platform) -> verify.Endpoint:
    """Its PgBouncer."""
    return verify.Endpoint(host=platform.running.host, port=platform.running.pgbouncer_port)

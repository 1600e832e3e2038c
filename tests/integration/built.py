"""The dev stack's database, built from the plan's SQL on servers of its own."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import settings
from ops.dev import state as local_state
from ops.plan import sql
from ops.plan.recorder import record_stack
from ops.verify.model import Endpoint
from tests.integration.conftest import Platform, running_platform


@contextmanager
def built_platform(
    overrides: Mapping[str, Any] | None = None, *, before: str = "", extras: bool = False
) -> Iterator[Platform]:
    """A platform with every schema, role and grant of the dev stack, its config's keys replaced by `overrides`.

    `before` is SQL that the admin runs first; `extras`: with Valkey and the S3 store.
    """
    recording = record_stack("dev", overrides=overrides)
    with running_platform(extras=extras) as platform:
        with closing(platform.connect()) as admin:
            admin.execute(before.encode())
            sql.apply(admin, recording, {r: v.get_secret_value() for r, v in platform.state.scram_verifiers.items()})
        config = {**settings.stack_config("dev"), **(overrides or {})}
        told = settings.load("dev", config, local=local_state.read(platform.directory))
        yield replace(platform, settings=told)


def direct(platform: Platform) -> Endpoint:
    """Its PostgreSQL."""
    return Endpoint(host=platform.running.host, port=platform.running.database_port)


def pooled(platform: Platform) -> Endpoint:
    """Its PgBouncer."""
    return Endpoint(host=platform.running.host, port=platform.running.pgbouncer_port)

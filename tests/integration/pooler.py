"""PgBouncer run from an ini that a stack declares for Kubernetes, as its image would run it."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

import settings
from components.pgbouncer.ini import PgBouncerIni
from ops.dev import ports
from ops.plan import manifests
from ops.plan.recorder import record_stack
from settings import DATABASE, HOST

_START_SECONDS = 10


def declared_ini(stack: str, **sections: Mapping[str, Any]) -> PgBouncerIni:
    """What the stack renders into its ConfigMap, with keys of its config's sections replaced."""
    made: list[PgBouncerIni] = []

    def keep(**values: Any) -> PgBouncerIni:
        made.append(PgBouncerIni(**values))
        return made[-1]

    config = settings.stack_config(stack)
    overrides = {f"lightwave:{name}": {**config[f"lightwave:{name}"], **keys} for name, keys in sections.items()}
    with patch("components.pgbouncer.deployment.PgBouncerIni", keep):
        recording = record_stack(stack, overrides=overrides)
    with settings.offline():
        loaded = settings.load(stack, config | overrides)
    (ini,) = made
    assert ini.render() == manifests.pgbouncer_ini(recording, loaded)
    return ini


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooler:
    """A PgBouncer that runs."""

    port: int
    log_path: Path
    passwords: Mapping[str, str]

    def connect(self, role: str, **options: Any) -> psycopg.Connection:
        """A connection with the role's password, for which libpq insists on SCRAM; `options` win."""
        given: dict[str, Any] = {
            "host": HOST,
            "port": self.port,
            "dbname": DATABASE,
            "user": role,
            "password": self.passwords.get(role, "unknown"),
            "sslmode": "disable",
            "require_auth": "scram-sha-256",
            "connect_timeout": 20,
            "prepare_threshold": None,
            "autocommit": True,
        }
        return psycopg.connect(**(given | options))

    def refusal(self, role: str, **options: Any) -> str:
        """What a client hears that is not let in."""
        with pytest.raises(psycopg.OperationalError) as refused:
            self.connect(role, **options).close()
        return str(refused.value)

    @property
    def log(self) -> str:
        return self.log_path.read_text()


@contextmanager
def running_pooler(ini: PgBouncerIni, pgbouncer: Path, folder: Path, passwords: Mapping[str, str]) -> Iterator[Pooler]:
    """PgBouncer in the foreground, as in its image, run by the folder's owner: it refuses to be root."""
    owner = folder.stat()
    config, log = folder / f"{ini.listen_port}.ini", folder / f"{ini.listen_port}.log"
    config.write_text(ini.render())
    user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    with log.open("w") as output:
        process = subprocess.Popen(
            [pgbouncer, config],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            **(user if os.geteuid() == 0 else {}),
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while ports.port_is_free(ini.listen_port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Pooler(port=ini.listen_port, log_path=log, passwords=passwords)
    finally:
        process.kill()
        process.wait(_START_SECONDS)

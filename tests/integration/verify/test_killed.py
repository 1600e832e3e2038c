"""What a verification that is killed leaves behind, and who removes it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from settings import ROOT
from tests.integration.conftest import Platform
from tests.integration.verify.conftest import PRODUCTS
from tests.integration.verify.test_clean import catalog_rows
from tests.integration.verify.verified import attempted

RUN = """
import json, sys
from pathlib import Path
import settings
from ops.dev import state
from ops.verify import report
from ops.verify.model import Endpoint

config = {**settings.stack_config("dev"), "lightwave:products": json.loads(sys.argv[2])}
loaded = settings.load("dev", config, local=state.read(Path(sys.argv[1])))
direct, pooled = (Endpoint(host="127.0.0.1", port=int(port)) for port in sys.argv[3:])
report.run(loaded, direct=direct, pooled=pooled, passwords=loaded.local.passwords)
"""
PROBES = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relkind = 'r' AND relname ~ '^verify_' ORDER BY 1"
SCHEMAS = ["cineos", "createos", "django", "payload", "photographyos", "public"]


def probes(platform: Platform) -> list[str]:
    """The schemas in which tables of a verification are."""
    with closing(platform.superuser()) as session:
        return [schema for (schema,) in session.execute(PROBES)]


@pytest.fixture
def running(built: Platform) -> subprocess.Popen[bytes]:
    """A verification of its own process, in the middle of its attempts."""
    ports = (built.running.database_port, built.running.pgbouncer_port)
    words = [str(built.directory), json.dumps(PRODUCTS), *map(str, ports)]
    process = subprocess.Popen([sys.executable, "-c", RUN, *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while probes(built) != SCHEMAS:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_verification_removes_what_a_killed_one_left(
    built: Platform, running: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    os.kill(running.pid, number)
    assert running.wait() == -number
    assert probes(built) == SCHEMAS
    assert not attempted(built).wrong
    assert probes(built) == []


def test_a_verification_that_runs_keeps_its_tables(built: Platform, running: subprocess.Popen[bytes]) -> None:
    running.send_signal(signal.SIGSTOP)
    try:
        assert not attempted(built).wrong
        assert probes(built) == SCHEMAS
    finally:
        running.send_signal(signal.SIGCONT)
    assert running.wait(timeout=120) == 0
    assert probes(built) == []


def test_what_only_looks_like_a_probe_stays(built: Platform) -> None:
    alike = "payload.verify_0123456789abcdef"
    made = {
        "a name without the mark": f"CREATE TABLE {alike} ()",
        "another comment": f"COMMENT ON TABLE {alike} IS 'verify this'",
        "the mark on another name": "CREATE TABLE payload.verify_me ();"
        " COMMENT ON TABLE payload.verify_me IS 'verify, session 1 since 2'",
    }
    with closing(built.connect("payload_user")) as session:
        for statements in made.values():
            session.execute(statements.encode())
        before = catalog_rows(built)
        try:
            assert not attempted(built).wrong
            assert catalog_rows(built) == before
        finally:
            session.execute(f"DROP TABLE {alike}, payload.verify_me".encode())

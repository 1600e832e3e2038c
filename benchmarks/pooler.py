"""PgBouncer with the rendered configuration against PostgreSQL itself, under pgbench."""

import os
import re
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

import psutil

from benchmarks.measure import table
from settings import DATABASE, stack_config
from tests.integration.built import built_platform
from tests.integration.conftest import Platform

PGBENCH = "/usr/lib/postgresql/15/bin/pgbench"
SCALE, SECONDS, RUNS = 10, 8, 2
ROLE = "payload_user"
CONNECTION_LIMIT = 110
"""For 80 direct clients and the pool."""
WAYS = {"80 clients, direct": (False, 80), "80 clients, pooled": (True, 80), "900 clients, pooled": (True, 900)}
LOADS = {"SELECT only": ("select-only", 1), "TPC-B": ("tpcb-like", 7)}
"""By name, pgbench's script and the queries in a transaction of it."""


class Run(NamedTuple):
    """What pgbench measured, and what PgBouncer used meanwhile."""

    rate: float
    """Transactions a second."""
    latency: float
    """Mean, in ms."""
    cpu: float
    """PgBouncer's CPU, in µs a query; 0 without it."""


def throughput() -> str:
    """Transactions a second of each load by each way, as ratios to 80 direct clients; the ways take turns."""
    products = stack_config("dev")["lightwave:products"]
    products["payload"]["connectionLimit"] = CONNECTION_LIMIT
    with built_platform({"lightwave:products": products}) as platform:
        _pgbench(platform, pooled=False, arguments=["--initialize", "--quiet", f"--scale={SCALE}"])
        rows = []
        for load, (script, queries) in LOADS.items():
            best: dict[str, Run] = {}
            for _ in range(RUNS):
                for way, (pooled, clients) in WAYS.items():
                    found = _run(platform, script, queries, pooled=pooled, clients=clients)
                    best[way] = max(best.get(way, found), found)
            base = best["80 clients, direct"].rate
            rows += [(load, way, run.rate / base, run.latency, run.cpu) for way, run in best.items()]
    return table(("load", "way", "rate / direct", "mean latency, ms", "PgBouncer, µs CPU a query"), rows)


def _run(platform: Platform, script: str, queries: int, *, pooled: bool, clients: int) -> Run:
    """One run. Raises RuntimeError where a transaction failed."""
    arguments = ["--no-vacuum", f"--builtin={script}", f"--client={clients}", "--jobs=2", f"--time={SECONDS}"]
    before = _pooler_seconds(platform)
    output = _pgbench(platform, pooled=pooled, arguments=arguments)
    used = _pooler_seconds(platform) - before
    if "number of failed transactions: 0 " not in output:
        raise RuntimeError(f"transactions failed:\n{output}")
    transactions = _figure(r"^number of transactions actually processed: (\d+)", output)
    return Run(
        rate=_figure(r"^tps = ([\d.]+)", output),
        latency=_figure(r"^latency average = ([\d.]+) ms", output),
        cpu=used / (transactions * queries) * 1e6 if pooled else 0.0,
    )


def _pooler_seconds(platform: Platform) -> float:
    """The CPU seconds that the pooler's process has used."""
    port = platform.running.pgbouncer_port
    listening = (
        c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and getattr(c.laddr, "port", 0) == port
    )
    times = psutil.Process(next(pid for pid in listening if pid)).cpu_times()
    return float(times.user + times.system)


def _figure(pattern: str, output: str) -> float:
    found = re.search(pattern, output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench did not print {pattern}:\n{output}")
    return float(found[1])


def _pgbench(platform: Platform, *, pooled: bool, arguments: list[str]) -> str:
    environment: Mapping[str, str] = {
        **os.environ,
        "PGHOST": platform.running.host,
        "PGPORT": str(platform.running.pgbouncer_port if pooled else platform.running.database_port),
        "PGUSER": ROLE,
        "PGDATABASE": DATABASE,
        "PGPASSWORD": platform.state.passwords[ROLE].get_secret_value(),
    }
    done = subprocess.run(
        [PGBENCH, *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout

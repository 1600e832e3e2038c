"""PgBouncer with the rendered configuration against PostgreSQL itself, under pgbench."""

import os
import re
import subprocess
from collections.abc import Mapping

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
LOADS = {"SELECT only": "select-only", "TPC-B": "tpcb-like"}


def throughput() -> str:
    """Transactions a second of each load by each way, as ratios to 80 direct clients; the ways take turns."""
    products = stack_config("dev")["lightwave:products"]
    products["payload"]["connectionLimit"] = CONNECTION_LIMIT
    with built_platform({"lightwave:products": products}) as platform:
        _pgbench(platform, pooled=False, arguments=["--initialize", "--quiet", f"--scale={SCALE}"])
        rows = []
        for load, script in LOADS.items():
            best: dict[str, tuple[float, float]] = {}
            for _ in range(RUNS):
                for way, (pooled, clients) in WAYS.items():
                    found = _run(platform, script, pooled=pooled, clients=clients)
                    best[way] = max(best.get(way, (0.0, 0.0)), found)
            base = best["80 clients, direct"][0]
            rows += [(load, way, rate / base, latency) for way, (rate, latency) in best.items()]
    return table(("load", "way", "rate / direct", "mean latency, ms"), rows)


def _run(platform: Platform, script: str, *, pooled: bool, clients: int) -> tuple[float, float]:
    """Transactions a second and the mean latency in ms. Raises RuntimeError where a transaction failed."""
    arguments = ["--no-vacuum", f"--builtin={script}", f"--client={clients}", "--jobs=2", f"--time={SECONDS}"]
    output = _pgbench(platform, pooled=pooled, arguments=arguments)
    if "number of failed transactions: 0 " not in output:
        raise RuntimeError(f"transactions failed:\n{output}")
    return _figure(r"^tps = ([\d.]+)", output), _figure(r"^latency average = ([\d.]+) ms", output)


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

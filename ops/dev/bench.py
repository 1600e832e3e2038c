"""`make bench`: what the pooler costs and gives on the dev stack, measured with pgbench, direct and pooled in turn.

The same clients read single rows by key, SELECT alone, of a table that is made for the run and dropped after it.
"""

import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql
from pydantic import SecretStr

from ops.dev import servers as services
from ops.dev.state import HOST, write_private
from ops.verify.model import Endpoint, connect
from settings import DATABASE, Product, Settings
from settings.problems import OperatorError

ROUNDS = 5
"""Pairs of runs: a machine that slows down or wakes up meanwhile touches both sides of a pair alike."""
SECONDS = 5
"""Length of one run."""
MOST_CLIENTS = 32
ROWS = 10_000


class BenchError(OperatorError):
    """Nothing can be measured. The message says what to do."""


def run(settings: Settings, *, rounds: int = ROUNDS, seconds: int = SECONDS) -> int:
    """Measures and prints transactions a second of each run, their spread, and pooled/direct pair by pair. Gives 0.

    Raises BenchError where pgbench is missing, the stack is not a local one that runs, or a run fails.
    """
    if settings.local is None:
        raise BenchError(f"stack {settings.stack} is not local; run: make bench STACK=dev")
    pgbench = _pgbench()
    product = max(settings.products.values(), key=lambda product: product.pool.size)
    role, password = product.login_role, settings.local.passwords[product.login_role]
    direct = Endpoint(host=HOST, port=settings.local.database_port)
    pooled = Endpoint(host=HOST, port=settings.local.pgbouncer_port)
    clients = _clients(product)
    print(f"{role}: {clients} clients, {rounds} rounds of {seconds} s each, SELECT of one row by key; tps:")
    with (
        _table(product, password, direct, pooled) as table,
        tempfile.TemporaryDirectory(prefix="lightwave-bench-") as folder,
    ):
        script, passwords = Path(folder) / "select.sql", Path(folder) / "passwords"
        script.write_text(f"\\set id random(1, {ROWS})\nSELECT v FROM {table} WHERE id = :id;\n")
        lines = (f"{e.host}:{e.port}:{DATABASE}:{role}:{password.get_secret_value()}\n" for e in (direct, pooled))
        write_private(passwords, "".join(lines))

        def measure(endpoint: Endpoint) -> float:
            return _tps(
                [
                    *(str(pgbench), "--no-vacuum", f"--file={script}", f"--time={seconds}"),
                    *(f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}"),
                    *(f"--host={endpoint.host}", f"--port={endpoint.port}", f"--username={role}", DATABASE),
                ],
                passwords,
                seconds,
            )

        pairs = []
        print(f"{'':8}{'direct':>10}{'pooled':>10}{'pooled/direct':>15}", flush=True)
        for number in range(1, rounds + 1):
            pairs.append((measure(direct), measure(pooled)))
            _print(f"round {number}", *pairs[-1], pairs[-1][1] / pairs[-1][0])
    columns = ([d for d, _ in pairs], [p for _, p in pairs], [p / d for d, p in pairs])
    for name, figure in (("min", min), ("median", median), ("max", max)):
        _print(name, *(figure(column) for column in columns))
    return 0


def _print(name: str, direct: float, pooled: float, ratio: float) -> None:
    print(f"{name:8}{direct:10.0f}{pooled:10.0f}{ratio:15.2f}", flush=True)


def _pgbench() -> Path:
    """PostgreSQL 15's, where it is found; else the one on PATH."""
    binaries = services.find_binaries()
    search = [*([str(binaries.postgresql)] if binaries else []), os.environ.get("PATH", os.defpath)]
    found = shutil.which("pgbench", path=os.pathsep.join(search))
    if found is None:
        raise BenchError(
            "pgbench is not on this machine; it comes with PostgreSQL's server package"
            " (Debian 12: sudo apt-get install postgresql-15; macOS: brew install postgresql@15; Fedora:"
            " postgresql15-contrib)"
        )
    return Path(found)


def _clients(product: Product) -> int:
    """As many as may connect directly beside the product's full pool, which stays connected between the runs."""
    beside = product.connection_limit - product.pool.size - product.pool.reserve - 1
    if beside < 1:
        raise BenchError(
            f"{product.login_role} may have {product.connection_limit} connections, and its pool takes them all; raise"
            f" products.{product.name}.connectionLimit"
        )
    return min(MOST_CLIENTS, beside)


@contextmanager
def _table(product: Product, password: SecretStr, direct: Endpoint, pooled: Endpoint) -> Iterator[str]:
    """A table with rows in the product's schema, under a name of its own; dropped afterwards."""
    table = sql.Identifier(product.schema_name, f"bench_{uuid.uuid4().hex[:12]}")
    try:
        connect(pooled, product.login_role, password).close()
        connection = connect(direct, product.login_role, password)
    except psycopg.OperationalError as error:
        raise BenchError(f"the dev stack is not up ({str(error).strip()}); run: make up") from None
    with closing(connection):
        try:
            connection.execute(sql.SQL("CREATE TABLE {} (id integer PRIMARY KEY, v text NOT NULL)").format(table))
            connection.execute(
                sql.SQL("INSERT INTO {} SELECT n, md5(n::text) FROM generate_series(1, {}) n").format(table, ROWS)
            )
            connection.execute(sql.SQL("ANALYZE {}").format(table))
            yield table.as_string()
        finally:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))


def _tps(command: Sequence[str], passwords: Path, seconds: int) -> float:
    """Transactions a second of one run, without the time to connect. The password is in a file alone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    done = subprocess.run(
        command,
        env={**kept, "PGPASSFILE": str(passwords), "PGSSLMODE": "disable", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    # A client that fails ends alone, and the others' figure stands: the exit status tells.
    if done.returncode != 0 or found is None:
        raise BenchError(
            "\n".join(["pgbench failed; run: make verify", *(done.stderr or done.stdout).strip().splitlines()[-5:]])
        )
    return float(found[1])

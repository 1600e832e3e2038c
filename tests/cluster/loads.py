"""Clients in transactions through the pooler, and the connections that the database sees meanwhile."""

import json
import subprocess
import threading
from contextlib import closing
from dataclasses import dataclass, field
from statistics import quantiles
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.cluster.database import Database
from tests.cluster.platform import Platform, wait_until
from tests.cluster.program import CLIENT_LIFETIME_SECONDS
from tests.cluster.workloads import CONTAINER, SCRIPTS

_END_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """As pods/load.py has it."""

    transactions: int
    connections: int
    seconds: list[float]
    failures: list[tuple[float, str]]
    lost: int

    @property
    def reasons(self) -> dict[str, int]:
        """How often each error occurred."""
        texts = [text for _, text in self.failures]
        return {text: texts.count(text) for text in sorted(set(texts))}

    @property
    def broken(self) -> int:
        """Transactions that ran and did not end; not those that PgBouncer had no server for."""
        return self.lost - sum(count for text, count in self.reasons.items() if "server_login_retry" in text)

    def milliseconds(self, percent: int) -> int:
        """What so many of a hundred transactions stayed within."""
        return round(quantiles(self.seconds, n=100)[percent - 1] * 1000)

    @property
    def span(self) -> float:
        """From the first failure to the last one, in seconds."""
        times = [time for time, _ in self.failures]
        return max(times) - min(times) if times else 0.0


class Load:
    """`clients` clients of Payload in one of its pods, for as long as the block runs; then `result` is there.

    Each transaction takes `work` seconds.
    """

    result: Result

    def __init__(
        self,
        platform: Platform,
        *,
        clients: int,
        lifetime: float = CLIENT_LIFETIME_SECONDS,
        work: float = 0.05,
        pod: str = "payload",
        namespace: str = "payload-cms",
    ) -> None:
        script = (SCRIPTS / "load.py").read_text()
        target = (pod, f"--namespace={namespace}", f"--container={CONTAINER}", "--stdin", "--request-timeout=0")
        command = ("python3", "-c", script, "DATABASE_URI", str(clients), str(lifetime), str(work))
        self._command = platform.kubectl.arguments("exec", *target, "--", *command)
        self._environment = platform.kubectl.environment
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: self.transactions > 0, "a first transaction")
        return self

    def _read(self) -> None:
        assert self._process.stdout
        self._lines.extend(iter(self._process.stdout.readline, ""))

    @property
    def transactions(self) -> int:
        """So far."""
        return int(self._lines[-1].split()[0]) if self._lines else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(_END_SECONDS)
        self._reader.join(_END_SECONDS)
        self._process.stdout.close() if self._process.stdout else None
        if kind is None:
            document: dict[str, Any] = json.loads(self._lines[-1])
            self.result = Result(**document)


@dataclass
class Watch:
    """The most connections that each role had at the database at once, while the block runs."""

    database: Database
    most: dict[str, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with closing(self.database.superuser()) as connection:
                    while not self._ended.wait(0.1):
                        for role, count in self.database.connections(connection).items():
                            self.most[role] = max(count, self.most.get(role, 0))
            except psycopg.OperationalError:  # the server restarts
                self._ended.wait(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

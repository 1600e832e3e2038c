"""Runs in a pod: `load.py VARIABLE CLIENTS LIFETIME WORK` runs clients in transactions until standard input ends.

Each works as a service's pool does, WORK seconds at a time: a connection is kept for a while, closed when older than
LIFETIME seconds, and never used again after an error. Nothing is tried twice. Prints JSON: see `main`.
"""

import asyncio
import json
import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg

PAUSE_SECONDS = 1.0


@dataclass
class Result:
    """What all clients saw."""

    transactions: int = 0
    connections: int = 0
    seconds: list[float] = field(default_factory=list)
    """How long each transaction took, with its wait for a connection."""
    failures: list[tuple[float, str]] = field(default_factory=list)
    """When, in seconds since the epoch, and the error's first line."""
    lost: int = 0
    """Of the failures: those within a transaction; the others could not connect."""


def url(variable: str) -> str:
    """The URL without `schema`, which libpq does not know."""
    parts = urlsplit(os.environ[variable])
    query = "&".join(part for part in parts.query.split("&") if not part.startswith("schema="))
    return parts._replace(query=query).geturl()


class Client:
    """One client with its connection."""

    def __init__(self, conninfo: str, lifetime: float, work: float, result: Result) -> None:
        self.conninfo = conninfo
        self.lifetime = lifetime
        self.work = work
        self.result = result
        self.connection: psycopg.AsyncConnection[Any] | None = None
        self.connected = 0.0

    async def run(self, ended: asyncio.Event) -> None:
        """Until the end."""
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311
        while not ended.is_set():
            await self.once()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), random.uniform(0, 2 * PAUSE_SECONDS))  # noqa: S311
        await self.close()

    async def once(self) -> None:
        """One transaction."""
        began = time.monotonic()
        if self.connection and began - self.connected > self.lifetime:
            await self.close()
        inside = False
        try:
            if not self.connection:
                self.connection = await psycopg.AsyncConnection.connect(
                    self.conninfo, connect_timeout=20, prepare_threshold=None, autocommit=True
                )
                self.connected = began
                self.result.connections += 1
            inside = True
            async with self.connection.transaction():
                await self.connection.execute("SELECT pg_sleep(%s)", [self.work])
                await self.connection.execute("SELECT txid_current()")
        except psycopg.Error as error:
            self.result.failures.append((time.time(), str(error).splitlines()[0] if str(error) else repr(error)))
            self.result.lost += inside
            await self.close()
        else:
            self.result.transactions += 1
            self.result.seconds.append(round(time.monotonic() - began, 4))

    async def close(self) -> None:
        """Whatever state the connection is in."""
        if self.connection:
            with suppress(psycopg.Error, OSError):
                await self.connection.close()
        self.connection = None


async def main(variable: str, clients: int, lifetime: float, work: float) -> None:
    """Prints a line with the count of transactions each second while it runs, and the result as the last line."""
    result, ended = Result(), asyncio.Event()
    conninfo = url(variable)
    loop = asyncio.get_running_loop()
    asyncio.ensure_future(loop.run_in_executor(None, sys.stdin.read)).add_done_callback(lambda _: ended.set())
    running = [asyncio.create_task(Client(conninfo, lifetime, work, result).run(ended)) for _ in range(clients)]
    while not ended.is_set():
        print(result.transactions, len(result.failures), flush=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 1)
    await asyncio.gather(*running)
    print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:])))

"""Runs in a pod of Django's: `work VISIBILITY_SECONDS` is a Celery worker, `send SECONDS RATE FIRST` sends it tasks.

The settings are examples/django's, with another visibility timeout: when a task comes back that a worker took and did
not acknowledge. `send` prints JSON: of each task its number, when it was sent, how long that took, and the error where
the broker did not take it. Nothing is tried twice beyond what Celery itself does.
"""

import json
import os
import sys
import time
from typing import Any

import psycopg
from celery import Celery

TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 5}
app = Celery("attempt", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    result_expires=3600,
    broker_connection_retry_on_startup=True,
    broker_transport_options=TIMEOUTS,
    redis_socket_connect_timeout=TIMEOUTS["socket_connect_timeout"],
    redis_socket_timeout=TIMEOUTS["socket_timeout"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="mark")  # type: ignore[untyped-decorator]  # Celery has no types
def mark(number: int) -> None:
    """What Valkey cannot lose: a row in the database, through the pooler."""
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=20, prepare_threshold=None) as connection:
        connection.execute("INSERT INTO mark VALUES (%s)", [number])


def send(seconds: float, rate: float, first: int) -> list[list[Any]]:
    """Sends tasks from the first number on."""
    sent: list[list[Any]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number, began = first + len(sent), time.time()
        try:
            mark.delay(number)
            error = None
        except mark.OperationalError as problem:
            error = str(problem)
        sent.append([number, began, time.time() - began, error])
        time.sleep(1 / rate)
    return sent


def main(what: str, *arguments: str) -> None:
    """As its first argument says."""
    if what == "work":
        app.conf.broker_transport_options = {**TIMEOUTS, "visibility_timeout": int(arguments[0])}
        app.worker_main(["worker", "--concurrency=2", "--loglevel=INFO", "--without-mingle"])
    else:
        seconds, rate, first = map(float, arguments)
        json.dump(send(seconds, rate, int(first)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])

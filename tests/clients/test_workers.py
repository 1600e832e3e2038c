"""Celery's worker and the pooler's client_idle_timeout: a task that is silent for longer, with and without care."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.pgbouncer.ini import CLIENT_IDLE_TIMEOUT_SECONDS
from tests.clients.conftest import Service
from tests.integration.conftest import Platform

IDLE_SECONDS = 3
CARELESS = '''
import time
from celery import shared_task
from orders.models import Order

@shared_task
def careless(order_id, seconds):
    """Keeps its connection while it works outside the database."""
    Order.objects.get(pk=order_id)
    time.sleep(seconds)
    return bool(Order.objects.filter(pk=order_id).update(confirmed=True))
'''


@pytest.fixture
def impatient(platform: Platform) -> Iterator[None]:
    """The running pooler with a client_idle_timeout of a few seconds."""
    ini = next(platform.directory.rglob("pgbouncer.ini"))
    pid = int(ini.with_suffix(".pid").read_text())

    before = ini.read_text()
    ini.write_text(f"{before}client_idle_timeout = {IDLE_SECONDS}\n")
    os.kill(pid, signal.SIGHUP)
    yield
    ini.write_text(f"{before}client_idle_timeout = {CLIENT_IDLE_TIMEOUT_SECONDS}\n")
    os.kill(pid, signal.SIGHUP)


@pytest.mark.usefixtures("impatient")
def test_a_task_that_is_silent_for_long_releases_its_connection(django: Service, tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(CARELESS)
    worker = (
        ".venv/bin/python",
        "-m",
        "celery",
        "-A",
        "lightwave",
        "worker",
        "-l",
        "info",
        "-c",
        "2",
        "-I",
        "careless",
    )
    call = f"""
import json
from celery import current_app
from orders.models import Order
tasks = ("careless.careless", "orders.tasks.confirm_order_after")
orders = [Order.objects.create(page_slug="slow").pk for task in tasks]
sent = [current_app.send_task(task, args=[order, {2 * IDLE_SECONDS}]) for task, order in zip(tasks, orders)]
print(json.dumps([repr(result.get(timeout=60, propagate=False)) for result in sent]))
"""
    path = {"PYTHONPATH": str(tmp_path)}
    with django.running(worker, tmp_path / "log", **path):
        output = django.run(".venv/bin/python", "manage.py", "shell", "--no-imports", "-v", "0", "-c", call, **path)
    careless, careful = json.loads(output.splitlines()[-1])
    assert "OperationalError" in careless
    assert careful == "True"

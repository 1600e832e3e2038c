"""Celery tasks. Each is idempotent: a task whose worker dies runs again."""

import time

from celery import shared_task
from django.db import connection

from orders.models import Order


@shared_task
def confirm_order(order_id: int) -> bool:
    """Confirms an order; False where it was confirmed already."""
    return bool(Order.objects.filter(pk=order_id, confirmed=False).update(confirmed=True))


@shared_task
def confirm_order_after(order_id: int, seconds: float) -> bool:
    """Confirms an order after work outside the database that takes `seconds`.

    PgBouncer closes a client that sends nothing for its client_idle_timeout, so the connection is released before the
    long work and opened again after it.
    """
    Order.objects.get(pk=order_id)
    connection.close()
    time.sleep(seconds)
    return confirm_order(order_id)

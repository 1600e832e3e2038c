"""The Celery app. Its Django integration closes old database connections before and after each task."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lightwave.settings")

app = Celery("lightwave")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

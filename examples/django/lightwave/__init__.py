"""The Django project: settings, URLs, the Celery app and the client of Payload."""

from lightwave.celery import app as celery_app

__all__ = ["celery_app"]

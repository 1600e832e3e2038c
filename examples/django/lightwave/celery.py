"""The Celery app. Its Django integration closes old database connections before and after each task."""

import os
import tempfile
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lightwave.settings")

app = Celery("lightwave")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# docs: begin alive
class Alive(bootsteps.StartStopStep):
    """Touches a file while the worker's event loop turns. The platform's probes look at its age: they ask no broker."""

    requires = ("celery.worker.components:Timer",)

    def start(self, worker: Any) -> None:
        file = Path(tempfile.gettempdir()) / "celery-worker-alive"
        worker.timer.call_repeatedly(10, file.touch)


app.steps["worker"].add(Alive)
# docs: end alive

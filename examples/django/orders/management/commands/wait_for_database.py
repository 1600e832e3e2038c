"""`manage.py wait_for_database`, before `migrate` in the migration Job."""

from typing import Any, ClassVar

from django.core.management.base import BaseCommand
from django.db import OperationalError, connection
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_fixed

WAIT_SECONDS = 60


def _is_transient(error: BaseException) -> bool:
    # A refusal by the server itself, such as a wrong password, is final; that it is still starting up is not.
    refused = "FATAL" in str(error) and "starting up" not in str(error)
    return isinstance(error, OperationalError) and not refused


class Command(BaseCommand):
    """Waits until the database answers: a pod's first connections are lost while its network rules are installed."""

    help = f"Wait until the database answers, at most {WAIT_SECONDS} seconds."
    requires_system_checks: ClassVar[list[str]] = []

    def handle(self, *_: Any, **__: Any) -> None:
        """Raises OperationalError where the database does not answer in time."""

        def say(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.stderr.write(f"the database does not answer yet: {error}")

        Retrying(
            stop=stop_after_delay(WAIT_SECONDS),
            wait=wait_fixed(1),
            retry=retry_if_exception(_is_transient),
            before_sleep=say,
            reraise=True,
        )(connection.ensure_connection)

"""A native S3 store (versitygw) for one local stack."""

import signal
import urllib.error
import urllib.request

import psutil

from ops.dev import extras, processes
from ops.dev.home import Home
from ops.dev.model import LocalStack
from ops.dev.packages import Binaries
from settings import BUCKET, HOST, ROOT

_FOLDER = "s3"
_PROGRAM = "versitygw"
_SCRIPT = ROOT / "local" / "s3.sh"


class ObjectStore:
    """The bucket for media."""

    name = "S3 store"

    def __init__(self, home: Home) -> None:
        self._home = home

    def process(self) -> psutil.Process | None:
        """The running server."""
        return self._home.process(_PROGRAM, _FOLDER)

    def stop(self) -> bool:
        """Stops it. Gives whether it ran."""
        process = self.process()
        if process:
            # On SIGTERM it waits for its clients' idle connections.
            processes.end(process, signal.SIGTERM, signal.SIGKILL)
        return process is not None

    def start(self, stack: LocalStack, binaries: Binaries) -> list[str]:
        """Starts it and makes the bucket. Gives what was done; nothing where there is no program."""
        if binaries.versitygw is None:
            return []
        folder = self._home.subfolder(_FOLDER)
        started = self.process() is not None or (folder / BUCKET).exists()
        environment = extras.s3_environment(stack, has_data=started)
        port, log = int(environment["PORT"]), self._home.path / "s3.log"
        if self.process() or not self._home.may_start(port, _PROGRAM, _FOLDER, "s3Port", extras.FILE):
            return []
        given = {"LISTEN": HOST, "DATA": str(folder), "VERSITYGW": str(binaries.versitygw)}
        # As text: the servers' user may not be able to read this checkout.
        self._home.launch(["sh", "-c", _SCRIPT.read_text()], env={**environment, **given}, log=log)
        processes.wait(lambda: _answers(f"http://{HOST}:{port}/{BUCKET}"), "the S3 store does not answer", f"see {log}")
        return [f"S3 store started on {HOST}:{port}"]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (this machine's own store)
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False

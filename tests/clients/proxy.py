"""A TCP proxy before one of the platform's servers, which delays what passes or refuses it for a while."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from settings import HOST


@dataclass(kw_only=True, slots=True)
class Proxy:
    """Passes bytes on to `target`, both ways."""

    target: int
    delays: dict[bytes, float] = field(default_factory=dict)
    """Seconds by the first bytes of a request that waits; each delay is used once."""
    lost_connections: int = 0
    """How many of the next connections are closed instead of passed on."""
    accepted: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server((HOST, 0)))

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        """Accepts connections until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.accepted <= self.lost_connections:
                client.close()
                continue
            server = socket.create_connection((HOST, self.target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(self._delay(data))
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _delay(self, data: bytes) -> float:
        for start in [start for start in self.delays if data.startswith(start)]:
            return self.delays.pop(start)
        return 0


@contextmanager
def proxied(target: int, *, delays: dict[bytes, float] | None = None, lost_connections: int = 0) -> Iterator[Proxy]:
    """A proxy that runs."""
    made = Proxy(target=target, delays=delays or {}, lost_connections=lost_connections)
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        # shutdown wakes accept(), which close() alone does not.
        with suppress(OSError):
            made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()

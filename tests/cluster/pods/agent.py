"""Runs in a pod: listens on every port that its arguments name, such as 3000/TCP, and answers with the pod's own name.

A port that something else of the pod has already is left to it. Standard library alone, and any Python 3.
"""

import asyncio
import os
import signal
import sys


class Echo(asyncio.DatagramProtocol):
    """Answers each datagram."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, _data: bytes, address: tuple[str, int]) -> None:
        assert isinstance(self.transport, asyncio.DatagramTransport)
        self.transport.sendto(self.answer, address)


async def main(ports: list[str], host: str) -> None:
    """Serves until SIGTERM."""
    answer = os.uname().nodename.encode()

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    for entry in ports:
        port, _, protocol = entry.partition("/")
        try:
            if protocol == "UDP":
                await loop.create_datagram_endpoint(lambda: Echo(answer), local_addr=(host, int(port)))
            else:
                await asyncio.start_server(greet, host, int(port))
        except OSError:
            continue
    print("listening", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2:], sys.argv[1]))

"""Runs in a pod: tries each `host port/protocol` line of its standard input at once and prints `1` or `0` for each.

TCP is reached when a connection is made, UDP when anything comes back: what is sent is a DNS query, which a DNS server
answers, and so does the agent.
"""

import asyncio
import sys

SECONDS = 3.0
QUERY = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x00\x00\x01\x00\x01"


class Reply(asyncio.DatagramProtocol):
    """Ends `reached` with True at an answer, with False at an error such as a refusal."""

    def __init__(self) -> None:
        self.reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def datagram_received(self, _data: bytes, _address: tuple[str, int]) -> None:
        if not self.reached.done():
            self.reached.set_result(True)

    def error_received(self, _error: Exception) -> None:
        if not self.reached.done():
            self.reached.set_result(False)


async def reached(line: str) -> bool:
    """Whether the destination answers in time."""
    host, entry = line.split()
    port, _, protocol = entry.partition("/")
    try:
        async with asyncio.timeout(SECONDS):
            if protocol == "UDP":
                loop = asyncio.get_running_loop()
                transport, reply = await loop.create_datagram_endpoint(Reply, remote_addr=(host, int(port)))
                try:
                    transport.sendto(QUERY)
                    return await reply.reached
                finally:
                    transport.close()
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return True
    except OSError:  # TimeoutError is one
        return False


async def main() -> None:
    """One digit a line, in the lines' order."""
    found = await asyncio.gather(*map(reached, sys.stdin.read().splitlines()))
    print("\n".join(str(int(one)) for one in found))


if __name__ == "__main__":
    asyncio.run(main())

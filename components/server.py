"""Where a server is reached."""

from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Host and port, as its clients use them."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]

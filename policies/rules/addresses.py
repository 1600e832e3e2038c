"""Networks as sets of addresses: two halves of the internet are the internet."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE = tuple(
    ipaddress.ip_network(cidr)
    for cidr in (
        *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
"""Private, carrier-grade, loopback and link-local networks."""

METADATA = (ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"))
"""AWS's instance metadata service, which hands out the node's credentials."""

MOST_PUBLIC = {4: 2**8, 6: 2**80}
"""By IP version, the most public addresses that may be let in: one /24, one /48. An office has no more."""


def network(cidr: str) -> Network:
    """The network of a CIDR block. Raises ValueError when it is none."""
    return ipaddress.ip_network(cidr, strict=False)


def without(networks: Iterable[Network], holes: Iterable[Network]) -> list[Network]:
    """The networks minus the holes."""
    left = list(networks)
    for hole in holes:
        left = [part for whole in left for part in _minus(whole, hole)]
    return left


def _minus(whole: Network, hole: Network) -> list[Network]:
    if isinstance(whole, ipaddress.IPv4Network) and isinstance(hole, ipaddress.IPv4Network):
        if whole.subnet_of(hole):
            return []
        return list(whole.address_exclude(hole)) if hole.subnet_of(whole) else [whole]
    if isinstance(whole, ipaddress.IPv6Network) and isinstance(hole, ipaddress.IPv6Network):
        if whole.subnet_of(hole):
            return []
        return list(whole.address_exclude(hole)) if hole.subnet_of(whole) else [whole]
    return [whole]


def is_wide(networks: Iterable[Network]) -> bool:
    """Whether the networks together hold more public addresses than `MOST_PUBLIC`."""
    public = without(networks, PRIVATE)
    four = ipaddress.collapse_addresses(part for part in public if isinstance(part, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(part for part in public if isinstance(part, ipaddress.IPv6Network))
    return (
        sum(part.num_addresses for part in four) > MOST_PUBLIC[4]
        or sum(part.num_addresses for part in six) > MOST_PUBLIC[6]
    )


def has_private(networks: Iterable[Network]) -> bool:
    """Whether one of the networks overlaps a private one."""
    return any(part.version == private.version and part.overlaps(private) for part in networks for private in PRIVATE)


def has_metadata(networks: Iterable[Network]) -> bool:
    """Whether one of the networks contains the metadata service."""
    return any(address in part for part in networks for address in METADATA)

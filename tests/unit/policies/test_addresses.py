"""Networks as sets of addresses."""

import pytest

from policies.rules import addresses


@pytest.mark.parametrize(
    ("cidrs", "wide"),
    [
        ([], False),
        (["0.0.0.0/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["0.0.0.0/1"], True),
        (["::/0"], True),
        (["2000::/3"], True),
        (["8.8.8.0/24"], False),
        (["8.8.8.0/23"], True),
        (["8.8.8.0/24", "9.9.9.9/32"], True),
        (["8.8.8.0/24", "8.8.8.128/25", "8.8.8.8/32"], False),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"], False),
        (["10.0.0.0/8", "8.8.8.8/32"], False),
        # More than 10.0.0.0/8: half of it is public.
        (["10.0.0.0/7"], True),
        (["2001:db8::/48"], False),
        (["2001:db8::/47"], True),
        (["fd00::/8"], False),
        ([f"{first}.0.0.0/8" for first in range(11, 120)], True),
    ],
)
def test_wide_is_more_public_addresses_than_an_office_has(cidrs: list[str], wide: bool) -> None:
    assert addresses.is_wide(map(addresses.network, cidrs)) is wide


def test_holes_are_taken_out() -> None:
    internet = [addresses.network("0.0.0.0/0"), addresses.network("::/0")]
    left = addresses.without(internet, [addresses.network("10.0.0.0/8"), addresses.network("fc00::/7")])
    assert sum(part.num_addresses for part in left if part.version == 4) == 2**32 - 2**24
    assert sum(part.num_addresses for part in left if part.version == 6) == 2**128 - 2**121
    assert addresses.without(internet, internet) == []
    assert addresses.without([addresses.network("8.8.8.8/32")], [addresses.network("9.0.0.0/8")]) == [
        addresses.network("8.8.8.8/32")
    ]


def test_private_networks_and_the_metadata_service() -> None:
    assert addresses.has_private([addresses.network("9.0.0.0/7"), addresses.network("10.1.0.0/16")])
    assert addresses.has_private([addresses.network("8.0.0.0/6")])
    assert not addresses.has_private([addresses.network("8.8.8.8/32"), addresses.network("2001:db8::/32")])
    assert addresses.has_metadata([addresses.network("169.254.0.0/16")])
    assert addresses.has_metadata([addresses.network("fd00::/8")])
    assert not addresses.has_metadata([addresses.network("169.254.170.23/32")])

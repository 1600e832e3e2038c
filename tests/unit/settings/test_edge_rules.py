"""Rules of the section `edge`: what it needs and which hostnames it takes."""

from typing import Any

import pytest

from tests.unit.conftest import full_config
from tests.unit.settings.changes import check_refused, load, problems, put

ZONE = "lightwave-media.site"


@pytest.mark.parametrize(
    ("change", "value", "what"),
    [
        ("edge.image", ..., "is missing; expected: an image by tag and digest, for its pods"),
        ("edge.hostnames", {}, "is empty; expected: a hostname for one or more products"),
        ("edge.hostnames.nobody", f"x.{ZONE}", "is not a product; expected: payload, django"),
        ("edge.hostnames.cineos", f"x.{ZONE}", "has no framework or no namespace; expected: payload, django"),
        ("edge.hostnames.payload", f"cdn.{ZONE}", "is the CDN's: media.domain; expected: another name in media.zone"),
        ("edge.hostnames.payload", f"cms{ZONE}", "is not in the zone; expected: a name in media.zone"),
        (
            "edge.hostnames.payload",
            f"a.b.{ZONE}",
            "which Cloudflare's certificate does not cover; expected: a name such",
        ),
        ("edge.plan", "basic", '"basic" is not allowed; expected: "free" or "pro" or "business" or "enterprise"'),
        ("edge.hostnames.django", f"cms.{ZONE}", 'is "payload"\'s; expected: one of its own'),
        ("edge.admins > edge.admins[0]", ["@x.org"], "is malformed; expected: an e-mail address, or a domain such as"),
        ("kubernetes > edge", None, "has no cluster to run in; expected: nothing, or kubernetes as well"),
        ("media > edge", None, "has no Cloudflare account and zone; expected: nothing, or media as well"),
        ("edge > kubernetes.edgeNamespace", None, "is missing; expected: the namespace of the cluster's ingress"),
    ],
)
def test_what_is_refused(change: str, value: Any, what: str) -> None:
    changes = {change.partition(" > ")[0]: value}
    if "edgeNamespace" in change:
        changes["kubernetes.edgeNamespace"] = ...
    key = change.partition(" > ")[2] or change
    assert what in problems("prod", changes)[f"lightwave:{key}"][0]


def test_a_local_stack_has_none() -> None:
    section = {"hostnames": {"payload": f"cms.{ZONE}"}}
    check_refused("dev", "edge", section, "would publish this machine; expected: nothing in a local stack")


@pytest.mark.parametrize("hostname", [ZONE, f"cms.{ZONE}"])
def test_a_hostname_is_the_zone_or_one_label_below_it(hostname: str) -> None:
    config = full_config("prod")
    put(config, "edge.hostnames.payload", hostname)
    loaded = load("prod", config).edge
    assert loaded is not None
    assert loaded.hostnames == {"payload": hostname}


def test_with_it_no_ingress_controller_is_needed() -> None:
    config = full_config("prod")
    put(config, "kubernetes.edgeNamespace", ...)
    put(config, "edge.admins", ["ana@example.com", "example.org"])
    put(config, "rotations.TUNNEL_SECRET", 1)
    loaded = load("prod", config)
    assert loaded.edge is not None
    assert loaded.edge.admins == ("ana@example.com", "example.org")

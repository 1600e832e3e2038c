"""Network policies, enforced: each way from a kind of pod to a destination and port is tried, from pod to pod.

The table of what was reached is docs/flows.md; with WRITE_DOCS=1 it is written anew.
"""

import os
import sys
import time
from collections.abc import Iterator

import pytest

from settings import ROOT
from tests.cluster import flows
from tests.cluster.flows import Destination
from tests.cluster.loads import Load
from tests.cluster.matrix import expected, listening, settled, words
from tests.cluster.platform import Platform, apply
from tests.cluster.workloads import KINDS

PAGE = ROOT / "docs/flows.md"
HEAD = "## What gets through\n\n"
QUIET_SECONDS = 4
"""How long nothing changes before the policies come, and once they are in force: no connection may fail then."""


@pytest.fixture(scope="module")
def destinations(platform: Platform, services: None) -> Iterator[list[Destination]]:
    """What the pods try to reach."""
    assert services is None
    with listening(platform) as found:
        yield found


def test_every_line_of_the_flow_table_is_tried(platform: Platform, destinations: list[Destination]) -> None:
    assert flows.untried(flows.flow_table(platform.program), destinations) == []


def test_the_flows_of_the_table_get_through_and_no_others(
    platform: Platform, destinations: list[Destination], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = expected(platform, destinations)
    found = settled(platform, destinations, wanted)
    table = flows.table(found, destinations)
    with capsys.disabled():
        cloudflared = flows.of_cloudflared(platform.program.settings.products.values())
        sys.stdout.write(f"\n{table}\nNot tried, because this cluster has no cloudflared:\n{cloudflared}")
    assert words(wanted - found) == [], "in the table, and refused"
    assert words(found - wanted) == [], "not in the table, and gets through"
    if os.environ.get("WRITE_DOCS") == "1":
        PAGE.write_text(f"{PAGE.read_text().partition(HEAD)[0]}{HEAD}{table}")
    assert PAGE.read_text().endswith(f"{HEAD}{table}"), f"{PAGE.name} tells another story; WRITE_DOCS=1 writes it"


def test_policies_that_land_break_no_open_connection(platform: Platform, destinations: list[Destination]) -> None:
    """Without policies every way is open, so the test above can fail; then they come in the program's order.

    The first policy that selects a pod cuts it off from everything else in that direction: until its last one is there,
    new connections may be refused.
    """
    policies = [d for d in platform.program.documents() if d["kind"] == "NetworkPolicy"]
    denials = [policy for policy in policies if policy["metadata"]["name"] == "default-deny"]
    allowing = [policy for policy in policies if policy not in denials]
    for namespace in {policy["metadata"]["namespace"] for policy in policies}:
        platform.kubectl.do("delete", "networkpolicy", "--all", f"--namespace={namespace}")
    everything = {
        (kind.name, d.name, port) for kind in KINDS for d in destinations for port in d.ports if kind.name != d.name
    }
    assert words(everything - settled(platform, destinations, everything)) == []
    with Load(platform, clients=20, lifetime=1) as load:
        time.sleep(QUIET_SECONDS)
        began = time.time()
        apply(platform.kubectl, allowing)
        apply(platform.kubectl, denials)
        wanted = expected(platform, destinations)
        assert words(wanted ^ settled(platform, destinations, wanted)) == []
        ended = time.time()
        time.sleep(QUIET_SECONDS)
    assert load.result.lost == 0
    assert [failure for failure in load.result.failures if not began < failure[0] < ended] == []
    assert load.result.transactions > 100

"""What 200 clients in transactions notice of a rollout, a drained node, a killed pooler, a restart of the database, a
rotated password.

Nothing is tried twice by a client, so each failure counts. The figures are printed as a table; docs/rollouts.md keeps
those of one run (WRITE_DOCS=1).
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.database.connection_budget import DIRECT_PER_PRODUCT
from settings import ROOT
from tests.cluster.loads import Load, Result, Watch
from tests.cluster.platform import POOLER, SHARED, Platform, apply, wait_for_pods, wait_until
from tests.cluster.workloads import KINDS, pod

PAGE = ROOT / "docs/rollouts.md"
HEAD = "## What was seen\n\n"
HEADER = (
    "| while | transactions | p50, ms | p99, ms | max, ms | failed | broken | failures within, s | servers | budget |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
CLIENTS = 200
ROLE = "payload_user"
POD = "load"
BROKEN = (
    "terminating connection due to administrator command",
    "consuming input failed: server closed the connection unexpectedly",
    "received 2 results from command",
)
"""What a client reads in a transaction that the server ended: by how much it reads before the connection closes, and
where the end came along with an answer."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """The table's lines, which are printed at the end."""
    lines = [*HEADER]
    yield lines
    table = "\n".join(lines) + "\n"
    sys.stderr.write(f"\n{table}")
    if os.environ.get("WRITE_DOCS") == "1" and len(lines) == len(HEADER) + 7:  # every test of this file ran
        PAGE.write_text(f"{PAGE.read_text().partition(HEAD)[0]}{HEAD}{table}")


@pytest.fixture(scope="module")
def nodes(platform: Platform) -> tuple[str, str]:
    """The node that may be drained, and the one where the clients are. No other pod of the tests' own is left."""
    for namespace in {kind.namespace for kind in KINDS} - {"shared"}:
        platform.kubectl.do("delete", "pod", "--all", f"--namespace={namespace}")
    platform.kubectl("delete", "pod", "prometheus", SHARED)
    first, second = (node["metadata"]["name"] for node in platform.kubectl.get("nodes")["items"])
    place_clients(platform, second)
    return first, second


def place_clients(platform: Platform, node: str) -> None:
    """The pod of the clients, on one node, with the Secret as it is now."""
    platform.kubectl("delete", "pod", POD, "--namespace=payload-cms", "--ignore-not-found")
    kind = next(kind for kind in KINDS if kind.name == "payload")
    apply(platform.kubectl, [pod(kind, platform.client_image, name=POD, node=node)])
    wait_for_pods(platform.kubectl, "payload-cms", POD)


def row(platform: Platform, rows: list[str], what: str, result: Result, watch: Watch) -> None:
    """Adds a line to the table, and holds the server connections against the budget."""
    shares = {share.role: share.worst - DIRECT_PER_PRODUCT for share in platform.program.budget.shares}
    rows.append(
        f"| {what} | {result.transactions} | {result.milliseconds(50)} | {result.milliseconds(99)} "
        f"| {round(max(result.seconds) * 1000)} | {len(result.failures)} | {result.broken} | {result.span:.1f} "
        f"| {watch.most.get(ROLE, 0)} | {shares[ROLE]} |"
    )
    assert watch.most[ROLE] > 0
    for role, most in watch.most.items():
        assert most <= shares.get(role, 1), f"{role} had {most} connections"


@pytest.mark.slow
def test_nothing_moves(platform: Platform, nodes: tuple[str, str], rows: list[str]) -> None:
    """What the others compare with."""
    assert nodes
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        time.sleep(30)
    row(platform, rows, "nothing moves", load.result, watch)
    assert load.result.reasons == {}


def test_a_rollout_fails_no_transaction(platform: Platform, nodes: tuple[str, str], rows: list[str]) -> None:
    """Another configuration, as a deploy brings it."""
    assert nodes
    before = {pod["metadata"]["name"] for pod in platform.pods("pgbouncer")}
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        platform.apply(platform.declare(pgbouncer={"maxClientConnections": 900}))
        platform.rollout(POOLER)
        wait_until(lambda: not before & names(platform), "the old pods are gone")
    row(platform, rows, "PgBouncer rolls", load.result, watch)
    assert load.result.reasons == {}


def names(platform: Platform) -> set[str]:
    """The pooler's pods, those on their way out too."""
    found = platform.kubectl.get("pods", SHARED, "--selector=app.kubernetes.io/name=pgbouncer")["items"]
    return {pod["metadata"]["name"] for pod in found}


@pytest.mark.slow
def test_a_drained_node_fails_no_transaction(platform: Platform, nodes: tuple[str, str], rows: list[str]) -> None:
    drained, _ = nodes
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        platform.kubectl.do("drain", drained, *options, seconds=150)
        assert evicted(platform, drained) is False
        time.sleep(2)
        platform.kubectl.do("uncordon", drained)
        platform.rollout(POOLER)
    row(platform, rows, "a node drains", load.result, watch)
    assert load.result.reasons == {}


def evicted(platform: Platform, drained: str) -> bool:
    """Whether the pooler's last pod lets itself be evicted."""
    (last,) = (p for p in platform.pods("pgbouncer") if p["spec"].get("nodeName") not in (None, drained))
    name = last["metadata"]["name"]
    eviction: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": "shared"},
    }
    answer = platform.kubectl(
        *("create", "--filename=-", f"--raw=/api/v1/namespaces/shared/pods/{name}/eviction"), document=eviction
    )
    assert answer.ok or "disruption budget" in answer.output, answer.output
    return answer.ok


@pytest.mark.slow
def test_a_killed_pooler_fails_what_ran_through_it(platform: Platform, nodes: tuple[str, str], rows: list[str]) -> None:
    """A second's grace is too short for its drain, so it is killed with its clients connected."""
    assert nodes
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        time.sleep(3)
        killed = platform.pods("pgbouncer")[0]["metadata"]["name"]
        platform.kubectl.do("delete", "pod", killed, SHARED, "--grace-period=1")
        platform.rollout(POOLER)
        time.sleep(10)
    row(platform, rows, "a PgBouncer is killed", load.result, watch)
    assert 0 < len(load.result.failures) <= CLIENTS
    assert load.result.span < 10


@pytest.mark.slow
def test_a_restart_of_the_database_fails_what_ran(platform: Platform, nodes: tuple[str, str], rows: list[str]) -> None:
    assert nodes
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        before = load.transactions
        time.sleep(3)
        platform.database.restart()
        restarted = time.time()
        done = load.transactions
        wait_until(lambda: load.transactions > done + CLIENTS, "transactions go on")
        time.sleep(5)
    result = load.result
    row(platform, rows, "PostgreSQL restarts", result, watch)
    assert before < done
    assert 0 < result.broken <= watch.most[ROLE]
    assert sum(count for reason, count in result.reasons.items() if reason.startswith(BROKEN)) == result.broken
    # The others came before there was a server again; PgBouncer tells them so at once, for server_login_retry.
    assert max(when for when, _ in result.failures) < restarted + 10


@pytest.mark.slow
def test_a_rotated_password_refuses_old_logins_alone(
    platform: Platform, nodes: tuple[str, str], rows: list[str]
) -> None:
    """docs/runbooks/rotate-a-password.md: what is open stays open; who logs in anew is refused until it restarts."""
    _, clients = nodes
    rotated = platform.declare(rotations={ROLE: 1})
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        # In the provider's order.
        platform.database.set_verifiers({ROLE: rotated.verifiers()[ROLE]})
        platform.apply(rotated)
        platform.rollout(POOLER)
    row(platform, rows, "a password is rotated, clients with the old one", load.result, watch)
    assert load.result.broken == 0
    assert load.result.failures
    assert all("SASL authentication failed" in reason for reason in load.result.reasons), load.result.reasons
    place_clients(platform, clients)
    with Watch(platform.database) as watch, Load(platform, clients=CLIENTS, pod=POD) as load:
        time.sleep(5)
    row(platform, rows, "the same, restarted with the new one", load.result, watch)
    assert load.result.reasons == {}
    users = json.dumps(platform.program.secret("shared", "pgbouncer-auth"))
    assert rotated.verifiers()[ROLE].split(":")[1][:20] in users

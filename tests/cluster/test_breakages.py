"""Ten wrong manifests, one at a time on the running cluster: each turns the check red that is meant to see it.

The check is green before and after, so it is the one wrong value that it sees.
"""

import copy
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import pki, test_access, test_pods, test_quota
from tests.cluster.flows import PORTS
from tests.cluster.loads import Load
from tests.cluster.matrix import expected, listening, settled, words
from tests.cluster.platform import POOLER, SHARED, VALKEY, Platform, wait_for_pods, wait_until
from tests.cluster.program import PRE_STOP_SECONDS, STATEMENT_SECONDS, as_yaml
from tests.cluster.workloads import KINDS, pod

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("services")]

Document = dict[str, Any]
SECONDS = 40
"""How long what was broken may take to show, or what was repaired to work."""
DNS_SECONDS = 7
"""Each of the two DNS servers keeps an answer for 5 s (coredns.yaml), and one knows of a change before the other."""


def payload_gets_in(platform: Platform) -> None:
    test_access.test_the_pooler_serves_each_product_as_its_own_role(platform, "payload")


def valkey_answers(platform: Platform) -> None:
    assert platform.run("api", "django-api", "ping") == "True"


def the_exporter_has_its_user(platform: Platform) -> None:
    test_pods.test_a_container_runs_as_it_is_declared(platform, "redis", "exporter")


def every_pod_is_ready(platform: Platform) -> None:
    test_pods.test_every_pod_is_ready_and_none_was_restarted(platform)


def the_flow_matrix_is_the_tables(platform: Platform) -> None:
    with listening(platform) as destinations:
        wanted = expected(platform, destinations)
        assert words(settled(platform, destinations, wanted, seconds=20) ^ wanted) == []


def every_workload_rolls(platform: Platform) -> None:
    test_quota.every_workload_rolls_at_once(platform, seconds=SECONDS)


def a_rollout_fails_no_transaction(platform: Platform) -> None:
    """With transactions that are almost as long as a role may take: short ones hide a pod that is stopped too soon."""
    with Load(platform, clients=20, work=STATEMENT_SECONDS * 0.75) as load:
        platform.kubectl.do("rollout", "restart", POOLER, SHARED)
        new_drain(platform)
    assert load.result.reasons == {}


def ready(platform: Platform, name: str) -> list[Document]:
    """The pods whose containers are all ready."""
    return [
        p for p in platform.pods(name) if all(s["ready"] for s in p["status"].get("containerStatuses", [{"ready": 0}]))
    ]


def new_pooler(platform: Platform) -> None:
    """What the pods mount is read when they start."""
    platform.kubectl.do("delete", "pod", "--selector=app.kubernetes.io/name=pgbouncer", SHARED, "--grace-period=1")
    wait_until(lambda: len(ready(platform, "pgbouncer")) == 2, "the pooler is back", seconds=SECONDS)


def new_drain(platform: Platform) -> None:
    """A pod drains as it was declared when it was started: those from before the change are gone."""
    platform.rollout(POOLER)
    selector = "--selector=app.kubernetes.io/name=pgbouncer"
    wait_until(lambda: len(platform.kubectl.get("pods", SHARED, selector)["items"]) == 2, "the old pods are gone")


def new_valkey(platform: Platform) -> None:
    """A pod of a StatefulSet that never becomes ready is not replaced by its next revision."""
    platform.kubectl.do("delete", "pod", "valkey-0", SHARED, "--wait=true")
    platform.kubectl("rollout", "status", VALKEY, SHARED, f"--timeout={SECONDS}s")


def new_payload(platform: Platform) -> None:
    platform.kubectl.do("delete", "pod", "payload", "--namespace=payload-cms", "--wait=true")
    kind = next(kind for kind in KINDS if kind.name == "payload")
    platform.kubectl.do("apply", "--filename=-", document=pod(kind, platform.client_image, PORTS))
    wait_for_pods(platform.kubectl, "payload-cms", "payload")


def settled_names(_: Platform) -> None:
    """Until then one DNS server has the old answer and the other the new one."""
    time.sleep(DNS_SECONDS)


def nothing(_: Platform) -> None:
    """It is seen at once."""


def set_to(value: Any, *path: str | int) -> Callable[[Document], None]:
    """Sets the value at the path."""

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        assert document[path[-1]] != value
        document[path[-1]] = value

    return change


def renamed(*path: str, to: str) -> Callable[[Document], None]:
    """Gives the key at the end of the path another name."""

    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[to] = document.pop(path[-1])

    return change


def from_everywhere(document: Document) -> None:
    """Lets in who comes from any namespace."""
    document["spec"]["ingress"][0]["from"] = [{"namespaceSelector": {}}]


@dataclass(frozen=True, kw_only=True, slots=True)
class Breakage:
    """One wrong value in the object of that kind, name and namespace."""

    kind: str
    name: str
    namespace: str = "shared"
    change: Callable[[Document], None]
    check: Callable[[Platform], None]
    says: str
    """A regular expression that the check's message matches."""
    after: Callable[[Platform], None] = nothing
    """What makes the value count, once it is applied."""


TEMPLATE = ("spec", "template", "spec")
BREAKAGES = {
    # First: its check knows the pods' addresses from the start.
    "policy": Breakage(
        kind="NetworkPolicy",
        name="ingress-django-api-to-payload",
        namespace="payload-cms",
        change=from_everywhere,
        check=the_flow_matrix_is_the_tables,
        says="stranger -> payload: 3000",
    ),
    "port": Breakage(
        kind="Service",
        name="pgbouncer",
        change=set_to(6433, "spec", "ports", 0, "targetPort"),
        check=payload_gets_in,
        says="connection to server .* failed",
    ),
    "label": Breakage(
        kind="Service",
        name="redis",
        change=set_to("valkey", "spec", "selector", "app.kubernetes.io/name"),
        check=valkey_answers,
        says="ConnectionError|TimeoutError",
    ),
    "service name": Breakage(
        kind="Service",
        name="pgbouncer",
        change=set_to("pooler", "metadata", "name"),
        check=payload_gets_in,
        says="resolve|translate|not known",
        after=settled_names,
    ),
    "Secret key": Breakage(
        kind="Secret",
        name="payload-env",
        namespace="payload-cms",
        change=renamed("stringData", "DATABASE_URI", to="DATABASE_URL"),
        check=payload_gets_in,
        says="KeyError: 'DATABASE_URI'",
        after=new_payload,
    ),
    "uid": Breakage(
        kind="StatefulSet",
        name="valkey",
        change=set_to(65533, *TEMPLATE, "containers", 1, "securityContext", "runAsUser"),
        check=the_exporter_has_its_user,
        says="65533",
        after=new_valkey,
    ),
    "probe": Breakage(
        kind="StatefulSet",
        name="valkey",
        change=set_to(9122, *TEMPLATE, "containers", 1, "readinessProbe", "httpGet", "port"),
        check=every_pod_is_ready,
        says="'exporter': \\(False, 0\\)",
        after=new_valkey,
    ),
    "CA": Breakage(
        kind="ConfigMap",
        name="rds-ca",
        change=set_to("", "data", "rds-ca.pem"),
        check=payload_gets_in,
        says="connection to server .* failed",
        after=new_pooler,
    ),
    "drain": Breakage(
        kind="Deployment",
        name="pgbouncer",
        change=set_to(PRE_STOP_SECONDS + 1, *TEMPLATE, "terminationGracePeriodSeconds"),
        check=a_rollout_fails_no_transaction,
        says="server closed the connection unexpectedly",
        after=new_drain,
    ),
    "quota": Breakage(
        kind="ResourceQuota",
        name="quota",
        namespace="payload-cms",
        change=set_to("4", "spec", "hard", "pods"),
        check=every_workload_rolls,
        says="timed out|exceeded quota",
    ),
}


def replaced(platform: Platform, before: Document, after: Document) -> None:
    """Makes the one the other; a name or a Secret's key that is gone takes another object."""
    if before["metadata"]["name"] != after["metadata"]["name"] or before["kind"] == "Secret":
        name, namespace = before["metadata"]["name"], before["metadata"]["namespace"]
        platform.kubectl.do("delete", before["kind"], name, f"--namespace={namespace}")
    answer = platform.kubectl.apply(as_yaml([after]))
    assert answer.ok, answer.output


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_wrong_value_turns_its_check_red(platform: Platform, name: str) -> None:
    breakage = BREAKAGES[name]
    right = platform.program.one(breakage.kind, breakage.name, breakage.namespace)
    wrong = copy.deepcopy(right)
    breakage.change(wrong)
    if name == "CA":
        other = pki.authority(platform.cluster.nodes[0].folder / "other-ca", "Another CA")
        wrong["data"]["rds-ca.pem"] = other.pair.certificate.read_text()
    breakage.check(platform)
    try:
        replaced(platform, right, wrong)
        breakage.after(platform)
        with pytest.raises(AssertionError, match=breakage.says):
            turns_red(platform, breakage)
    finally:
        replaced(platform, wrong, right)
        breakage.after(platform)
    turns_green(platform, breakage)


def turns_red(platform: Platform, breakage: Breakage) -> None:
    """Until the check is red for the breakage's reason, and then once more: it stays so.

    Raises what it says; ends where it stays green.
    """

    def red() -> bool:
        try:
            breakage.check(platform)
        except AssertionError as error:
            return re.search(breakage.says, str(error)) is not None
        return False

    with suppress(AssertionError):
        wait_until(red, breakage.name, seconds=SECONDS, every=1)
    breakage.check(platform)


def turns_green(platform: Platform, breakage: Breakage) -> None:
    """As soon as what was repaired works."""

    def green() -> bool:
        try:
            breakage.check(platform)
        except AssertionError:
            return False
        return True

    wait_until(green, f"{breakage.kind} {breakage.name} is right again", seconds=2 * SECONDS, every=1)

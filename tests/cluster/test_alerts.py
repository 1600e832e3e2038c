"""Alerts fire and clear on the cluster: at Alertmanager, and at the webhook of who is on call.

Rules and routes are those that the program declares, with their times: it takes minutes. Scrapes alone are more
frequent (program.py).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kubernetes.network_flows import SHARED_NAMESPACE, WEBHOOK_PORT
from settings import DATABASE
from tests.cluster import beside
from tests.cluster.flows import PORTS
from tests.cluster.images import Images
from tests.cluster.loads import Load
from tests.cluster.matrix import PUBLIC
from tests.cluster.platform import POOLER, SHARED, VALKEY, Platform, apply, wait_for_pods, wait_until
from tests.cluster.program import own_monitoring
from tests.cluster.workloads import CONTAINER, KINDS, pod

pytestmark = pytest.mark.slow

CLIENTS = 300
WORK_SECONDS = 1.5
POOLS = {"payload": {"pool": {"size": 5, "reserve": 0}}}
"""Of each of the two PgBouncers. They serve 7 transactions a second; PgBouncer ends the wait of the others."""
WAITS, GONE = "PgBouncerWaitIsLong", "TargetIsGone"
RULE_SECONDS = {WAITS: 60, GONE: 5 * 60}
"""How long what is wrong must last."""
GROUP_WAIT_SECONDS, GROUP_INTERVAL_SECONDS = 30, 5 * 60
"""Alertmanager's: how late it posts that an alert fires, and that it ended."""
MARGIN_SECONDS = 60
"""For scrapes, evaluations, and a busy machine."""


class OnCall:
    """What the people on call know: Alertmanager's API, and what it posted to their webhook."""

    def __init__(self, platform: Platform, file: Path) -> None:
        self.platform, self.file = platform, file

    def active(self) -> set[str]:
        """The alerts that fire, asked in Prometheus's pod: no policy lets anybody else in."""
        (prometheus,) = self.platform.pods("prometheus")
        beside.add(self.platform, prometheus, CONTAINER, target="prometheus", user=65534)
        url = f"http://alertmanager.{SHARED_NAMESPACE}:9093/api/v2/alerts?active=true"
        found = json.loads(self.platform.run(prometheus["metadata"]["name"], SHARED_NAMESPACE, "fetch", url))
        return {alert["labels"]["alertname"] for alert in found}

    def posted(self, name: str, status: str) -> list[dict[str, Any]]:
        """The alert as the webhook got it."""
        posts = [json.loads(line) for line in self.file.read_text().splitlines()]
        alerts = [alert for post in posts for alert in post["alerts"]]
        return [alert for alert in alerts if (alert["labels"]["alertname"], alert["status"]) == (name, status)]

    def fires(self, name: str) -> dict[str, Any]:
        """Waits until it does, at Alertmanager and at the webhook."""
        seconds = RULE_SECONDS[name] + MARGIN_SECONDS
        wait_until(lambda: name in self.active(), f"{name} fires", seconds=seconds, every=2)
        return self.receives(name, "firing", GROUP_WAIT_SECONDS)

    def clears(self, name: str) -> None:
        """Waits until Alertmanager has it no more."""
        wait_until(lambda: name not in self.active(), f"{name} clears", seconds=MARGIN_SECONDS, every=2)

    def receives(self, name: str, status: str, seconds: float) -> dict[str, Any]:
        """Waits until the webhook has it."""
        wait_until(
            lambda: bool(self.posted(name, status)),
            f"the webhook knows that {name} is {status}",
            seconds=seconds + MARGIN_SECONDS,
            every=2,
        )
        return self.posted(name, status)[0]


@pytest.fixture(scope="module")
def on_call(platform: Platform, release_images: Images) -> Iterator[OnCall]:
    """Monitoring, a small pool, clients, and a webhook on the internet: where policies let Alertmanager go."""
    bare, site = platform.program, platform.cluster.site
    file = site.folder / "alerts"
    file.touch()
    server = Path(__file__).with_name("webhook.py")
    webhook = site.inside.start(site.folder / "webhook.log", "python3", server, PUBLIC, str(WEBHOOK_PORT), file)
    url = f"http://{PUBLIC}:{WEBHOOK_PORT}/"
    platform.apply(platform.declare(monitoring=own_monitoring(release_images, webhook=url), products=POOLS))
    payload = next(kind for kind in KINDS if kind.name == "payload")
    # As `services` declares it: a pod that runs cannot be given ports.
    apply(platform.kubectl, [pod(payload, platform.client_image, PORTS)])
    wait_for_pods(platform.kubectl, payload.namespace, payload.name)
    for workload in (POOLER, "statefulset/prometheus", "statefulset/alertmanager"):
        platform.rollout(workload)
    found = OnCall(platform, file)
    # What was down while the platform came up does not count.
    wait_until(lambda: found.active() == set(), "no alert fires", seconds=MARGIN_SECONDS, every=2)
    yield found
    platform.apply(bare)
    platform.rollout(POOLER)
    webhook.kill()
    webhook.wait()


@pytest.mark.timeout(1800)
def test_waiting_clients_and_a_target_that_is_gone_wake_somebody_up_until_they_are_back(
    platform: Platform, on_call: OnCall
) -> None:
    platform.kubectl.do("scale", VALKEY, SHARED, "--replicas=0")
    with Load(platform, clients=CLIENTS, work=WORK_SECONDS) as load:
        waits = on_call.fires(WAITS)
    assert load.result.transactions > 0
    assert waits["labels"]["database"] == DATABASE
    assert waits["annotations"]["runbook_url"].endswith("/pgbouncer-saturated.md")
    on_call.clears(WAITS)
    gone = on_call.fires(GONE)
    assert "no pod of valkey gives metrics" in gone["annotations"]["summary"]
    platform.kubectl.do("scale", VALKEY, SHARED, "--replicas=1")
    platform.rollout(VALKEY)
    on_call.clears(GONE)
    on_call.receives(WAITS, "resolved", GROUP_INTERVAL_SECONDS)

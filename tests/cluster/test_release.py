"""A release of the example services on the platform, and its monitoring: the pods of `services` and `monitoring`.

Payload and Django are the real ones, from their images (service_images.py), and so is every hop between them.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.kubernetes.network_flows import MIGRATION, SHARED_NAMESPACE
from settings import API_PORT, PAYLOAD_PORT
from tests.cluster import beside, service_images, test_pods, test_quota
from tests.cluster.flows import PORTS
from tests.cluster.images import Images
from tests.cluster.platform import Platform, apply, wait_for_pods, wait_until
from tests.cluster.program import Program, own_monitoring
from tests.cluster.workloads import CONTAINER, EDGE_NAMESPACE, KINDS, pod

pytestmark = pytest.mark.slow

CMS, SHOP = "payload-cms", "django-api"
COUNTS = {
    (CMS, "payload"): 2,
    (SHOP, "api"): 2,
    (SHOP, "worker"): 2,
    (SHOP, "beat"): 1,
    (SHARED_NAMESPACE, "prometheus"): 1,
    (SHARED_NAMESPACE, "alertmanager"): 1,
}
"""By namespace and name label, how many pods there are."""
TMP = "/tmp"  # noqa: S108 (a pod's)
FOLDERS = {
    (CMS, "payload"): (1000, {"/": False, "/app": False, TMP: True, "/app/.next/cache": True}),
    (SHOP, "api"): (1000, {"/": False, "/app": False, TMP: True}),
    (SHOP, "worker"): (1000, {"/": False, "/app": False, TMP: True}),
    (SHOP, "beat"): (1000, {"/": False, "/app": False, TMP: True}),
    (SHARED_NAMESPACE, "prometheus"): (65534, {"/": False, "/etc/monitoring": False, "/data": True}),
    (SHARED_NAMESPACE, "alertmanager"): (65534, {"/": False, "/etc/monitoring": False, "/data": True}),
}
"""By pod, its uid and which folders it may write to."""
PAYLOAD_URL, API_URL = f"http://payload.{CMS}:{PAYLOAD_PORT}", f"http://api.{SHOP}:{API_PORT}"
MIGRATIONS = {CMS: "payload_user", SHOP: "django_user"}
TABLES = {"payload": "payload.pages", "django": "django.orders_order"}
ACCOUNT = {"email": "editor@example.com", "password": "a-password-for-tests", "name": "Ada Editor"}


def release(platform: Platform, images: Images, *, payload: str) -> Program:
    """The program with both services and monitoring; `payload` is the image of Payload's server."""
    migration = images[service_images.PAYLOAD_MIGRATION]
    return platform.declare(
        services={
            "payload": {"image": payload, "migration": {"image": migration}},
            "django": {"image": images[service_images.DJANGO], "worker": {}, "beat": {}},
        },
        monitoring=own_monitoring(images, webhook="https://alerts.example.com/hook"),
    )


@pytest.fixture(scope="module", autouse=True)
def released(platform: Platform, release_images: Images) -> Iterator[None]:
    """The release, rolled out, and a pod of the edge. Taken off again: agents are to stand for its pods."""
    bare = platform.program
    edge = next(kind for kind in KINDS if kind.name == "edge")
    apply(platform.kubectl, [pod(edge, platform.client_image, PORTS)])
    platform.apply(release(platform, release_images, payload=release_images[service_images.PAYLOAD]))
    for namespace, name in COUNTS:
        kind = "statefulset" if namespace == SHARED_NAMESPACE else "deployment"
        platform.rollout(f"{kind}/{name}", namespace=namespace)
    wait_for_pods(platform.kubectl, EDGE_NAMESPACE, edge.name)
    yield
    platform.apply(bare)


def ask(platform: Platform, method: str, url: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """Status and document of the answer that a request from the edge gets."""
    given = "" if body is None else json.dumps(body)
    status, found = json.loads(platform.run("edge", EDGE_NAMESPACE, "ask", method, url, token, given=given))
    return status, found


def well(platform: Platform, method: str, url: str, body: Any = None, token: str = "") -> Any:
    """The document of a good answer."""
    status, found = ask(platform, method, url, body, token)
    assert status in (200, 201), (status, found)
    return found


def test_every_pod_of_the_release_is_ready(platform: Platform) -> None:
    for (namespace, name), count in COUNTS.items():
        states = [state for p in platform.pods(name, namespace) for state in p["status"]["containerStatuses"]]
        assert [(s["name"], s["ready"], s["restartCount"]) for s in states] == [(name, True, 0)] * count


def test_pod_security_and_quotas_admit_the_release(platform: Platform) -> None:
    test_pods.test_pod_security_is_enforced_and_the_pods_pass_it(platform)
    assert {space: test_quota.refusals(platform, space) for space in test_quota.SPACES} == {
        space: [] for space in test_quota.SPACES
    }


@pytest.mark.parametrize(("namespace", "name"), FOLDERS, ids=[name for _, name in FOLDERS])
def test_a_container_of_the_release_runs_as_it_is_declared(platform: Platform, namespace: str, name: str) -> None:
    uid, folders = FOLDERS[namespace, name]
    test_pods.runs_as_declared(platform, platform.pods(name, namespace)[0], name, uid, folders)


@pytest.mark.parametrize("namespace", MIGRATIONS)
def test_the_migration_ran_on_the_direct_url_before_the_pods(platform: Platform, namespace: str) -> None:
    """Its role came from the Job's address, and from no other pod of the service: those go through the pooler."""
    selector = ",".join(f"{key}={value}" for key, value in MIGRATION.items())
    found = platform.kubectl.get("pods", f"--namespace={namespace}", f"--selector={selector}")["items"]
    (migration,) = [p for p in found if p["status"]["phase"] == "Succeeded"]
    ended = migration["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    serving = [p for space, name in COUNTS if space == namespace for p in platform.pods(name, space)]
    assert ended <= min(p["metadata"]["creationTimestamp"] for p in serving)
    log = platform.database.log()
    assert f"{MIGRATIONS[namespace]} {migration['status']['podIP']}(" in log
    assert [p["metadata"]["name"] for p in serving if f" {p['status']['podIP']}(" in log] == []


def test_django_reads_a_page_from_payload(platform: Platform) -> None:
    """Edge, api, Payload's Service in Django's namespace, Payload, PgBouncer, PostgreSQL."""
    well(platform, "POST", f"{PAYLOAD_URL}/api/users/first-register", ACCOUNT)
    token = well(platform, "POST", f"{PAYLOAD_URL}/api/users/login", ACCOUNT)["token"]
    for title, status in (("From pod to pod", "published"), ("A secret", "draft")):
        well(platform, "POST", f"{PAYLOAD_URL}/api/pages", {"title": title, "_status": status}, token)
    assert well(platform, "GET", f"{API_URL}/api/pages/from-pod-to-pod")["title"] == "From pod to pod"
    assert ask(platform, "GET", f"{API_URL}/api/pages/a-secret")[0] == 404


def test_a_task_goes_through_valkey(platform: Platform) -> None:
    order = well(platform, "POST", f"{API_URL}/api/orders", {"page": "from-pod-to-pod", "quantity": 2})
    assert order["confirmed"] is False
    wait_until(
        lambda: well(platform, "GET", f"{API_URL}/api/orders/{order['id']}")["confirmed"] is True,
        "a worker confirmed the order",
    )
    selector = ("--selector=app.kubernetes.io/name=worker", "--tail=-1")
    assert "orders.tasks.confirm_order" in platform.kubectl.do("logs", f"--namespace={SHOP}", *selector)


@pytest.mark.parametrize(
    ("namespace", "name", "variable", "own"),
    [(CMS, "payload", "DATABASE_URI", "payload"), (SHOP, "api", "DATABASE_URL", "django")],
)
def test_a_running_service_has_its_own_tables_alone(
    platform: Platform, namespace: str, name: str, variable: str, own: str
) -> None:
    """With the environment of its own process."""
    running = platform.pods(name, namespace)[0]
    beside.add(platform, running, CONTAINER, target=name, user=1000)
    statements = {f"{verb} {table}": schema for schema, table in TABLES.items() for verb in ("TABLE", "DELETE FROM")}
    arguments = (running["metadata"]["name"], namespace, "statements", variable)
    states = json.loads(platform.run(*arguments, given=json.dumps(list(statements))))
    assert states == ["00000" if schema == own else "42501" for schema in statements.values()]


def test_a_release_that_does_not_start_leaves_the_old_pods_serving(platform: Platform, release_images: Images) -> None:
    """Django's image as Payload's. The former release is one update away, and that starts no pod."""

    def serving() -> set[str]:
        return {
            p["metadata"]["uid"]
            for p in platform.pods("payload", CMS)
            if all(s["ready"] for s in p["status"].get("containerStatuses", [{"ready": False}]))
        }

    def failed() -> bool:
        statuses = [s for p in platform.pods("payload", CMS) for s in p["status"].get("containerStatuses", [])]
        return any(status["restartCount"] > 0 and not status["ready"] for status in statuses)

    before, right = serving(), platform.program
    platform.apply(release(platform, release_images, payload=release_images[service_images.DJANGO]))
    wait_until(failed, "the new release's pod was started again", seconds=90)
    assert (serving(), len(platform.pods("payload", CMS))) == (before, 3)
    for _ in range(5):
        well(platform, "GET", f"{PAYLOAD_URL}/api/pages")
    platform.apply(right)
    platform.rollout("deployment/payload", namespace=CMS)
    wait_until(lambda: len(platform.pods("payload", CMS)) == 2, "the new pod is gone")
    assert serving() == before
    well(platform, "GET", f"{PAYLOAD_URL}/api/pages")


def test_prometheus_reaches_every_target(platform: Platform) -> None:
    """Asked beside it: no policy lets anybody else in."""
    (prometheus,) = platform.pods("prometheus")
    beside.add(platform, prometheus, CONTAINER, target="prometheus", user=65534)

    def targets() -> dict[str, list[str]]:
        url = "http://127.0.0.1:9090/api/v1/targets"
        found = json.loads(platform.run(prometheus["metadata"]["name"], SHARED_NAMESPACE, "fetch", url))["data"][
            "activeTargets"
        ]
        jobs = sorted({target["labels"]["job"] for target in found})
        return {job: [target["health"] for target in found if target["labels"]["job"] == job] for job in jobs}

    wanted = {"alertmanager": ["up"], "pgbouncer": ["up", "up"], "prometheus": ["up"], "valkey": ["up"]}
    wait_until(lambda: targets() == wanted, f"the targets are {wanted}", every=1)

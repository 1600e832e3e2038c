"""What Celery notices when Valkey's pod goes away: real Celery in Django's pods, with production's ACL.

A task is lost when the broker took it and no worker ever ran it. Each one that ran is a row in the database.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import psutil
import pytest

from tests.cluster.platform import SHARED, Platform, apply, wait_for_pods, wait_until
from tests.cluster.workloads import KINDS, SCRIPTS, pod

NAMESPACE, NAME = "django-api", "celery"
POD = "valkey-0"
SECONDS, RATE = 25, 20
LONGEST_SECONDS = 10
"""How long a send may take, with Celery's own retries, until it succeeds or raises."""
VISIBILITY_SECONDS = 15
"""In place of Celery's 3600: when a task comes back that a worker took and did not acknowledge."""
WORKERS = 1
"""Each may lose one task with its connection: Celery takes a task from the queue and notes that it did in two steps."""
FSYNC_SECONDS = 1
"""`appendfsync everysec`: what a crash may lose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One task."""

    number: int
    when: float
    seconds: float
    error: str | None


@pytest.fixture(scope="module")
def worker(platform: Platform, services: None) -> Iterator[None]:
    """A Celery worker as one of Django's workers, and the table of what ran."""
    assert services is None
    with closing(platform.database.superuser()) as connection:
        connection.execute("SET ROLE django_user")
        connection.execute("CREATE TABLE django.mark (number integer)")
    start_worker(platform)
    yield
    stop_worker(platform)


def start_worker(platform: Platform) -> None:
    """The worker's pod."""
    kind = next(kind for kind in KINDS if kind.name == "worker")
    document = pod(kind, platform.client_image, name=NAME)
    # Its processes share memory in a file there.
    document["spec"]["volumes"].append({"name": "tmp", "emptyDir": {"medium": "Memory"}})
    document["spec"]["containers"][0]["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 (a pod's)
    document["spec"]["containers"][0]["command"] = [
        *("python3", "-c", (SCRIPTS / "celery_app.py").read_text()),
        *("work", str(VISIBILITY_SECONDS)),
    ]
    apply(platform.kubectl, [document])
    wait_for_pods(platform.kubectl, NAMESPACE, NAME)


def stop_worker(platform: Platform) -> None:
    """As a failed liveness probe does: what it had taken comes back after the visibility timeout."""
    platform.kubectl.do("delete", "pod", NAME, f"--namespace={NAMESPACE}", "--wait=true")


def marks(platform: Platform) -> list[int]:
    """The numbers of the tasks that ran, one for each time."""
    with closing(platform.database.superuser()) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM django.mark").fetchall()]


def send(platform: Platform, seconds: float, first: int) -> list[Sent]:
    """Tasks from the API's pod, numbered from `first` on."""
    arguments = ("send", str(seconds), str(RATE), str(first))
    output = platform.run("api", NAMESPACE, "celery_app", *arguments, seconds=seconds + 120)
    keys = ("number", "when", "seconds", "error")
    return [Sent(**dict(zip(keys, sent, strict=True))) for sent in json.loads(output)]


def is_deleted(platform: Platform) -> None:
    """As a drain, a new configuration or an operator does it."""
    platform.kubectl.do("delete", "pod", POD, SHARED, "--wait=true")


def is_killed(platform: Platform) -> None:
    """As by the out-of-memory killer. Its kernel lives, so what it wrote and did not sync is not lost with it."""
    site = platform.cluster.site
    (server,) = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "valkey-server" and any(site.cgroup in c for c in _cgroups(process.pid))
    ]
    os.kill(server.pid, signal.SIGKILL)


def _cgroups(pid: int) -> list[str]:
    with open(f"/proc/{pid}/cgroup") as file:  # noqa: PTH123 (no path of this machine's disk)
        return file.read().splitlines()


def container(platform: Platform) -> tuple[str, int, bool]:
    """Valkey's: the pod's uid, how often it was restarted, and whether it is ready."""
    answer = platform.kubectl("get", "pod", POD, SHARED, "--output=json")
    if not answer.ok:
        return "", 0, False
    found = json.loads(answer.output)
    for status in found["status"].get("containerStatuses", ()):
        if status["name"] == "valkey":
            return found["metadata"]["uid"], status["restartCount"], status["ready"]
    return found["metadata"]["uid"], 0, False


def is_back(platform: Platform, uid: str, restarts: int) -> bool:
    """Whether another pod, or the same one started again, is ready."""
    now, started, ready = container(platform)
    return ready and (now != uid or started > restarts)


def unfinished(platform: Platform, numbers: Collection[int], seconds: float) -> set[int]:
    """The tasks that did not run within so many seconds."""
    deadline = time.monotonic() + seconds
    while (missing := set(numbers) - set(marks(platform))) and time.monotonic() < deadline:
        time.sleep(1)
    return missing


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("goes", "may_lose"), [(is_deleted, 0.0), pytest.param(is_killed, FSYNC_SECONDS, marks=pytest.mark.slow)]
)
def test_what_celery_loses_with_valkeys_pod_is_bounded(
    platform: Platform, goes: Callable[[Platform], None], may_lose: float, capsys: pytest.CaptureFixture[str]
) -> None:
    first = 1 + max(marks(platform), default=0)
    uid, restarts, _ = container(platform)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, platform, SECONDS, first)
        wait_until(lambda: any(number >= first for number in marks(platform)), "a first task ran")
        time.sleep(3)
        gone = time.time()
        goes(platform)
        wait_until(lambda: is_back(platform, uid, restarts), "Valkey is back")
        back = time.time()
        sent = sending.result()
    taken = {task.number: task.when for task in sent if task.error is None}
    refused = [task for task in sent if task.error is not None]
    # Celery's worker may stop taking tasks once its broker was away (https://github.com/celery/celery/issues/10302):
    # they stay in the queue until it is started again, which is what docs/services.md asks a liveness probe for.
    stuck = bool(unfinished(platform, taken, 2 * VISIBILITY_SECONDS))
    if stuck:
        stop_worker(platform)
        start_worker(platform)
    lost = sorted(unfinished(platform, taken, 3 * VISIBILITY_SECONDS if stuck else 0))
    ran = [number for number in marks(platform) if number >= first]
    also = "; the worker was started again" if stuck else ""
    with capsys.disabled():
        print(
            f"\nValkey {goes.__name__.replace('_', ' ')}, away for {back - gone:.1f} s: {len(taken)} tasks taken, "
            f"{len(refused)} refused, {len(lost)} lost, {len(ran) - len(set(ran))} ran twice; "
            f"longest send {max(task.seconds for task in sent):.1f} s{also}"
        )
    beyond = [number for number in lost if not gone - may_lose <= taken[number] <= gone]
    assert len(beyond) <= WORKERS, f"lost: {beyond}"
    assert max(task.seconds for task in sent) < LONGEST_SECONDS, "a send hangs"
    assert [task for task in refused if not gone - 1 < task.when < back + 5] == []
    assert any(when > back for when in taken.values()), "nothing was sent once Valkey was back"

"""A real cluster with the whole of the prod stack's Kubernetes half on it, before a real PostgreSQL outside."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster import service_images
from tests.cluster.cluster import Cluster, running_cluster
from tests.cluster.flows import PORTS
from tests.cluster.images import Images, NotBuiltError
from tests.cluster.machine import missing
from tests.cluster.platform import Platform, apply, running_platform, wait_for_pods
from tests.cluster.workloads import KINDS, pod
from tests.required import not_here

FOLDER = Path(__file__).parent
SWITCH = "REQUIRE_CLUSTER"
_SECONDS = 900
"""Of a test with what it waits for: the first one waits for the cluster."""
ORDER = (
    "test_site",
    "test_release",
    "test_alerts",
    "test_pods",
    "test_access",
    "test_flows",
    "test_quota",
    "test_valkey",
    "test_breakages",
    "test_rollout",
    "test_removal",
)
"""One platform serves all: what takes it apart comes last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks this folder's tests, and puts their files in order."""
    ours = [item for item in items if FOLDER in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(_SECONDS))
    places = [index for index, item in enumerate(items) if FOLDER in item.path.parents]
    for index, item in zip(places, sorted(ours, key=lambda item: ORDER.index(item.path.stem)), strict=True):
        items[index] = item


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes and nothing but DNS on them."""
    # Workers would each make a cluster, and take files out of their order.
    parallel = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1
    reason = "one cluster serves all its tests: make test-cluster, without -n" if parallel else missing()
    if reason:
        not_here(reason, SWITCH)
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def platform(cluster: Cluster) -> Iterator[Platform]:
    """The whole of it."""
    with running_platform(cluster) as running:
        yield running


@pytest.fixture(scope="session")
def release_images(platform: Platform) -> Images:
    """Those of the example services and of monitoring, on every node."""
    try:
        made = service_images.images()
    except NotBuiltError as reason:
        not_here(str(reason), SWITCH)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.add_images(made.archive), platform.cluster.nodes))
    return made


@pytest.fixture(scope="session")
def services(platform: Platform) -> None:
    """A pod of each kind that is not the platform's own. They listen on every port of the flow table."""
    pods = [pod(kind, platform.client_image, PORTS) for kind in KINDS if not kind.ours]
    apply(platform.kubectl, pods)
    for namespace in {kind.namespace for kind in KINDS}:
        wait_for_pods(platform.kubectl, namespace)

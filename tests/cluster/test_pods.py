"""Every pod that the platform declares: it starts, as the user and with the file system that it was declared with."""

import json
from typing import Any

import pytest

from tests.cluster import beside
from tests.cluster.platform import SHARED, Platform
from tests.cluster.workloads import SCRIPTS

TMP = "/tmp"  # noqa: S108 (a pod's)
CONTAINERS = {
    ("pgbouncer", "pgbouncer"): (70, "pgbouncer", {"/": False, "/etc/pgbouncer": False, TMP: True}),
    ("pgbouncer", "exporter"): (65534, "pgbouncer_exporter", {"/": False, TMP: False}),
    ("redis", "valkey"): (999, "valkey-server", {"/": False, "/etc/valkey-auth": False, "/data": True}),
    ("redis", "exporter"): (65534, "redis_exporter", {"/": False, TMP: False}),
}
"""By pod's name label and container: its uid, its program, and which folders it may write to."""


def test_every_pod_is_ready_and_none_was_restarted(platform: Platform) -> None:
    for name, count in (("pgbouncer", 2), ("redis", 1)):
        pods = platform.pods(name)
        assert len(pods) == count
        for pod in pods:
            states = {s["name"]: (s["ready"], s["restartCount"]) for s in pod["status"]["containerStatuses"]}
            assert states == {c["name"]: (True, 0) for c in pod["spec"]["containers"]}


def test_pod_security_is_enforced_and_the_pods_pass_it(platform: Platform) -> None:
    """A dry run of the label makes the server check what runs already."""
    for namespace in ("shared", "payload-cms", "django-api"):
        label = "pod-security.kubernetes.io/enforce"
        assert platform.kubectl.get("namespace", namespace)["metadata"]["labels"][label] == "restricted"
        answer = platform.kubectl(
            *("label", "--dry-run=server", "--overwrite", "namespace", namespace),
            *(f"{label}=restricted", f"{label}-version=latest"),
        )
        assert (answer.ok, answer.warnings) == (True, "")


def test_the_poolers_pods_are_in_different_zones(platform: Platform) -> None:
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in platform.kubectl.get("nodes")["items"]}
    zones = [nodes[pod["spec"]["nodeName"]]["topology.kubernetes.io/zone"] for pod in platform.pods("pgbouncer")]
    assert len(set(zones)) == len(zones) == 2


@pytest.mark.parametrize(("name", "container"), CONTAINERS, ids=["/".join(key) for key in CONTAINERS])
def test_a_container_runs_as_it_is_declared(platform: Platform, name: str, container: str) -> None:
    uid, program, folders = CONTAINERS[name, container]
    found = runs_as_declared(platform, platform.pods(name)[0], container, uid, folders)
    # Valkey writes its address behind its name.
    assert found["command"][0].split()[0].rpartition("/")[2] == program


def runs_as_declared(
    platform: Platform, pod: dict[str, Any], container: str, uid: int, folders: dict[str, bool]
) -> dict[str, Any]:
    """Checks the process of the container, and gives what there is to know of it."""
    found = look(platform, pod, container, uid, list(folders))
    assert found["status"]["Uid"].split() == [str(uid)] * 4
    assert found["status"]["Gid"].split() == [str(uid)] * 4
    assert int(found["status"]["CapEff"], 16) == int(found["status"]["CapBnd"], 16) == 0
    assert found["status"]["NoNewPrivs"] == "1"
    assert found["status"]["Seccomp"] == "2"
    assert found["writable"] == folders
    assert "ro" in found["mounts"]["/"].split(",")
    assert not [path for path in found["mounts"] if "serviceaccount" in path]
    return found


def look(platform: Platform, pod: dict[str, Any], container: str, uid: int, folders: list[str]) -> dict[str, Any]:
    """What pods/look.py finds beside the container."""
    name = f"look-at-{container}"
    beside.add(platform, pod, name, target=container, user=uid)
    output = platform.kubectl.do(
        *("exec", pod["metadata"]["name"], f"--namespace={pod['metadata']['namespace']}", f"--container={name}", "--"),
        *("python3", "-c", (SCRIPTS / "look.py").read_text(), *folders),
    )
    found: dict[str, Any] = json.loads(output)
    return found


def test_the_namespaces_use_what_their_pods_request(platform: Platform) -> None:
    """The quota counts: its controller and its admission run."""
    quota = platform.kubectl.get("resourcequota", "quota", SHARED)["status"]
    pods = platform.kubectl.get("pods", SHARED)["items"]
    assert int(quota["used"]["pods"]) == len(pods)
    for pod in pods:
        assert all(container["resources"]["limits"] for container in pod["spec"]["containers"])


@pytest.mark.usefixtures("services")
def test_the_exporters_see_their_servers(platform: Platform) -> None:
    """From Prometheus's pod, as it scrapes them."""
    for name, port, up in (("pgbouncer", 9127, "pgbouncer_up 1"), ("redis", 9121, "redis_up 1")):
        for pod in platform.pods(name):
            url = f"http://{pod['status']['podIP']}:{port}/metrics"
            assert up in platform.run("prometheus", "shared", "fetch", url).splitlines()


def test_the_pooler_verifies_the_database_and_has_descriptors_enough(platform: Platform) -> None:
    for pod in platform.pods("pgbouncer"):
        log = platform.kubectl.do("logs", pod["metadata"]["name"], SHARED, "--container=pgbouncer")
        # The release's clients leave idle connections open for longer than the tests' pooler lets them.
        assert not [line for line in log.splitlines() if "WARNING" in line and "client_idle_timeout" not in line]
        assert "ERROR" not in log

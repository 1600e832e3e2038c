"""The namespaces' quotas: a rollout of every workload at once fits into them, and a pod too many is refused."""

import re
from typing import Any

import pytest
import yaml

from settings import ROOT
from tests.cluster.platform import POOLER, VALKEY, Platform, apply, wait_until
from tests.cluster.workloads import RESTRICTED, agent_command

SERVICES = {"payload-cms": ("payload",), "django-api": ("api", "worker")}
"""By namespace, the workloads that its service deploys from a repository of its own."""
SPACES = (*SERVICES, "shared")
PULL = {"imagePullPolicy": "IfNotPresent"}


def documented() -> dict[str, Any]:
    """The Deployment that docs/services.md tells services to write."""
    text = (ROOT / "docs/services.md").read_text()
    (found,) = [
        document
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        for document in yaml.safe_load_all(block)
        if document.get("kind") == "Deployment"
    ]
    assert isinstance(found, dict)
    return found


def workload(platform: Platform, namespace: str, name: str) -> dict[str, Any]:
    """The documented Deployment as one of the service's: its size is kept, and an agent stands in for the program."""
    document = documented()
    document["metadata"] = {"name": name, "namespace": namespace}
    labels = {"app.kubernetes.io/name": name}
    document["spec"]["selector"]["matchLabels"] = labels
    template = document["spec"]["template"]
    template["metadata"]["labels"] = labels
    template["spec"]["serviceAccountName"] = name
    template["spec"]["terminationGracePeriodSeconds"] = 1
    (container,) = template["spec"]["containers"]
    container |= {"image": platform.client_image, "command": agent_command(["3000/TCP"]), **PULL}
    del container["envFrom"]
    return document


def refusals(platform: Platform, namespace: str) -> list[str]:
    """The quota's messages in the namespace's events."""
    events = platform.kubectl.get("events", f"--namespace={namespace}", "--field-selector=reason=FailedCreate")["items"]
    return [event["message"] for event in events if "exceeded quota" in event["message"]]


def every_workload_rolls_at_once(platform: Platform, seconds: int = 240) -> None:
    """Each with the pods that it has more of meanwhile; the migrations' pods and others are there beside them.

    The services' own may take `seconds` each to come up first.
    """
    documents = [workload(platform, namespace, name) for namespace, names in SERVICES.items() for name in names]
    theirs = [
        (document["metadata"]["namespace"], f"deployment/{document['metadata']['name']}") for document in documents
    ]
    rolled = [*theirs, ("shared", POOLER), ("shared", VALKEY)]
    try:
        apply(platform.kubectl, documents)
        for namespace, name in theirs:
            platform.rollout(name, seconds, namespace=namespace)
        for namespace, name in rolled:
            platform.kubectl.do("rollout", "restart", name, f"--namespace={namespace}")
        for namespace, name in rolled:
            platform.rollout(name, namespace=namespace)
        assert {space: refusals(platform, space) for space in SPACES} == {space: [] for space in SPACES}
    finally:
        for namespace in SERVICES:
            platform.kubectl.do(
                "delete", "deployment,event", "--all", f"--namespace={namespace}", "--cascade=foreground"
            )


@pytest.mark.usefixtures("services")
def test_a_rollout_of_every_workload_at_once_fits(platform: Platform) -> None:
    every_workload_rolls_at_once(platform)


def pods_of_a_namespace(platform: Platform, namespace: str) -> tuple[int, int]:
    """How many the quota counts, and how many it admits."""
    status = platform.kubectl.get("resourcequota", "quota", f"--namespace={namespace}")["status"]
    return int(status["used"]["pods"]), int(status["hard"]["pods"])


def counted(platform: Platform, namespace: str) -> bool:
    """Whether its controller knows of all that came and went."""
    pods = platform.kubectl.get("pods", f"--namespace={namespace}")["items"]
    return pods_of_a_namespace(platform, namespace)[0] == len(pods)


def test_a_pod_too_many_is_refused_by_name_of_the_quota(platform: Platform) -> None:
    """Small pods, so that their number and nothing else reaches its limit. They run nowhere."""
    namespace = "payload-cms"
    wait_until(lambda: counted(platform, namespace), "the quota counts the pods that there are")
    used, hard = pods_of_a_namespace(platform, namespace)

    def pod(number: int) -> dict[str, Any]:
        small = {"cpu": "1m", "memory": "1Mi"}
        container = {"name": "none", "image": "registry.test/none:1", "securityContext": RESTRICTED, **PULL}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"small-{number}", "namespace": namespace, "labels": {"of": "quota"}},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": "none"},
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [{**container, "resources": {"requests": small, "limits": small}}],
            },
        }

    try:
        apply(platform.kubectl, [pod(number) for number in range(hard - used)])
        answer = platform.kubectl.create(pod(hard))
        assert not answer.ok
        assert f"exceeded quota: quota, requested: pods=1, used: pods={hard}, limited: pods={hard}" in answer.output
    finally:
        platform.kubectl.do("delete", "pod", "--selector=of=quota", f"--namespace={namespace}", "--wait=true")
    wait_until(lambda: pods_of_a_namespace(platform, namespace)[0] == used, "the quota counts them no more")

"""Containers of the tests' own in a pod that runs: they share its network, and the processes of one container."""

import json
from typing import Any

from tests.cluster.platform import Platform, wait_until
from tests.cluster.workloads import RESTRICTED, agent_command


def add(
    platform: Platform, pod: dict[str, Any], name: str, *, target: str, user: int, ports: tuple[str, ...] = ()
) -> None:
    """An ephemeral container that listens on the ports the pod has left, beside the container `target`, as `user`.

    Nothing is done where the pod has it already.
    """
    namespace, pod_name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    if _runs(platform, namespace, pod_name, name):
        return
    container = {
        "name": name,
        "image": platform.client_image,
        "imagePullPolicy": "IfNotPresent",
        "command": agent_command(ports),
        "targetContainerName": target,
        "securityContext": {**RESTRICTED, "runAsUser": user, "runAsGroup": user},
    }
    platform.kubectl.do(
        *("patch", "pod", pod_name, f"--namespace={namespace}", "--subresource=ephemeralcontainers"),
        *("--type=strategic", f"--patch={json.dumps({'spec': {'ephemeralContainers': [container]}})}"),
    )
    wait_until(lambda: _runs(platform, namespace, pod_name, name), f"{name} runs in {pod_name}")


def _runs(platform: Platform, namespace: str, pod: str, name: str) -> bool:
    status = platform.kubectl.get("pod", pod, f"--namespace={namespace}")["status"]
    return any(
        container["name"] == name and "running" in container["state"]
        for container in status.get("ephemeralContainerStatuses", [])
    )

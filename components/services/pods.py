"""What the pods of a service have in common, serving ones and migrations."""

from collections.abc import Mapping
from pathlib import PurePosixPath

import pulumi
from pulumi_kubernetes.core.v1 import ContainerArgsDict, EnvVarArgsDict, PodSpecArgsDict, VolumeArgsDict

from components.kubernetes.pods import LOCKED_DOWN, locked_down_pod, mount, resources
from components.services.resources import DATABASE_CA, DATABASE_CA_PATH
from settings import ResourceSettings

_USER_ID = 1000
"""User of the services' images; their Dockerfiles name it."""


def service_pod(
    container: ContainerArgsDict,
    *,
    account: str,
    env_secret: pulumi.Input[str],
    env: list[EnvVarArgsDict],
    ca: bool,
    given: ResourceSettings,
    writable: Mapping[str, str],
) -> PodSpecArgsDict:
    """A pod with one container, its environment from the service's Secret, and the CA certificates where there are any.

    `env` wins over the Secret. `writable` holds the folders that the container may write to, with their sizes.
    """
    folders = {f"writable-{number}": (path, size) for number, (path, size) in enumerate(writable.items())}
    volumes: list[VolumeArgsDict] = [
        {"name": name, "empty_dir": {"size_limit": size}} for name, (_, size) in folders.items()
    ]
    mounts = [mount(name, path, read_only=False) for name, (path, _) in folders.items()]
    if ca:
        volumes.append({"name": DATABASE_CA, "config_map": {"name": DATABASE_CA}})
        mounts.append(mount(DATABASE_CA, str(PurePosixPath(DATABASE_CA_PATH).parent)))
    whole: ContainerArgsDict = {
        **container,
        "env_from": [{"secret_ref": {"name": env_secret}}],
        "resources": resources(
            requests=(given.requests_cpu, given.requests_memory), limits=(given.limits_cpu, given.limits_memory)
        ),
        "security_context": LOCKED_DOWN,
        # What a container printed last is in the error of a rollout that waits for it.
        "termination_message_policy": "FallbackToLogsOnError",
        "volume_mounts": mounts,
    }
    if env:
        whole["env"] = env
    return {**locked_down_pod(account, _USER_ID, whole), "volumes": volumes}

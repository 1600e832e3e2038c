"""Valkey on the cluster, under the name `redis`: Django's cache and its Celery workers' queues and results."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet, StatefulSetSpecArgsDict
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ContainerArgsDict,
    PodSpecArgsDict,
    ProbeArgsDict,
    Secret,
    Service,
    ServiceAccount,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict

from components.kubernetes.network_flows import REDIS, REDIS_METRICS_PORT, REDIS_PORT
from components.kubernetes.pods import (
    LOCKED_DOWN,
    data_claim,
    headless_service,
    locked_down_pod,
    metadata,
    metrics_exporter,
    mount,
    probe,
    resources,
    rollout_annotations,
    secret_env,
    secret_file,
    service,
)
from components.kubernetes.valkey_files import ACL_FILE, AUTH_PATH, CELERY_QUEUE, DATA_PATH, users_acl, valkey_conf
from settings import VALKEY_METRICS_USER, VALKEY_SECRETS, ValkeySettings

SERVICE = "redis"
"""The host name that clients use: they speak Redis's protocol, whichever server answers."""

HEADLESS_SERVICE = "redis-pods"
"""Gives the pod its own DNS name, which a StatefulSet requires; clients use `SERVICE`."""

_NAME = "valkey"
_CONFIG = "/etc/valkey"
_CONF = "valkey.conf"
_SECRET = "valkey-auth"  # noqa: S105 (a name)
_METRICS_PASSWORD = "metrics-password"  # noqa: S105 (a key)
_VALKEY_UID = 999
"""User of the official image. The image's variants disagree about the group's number, so fsGroup sets it."""

_OVERHEAD_MIB = 64
"""Memory outside `maxmemory`: the server itself, and the buffers of its clients and of the append-only file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValkeyArgs:
    """Arguments of `Valkey`."""

    namespace: str
    settings: ValkeySettings
    user: str
    """ACL user of the services."""
    password: pulumi.Input[str]
    """Password of `user`; marked secret."""
    metrics_password: pulumi.Input[str]
    """Password of `VALKEY_METRICS_USER`; marked secret."""
    rotations: Mapping[str, int]
    """Rotation counters by secret. Raising one restarts the pod, which reads users.acl only when it starts."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pod is ready; False where the API server runs no pods."""


class Valkey(pulumi.ComponentResource):
    """A StatefulSet of one pod with its configuration, volume and Service.

    **Data.** The volume's claim, `data-valkey-0`, outlives the StatefulSet: after a deletion or replacement the next
    StatefulSet finds the append-only file again. An existing claim keeps its size whatever `storageGib` is.

    No PodDisruptionBudget: with one replica it could only refuse, and no node could ever be drained.
    """

    address: pulumi.Output[str]
    """host:port for the services."""
    url: pulumi.Output[str]
    """redis://<user>:<password>@<host>:<port>/0; secret."""

    def __init__(self, name: str, args: ValkeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:Valkey", name, {}, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)

        conf = valkey_conf(max_memory_mib=args.settings.max_memory_mib, port=REDIS_PORT)
        config = ConfigMap(f"{name}-config", metadata=self._metadata(_NAME), data={_CONF: conf}, opts=child)
        secret = Secret(
            f"{name}-auth",
            metadata=self._metadata(_SECRET),
            type="Opaque",
            # The SDK marks string_data as secret, whatever its values are.
            string_data={
                ACL_FILE: pulumi.Output.all(password=args.password, metrics_password=args.metrics_password).apply(
                    lambda passwords: users_acl(user=args.user, **passwords)
                ),
                _METRICS_PASSWORD: args.metrics_password,
            },
            opts=child,
        )
        account = ServiceAccount(
            f"{name}-account", metadata=self._metadata(_NAME), automount_service_account_token=False, opts=child
        )
        headless = Service(
            f"{name}-headless",
            # Never waited for: it has no endpoint until the pod is ready, and the pod comes after it.
            metadata=self._metadata(HEADLESS_SERVICE, wait=False),
            spec=headless_service("redis", REDIS_PORT, REDIS),
            opts=child,
        )
        stateful_set = StatefulSet(
            f"{name}-statefulset",
            metadata=self._metadata(_NAME, wait=args.wait_for_rollout),
            spec=self._stateful_set(conf),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config, secret, account, headless]),
        )
        Service(
            f"{name}-service",
            metadata=self._metadata(SERVICE, wait=args.wait_for_rollout),
            spec=service("redis", REDIS_PORT, REDIS),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[stateful_set]),
        )
        self.address = pulumi.Output.from_input(f"{SERVICE}.{args.namespace}.svc.cluster.local:{REDIS_PORT}")
        self.url = pulumi.Output.secret(args.password).apply(
            lambda password: (
                f"redis://{quote(args.user, safe='')}:{quote(password, safe='')}"
                f"@{SERVICE}.{args.namespace}:{REDIS_PORT}/0"
            )
        )
        self.register_outputs({"address": self.address, "url": self.url})

    def _metadata(self, name: str, *, wait: bool = True) -> ObjectMetaArgsDict:
        return metadata(name, self._args.namespace, REDIS, wait=wait)

    def _stateful_set(self, conf: str) -> StatefulSetSpecArgsDict:
        settings = self._args.settings
        annotations = rollout_annotations(
            config=conf, rotations=self._args.rotations, secrets=VALKEY_SECRETS, container=_NAME
        )
        return {
            "replicas": 1,
            "revision_history_limit": 5,
            "service_name": HEADLESS_SERVICE,
            "selector": {"match_labels": dict(REDIS)},
            "persistent_volume_claim_retention_policy": {"when_deleted": "Retain", "when_scaled": "Retain"},
            "volume_claim_templates": [
                data_claim(REDIS, storage_gib=settings.storage_gib, storage_class=settings.storage_class)
            ],
            "template": {"metadata": {"labels": dict(REDIS), "annotations": annotations}, "spec": self._pod()},
        }

    def _pod(self) -> PodSpecArgsDict:
        settings = self._args.settings
        memory = settings.max_memory_mib
        valkey: ContainerArgsDict = {
            "name": _NAME,
            "image": settings.image,
            # As PID 1, without the image's entrypoint, which is for containers that start as root.
            "command": ["valkey-server", f"{_CONFIG}/{_CONF}"],
            "env": [secret_env("REDISCLI_AUTH", _SECRET, _METRICS_PASSWORD)],
            "ports": [{"name": "redis", "container_port": REDIS_PORT, "protocol": "TCP"}],
            # Five minutes: it answers PING only once it has read the append-only file.
            "startup_probe": _ping("-e", period_seconds=2, failure_threshold=150),
            "readiness_probe": _ping("-e", period_seconds=5, failure_threshold=2),
            # Any answer counts, errors too: PING reports a full volume, which a restart would not fix.
            "liveness_probe": _ping(period_seconds=10, failure_threshold=6),
            # Twice the data as the limit: the process that rewrites the append-only file shares its memory with the
            # server until one of them writes, and at worst every page is written meanwhile.
            "resources": resources(
                requests=("100m", f"{memory + _OVERHEAD_MIB}Mi"), limits=("1", f"{2 * memory + _OVERHEAD_MIB}Mi")
            ),
            "security_context": LOCKED_DOWN,
            "volume_mounts": [
                mount("config", _CONFIG),
                mount("auth", AUTH_PATH),
                mount("data", DATA_PATH, read_only=False),
            ],
        }
        exporter = metrics_exporter(
            image=settings.exporter_image,
            port=REDIS_METRICS_PORT,
            path="/health",
            env=[
                {"name": "REDIS_ADDR", "value": f"redis://127.0.0.1:{REDIS_PORT}"},
                {"name": "REDIS_USER", "value": VALKEY_METRICS_USER},
                secret_env("REDIS_PASSWORD", _SECRET, _METRICS_PASSWORD),
                {"name": "REDIS_EXPORTER_CHECK_SINGLE_KEYS", "value": f"db0={CELERY_QUEUE}"},
            ],
        )
        return {
            **locked_down_pod(_NAME, _VALKEY_UID, valkey, exporter, fs_group_change_policy="OnRootMismatch"),
            # On SIGTERM it writes the last second to the append-only file and exits.
            "termination_grace_period_seconds": 30,
            "volumes": [{"name": "config", "config_map": {"name": _NAME}}, secret_file("auth", _SECRET, ACL_FILE)],
        }


def _ping(*flags: str, period_seconds: int, failure_threshold: int) -> ProbeArgsDict:
    """PING as the metrics user, whose password valkey-cli reads from its environment. With `-e` errors are failures."""
    return probe(
        {"exec_": {"command": ["valkey-cli", *flags, "--user", VALKEY_METRICS_USER, "-p", str(REDIS_PORT), "ping"]}},
        period_seconds=period_seconds,
        failure_threshold=failure_threshold,
        timeout_seconds=3,
    )

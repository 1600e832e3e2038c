"""Valkey on the cluster, under the name `redis`: Django's cache, and the queues and results of its Celery workers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet, StatefulSetSpecArgsDict
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    EnvVarArgsDict,
    PersistentVolumeClaimArgsDict,
    PodSpecArgsDict,
    ProbeArgsDict,
    Secret,
    Service,
    ServiceAccount,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict

from components.kubernetes.network_flows import REDIS, REDIS_METRICS_PORT, REDIS_PORT
from components.kubernetes.pods import LOCKED_DOWN, metrics_exporter, rollout_annotations
from settings import VALKEY_METRICS_USER, VALKEY_SECRETS, ValkeySettings

SERVICE = "redis"
"""The host name of the design: clients speak Redis's protocol, whichever server answers."""

METRICS_USER = VALKEY_METRICS_USER
"""May read counters and no key; the metrics exporter and the probes log in with it."""

DATA_PATH = "/data"

_NAME = "valkey"
_CONFIG = "/etc/valkey"
_CONF = "valkey.conf"
_SECRET = "valkey-auth"  # noqa: S105 (a name)
_AUTH = "/etc/valkey-auth"
_ACL = "users.acl"
_METRICS_PASSWORD = "metrics-password"  # noqa: S105 (a key)
_VALKEY_UID = 999
"""User of the official image, whose group has that number in one variant and another in the next: fsGroup decides."""

_OVERHEAD_MIB = 64
"""The server itself, its clients' buffers and the append-only file's: outside `maxmemory`."""

_CLIENT_COMMANDS = (
    # Every command and every new one, for Celery and the cache use many; then without what is not a client's business.
    "+@all",
    # The server's own: CONFIG, ACL, SHUTDOWN, SAVE, REPLICAOF, DEBUG, MONITOR, which shows what everybody writes.
    "-@admin",
    # What stops or empties it for everybody: KEYS, FLUSHALL, SWAPDB, MIGRATE.
    "-@dangerous",
    # Two of the dangerous are wanted: INFO tells clients the server's version, and Django's cache.clear() is FLUSHDB.
    "+info",
    "+flushdb",
)

_METRICS_COMMANDS = (
    "-@all",
    # The probes'.
    "+ping",
    # The exporter's, all that it sends: what were denied would stand in the ACL log at every scrape. No key pattern
    # stands beside them, so it reads no key; SLOWLOG GET shows it the arguments of slow commands, cut short.
    "+client|setname",
    "+command|info",
    "+config|get",
    "+info",
    "+latency|histogram",
    "+latency|latest",
    "+slowlog|get",
    "+slowlog|len",
)


def valkey_conf(
    *,
    max_memory_mib: int,
    # Its pod's address; network policies decide who reaches it.
    bind: str = "0.0.0.0",  # noqa: S104
    port: int = REDIS_PORT,
    directory: str = DATA_PATH,
    acl_path: str = f"{_AUTH}/{_ACL}",
) -> str:
    """valkey.conf, in terms that Redis 7.0 knows too. `max_memory_mib` is for data alone, in MiB."""
    return f"""\
bind {bind}
port {port}
aclfile {acl_path}
dir {directory}
# Queues must outlive a restart: a crash loses a second of them at most. No snapshots besides.
appendonly yes
appendfsync everysec
save ""
# Queues have no time to live and are never evicted; the cache and results have one.
maxmemory {max_memory_mib}mb
maxmemory-policy volatile-lru
# A client whose node is gone is noticed after a minute.
tcp-keepalive 60
"""


def users_acl(*, user: str, password: str, metrics_password: str) -> str:
    """users.acl: the services' user and the exporter's, by the SHA-256 of their passwords; nobody else gets in."""
    return f"""\
user default off
user {user} on #{_sha256(password)} ~* &* {" ".join(_CLIENT_COMMANDS)}
user {METRICS_USER} on #{_sha256(metrics_password)} {" ".join(_METRICS_COMMANDS)}
"""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class ValkeyArgs:
    """What `Valkey` needs."""

    namespace: str
    settings: ValkeySettings
    user: str
    """Whom the services log in as."""
    password: pulumi.Input[str]
    """Of `user`. Taken as secret."""
    metrics_password: pulumi.Input[str]
    """Of `METRICS_USER`. Taken as secret."""
    rotations: Mapping[str, int]
    """By secret: the counter of each password. Raising one restarts the pod, which reads users.acl when it starts."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pod is ready; False against an API server that runs none."""


class Valkey(pulumi.ComponentResource):
    """A StatefulSet of one pod with its configuration, volume and Service.

    **Data.** The volume's claim, `data-valkey-0`, outlives the StatefulSet: whatever deletes or replaces that, the next
    one finds the append-only file. A claim that exists keeps its size whatever `storageGib` says.

    No PodDisruptionBudget: with one replica it could only refuse, and a node would never be drained.
    """

    address: pulumi.Output[str]
    """host:port for the services."""
    url: pulumi.Output[str]
    """redis://<user>:<password>@<host>:<port>/0; secret."""

    def __init__(self, name: str, args: ValkeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:Valkey", name, {}, opts)
        self._args = args
        own = pulumi.ResourceOptions(parent=self)
        unawaited = {} if args.wait_for_rollout else {"pulumi.com/skipAwait": "true"}

        conf = valkey_conf(max_memory_mib=args.settings.max_memory_mib)
        config = ConfigMap(f"{name}-config", metadata=self._metadata(_NAME), data={_CONF: conf}, opts=own)
        secret = Secret(
            f"{name}-auth",
            metadata=self._metadata(_SECRET),
            type="Opaque",
            # Secret whatever it is given: the SDK marks all of it.
            string_data={
                _ACL: pulumi.Output.all(password=args.password, metrics_password=args.metrics_password).apply(
                    lambda passwords: users_acl(user=args.user, **passwords)
                ),
                _METRICS_PASSWORD: args.metrics_password,
            },
            opts=own,
        )
        account = ServiceAccount(
            f"{name}-account", metadata=self._metadata(_NAME), automount_service_account_token=False, opts=own
        )
        stateful_set = StatefulSet(
            f"{name}-statefulset",
            metadata=self._metadata(_NAME, **unawaited),
            spec=self._stateful_set(conf),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config, secret, account]),
        )
        Service(
            f"{name}-service",
            metadata=self._metadata(SERVICE, **unawaited),
            spec={
                "type": "ClusterIP",
                "selector": dict(REDIS),
                "ports": [{"name": "redis", "port": REDIS_PORT, "target_port": REDIS_PORT, "protocol": "TCP"}],
            },
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

    def _metadata(self, resource: str, **annotations: str) -> ObjectMetaArgsDict:
        metadata: ObjectMetaArgsDict = {"name": resource, "namespace": self._args.namespace, "labels": dict(REDIS)}
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def _stateful_set(self, conf: str) -> StatefulSetSpecArgsDict:
        return {
            "replicas": 1,
            "revision_history_limit": 5,
            "service_name": SERVICE,
            "selector": {"match_labels": dict(REDIS)},
            "persistent_volume_claim_retention_policy": {"when_deleted": "Retain", "when_scaled": "Retain"},
            "volume_claim_templates": [self._claim()],
            "template": {
                "metadata": {
                    "labels": dict(REDIS),
                    "annotations": rollout_annotations(
                        config=conf, rotations=self._args.rotations, secrets=VALKEY_SECRETS, container=_NAME
                    ),
                },
                "spec": self._pod(),
            },
        }

    def _claim(self) -> PersistentVolumeClaimArgsDict:
        settings = self._args.settings
        return {
            "metadata": {"name": "data", "labels": dict(REDIS)},
            "spec": {
                "access_modes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": f"{settings.storage_gib}Gi"}},
                **({"storage_class_name": settings.storage_class} if settings.storage_class else {}),
            },
        }

    def _pod(self) -> PodSpecArgsDict:
        settings = self._args.settings
        memory = settings.max_memory_mib
        return {
            "service_account_name": _NAME,
            "automount_service_account_token": False,
            "enable_service_links": False,
            # SIGTERM writes the last second out and ends it.
            "termination_grace_period_seconds": 30,
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": _VALKEY_UID,
                "run_as_group": _VALKEY_UID,
                "fs_group": _VALKEY_UID,
                "fs_group_change_policy": "OnRootMismatch",
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "volumes": [
                {"name": "config", "config_map": {"name": _NAME}},
                {
                    "name": "auth",
                    "secret": {
                        "secret_name": _SECRET,
                        "items": [{"key": _ACL, "path": _ACL}],
                        "default_mode": 0o440,
                    },
                },
            ],
            "containers": [
                {
                    "name": _NAME,
                    "image": settings.image,
                    # As PID 1, without the image's own entry point: that is for containers that start as root.
                    "command": ["valkey-server", f"{_CONFIG}/{_CONF}"],
                    "env": [self._metrics_password("REDISCLI_AUTH")],
                    "ports": [{"name": "redis", "container_port": REDIS_PORT, "protocol": "TCP"}],
                    # Five minutes: it answers PING when the append-only file is read in.
                    "startup_probe": _cli_probe("-e", period_seconds=2, failure_threshold=150),
                    "readiness_probe": _cli_probe("-e", period_seconds=5, failure_threshold=2),
                    # Any answer will do: a restart would not mend a full volume, of which PING says so.
                    "liveness_probe": _cli_probe(period_seconds=10, failure_threshold=6),
                    "resources": {
                        "requests": {"cpu": "100m", "memory": f"{memory + _OVERHEAD_MIB}Mi"},
                        # Twice the data: the process that rewrites the append-only file shares memory with the server
                        # until one of them writes, and at worst every page is written meanwhile.
                        "limits": {"cpu": "1", "memory": f"{2 * memory + _OVERHEAD_MIB}Mi"},
                    },
                    "security_context": LOCKED_DOWN,
                    "volume_mounts": [
                        {"name": "config", "mount_path": _CONFIG, "read_only": True},
                        {"name": "auth", "mount_path": _AUTH, "read_only": True},
                        {"name": "data", "mount_path": DATA_PATH, "read_only": False},
                    ],
                },
                metrics_exporter(
                    image=settings.exporter_image,
                    port=REDIS_METRICS_PORT,
                    path="/health",
                    env=[
                        {"name": "REDIS_ADDR", "value": f"redis://127.0.0.1:{REDIS_PORT}"},
                        {"name": "REDIS_USER", "value": METRICS_USER},
                        self._metrics_password("REDIS_PASSWORD"),
                    ],
                ),
            ],
        }

    def _metrics_password(self, variable: str) -> EnvVarArgsDict:
        return {
            "name": variable,
            "value_from": {"secret_key_ref": {"name": _SECRET, "key": _METRICS_PASSWORD}},
        }


def _cli_probe(*flags: str, period_seconds: int, failure_threshold: int) -> ProbeArgsDict:
    """PING as METRICS_USER, whose password valkey-cli reads from its environment. `-e` makes an error a failure."""
    return {
        "exec_": {"command": ["valkey-cli", *flags, "--user", METRICS_USER, "-p", str(REDIS_PORT), "ping"]},
        "period_seconds": period_seconds,
        "failure_threshold": failure_threshold,
        "timeout_seconds": 3,
    }

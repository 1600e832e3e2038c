"""PgBouncer on the cluster: the one way from the services to the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgsDict
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    PodSpecArgsDict,
    ProbeArgsDict,
    Secret,
    Service,
    ServiceAccount,
    TopologySpreadConstraintArgsDict,
    VolumeArgsDict,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.scheduling.v1 import PriorityClass

from components.kubernetes.network_flows import PGBOUNCER, PGBOUNCER_METRICS_PORT, PGBOUNCER_PORT, POSTGRES_PORT
from components.kubernetes.pods import LOCKED_DOWN, metrics_exporter, rollout_annotations
from components.pgbouncer.ini import (
    CLIENT_IDLE_TIMEOUT_SECONDS,
    ClientTls,
    PgBouncerIni,
    ServerTls,
    auth_file,
)
from settings import KNOWN_AT_DEPLOY, STATS_USER, PgBouncerSettings, Product, pgbouncer_version

SERVICE = "pgbouncer"
CLIENT_TLS_SECRET = "pgbouncer-tls"  # noqa: S105 (a name)
"""A kubernetes.io/tls Secret that must exist in the namespace when clients speak TLS: cert-manager's, or by hand."""

PRE_STOP_SECONDS = 15
"""Between leaving the Service and SIGTERM, still taking new clients: kube-proxy on every node needs to hear of it."""

_CONFIG = "/etc/pgbouncer"
_INI = "pgbouncer.ini"
_AUTH = "/etc/pgbouncer-auth"
_CA = "/etc/pgbouncer-ca"
_TLS = "/etc/pgbouncer-tls"
_USERLIST = "userlist.txt"
_CA_FILE = "rds-ca.pem"
_EXPORTER_DSN = "exporter-dsn"
_PGBOUNCER_UID = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class PgBouncerArgs:
    """What `PgBouncer` needs."""

    namespace: str
    settings: PgBouncerSettings
    products: Sequence[Product]
    server_host: pulumi.Input[str]
    """Host name of the database server, as its certificate says it."""
    server_port: pulumi.Input[int] = POSTGRES_PORT
    ca_bundle: pulumi.Input[str] | None
    """PEM certificates of the CAs that sign the database server's; None for a developer's own, which speaks no TLS."""
    verifiers: Mapping[str, pulumi.Input[str]]
    """By role, every login role and `STATS_USER`: the SCRAM verifier that the server holds too."""
    stats_password: pulumi.Input[str]
    """Password of `STATS_USER`, for the metrics exporter."""
    rotations: Mapping[str, int]
    """By role: the counter of its password. Raising one rolls the pods, which read the auth file when they start."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pods are ready; False against an API server that runs none."""

    def __post_init__(self) -> None:
        roles = [STATS_USER, *(product.login_role for product in self.products)]
        missing = [role for role in roles if role not in self.verifiers]
        if missing:
            raise pulumi.InputPropertyError("verifiers", f"no verifier for {', '.join(missing)}")


def drain_seconds(products: Sequence[Product]) -> int:
    """How long a stopping PgBouncer may go on serving, in seconds: longer than a client's connection lives.

    Idle connections end after CLIENT_IDLE_TIMEOUT_SECONDS at the latest. Busy ones end when their owner says so, at
    that age or sooner: Django's by CONN_MAX_AGE, Payload's by maxLifetimeSeconds of its node-postgres pool. Then the
    last transaction may still run: one statement and one pause in it, at the longest that any role is allowed.
    """
    longest = max(p.statement_timeout_ms + p.idle_in_transaction_timeout_ms for p in products)
    return PRE_STOP_SECONDS + CLIENT_IDLE_TIMEOUT_SECONDS + -(-longest // 1000)


class PgBouncer(pulumi.ComponentResource):
    """A Deployment with its configuration, Service and disruption budget.

    **Rollout.** A pod that drains still holds its server connections, and Kubernetes does not count it any more. So a
    new pod counts as available only after `drain_seconds` (minReadySeconds): the next old pod is stopped when the one
    before it is gone, and never more instances hold connections than the connection budget counts.
    """

    address: pulumi.Output[str]
    """host:port for the services."""

    def __init__(self, name: str, args: PgBouncerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:PgBouncer", name, {}, opts)
        self._name = name
        self._args = args
        own = pulumi.ResourceOptions(parent=self)

        ini = pulumi.Output.all(args.server_host, args.server_port).apply(lambda server: self._ini(*server))
        config = ConfigMap(f"{name}-config", metadata=self._metadata(SERVICE), data={_INI: ini}, opts=own)
        authorities = (
            ConfigMap(f"{name}-ca", metadata=self._metadata("rds-ca"), data={_CA_FILE: args.ca_bundle}, opts=own)
            if args.ca_bundle is not None
            else None
        )
        secret = Secret(
            f"{name}-auth",
            metadata=self._metadata("pgbouncer-auth"),
            type="Opaque",
            # Secret whatever it is given: the SDK marks all of it.
            string_data={
                _USERLIST: pulumi.Output.all(**args.verifiers).apply(auth_file),
                _EXPORTER_DSN: pulumi.Output.from_input(args.stats_password).apply(self._dsn),
            },
            opts=own,
        )
        account = ServiceAccount(
            f"{name}-account", metadata=self._metadata(SERVICE), automount_service_account_token=False, opts=own
        )
        # Without it a node under pressure could evict the pooler first, and with it both products.
        priority = PriorityClass(
            f"{name}-priority",
            metadata={"name": "lightwave-pooler"},
            value=1_000_000,
            global_default=False,
            preemption_policy="PreemptLowerPriority",
            description="PgBouncer: every service reaches the database through it.",
            opts=own,
        )
        drain = drain_seconds(args.products)
        seconds = (args.settings.replicas + 1) * (drain + 60)
        deployment = Deployment(
            f"{name}-deployment",
            metadata=self._metadata(SERVICE, **({} if args.wait_for_rollout else {"pulumi.com/skipAwait": "true"})),
            spec=self._deployment(drain, ini),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[config, *([authorities] if authorities else []), secret, account, priority],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s"),
            ),
        )
        PodDisruptionBudget(
            f"{name}-disruption",
            metadata=self._metadata(SERVICE),
            spec={"max_unavailable": 1, "selector": {"match_labels": dict(PGBOUNCER)}},
            opts=own,
        )
        Service(
            f"{name}-service",
            metadata=self._metadata(SERVICE, **({} if args.wait_for_rollout else {"pulumi.com/skipAwait": "true"})),
            spec={
                "type": "ClusterIP",
                "selector": dict(PGBOUNCER),
                "ports": [
                    {
                        "name": "postgres",
                        "port": PGBOUNCER_PORT,
                        "target_port": PGBOUNCER_PORT,
                        "protocol": "TCP",
                    }
                ],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        self.address = pulumi.Output.from_input(f"{SERVICE}.{args.namespace}.svc.cluster.local:{PGBOUNCER_PORT}")
        self.register_outputs({"address": self.address})

    def _metadata(self, resource: str, **annotations: str) -> ObjectMetaArgsDict:
        metadata: ObjectMetaArgsDict = {"name": resource, "namespace": self._args.namespace, "labels": dict(PGBOUNCER)}
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def _ini(self, server_host: str, server_port: float) -> str:
        settings = self._args.settings
        return PgBouncerIni(
            version=pgbouncer_version(settings.image or KNOWN_AT_DEPLOY)[:2],
            server_host=server_host,
            # The engine's numbers are floats.
            server_port=int(server_port),
            listen_address="0.0.0.0",  # noqa: S104 (its pod's address; network policies decide who reaches it)
            listen_port=PGBOUNCER_PORT,
            products=self._args.products,
            max_client_connections=settings.max_client_connections,
            auth_file_path=f"{_AUTH}/{_USERLIST}",
            server_tls=ServerTls(ca_path=f"{_CA}/{_CA_FILE}") if self._args.ca_bundle is not None else None,
            client_tls=ClientTls(certificate_path=f"{_TLS}/tls.crt", key_path=f"{_TLS}/tls.key")
            if settings.client_tls
            else None,
            stats_user=True,
        ).render()

    def _dsn(self, password: str) -> str:
        mode = "require" if self._args.settings.client_tls else "disable"
        return f"postgres://{STATS_USER}:{password}@127.0.0.1:{PGBOUNCER_PORT}/pgbouncer?sslmode={mode}"

    def _deployment(self, drain: int, ini: pulumi.Output[str]) -> DeploymentSpecArgsDict:
        settings = self._args.settings
        return {
            "replicas": settings.replicas,
            "revision_history_limit": 5,
            "min_ready_seconds": drain,
            "progress_deadline_seconds": drain + 300,
            "selector": {"match_labels": dict(PGBOUNCER)},
            "strategy": {
                "type": "RollingUpdate",
                "rolling_update": {
                    "max_surge": settings.max_surge,
                    "max_unavailable": 0 if settings.max_surge else 1,
                },
            },
            "template": {
                "metadata": {
                    "labels": dict(PGBOUNCER),
                    "annotations": rollout_annotations(
                        config=ini,
                        rotations=self._args.rotations,
                        secrets=list(self._args.verifiers),
                        container=SERVICE,
                    ),
                },
                "spec": self._pod(drain),
            },
        }

    def _pod(self, drain: int) -> PodSpecArgsDict:
        settings = self._args.settings
        volumes: list[VolumeArgsDict] = [
            {"name": "config", "config_map": {"name": SERVICE}},
            {
                "name": "auth",
                "secret": {
                    "secret_name": "pgbouncer-auth",
                    "items": [{"key": _USERLIST, "path": _USERLIST}],
                    "default_mode": 0o440,
                },
            },
            {"name": "tmp", "empty_dir": {"medium": "Memory", "size_limit": "16Mi"}},
        ]
        mounts = [("config", _CONFIG, True), ("auth", _AUTH, True), ("tmp", "/tmp", False)]  # noqa: S108
        if self._args.ca_bundle is not None:
            volumes.insert(1, {"name": "ca", "config_map": {"name": "rds-ca"}})
            mounts.insert(1, ("ca", _CA, True))
        if settings.client_tls:
            volumes.append({"name": "tls", "secret": {"secret_name": CLIENT_TLS_SECRET, "default_mode": 0o440}})
            mounts.append(("tls", _TLS, True))
        return {
            "service_account_name": SERVICE,
            "automount_service_account_token": False,
            "enable_service_links": False,
            "priority_class_name": "lightwave-pooler",
            "termination_grace_period_seconds": drain,
            "security_context": {
                "run_as_non_root": True,
                "run_as_user": _PGBOUNCER_UID,
                "run_as_group": _PGBOUNCER_UID,
                "fs_group": _PGBOUNCER_UID,
                "seccomp_profile": {"type": "RuntimeDefault"},
            },
            "topology_spread_constraints": [
                _spread("topology.kubernetes.io/zone", "DoNotSchedule"),
                _spread("kubernetes.io/hostname", "ScheduleAnyway"),
            ],
            "volumes": volumes,
            "containers": [
                {
                    "name": SERVICE,
                    "image": settings.image,
                    # As PID 1, without the image's own entry point: it would write a configuration.
                    "command": ["pgbouncer", f"{_CONFIG}/{_INI}"],
                    "ports": [{"name": "postgres", "container_port": PGBOUNCER_PORT, "protocol": "TCP"}],
                    # No signal here: a second one ends PgBouncer at once. The kubelet's own sleep (Kubernetes 1.30 and
                    # newer) needs no shell in the image.
                    "lifecycle": {"pre_stop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
                    "startup_probe": _probe(period_seconds=1, failure_threshold=30),
                    "readiness_probe": _probe(period_seconds=5, failure_threshold=2),
                    "liveness_probe": _probe(period_seconds=10, failure_threshold=6),
                    # One thread: more than one core is of no use to it.
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "128Mi"},
                        "limits": {"cpu": "1", "memory": "256Mi"},
                    },
                    "security_context": LOCKED_DOWN,
                    "volume_mounts": [
                        {"name": volume, "mount_path": path, "read_only": read_only}
                        for volume, path, read_only in mounts
                    ],
                },
                metrics_exporter(
                    image=settings.exporter_image,
                    port=PGBOUNCER_METRICS_PORT,
                    path="/",
                    env=[
                        {
                            "name": "PGBOUNCER_EXPORTER_CONNECTION_STRING",
                            "value_from": {"secret_key_ref": {"name": "pgbouncer-auth", "key": _EXPORTER_DSN}},
                        }
                    ],
                ),
            ],
        }


def _probe(*, period_seconds: int, failure_threshold: int) -> ProbeArgsDict:
    return {
        "tcp_socket": {"port": PGBOUNCER_PORT},
        "period_seconds": period_seconds,
        "failure_threshold": failure_threshold,
        "timeout_seconds": 2,
    }


def _spread(topology_key: str, when_unsatisfiable: str) -> TopologySpreadConstraintArgsDict:
    return {
        "max_skew": 1,
        "topology_key": topology_key,
        "when_unsatisfiable": when_unsatisfiable,
        "label_selector": {"match_labels": dict(PGBOUNCER)},
        # Each revision by itself: the pods that it replaces do not count.
        "match_label_keys": ["pod-template-hash"],
    }

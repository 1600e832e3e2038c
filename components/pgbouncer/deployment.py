"""PgBouncer on the cluster: every service reaches the database through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment, DeploymentSpecArgsDict
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ContainerArgsDict,
    PodSpecArgsDict,
    ProbeArgsDict,
    Secret,
    Service,
    ServiceAccount,
    VolumeArgsDict,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.scheduling.v1 import PriorityClass

from components.kubernetes.network_flows import PGBOUNCER, PGBOUNCER_METRICS_PORT, PGBOUNCER_PORT
from components.kubernetes.pods import (
    LOCKED_DOWN,
    disruption_budget,
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
    spread,
)
from components.pgbouncer.ini import CLIENT_IDLE_TIMEOUT_SECONDS, ClientTls, PgBouncerIni, ServerTls, auth_file
from components.server import Server
from settings import KNOWN_AT_DEPLOY, STATS_USER, PgBouncerSettings, Product, pgbouncer_version

SERVICE = "pgbouncer"
CLIENT_TLS_SECRET = "pgbouncer-tls"  # noqa: S105 (a name)
"""A kubernetes.io/tls Secret that must exist in the namespace when clients use TLS, made by cert-manager or by hand."""

PRE_STOP_SECONDS = 15
"""Between leaving the Service and SIGTERM. It still accepts clients until kube-proxy on every node has been updated."""

_CONFIG = "/etc/pgbouncer"
_INI = "pgbouncer.ini"
_AUTH = "/etc/pgbouncer-auth"
_AUTH_SECRET = "pgbouncer-auth"  # noqa: S105 (a name)
_CA = "/etc/pgbouncer-ca"
_TLS = "/etc/pgbouncer-tls"
_USERLIST = "userlist.txt"
_CA_CONFIG_MAP = "rds-ca"
_CA_FILE = "rds-ca.pem"
_EXPORTER_DSN = "exporter-dsn"
_PRIORITY = "lightwave-pooler"
_PGBOUNCER_UID = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class PgBouncerArgs:
    """Arguments of `PgBouncer`."""

    namespace: str
    settings: PgBouncerSettings
    products: Sequence[Product]
    server: Server
    """The database server, by the host name in its certificate."""
    ca_pem: pulumi.Input[str] | None
    """PEM text of the CA certificates that verify the database server's; None for a local server, which has no TLS."""
    verifiers: Mapping[str, pulumi.Input[str]]
    """The SCRAM verifier of every login role and of `STATS_USER`, by role; the server holds the same ones."""
    stats_password: pulumi.Input[str]
    """Password of `STATS_USER`, for the metrics exporter."""
    rotations: Mapping[str, int]
    """Rotation counters by role. Raising one replaces the pods, which read the auth file only when they start."""
    wait_for_rollout: bool = True
    """Whether an update waits until the pods are ready; False where the API server runs no pods."""

    def __post_init__(self) -> None:
        roles = [STATS_USER, *(product.login_role for product in self.products)]
        missing = [role for role in roles if role not in self.verifiers]
        if missing:
            raise pulumi.InputPropertyError("verifiers", f"no verifier for {', '.join(missing)}")


def drain_seconds(products: Sequence[Product]) -> int:
    """How long a stopping PgBouncer may keep serving, in seconds: longer than a client's connection lives.

    PgBouncer closes idle connections after CLIENT_IDLE_TIMEOUT_SECONDS. Clients close busy ones at that age or sooner:
    Django by CONN_MAX_AGE, Payload by maxLifetimeSeconds of its node-postgres pool. The last transaction may then take
    one statement and one pause, each as long as the most patient role allows.
    """
    longest = max(p.statement_timeout_ms + p.idle_in_transaction_timeout_ms for p in products)
    return PRE_STOP_SECONDS + CLIENT_IDLE_TIMEOUT_SECONDS + -(-longest // 1000)


class PgBouncer(pulumi.ComponentResource):
    """A Deployment with its configuration, Service and disruption budget.

    **Rollout.** A draining pod still holds server connections, but Kubernetes no longer counts it. A new pod therefore
    becomes available only after `drain_seconds` (minReadySeconds), when the pod stopped before it is gone: there are
    never more instances with connections than the connection budget counts.
    """

    address: pulumi.Output[str]
    """host:port for the services."""

    def __init__(self, name: str, args: PgBouncerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:PgBouncer", name, {}, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)

        ini = pulumi.Output.all(args.server.host, args.server.port).apply(lambda server: self._ini(*server))
        mounted: list[pulumi.Resource] = [
            ConfigMap(f"{name}-config", metadata=self._metadata(SERVICE), data={_INI: ini}, opts=child),
            Secret(
                f"{name}-auth",
                metadata=self._metadata(_AUTH_SECRET),
                type="Opaque",
                # The SDK marks string_data as secret, whatever its values are.
                string_data={
                    _USERLIST: pulumi.Output.all(**args.verifiers).apply(auth_file),
                    _EXPORTER_DSN: pulumi.Output.from_input(args.stats_password).apply(self._dsn),
                },
                opts=child,
            ),
            ServiceAccount(
                f"{name}-account", metadata=self._metadata(SERVICE), automount_service_account_token=False, opts=child
            ),
            # Without it a node under pressure could evict PgBouncer first, and every service would lose the database.
            PriorityClass(
                f"{name}-priority",
                metadata={"name": _PRIORITY},
                value=1_000_000,
                global_default=False,
                preemption_policy="PreemptLowerPriority",
                description="PgBouncer: every service reaches the database through it.",
                opts=child,
            ),
        ]
        if args.ca_pem is not None:
            ca = {_CA_FILE: args.ca_pem}
            mounted.append(ConfigMap(f"{name}-ca", metadata=self._metadata(_CA_CONFIG_MAP), data=ca, opts=child))
        drain = drain_seconds(args.products)
        seconds = (args.settings.replicas + 1) * (drain + 60)
        deployment = Deployment(
            f"{name}-deployment",
            metadata=self._metadata(SERVICE, wait=args.wait_for_rollout),
            spec=self._deployment(drain, ini),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=mounted,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s"),
            ),
        )
        PodDisruptionBudget(
            f"{name}-disruption",
            metadata=self._metadata(SERVICE),
            spec=disruption_budget(PGBOUNCER),
            opts=child,
        )
        Service(
            f"{name}-service",
            metadata=self._metadata(SERVICE, wait=args.wait_for_rollout),
            spec=service("postgres", PGBOUNCER_PORT, PGBOUNCER),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        self.address = pulumi.Output.from_input(f"{SERVICE}.{args.namespace}.svc.cluster.local:{PGBOUNCER_PORT}")
        self.register_outputs({"address": self.address})

    def _metadata(self, name: str, *, wait: bool = True) -> ObjectMetaArgsDict:
        return metadata(name, self._args.namespace, PGBOUNCER, wait=wait)

    def _ini(self, server_host: str, server_port: float) -> str:
        settings = self._args.settings
        return PgBouncerIni(
            version=pgbouncer_version(settings.image or KNOWN_AT_DEPLOY)[:2],
            server_host=server_host,
            # Pulumi's numbers are floats.
            server_port=int(server_port),
            listen_address="0.0.0.0",  # noqa: S104 (its pod's address; network policies decide who reaches it)
            listen_port=PGBOUNCER_PORT,
            products=self._args.products,
            max_client_connections=settings.max_client_connections,
            auth_file_path=f"{_AUTH}/{_USERLIST}",
            server_tls=ServerTls(ca_path=f"{_CA}/{_CA_FILE}") if self._args.ca_pem is not None else None,
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
        annotations = rollout_annotations(
            config=ini, rotations=self._args.rotations, secrets=list(self._args.verifiers), container=SERVICE
        )
        return {
            "replicas": settings.replicas,
            "revision_history_limit": 5,
            "min_ready_seconds": drain,
            "progress_deadline_seconds": drain + 300,
            "selector": {"match_labels": dict(PGBOUNCER)},
            "strategy": {
                "type": "RollingUpdate",
                "rolling_update": {"max_surge": settings.max_surge, "max_unavailable": 0 if settings.max_surge else 1},
            },
            "template": {"metadata": {"labels": dict(PGBOUNCER), "annotations": annotations}, "spec": self._pod(drain)},
        }

    def _pod(self, drain: int) -> PodSpecArgsDict:
        settings = self._args.settings
        volumes: list[VolumeArgsDict] = [
            {"name": "config", "config_map": {"name": SERVICE}},
            secret_file("auth", _AUTH_SECRET, _USERLIST),
            {"name": "tmp", "empty_dir": {"medium": "Memory", "size_limit": "16Mi"}},
        ]
        mounts = [mount("config", _CONFIG), mount("auth", _AUTH), mount("tmp", "/tmp", read_only=False)]  # noqa: S108
        if self._args.ca_pem is not None:
            volumes.insert(1, {"name": "ca", "config_map": {"name": _CA_CONFIG_MAP}})
            mounts.insert(1, mount("ca", _CA))
        if settings.client_tls:
            volumes.append({"name": "tls", "secret": {"secret_name": CLIENT_TLS_SECRET, "default_mode": 0o440}})
            mounts.append(mount("tls", _TLS))
        listening: ProbeArgsDict = {"tcp_socket": {"port": PGBOUNCER_PORT}}
        pgbouncer: ContainerArgsDict = {
            "name": SERVICE,
            "image": settings.image,
            # As PID 1, without the image's entrypoint, which would write a configuration of its own.
            "command": ["pgbouncer", f"{_CONFIG}/{_INI}"],
            "ports": [{"name": "postgres", "container_port": PGBOUNCER_PORT, "protocol": "TCP"}],
            # No signal here: a second one makes PgBouncer exit at once. The kubelet's own sleep (Kubernetes 1.30 and
            # newer) needs no shell in the image.
            "lifecycle": {"pre_stop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
            "startup_probe": probe(listening, period_seconds=1, failure_threshold=30),
            "readiness_probe": probe(listening, period_seconds=5, failure_threshold=2),
            "liveness_probe": probe(listening, period_seconds=10, failure_threshold=6),
            # PgBouncer has one thread: it cannot use more than one core.
            "resources": resources(requests=("250m", "128Mi"), limits=("1", "256Mi")),
            "security_context": LOCKED_DOWN,
            "volume_mounts": mounts,
        }
        exporter = metrics_exporter(
            image=settings.exporter_image,
            port=PGBOUNCER_METRICS_PORT,
            path="/",
            env=[secret_env("PGBOUNCER_EXPORTER_CONNECTION_STRING", _AUTH_SECRET, _EXPORTER_DSN)],
        )
        return {
            **locked_down_pod(SERVICE, _PGBOUNCER_UID, pgbouncer, exporter),
            "priority_class_name": _PRIORITY,
            "termination_grace_period_seconds": drain,
            "topology_spread_constraints": [
                spread("topology.kubernetes.io/zone", "DoNotSchedule", PGBOUNCER),
                spread("kubernetes.io/hostname", "ScheduleAnyway", PGBOUNCER),
            ],
            "volumes": volumes,
        }

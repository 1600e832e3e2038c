"""The sections of the stack config as frozen, typed values.

The docstrings are the meanings in docs/configuration.md (`.venv/bin/python -m settings.reference`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from settings import values
from settings.names import (
    BUCKET,
    CLUSTER,
    DEFAULT_IDLE_IN_TRANSACTION_MS,
    EGRESS_PORTS,
    IDENTIFIER,
    IDLE_IN_TRANSACTION_MS,
    PRODUCT_EXTENSIONS_SCHEMA,
)


class Section(BaseModel):
    """Frozen, strict about unknown keys and about types; keys in stack config are camelCase."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


class PoolSettings(Section):
    """PgBouncer's server connections for one product, in each PgBouncer instance."""

    size: Annotated[int, Field(ge=1, le=200)] = 5
    """Server connections kept for the product (PgBouncer's pool_size)."""
    reserve: Annotated[int, Field(ge=0, le=100)] = 2
    """Additional connections when clients wait (PgBouncer's reserve_pool)."""


class EgressSettings(Section):
    """A way from one product's service out of the cluster."""

    port: values.Port
    """The TCP port that it leads to."""
    cidrs: tuple[values.Cidr, ...] = ()
    """Networks that it leads to, such as 169.254.170.23/32 on port 80 for EKS Pod Identity, or the subnets of a VPC
    endpoint; every public IPv4 address without them, and no private one."""


def _idle_in_transaction(product: dict[str, Any]) -> int:
    return IDLE_IN_TRANSACTION_MS.get(product.get("framework") or "", DEFAULT_IDLE_IN_TRANSACTION_MS)


def _egress(product: dict[str, Any]) -> tuple[EgressSettings, ...]:
    return tuple(EgressSettings(port=port) for port in EGRESS_PORTS.get(product.get("framework") or "", ()))


class Product(Section):
    """One entry of the product table: it drives roles, grants, pools, secrets, env files and the access matrix."""

    name: str
    """Its key in the table."""
    schema_name: Annotated[values.SqlName, Field(alias="schema", default_factory=lambda product: product["name"])]
    """Its schema in the database; the product's name by default."""
    framework: Literal["payload", "django"] | None = None
    """What its service is built with, which decides the names in its env file; without one it has schema and roles
    only."""
    readers: tuple[values.SqlName, ...] = ()
    """Products whose login role may read the schema. A reader of `payload` reads its `users` too, with password hashes
    and reset tokens."""
    extensions: tuple[values.Extension, ...] = ()
    """PostgreSQL extensions that its queries use. The admin creates them in the schema `product_extensions`, which is
    on the login role's search_path. Only those that RDS and PostgreSQL 15 trust: the admin may create no others."""
    pool: PoolSettings = PoolSettings()
    connection_limit: Annotated[int, Field(ge=1, le=1000)] = 40
    """CONNECTION LIMIT of the login role: pooled and direct connections together."""
    statement_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 30_000
    """How long one statement of the login role may run, in milliseconds."""
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000, default_factory=_idle_in_transaction)]
    """How long an open transaction of the login role may be idle, in milliseconds: 300000 for Payload, 120000 for
    Django and 60000 without a framework, unless the entry says otherwise. At the limit PostgreSQL ends the session,
    and the transaction's writes are lost. PgBouncer's drain waits this long."""
    service: values.ServiceKey | None = None
    """The service's key in the `.env.services.json` contract; goes with `framework`."""
    namespace: values.DnsLabel | None = None
    """The Kubernetes namespace that its service runs in, if it has one."""
    egress: Annotated[tuple[EgressSettings, ...], Field(default_factory=_egress)]
    """Ports outside the cluster that its service's pods may connect to: on the internet 443 for Payload, 443 and 587
    for Django, unless the entry says otherwise. Goes with `framework` and `namespace`."""

    @property
    def search_path(self) -> tuple[str, ...]:
        """The schemas in which its login role finds names without a schema."""
        return (self.schema_name, "public", *((PRODUCT_EXTENSIONS_SCHEMA,) if self.extensions else ()))

    @property
    def login_role(self) -> str:
        """The role its service logs in with: `<product>_user`."""
        return f"{self.name}_user"

    @property
    def reader_role(self) -> str:
        """The NOLOGIN group role that carries the read grants on its schema: `<product>_reader`."""
        return f"{self.name}_reader"


class LocalDatabaseSettings(Section):
    """The PostgreSQL 15 that `make up` runs; its ports and passwords are in the ignored state folder."""

    server: Literal["local"]
    """A server on the developer's machine."""
    max_connections: Annotated[int, Field(ge=20, le=1000)] = 200
    """PostgreSQL's max_connections, which the connection budget has to fit."""


class AdminEndpointSettings(Section):
    """The near end of a tunnel, for a deploy from outside the VPC of a private RDS instance."""

    host: values.HostName
    """Where the tunnel listens."""
    port: values.Port
    """The port that the tunnel listens on."""
    ssl_mode: Literal["verify-full", "verify-ca"] = "verify-ca"
    """verify-ca for a port forward (the host name differs); verify-full through SOCKS5, which keeps the name."""


class RdsSettings(Section):
    """RDS PostgreSQL 15, of a staging or production stack."""

    server: Literal["rds"]
    """An RDS instance."""
    identifier: values.DnsLabel = IDENTIFIER
    """The instance's name at AWS, from which every other name there is made; an adopted instance keeps the name that it
    has. In a stack other than `prod` it contains the stack's name."""
    instance_class: values.InstanceClass = "db.t3.medium"
    """Its memory decides max_connections, which the connection budget has to fit."""
    allocated_storage_gib: Annotated[int, Field(ge=20, le=65536)] = 50
    """Storage at creation, in GiB."""
    max_allocated_storage_gib: Annotated[int, Field(ge=26, le=65536)] = 200
    """How far RDS may grow the storage, in GiB: 26 % above `allocatedStorageGib` or more."""
    multi_az: bool = True
    """Whether a standby runs in a second availability zone; always true in production."""
    backup_retention_days: Annotated[int, Field(ge=1, le=35)] = 14
    """How far back point-in-time recovery goes; at least 7 in production."""
    backup_window: values.DailyWindow = "02:00-03:00"
    """When RDS takes its daily backup: 30 minutes or more, outside the maintenance window."""
    maintenance_window: values.WeeklyWindow = "sun:03:30-sun:04:30"
    """When RDS may restart the instance for updates: 30 minutes or more."""
    log_retention_days: Literal[7, 14, 30, 60, 90, 180, 365] = 30
    """How long CloudWatch keeps PostgreSQL's log, in days."""
    kms_key_arn: values.Arn | None = None
    """A KMS key of your own for the storage; AWS's `aws/rds` key without it."""
    alarm_email: values.Email | None = None
    """Address that alarms are sent to; AWS asks it for a confirmation first."""
    import_id: values.DnsLabel | None = None
    """Identifier of an existing instance to adopt, the same as `identifier`; remove it after the deploy that adopted
    it."""
    admin_endpoint: AdminEndpointSettings | None = None
    ca_file: values.PemFile = "rds-ca.pem"
    """File in the project folder with the CA certificates of RDS, which are public: AWS's global or regional bundle."""


DatabaseSettings = Annotated[LocalDatabaseSettings | RdsSettings, Field(discriminator="server")]


class AwsSettings(Section):
    """The AWS account. The network facts replace lookups from the EKS cluster where those would be wrong."""

    account_id: values.AwsAccountId
    """The account that everything is created in; a deploy with credentials for another one is refused."""
    region: values.AwsRegion
    """The region of the RDS instance and the EKS cluster."""
    vpc_id: values.VpcId | None = None
    """VPC of the database; the cluster's without it."""
    private_subnet_ids: tuple[values.SubnetId, ...] = ()
    """Two or more subnets of the database in different zones; the cluster's private ones without them."""
    cluster_security_group_id: values.SecurityGroupId | None = None
    """The one security group whose members reach the database; the cluster's without it."""


class PgBouncerSettings(Section):
    """PgBouncer, which pools connections to PostgreSQL in transaction mode."""

    max_client_connections: Annotated[int, Field(ge=10, le=20_000)] = 1000
    """Clients that one instance accepts; it must fit the process's file-descriptor limit."""
    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    """Instances on the cluster."""
    max_surge: Annotated[int, Field(ge=0, le=5)] = 0
    """Instances above `replicas` during a rollout; they count in the connection budget."""
    client_tls: bool = False
    """Whether PgBouncer on the cluster accepts TLS from its clients, and nothing else."""
    client_ca_file: values.PemFile | None = None
    """File in the project folder with the CA certificates that PgBouncer's clients verify it with; goes with
    `clientTls`."""
    image: values.PgBouncerImage | None = None
    """PgBouncer's image; required with `kubernetes`."""
    exporter_image: values.ImageDigest | None = None
    """Image of the metrics exporter; required with `kubernetes`."""


class ValkeySettings(Section):
    """Valkey (Redis-compatible) on the cluster, for Django's cache and Celery's queues; none without this section."""

    max_memory_mib: Annotated[int, Field(ge=64, le=16384)] = 256
    """Memory for data, in MiB; above it keys with a time to live are evicted, and writes are refused when none is
    left."""
    storage_gib: Annotated[int, Field(ge=1, le=1024)] = 8
    """Size of the volume with the append-only file, in GiB: three times `maxMemoryMib` or more."""
    storage_class: values.ClusterFact | None = None
    """StorageClass of the volume, such as `gp3`; required on EKS, where clusters have no default one since Kubernetes
    1.30. In a local stack the cluster's default without it."""
    image: values.ImageDigest | None = None
    """Valkey's image; required."""
    exporter_image: values.ImageDigest | None = None
    """Image of the metrics exporter; required."""


class MediaSettings(Section):
    """The R2 bucket for media and its CDN domain; none without this section."""

    account_id: values.CloudflareId
    """The Cloudflare account of the bucket."""
    zone_id: values.CloudflareId
    """The Cloudflare zone of the domain."""
    zone: values.Domain
    """The zone's name."""
    bucket: values.DnsLabel = BUCKET
    """The bucket's name; in a stack other than `prod` it contains the stack's name."""
    domain: values.Domain
    """The CDN domain that the bucket is reached through, in `zone`; in a stack other than `prod` it contains the
    stack's name."""
    cors_origins: tuple[values.Origin, ...] = ()
    """Origins whose pages may fetch media from the browser (GET, HEAD); uploads go through Payload's server."""
    min_tls: Literal["1.2", "1.3"] = "1.2"
    """The oldest TLS version that the CDN domain accepts."""
    location: Literal["apac", "eeur", "enam", "weur", "wnam", "oc"] | None = None
    """Region hint for a new bucket; Cloudflare chooses without it."""
    jurisdiction: Literal["default", "eu", "us", "fedramp", "fedramp-high"] = "default"
    """Where Cloudflare guarantees that the objects are stored."""
    credentials: Literal["token", "given"] = "token"
    """token: creates an account token that is scoped to the bucket. given: uses `accessKeyId` and
    `secretAccessKey`."""
    access_key_id: values.SecretText | None = None
    """Of an existing S3 key, with `credentials: given`."""
    secret_access_key: values.SecretText | None = None
    """Of an existing S3 key, with `credentials: given`."""
    zone_singletons: bool = True
    """Whether this stack owns the zone's cache ruleset and tiered cache; one production stack per zone."""


class QuotaSettings(Section):
    """ResourceQuota of the namespace, with the headroom that a rolling update needs."""

    requests_cpu: values.Quantity
    """Sum of the CPU requests of its pods."""
    requests_memory: values.Quantity
    """Sum of the memory requests of its pods."""
    limits_cpu: values.Quantity
    """Sum of the CPU limits of its pods."""
    limits_memory: values.Quantity
    """Sum of the memory limits of its pods."""
    pods: Annotated[int, Field(ge=1, le=500)]
    """Number of pods."""


class NamespaceSettings(Section):
    """One namespace and its guard rails."""

    quota: QuotaSettings
    pod_security: Literal["baseline", "restricted"] = "restricted"
    """The Pod Security Standard that its pods have to meet."""
    deployer_principal: values.Arn | None = None
    """IAM role of the service's own deploy job; an EKS access entry binds it to the namespace's deployer Role. Not
    for a service in `services`."""


class KubernetesSettings(Section):
    """The cluster and its namespaces: EKS, or kind or k3d in a local stack; none without this section."""

    cluster: values.DnsLabel = CLUSTER
    """Name of the EKS cluster, which no other stack uses; in a stack other than `prod` it contains the stack's name."""
    context: values.Context | None = None
    """A kubeconfig context in place of the EKS cluster; required in a local stack, where it is one of kind or k3d."""
    network_policy_enforced: bool = False
    """To be set once the VPC CNI add-on runs with enableNetworkPolicy=true; until then each deploy warns of it."""
    wait_for_rollout: bool = True
    """Whether an update waits until PgBouncer's and Valkey's pods are ready; false for an API server that runs none."""
    edge_namespace: values.ClusterFact | None = None
    """Namespace of an ingress controller of your own, from which Payload and the API are reached; required on EKS
    without `edge`. In a local stack nothing from outside reaches them without it."""
    database_cidrs: tuple[values.Cidr, ...] = ()
    """Networks in which PostgreSQL listens, for the pods' egress policies; those of its subnets without them. Required
    in a local stack."""
    dns_cidrs: tuple[values.Cidr, ...] | None = None
    """Addresses of DNS servers that pods may ask besides the pods labelled `k8s-app: kube-dns`: 169.254.20.10/32 with
    NodeLocal DNSCache, the kube-dns Service's address with EKS Auto Mode; an empty list for a cluster that has only
    the pods. On EKS each deploy warns without it."""
    database_host: values.HostName | None = None
    """Where pods of kind or k3d reach the local PostgreSQL: a name, or an address on which it then listens too."""
    namespaces: dict[values.DnsLabel, NamespaceSettings]
    """The platform's namespaces by name; `shared` is one of them."""


class LocalState(Section):
    """What `make up` generated once for a local stack: ports, passwords, application secrets."""

    database_port: values.Port
    pgbouncer_port: values.Port
    passwords: dict[str, SecretStr]
    """By role: the admin, every login role and `STATS_USER`."""
    scram_verifiers: dict[str, values.ScramVerifier]
    """By login role and `STATS_USER`: `SCRAM-SHA-256$…` of its password, the same on the server and in PgBouncer."""
    secrets: dict[str, SecretStr]
    """By name: PAYLOAD_SECRET and the like, and `VALKEY_SECRETS`."""

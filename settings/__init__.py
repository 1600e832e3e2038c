"""The one config boundary: the stack config, parsed whole into frozen, typed values.

Nothing else in the program reads stack config, and everything that can be wrong with it is
said here, at once, before any resource is touched (`SettingsError`).
"""

import difflib
import ipaddress
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pulumi.runtime.config import CONFIG, get_config_env, get_config_secret_keys_env
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from settings.problems import OperatorError

PROJECT = "lightwave"
ROOT = Path(__file__).resolve().parent.parent
DATABASE = "lightwave_platform"
ADMIN = "lightwave_admin"
BUCKET = "lightwave-media"
HOST = "127.0.0.1"
"""Where a local stack's servers listen, and nowhere else."""
RDS_AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
"""The CAs of RDS in every region, as AWS publishes them."""
STATS_USER = "pgbouncer_stats"
"""May run SHOW on PgBouncer's admin console and nothing else; the metrics exporter logs in with it."""

KNOWN_AT_DEPLOY = "<known at deploy>"
"""Stands for an account fact in the offline plan; a deploy refuses it."""

_facts_required: ContextVar[bool] = ContextVar("facts_required", default=True)


@contextmanager
def offline() -> Iterator[None]:
    """Within it, account facts may be missing: they read as `KNOWN_AT_DEPLOY`. Only the offline plan uses it."""
    token = _facts_required.set(False)
    try:
        yield
    finally:
        _facts_required.reset(token)


MEND = "\n      mend it: "
"""Stands before the cure in the messages of a `SettingsError`."""


class SettingsError(OperatorError):
    """The stack config is wrong. The message lists every error with its key, what is allowed and the cure."""


# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """A text's form, and the words for what is allowed: the pattern alone is no help to who must mend it."""

    pattern: str
    allowed: str
    stands_in: bool = True
    """Whether the offline plan may hold `KNOWN_AT_DEPLOY` in its place; never in that of a name."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(self._check, handler(source))
        return core_schema.no_info_before_validator_function(_digits_as_text, checked)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "allowed": self.allowed}

    def _check(self, value: str) -> str:
        if value == KNOWN_AT_DEPLOY and self.stands_in:
            if _facts_required.get():
                raise PydanticCustomError("form", "is a placeholder of the offline plan")
        elif not re.fullmatch(self.pattern, value, re.ASCII):
            raise PydanticCustomError("form", "is malformed")
        return value


def _digits_as_text(value: Any) -> Any:
    # `pulumi config set --path` stores 4 or 123456789012 as a number, whatever the field is.
    return str(value) if type(value) is int else value


def _cidr(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise PydanticCustomError("form", "is no network: {why}", {"why": str(error)}) from error


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_DAY = f"({'|'.join(_DAYS)})"

SqlName = Annotated[
    str,
    _Form(r"[a-z][a-z0-9_]{0,47}", "a lower-case SQL name: a letter, then letters, digits or _, at most 48", False),
]
DnsLabel = Annotated[
    str, _Form(_LABEL, "a DNS label: lower-case letters, digits and inner hyphens, at most 63", stands_in=False)
]
Domain = Annotated[
    str, _Form(rf"(?=.{{1,253}}$)({_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]", "a domain name such as example.com")
]
Origin = Annotated[
    str, _Form(rf"https?://({_LABEL}\.)*{_LABEL}(:\d{{1,5}})?", "an origin such as https://example.com, no path")
]
Arn = Annotated[str, _Form(r"arn:aws[a-z-]*:\S+", "an ARN such as arn:aws:iam::123456789012:role/deploy")]
AwsAccountId = Annotated[str, _Form(r"\d{12}", "the 12 digits of an AWS account")]
AwsRegion = Annotated[str, _Form(r"[a-z]{2}(-[a-z]+)+-\d", "an AWS region such as eu-central-1")]
VpcId = Annotated[str, _Form(r"vpc-[0-9a-f]{8,17}", "a VPC id such as vpc-0a1b2c3d4e5f67890")]
SubnetId = Annotated[str, _Form(r"subnet-[0-9a-f]{8,17}", "a subnet id such as subnet-0a1b2c3d")]
SecurityGroupId = Annotated[str, _Form(r"sg-[0-9a-f]{8,17}", "a security group id such as sg-0a1b2c3d")]
InstanceClass = Annotated[str, _Form(r"db\.[a-z0-9]+\.[a-z0-9]+", "an RDS instance class such as db.t3.medium")]
CloudflareId = Annotated[str, _Form(r"[0-9a-f]{32}", "32 hexadecimal digits, as Cloudflare's dashboard shows them")]
ImageDigest = Annotated[
    str,
    _Form(r"[a-z0-9./:_-]+:[\w.-]+@sha256:[0-9a-f]{64}", "an image by tag and digest: name:tag@sha256:<64 hex digits>"),
]
HostName = Annotated[str, _Form(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?", "a host name or an IP address")]
Email = Annotated[str, _Form(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")]
Quantity = Annotated[str, _Form(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?", "a Kubernetes quantity such as 500m, 2 or 4Gi")]
DailyWindow = Annotated[str, _Form(f"{_TIME}-{_TIME}", "a daily window in UTC such as 02:00-03:00")]
WeeklyWindow = Annotated[
    str, _Form(f"{_DAY}:{_TIME}-{_DAY}:{_TIME}", "a weekly window in UTC such as sun:03:30-sun:04:30")
]
ServiceKey = Annotated[
    str, _Form(rf"{_LABEL}(/{_LABEL})*", "a service's key such as lightwave-media-site/website", stands_in=False)
]
Context = Annotated[str, _Form(r"\S+", "the name of a kubeconfig context")]
CaBundle = Annotated[str, _Form(r"[\w.-]+\.pem", "a file name that ends in .pem", stands_in=False)]
Cidr = Annotated[
    str,
    AfterValidator(_cidr),
    WithJsonSchema({"type": "string", "allowed": "an IPv4 network in CIDR form such as 10.0.0.0/16"}),
]
Port = Annotated[int, Field(ge=1, le=65535)]
SecretText = Annotated[SecretStr, Field(min_length=1)]


class _Model(BaseModel):
    """Frozen, strict about unknown keys and about types; keys in stack config are camelCase."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, serialize_by_alias=True
    )


# --- the product table ------------------------------------------------------------------------------------------------


class PoolSettings(_Model):
    """PgBouncer's server connections for one product, each PgBouncer instance."""

    size: Annotated[int, Field(ge=1, le=200)] = 5
    """Server connections kept for the product (PgBouncer's pool_size)."""
    reserve: Annotated[int, Field(ge=0, le=100)] = 2
    """More of them when clients wait (PgBouncer's reserve_pool)."""


class Product(_Model):
    """One entry of the product table: it drives roles, grants, pools, secrets, env files and the access matrix."""

    name: str
    """Its key in the table."""
    schema_name: Annotated[SqlName, Field(alias="schema", default_factory=lambda product: product["name"])]
    """Its schema; the product's name unless the entry says otherwise."""
    readers: tuple[SqlName, ...] = ()
    """Products whose login role may read this schema. None by default: whoever reads `payload` reads its `users`."""
    pool: PoolSettings = PoolSettings()
    connection_limit: Annotated[int, Field(ge=1, le=1000)] = 40
    """CONNECTION LIMIT of the login role: pooled and direct connections together."""
    statement_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 30_000
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 60_000
    framework: Literal["payload", "django"] | None = None
    """Whose terms the env file is written in; a product without one has schema and roles alone."""
    service: ServiceKey | None = None
    """The service's key in the `.env.services.json` contract."""
    namespace: DnsLabel | None = None
    """The EKS namespace its service runs in, if it has one."""

    @property
    def login_role(self) -> str:
        """The role its service logs in with: `<product>_user`."""
        return f"{self.name}_user"

    @property
    def reader_role(self) -> str:
        """The NOLOGIN group role that carries the read grants on its schema: `<product>_reader`."""
        return f"{self.name}_reader"


# --- the database server ----------------------------------------------------------------------------------------------


class LocalDatabaseSettings(_Model):
    """The PostgreSQL 15 that `make up` runs; its ports and passwords are in the ignored state folder."""

    server: Literal["local"]
    max_connections: Annotated[int, Field(ge=20, le=1000)] = 200


class AdminEndpointSettings(_Model):
    """How the postgresql provider reaches a private RDS from outside its VPC: a tunnel's end."""

    host: HostName
    port: Port
    ssl_mode: Literal["verify-full", "verify-ca"] = "verify-ca"
    """verify-ca for a port forward (the host name differs); verify-full through SOCKS5, which keeps the name."""


BACKUP_WINDOW = "02:00-03:00"
MAINTENANCE_WINDOW = "sun:03:30-sun:04:30"


class RdsSettings(_Model):
    """RDS PostgreSQL 15."""

    server: Literal["rds"]
    identifier: DnsLabel = "lightwave-platform"
    """The instance's name at AWS; an adopted one keeps the name that it has."""
    instance_class: InstanceClass = "db.t3.medium"
    allocated_storage_gib: Annotated[int, Field(ge=20, le=65536)] = 50
    max_allocated_storage_gib: Annotated[int, Field(ge=26, le=65536)] = 200
    multi_az: bool = True
    backup_retention_days: Annotated[int, Field(ge=1, le=35)] = 14
    backup_window: DailyWindow = BACKUP_WINDOW
    maintenance_window: WeeklyWindow = MAINTENANCE_WINDOW
    log_retention_days: Literal[7, 14, 30, 60, 90, 180, 365] = 30
    kms_key_arn: Arn | None = None
    """An own KMS key for storage; AWS's own `aws/rds` key without it."""
    alarm_email: Email | None = None
    import_id: DnsLabel | None = None
    """Identifier of an existing instance to adopt, `identifier` again; taken out after the deploy that adopted it."""
    admin_endpoint: AdminEndpointSettings | None = None
    ca_bundle: CaBundle = "rds-ca.pem"
    """File beside this one with the certificates of RDS's CAs, which are public: AWS's global or regional bundle."""


DatabaseSettings = Annotated[LocalDatabaseSettings | RdsSettings, Field(discriminator="server")]


class AwsSettings(_Model):
    """The account and, where lookups from the EKS cluster must not be used, its network facts."""

    account_id: AwsAccountId
    region: AwsRegion
    vpc_id: VpcId | None = None
    private_subnet_ids: tuple[SubnetId, ...] = ()
    cluster_security_group_id: SecurityGroupId | None = None


# --- PgBouncer --------------------------------------------------------------------------------------------------------


class PgBouncerSettings(_Model):
    """The pooler before PostgreSQL, in transaction mode."""

    max_client_connections: Annotated[int, Field(ge=10, le=20_000)] = 1000
    """Clients one instance accepts; it must fit its file-descriptor limit."""
    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    max_surge: Annotated[int, Field(ge=0, le=5)] = 0
    """Instances above `replicas` during a rollout; they count in the connection budget."""
    client_tls: bool = False
    """Whether the pooler on the cluster takes TLS from its clients, and nothing else."""
    client_ca_bundle: CaBundle | None = None
    """File beside this one with the certificates of the CAs that sign PgBouncer's own; goes with clientTls."""
    image: ImageDigest | None = None
    exporter_image: ImageDigest | None = None


# --- Valkey -----------------------------------------------------------------------------------------------------------


class ValkeySettings(_Model):
    """The cluster's Valkey (Redis-compatible): Django's cache and Celery's queues."""

    max_memory_mib: Annotated[int, Field(ge=64, le=16384)] = 256
    """Memory for data; above it keys with a time to live are evicted, and writes are refused when none is left."""
    storage_gib: Annotated[int, Field(ge=1, le=1024)] = 8
    """Size of the volume with the append-only file."""
    storage_class: DnsLabel | None = None
    """StorageClass of the volume; the cluster's default one without it."""
    image: ImageDigest | None = None
    exporter_image: ImageDigest | None = None


# --- Cloudflare -------------------------------------------------------------------------------------------------------


class MediaSettings(_Model):
    """The R2 bucket for media and its CDN domain."""

    account_id: CloudflareId
    zone_id: CloudflareId
    zone: Domain
    bucket: DnsLabel = BUCKET
    domain: Domain
    cors_origins: tuple[Origin, ...] = ()
    """Origins whose pages may fetch media from the browser (GET, HEAD); uploads go through Payload's server."""
    min_tls: Literal["1.2", "1.3"] = "1.2"
    location: Literal["apac", "eeur", "enam", "weur", "wnam", "oc"] | None = None
    jurisdiction: Literal["default", "eu", "fedramp"] = "default"
    credentials: Literal["token", "given"] = "token"
    """token: an account token scoped to the bucket is made. given: `accessKeyId` and `secretAccessKey`, secrets."""
    access_key_id: SecretText | None = None
    secret_access_key: SecretText | None = None
    zone_singletons: bool = True
    """Whether this stack owns the zone's cache ruleset and tiered cache: one stack a zone."""


# --- Kubernetes -------------------------------------------------------------------------------------------------------


class QuotaSettings(_Model):
    """ResourceQuota of a namespace, with the headroom that a rolling update needs."""

    requests_cpu: Quantity
    requests_memory: Quantity
    limits_cpu: Quantity
    limits_memory: Quantity
    pods: Annotated[int, Field(ge=1, le=500)]


class NamespaceSettings(_Model):
    """One namespace and its guard rails."""

    quota: QuotaSettings
    pod_security: Literal["baseline", "restricted"] = "restricted"
    deployer_principal: Arn | None = None
    """IAM role of the service's own deploy job; an EKS access entry binds it to the namespace's deployer Role."""


class KubernetesSettings(_Model):
    """The cluster and its namespaces."""

    cluster: DnsLabel = "lightwave-prod"
    context: Context | None = None
    """A kubeconfig context (kind, k3d) in place of the EKS cluster."""
    network_policy_enforced: bool = False
    """Set once the VPC CNI add-on runs with enableNetworkPolicy=true; a loud output says so while it is not."""
    wait_for_rollout: bool = True
    """Whether an update waits until PgBouncer's and Valkey's pods are ready; false where the API server runs none."""
    edge_namespace: DnsLabel = "ingress-nginx"
    """Namespace of the ingress controller, the one place from which the edge reaches Payload and the API."""
    database_cidrs: tuple[Cidr, ...] = ()
    """Networks in which PostgreSQL listens, for the pods' egress policies, where no lookup from EKS tells them."""
    database_host: HostName | None = None
    """Where pods of kind or k3d reach the local PostgreSQL: a name, or an address on which it then listens too."""
    namespaces: dict[DnsLabel, NamespaceSettings]


# --- the whole --------------------------------------------------------------------------------------------------------


class LocalState(_Model):
    """What `make up` generated once for the dev stack: ports, passwords, application secrets."""

    database_port: Port
    pgbouncer_port: Port
    passwords: dict[str, SecretStr]
    """By role: the admin, every login role and `STATS_USER`."""
    scram_verifiers: dict[str, SecretStr]
    """By login role and `STATS_USER`: `SCRAM-SHA-256$…` of its password, the same on the server and in PgBouncer."""
    secrets: dict[str, SecretStr]
    """By name: PAYLOAD_SECRET and the like, and `VALKEY_SECRETS`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Production:
    """What a stack on RDS always has."""

    rds: RdsSettings
    aws: AwsSettings
    kubernetes: KubernetesSettings
    media: MediaSettings


class Settings(_Model):
    """Everything the program is told, checked."""

    stack: str
    protect: bool = False
    """Whether what holds data, and every role and grant, is protected from deletion."""
    products: dict[SqlName, Product]
    database: DatabaseSettings
    pgbouncer: PgBouncerSettings = PgBouncerSettings()
    valkey: ValkeySettings | None = None
    rotations: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    """By secret (a login role, the admin, an env variable): a counter; raising it generates the secret anew."""
    aws: AwsSettings | None = None
    media: MediaSettings | None = None
    kubernetes: KubernetesSettings | None = None
    local: LocalState | None = None

    @property
    def is_local(self) -> bool:
        """Whether the database is the PostgreSQL that `make up` runs. A stack's name decides nothing."""
        return self.database.server == "local"

    @property
    def production(self) -> Production | None:
        """The sections that a stack on RDS always has, none of them optional; None where the stack is local."""
        match (self.database, self.aws, self.kubernetes, self.media):
            case (
                RdsSettings() as rds,
                AwsSettings() as aws,
                KubernetesSettings() as cluster,
                MediaSettings() as media,
            ):
                return Production(rds=rds, aws=aws, kubernetes=cluster, media=media)
            case _:
                return None

    @property
    def login_roles(self) -> tuple[str, ...]:
        """Roles that log in with a generated password: one per product, and `STATS_USER` where pods run PgBouncer."""
        roles = tuple(product.login_role for product in self.products.values())
        return (*roles, STATS_USER) if self.kubernetes else roles

    @property
    def application_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that are generated for the services: one per framework, and Valkey's passwords."""
        frameworks = (product.framework for product in self.products.values())
        names = tuple(APPLICATION_SECRETS[framework] for framework in frameworks if framework)
        return (*names, *VALKEY_SECRETS) if self.valkey else names

    def warnings(self) -> tuple[str, ...]:
        """What is valid and still deserves a warning at every deploy, one sentence each."""
        found = [
            f"{', '.join(product.readers)} can read every table of {product.schema_name}, users' hashes too"
            for product in self.products.values()
            if product.readers
        ]
        if self.kubernetes and not self.kubernetes.network_policy_enforced:
            found.append(
                "network policies count for nothing until the network plugin enforces them (EKS: the VPC CNI add-on "
                f"with enableNetworkPolicy=true); then: pulumi config set --stack {self.stack} --path "
                "lightwave:kubernetes.networkPolicyEnforced true"
            )
        return tuple(found)

    def readable_by(self, reader: Product) -> tuple[Product, ...]:
        """The other products whose schema `reader` may read, in the table's order."""
        return tuple(product for product in self.products.values() if reader.name in product.readers)


RESERVED_SCHEMAS = ("public", "information_schema", "extensions")
RESERVED_PRODUCTS = ("lightwave", "pgbouncer", "postgres", "rdsadmin", "template0", "template1")
"""Names of the platform's own roles and of databases that the servers bring along."""
RESERVED_PREFIXES = ("pg_", "rds_")
"""PostgreSQL refuses roles and schemas that begin with the first; the roles of RDS itself begin with the second."""

APPLICATION_SECRETS = {"payload": "PAYLOAD_SECRET", "django": "DJANGO_SECRET_KEY"}
"""The generated secret of each framework's service, by framework."""
VALKEY_PASSWORD = "VALKEY_PASSWORD"  # noqa: S105 (a name)
VALKEY_METRICS_PASSWORD = "VALKEY_METRICS_PASSWORD"  # noqa: S105 (a name)
VALKEY_SECRETS = (VALKEY_PASSWORD, VALKEY_METRICS_PASSWORD)
"""The generated passwords of Valkey's users: the services' and the metrics exporter's."""

FACTS = (
    ("aws", "accountId"),
    ("aws", "region"),
    ("media", "accountId"),
    ("media", "zoneId"),
    ("pgbouncer", "image"),
    ("pgbouncer", "exporterImage"),
    ("valkey", "image"),
    ("valkey", "exporterImage"),
)
"""Facts of an account or a registry: the repository does not know them, a deploy must be told."""


# --- reading ----------------------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """One thing that is wrong with the config."""

    key: tuple[str | int, ...]
    wrong: str
    allowed: str
    cure: Literal["set", "edit", "remove"] = "set"


def stack_config(stack: str) -> dict[str, Any]:
    """The stack's config as the engine would give it: Pulumi.yaml's defaults under Pulumi.<stack>.yaml's values.

    A value that is encrypted in the file reads as `KNOWN_AT_DEPLOY`. Raises SettingsError when there is no such stack
    file, or when one of the two files is no mapping in YAML.
    """
    known = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
    if stack not in known:
        raise SettingsError(
            f"stack {_shown(stack)}: it has no config file; allowed: {', '.join(known)}{MEND}"
            f"pulumi stack init --copy-config-from {known[0] if known else 'dev'} NAME"
        )
    config = {**_project_defaults(), **_file_config(f"Pulumi.{stack}.yaml")}
    # `pulumi config set` writes a top-level true as "true".
    return {key: _decoded(value) for key, value in config.items()}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, as the engine does; PyYAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"{key} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _file_config(name: str) -> dict[str, Any]:
    try:
        document = yaml.load((ROOT / name).read_text(), _Loader)  # noqa: S506 (a SafeLoader)
        config = {} if document is None else document.get("config") or {}
        return {str(key): _without_ciphertext(value) for key, value in config.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        # PyYAML's whole message quotes the line, and with it what may be a secret.
        why = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            why = f"{error.problem}, line {error.problem_mark.line + 1}"
        raise SettingsError(
            f"{name}: it cannot be read ({why}); allowed: YAML with a mapping under config{MEND}${{EDITOR:-vi}} {name}"
        ) from error


def _project_defaults() -> dict[str, Any]:
    entries = _file_config("Pulumi.yaml").items()
    return {key: entry["default"] for key, entry in entries if isinstance(entry, dict) and "default" in entry}


def _without_ciphertext(value: Any) -> Any:
    if isinstance(value, dict):
        if list(value) == ["secure"]:
            return KNOWN_AT_DEPLOY
        return {key: _without_ciphertext(item) for key, item in value.items()}
    return [_without_ciphertext(item) for item in value] if isinstance(value, list) else value


def from_engine(stack: str) -> "Settings":
    """Settings from the config that the engine (or the recorder) handed to this run: strings, an object as JSON.

    Raises SettingsError with every error at once.
    """
    config = {**get_config_env(), **CONFIG.get()}
    decoded = {key: _decoded(value) for key, value in config.items()}
    return load(stack, decoded, local=_local_state(stack), secret_keys=get_config_secret_keys_env())


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def ca_bundle(database: RdsSettings) -> str:
    """The PEM certificates that the database server is verified with; offline, `KNOWN_AT_DEPLOY` where there are none.

    Raises SettingsError when a deploy has no such file.
    """
    return _certificates(
        database.ca_bundle,
        "nothing could verify the database's certificate",
        f"curl --fail --output {database.ca_bundle} {RDS_AUTHORITIES}; commit it, it is public",
    )


def client_ca_bundle(pgbouncer: PgBouncerSettings) -> str | None:
    """The PEM certificates that PgBouncer's clients verify it with, as `ca_bundle`; None where they speak plaintext."""
    if pgbouncer.client_ca_bundle is None:
        return None
    return _certificates(
        pgbouncer.client_ca_bundle,
        "nothing could verify PgBouncer's certificate",
        f"copy the certificates of the CAs that sign it to {pgbouncer.client_ca_bundle}; commit it, they are public",
    )


def _certificates(file: str, otherwise: str, cure: str) -> str:
    path = ROOT / file
    if path.is_file():
        return path.read_text()
    if _facts_required.get():
        raise SettingsError(f"{file} is missing: {otherwise}{MEND}{cure}")
    return KNOWN_AT_DEPLOY


def state_file(stack: str) -> Path:
    """The file with the ports and passwords of a local stack; the folder it is in holds all the stack's local data."""
    return ROOT / ".local" / stack / "state.json"


def admin_secret(stack: str) -> str:
    """Name of the secret in AWS Secrets Manager that holds the login of `ADMIN`."""
    return f"lightwave/{stack}/database/admin"


def _local_state(stack: str) -> Any:
    path = state_file(stack)
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError, RecursionError):
        return "unreadable"  # no mapping: `load` says so among the other errors


def of_stack(stack: str) -> Settings:
    """Settings of a stack from its files, for a command outside the engine. Raises SettingsError with every error."""
    return load(stack, stack_config(stack), local=_local_state(stack))


def load(stack: str, config: Mapping[str, Any], local: Any = None, secret_keys: Sequence[str] = ()) -> Settings:
    """Settings of a stack from its config (`lightwave:` keys; other namespaces are their providers' business).

    `local` is the dev stack's state as `make up` wrote it; `secret_keys` are the keys whose values no message may
    repeat. Raises SettingsError with every error at once.
    """
    raw: dict[str, Any] = {}
    for key, value in config.items():
        namespace, _, name = str(key).rpartition(":")
        if namespace in ("", PROJECT):
            raw[_plain(name)] = _plain(value)
    server = _at(raw, "database", "server")
    for section in ("media", "kubernetes", "valkey", *(() if server == "rds" else ("aws",))):
        if raw.get(section) == {}:  # Pulumi.yaml's default: the stack has none
            del raw[section]
    if not _facts_required.get():
        _stand_in_for_facts(raw)
    problems = [*_reserved_key_problems(raw), *_cross_field_problems(raw)]
    given = {**raw, "stack": stack}
    if isinstance(raw.get("products"), dict):
        given["products"] = {
            name: {**entry, "name": name} if isinstance(entry, dict) else entry
            for name, entry in raw["products"].items()
        }
    given.pop("local", None)
    if server == "local":
        given["local"] = _plain(local) if _facts_required.get() else _placeholder_state(raw)
        problems += _local_problems(raw, given["local"])
    try:
        settings = Settings.model_validate_json(json.dumps(given))
    except ValidationError as error:
        problems += _shape_problems(error, {key.partition(":")[2] for key in secret_keys})
    if problems:
        raise SettingsError(_message(stack, problems))
    return settings


def _plain(value: Any, depth: int = 40) -> Any:
    """The value as JSON can hold it and UTF-8 can print it; too deep a nest, which no key allows, is cut off."""
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item, depth - 1) for key, item in value.items()} if depth else {}
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value] if depth else []
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**64):
        return value
    return (hex(value) if isinstance(value, int) else str(value)).encode(errors="replace").decode()


def _at(raw: Any, *keys: str) -> Any:
    """The value under the keys, None where there is none or something else is in the way."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _mapping(raw: Any, *keys: str) -> dict[str, Any]:
    found = _at(raw, *keys)
    return found if isinstance(found, dict) else {}


def _stand_in_for_facts(raw: dict[str, Any]) -> None:
    for section, key in FACTS:
        # Only a pooler on Kubernetes has images.
        if isinstance(raw.get(section), dict) and (section != "pgbouncer" or "kubernetes" in raw):
            raw[section] = {key: KNOWN_AT_DEPLOY, **raw[section]}


def _placeholder_state(raw: dict[str, Any]) -> dict[str, Any]:
    """Stands in for the dev stack's state in the offline plan: PostgreSQL's and PgBouncer's usual ports, no secrets."""
    roles = [STATS_USER, *(f"{name}_user" for name in _mapping(raw, "products"))]
    return {
        "databasePort": 5432,
        "pgbouncerPort": 6432,
        "passwords": dict.fromkeys([ADMIN, *roles], KNOWN_AT_DEPLOY),
        "scramVerifiers": dict.fromkeys(roles, f"SCRAM-SHA-256${KNOWN_AT_DEPLOY}"),
        "secrets": dict.fromkeys([*APPLICATION_SECRETS.values(), *VALKEY_SECRETS], KNOWN_AT_DEPLOY),
    }


# --- what is wrong between fields: read from the raw config, so that it is said even where a field's own form is wrong


def _cross_field_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    products = _mapping(raw, "products")
    if raw.get("products") == {}:
        yield Problem(("products",), "is empty", "an entry a product", "edit")
    yield from _product_problems(products)
    yield from _production_problems(raw)
    yield from _rds_problems(raw)
    yield from _media_problems(raw)
    yield from _kubernetes_problems(raw, products)
    yield from _pooler_problems(raw)
    yield from _valkey_problems(raw, products)

    secrets = [ADMIN, STATS_USER, *(f"{name}_user" for name in products), *APPLICATION_SECRETS.values()]
    if raw.get("valkey") is not None:
        secrets += VALKEY_SECRETS
    for name in _mapping(raw, "rotations"):
        if _at(raw, "database", "server") == "local":
            yield Problem(("rotations", name), "rotates nothing: this stack's secrets are given", "none here", "remove")
        elif name not in secrets:
            yield Problem(("rotations", name), "is no secret", _words(secrets), "remove")


def _product_problems(products: dict[str, Any]) -> Iterator[Problem]:
    owner_of: dict[Any, str] = {}
    user_of: dict[Any, str] = {}
    for name, entry in products.items():
        if name in RESERVED_PRODUCTS or name.startswith(RESERVED_PREFIXES):
            others = f"a name other than {_words(RESERVED_PRODUCTS)}, not beginning with {_words(RESERVED_PREFIXES)}"
            yield Problem(("products", name), "is a reserved name: its roles would clash", others, "edit")
        yield from _reader_problems(products, name, _at(entry, "readers"))
        schema = _at(entry, "schema") or name
        if not isinstance(schema, str):
            continue
        if schema in owner_of:
            yield Problem(("products", name, "schema"), f"is {_shown(owner_of[schema])}'s schema", "one of its own")
        elif schema in RESERVED_SCHEMAS or (schema != name and schema.startswith(RESERVED_PREFIXES)):
            yield Problem(("products", name, "schema"), f"{_shown(schema)} is reserved", "a name of its own")
        owner_of.setdefault(schema, name)
        service = _at(entry, "service")
        if (_at(entry, "framework") is None) != (service is None):
            yield Problem(("products", name, "service"), "goes with framework", "both or neither", "edit")
        # A framework names its application secret, so two products of one would share it.
        for key in ("service", "framework"):
            value = _at(entry, key)
            if isinstance(value, str):
                if value in user_of:
                    yield Problem(("products", name, key), f"is {_shown(user_of[value])}'s", "one of its own")
                user_of.setdefault(value, name)


def _reader_problems(products: dict[str, Any], name: str, readers: Any) -> Iterator[Problem]:
    allowed = _words([product for product in products if product != name]) or "none: there is no other product"
    for index, reader in enumerate(readers if isinstance(readers, list) else []):
        wrong = (
            "is the product itself"
            if reader == name
            else f"{_shown(reader)} is no product"
            if isinstance(reader, str) and reader not in products
            else "is there twice"
            if reader in readers[:index]
            else None
        )
        if wrong:
            yield Problem(("products", name, "readers", index), wrong, allowed, "remove")


def _production_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Whatever runs on RDS is production."""
    database = _mapping(raw, "database")
    if database.get("server") != "rds":
        return
    retention = database.get("backupRetentionDays")
    if raw.get("protect", False) is False:
        yield Problem(("protect",), "is off", "true: in production what holds data is protected")
    if database.get("multiAz") is False:
        yield Problem(("database", "multiAz"), "is off", "true in production")
    if isinstance(retention, int) and retention < 7:
        yield Problem(("database", "backupRetentionDays"), "is too short", "7 to 35 in production")
    if raw.get("aws") is None:
        yield Problem(("aws",), "is missing", "accountId and region of the RDS instance", "edit")
    if raw.get("kubernetes") is None:
        yield Problem(("kubernetes",), "is missing", "the EKS cluster: only there can the database be reached", "edit")
    if raw.get("media") is None:
        yield Problem(("media",), "is missing", "the bucket and its CDN domain, which Payload's env names", "edit")


def _rds_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """What RDS itself refuses."""
    database = _mapping(raw, "database")
    storage, ceiling = database.get("allocatedStorageGib"), database.get("maxAllocatedStorageGib")
    if isinstance(storage, int) and isinstance(ceiling, int) and ceiling * 100 < storage * 126:
        least = -(-storage * 126 // 100)
        yield Problem(("database", "maxAllocatedStorageGib"), "is too small", f"{least} (26 % above) or more")
    subnets = _at(raw, "aws", "privateSubnetIds")
    if isinstance(subnets, list) and len(subnets) == 1:
        yield Problem(("aws", "privateSubnetIds"), "is one subnet", "two or more, in different zones", "edit")
    maintenance = database.get("maintenanceWindow", MAINTENANCE_WINDOW)
    backup, upkeep = _minutes(database.get("backupWindow", BACKUP_WINDOW)), _minutes(maintenance)
    for key, minutes in (("backupWindow", backup), ("maintenanceWindow", upkeep)):
        if minutes is not None and len(minutes) < (210 if key == "backupWindow" else 30):
            yield Problem(("database", key), "is too short", "30 minutes or more")
    if backup and upkeep and backup & upkeep:
        yield Problem(("database", "backupWindow"), "overlaps the maintenance window", f"outside {maintenance}")


def _minutes(window: Any) -> set[int] | None:
    """The minutes of the week that the window covers, a daily one on every day; None where it is malformed."""
    day = rf"(?:{_DAY}:)?"
    found = re.fullmatch(rf"{day}({_TIME})-{day}({_TIME})", window) if isinstance(window, str) else None
    if not found:
        return None
    first, start, _, last, end, _ = found.groups()
    begins, ends = (
        (_DAYS.index(day) if day else 0) * 1440 + int(time[:2]) * 60 + int(time[3:])
        for day, time in ((first, start), (last, end))
    )
    covered = range((ends - begins) % (10080 if first else 1440))
    return {(begins + at + 1440 * day) % 10080 for at in covered for day in range(1 if first else 7)}


def _media_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    media = _mapping(raw, "media")
    domain, zone = media.get("domain"), media.get("zone")
    if isinstance(domain, str) and isinstance(zone, str) and not domain.endswith(f".{zone}"):
        yield Problem(("media", "domain"), "is not in the zone", "a name in media.zone, such as cdn.<zone>")
    # A developer's bucket is beside production's, perhaps in the same account and zone.
    if _at(raw, "database", "server") == "local" and media:
        if media.get("bucket", BUCKET) == BUCKET:
            yield Problem(("media", "bucket"), "is production's", f"another name, such as {BUCKET}-dev")
        if media.get("zoneSingletons", True) is True:
            yield Problem(("media", "zoneSingletons"), "is on", "false: production's stack owns the zone's rules")
    given = media.get("credentials") == "given"
    for key in ("accessKeyId", "secretAccessKey"):
        if given and media.get(key) is None:
            yield Problem(("media", key), "is missing", "the existing key, with credentials: given")
        if not given and media.get(key) is not None:
            yield Problem(("media", key), "is not used", "nothing, or credentials: given", "remove")


def _kubernetes_problems(raw: dict[str, Any], products: dict[str, Any]) -> Iterator[Problem]:
    kubernetes = _mapping(raw, "kubernetes")
    namespaces = _mapping(raw, "kubernetes", "namespaces")
    if namespaces:
        for name, entry in products.items():
            namespace = _at(entry, "namespace")
            if isinstance(namespace, str) and namespace not in namespaces:
                yield Problem(("products", name, "namespace"), "is not declared", _words(sorted(namespaces)))
    if isinstance(kubernetes.get("namespaces"), dict) and "shared" not in namespaces:
        yield Problem(("kubernetes", "namespaces", "shared"), "is missing", "an entry: PgBouncer runs there", "edit")
    match _at(raw, "database", "server"):
        case "local" if isinstance(raw.get("kubernetes"), dict):
            # Any other context, or none, may be production's: the names there are the same, and would be taken over.
            context = kubernetes.get("context")
            if context is None or (isinstance(context, str) and not context.startswith(("kind-", "k3d-"))):
                wrong = "is missing" if context is None else f"{_shown(context)} is no cluster of a developer's own"
                yield Problem(
                    ("kubernetes", "context"), wrong, "a kubeconfig context of kind or k3d, such as kind-kind"
                )
            wrong = _unreachable_by_pods(kubernetes.get("databaseHost"), kubernetes.get("databaseCidrs"))
            if wrong:
                allowed = "where its pods reach this machine's PostgreSQL, such as host.docker.internal or 172.18.0.1"
                yield Problem(("kubernetes", "databaseHost"), wrong, allowed)
            # A policy to no network at all would let everything through.
            if not kubernetes.get("databaseCidrs"):
                allowed = "the networks that databaseHost is in, such as [172.18.0.0/16]"
                yield Problem(("kubernetes", "databaseCidrs"), "is missing", allowed, "edit")
        case "rds" if kubernetes.get("databaseHost") is not None:
            yield Problem(("kubernetes", "databaseHost"), "is not used", "nothing: RDS tells its own", "remove")


def _unreachable_by_pods(host: Any, cidrs: Any) -> str:
    """What is wrong with kubernetes.databaseHost; empty where nothing is."""
    if host is None:
        return "is missing"
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return "" if host != "localhost" and re.search("[a-z]", str(host)) else "is no host that pods reach"
    if address.version != 4 or address.is_unspecified or str(address) == "127.0.0.1":
        return "is no address that pods reach"
    inside = False
    for cidr in cidrs if isinstance(cidrs, list) else ():
        with suppress(ValueError):  # said of the entry itself
            inside = inside or address in ipaddress.ip_network(str(cidr))
    return "" if inside or not cidrs else "is in none of databaseCidrs: network policies would not let pods there"


def _pooler_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    pgbouncer = _mapping(raw, "pgbouncer")
    if _at(raw, "database", "server") == "rds" or isinstance(raw.get("kubernetes"), dict):
        for image in ("image", "exporterImage"):
            if pgbouncer.get(image) is None:
                yield Problem(("pgbouncer", image), "is missing", "an image by tag and digest, for its pods")
    elif pgbouncer.get("clientTls"):
        yield Problem(
            ("pgbouncer", "clientTls"), "has no cluster to run in", "nothing, or kubernetes as well", "remove"
        )
    if pgbouncer.get("clientTls") is True and pgbouncer.get("clientCaBundle") is None:
        allowed = "a file with the CAs that sign PgBouncer's certificate, with clientTls"
        yield Problem(("pgbouncer", "clientCaBundle"), "is missing", allowed)
    if pgbouncer.get("clientTls", False) is False and pgbouncer.get("clientCaBundle") is not None:
        yield Problem(("pgbouncer", "clientCaBundle"), "is not used", "nothing, or clientTls: true", "remove")


def _valkey_problems(raw: dict[str, Any], products: dict[str, Any]) -> Iterator[Problem]:
    valkey = raw.get("valkey")
    if not isinstance(valkey, dict):
        return
    if raw.get("kubernetes") is None:
        yield Problem(("valkey",), "has no cluster to run in", "nothing, or kubernetes as well", "remove")
    if not any(_at(entry, "framework") == "django" for entry in products.values()):
        yield Problem(("valkey",), "has no user", "nothing, or a product with framework: django", "remove")
    for image in ("image", "exporterImage"):
        if valkey.get(image) is None:
            yield Problem(("valkey", image), "is missing", "an image by tag and digest, for its pods")
    defaults = ValkeySettings()
    memory = valkey.get("maxMemoryMib", defaults.max_memory_mib)
    storage = valkey.get("storageGib", defaults.storage_gib)
    # While the append-only file is rewritten there are its old base, as much again that was written since, and the new.
    if isinstance(memory, int) and isinstance(storage, int) and storage * 1024 < 3 * memory:
        yield Problem(("valkey", "storageGib"), "is too small", f"{-(-3 * memory // 1024)} (3 x maxMemoryMib) or more")


def _local_problems(raw: dict[str, Any], local: Any) -> Iterator[Problem]:
    if local is None:
        yield Problem(("local",), "is missing", "the local PostgreSQL's state, as make up writes it")
    products = _mapping(raw, "products")
    logins = [STATS_USER, *(f"{name}_user" for name in products)]
    needed = {
        "passwords": [ADMIN, *logins],
        "scramVerifiers": logins,
        "secrets": [
            *VALKEY_SECRETS,
            *(
                key
                for name, key in APPLICATION_SECRETS.items()
                if any(_at(entry, "framework") == name for entry in products.values())
            ),
        ],
    }
    for part, names in needed.items():
        have = _at(local, part)
        for name in names if isinstance(have, dict) else ():
            if name not in have:
                yield Problem(("local", part, name), "is missing", "what make up generates")


# --- what is wrong with a field: pydantic finds it, the models' JSON schema knows what is allowed ---------------------

_OURS = ("stack", "local", "name")
"""Fields that the config does not give."""


def _reserved_key_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    yield from (_unknown_key((name,)) for name in ("stack", "local") if name in raw)
    for product, entry in _mapping(raw, "products").items():
        if _at(entry, "name") is not None:
            yield _unknown_key(("products", product, "name"))


def _shape_problems(error: ValidationError, secret_sections: set[str]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        loc, kind, value = detail["loc"], detail["type"], detail["input"]
        if kind == "extra_forbidden":
            yield _unknown_key(loc)
            continue
        if kind.startswith("union_tag"):
            loc = (*loc, detail["ctx"]["discriminator"].strip("'"))
            kind, value = ("missing" if kind == "union_tag_not_found" else kind), _at(value, str(loc[-1]))
        key, schema = _place(loc)
        if key == ("local",) and value is None:
            continue  # said by _local_problems
        is_leaf = schema.get("type") not in ("object", "array") and "oneOf" not in schema
        tell = is_leaf and not isinstance(value, dict | list)
        tell = tell and not schema.get("writeOnly") and key[0] not in secret_sections
        wrong = detail["msg"] if kind == "form" else "is missing" if kind == "missing" else "is not allowed"
        if kind != "missing":
            wrong = f"{_shown(value) if tell else _kind(value)} {wrong}"
        edit = not is_leaf or loc[-1] == "[key]"
        yield Problem(key, wrong, _allowed(schema), "edit" if edit else "set")


def _unknown_key(loc: tuple[str | int, ...]) -> Problem:
    outer, schema = _place(loc[:-1])
    known = _keys(schema)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return Problem(
        (*outer, loc[-1]), "is not a key" + (f"; did you mean {near[0]}?" if near else ""), _words(known), "remove"
    )


@cache
def _schema() -> dict[str, Any]:
    return Settings.model_json_schema()


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference; of `X | None`, that of X."""
    if "$ref" in schema:
        return _resolved(_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return _resolved(options[0]) if options else schema


def _place(loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], dict[str, Any]]:
    """The user's key for a pydantic location, and the schema there (empty under an unknown key)."""
    key: list[str | int] = []
    outer: dict[str, Any] = {}
    schema = _resolved(_schema())
    for part in loc:
        members = schema.get("discriminator", {}).get("mapping", {})
        if part == "[key]" and "propertyNames" in outer:
            schema = outer["propertyNames"]
        elif part in members:  # pydantic names the union's member, the user's file does not
            schema = _resolved({"$ref": members[part]})
        else:
            key.append(part)
            outer, schema = schema, _resolved(_below(schema, part))
    return tuple(key), schema


def _below(schema: dict[str, Any], part: str | int) -> dict[str, Any]:
    if "discriminator" in schema and part == schema["discriminator"]["propertyName"]:
        return {"enum": sorted(schema["discriminator"]["mapping"])}
    others = schema.get("items") if isinstance(part, int) else schema.get("additionalProperties")
    found: dict[str, Any] = schema.get("properties", {}).get(part) or others or {}
    return found


def _keys(schema: dict[str, Any]) -> list[str]:
    return sorted(key for key in schema.get("properties", {}) if key not in _OURS)


def _allowed(schema: dict[str, Any]) -> str:
    """In words, what the JSON schema of a field allows."""
    match _resolved(schema):
        case {"allowed": str(words)}:
            allowed = words
        case {"discriminator": {"propertyName": tag}} as union:
            allowed = f"a mapping with {tag}: {_allowed(_below(union, tag))}"
        case {"enum": values}:
            allowed = " or ".join(map(json.dumps, values))
        case {"const": value}:
            allowed = json.dumps(value)
        case {"type": "boolean"}:
            allowed = "true or false"
        case {"type": "integer", "minimum": least, "maximum": most}:
            allowed = f"a whole number from {least} to {most}"
        case {"writeOnly": True}:
            allowed = "a secret text that is not empty"
        case {"type": "array", "items": each}:
            allowed = f"a list; an entry: {_allowed(each)}"
        case {"properties": _} as model:
            allowed = f"a mapping with the keys {_words(_keys(model))}"
        case {"additionalProperties": dict(each), **rest}:
            names = rest.get("propertyNames", {"allowed": "text"})
            allowed = f"a mapping; a key: {_allowed(names)}; an entry: {_allowed(each)}"
        case _:
            allowed = "text"
    return allowed


# --- saying it --------------------------------------------------------------------------------------------------------


def _words(names: Sequence[str]) -> str:
    return ", ".join(name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else _shown(name) for name in names)


def _shown(value: Any) -> str:
    """The value in one printable line of bearable length."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _path(key: tuple[str | int, ...]) -> str:
    """As `pulumi config set --path` reads it."""
    steps = (
        f"[{part}]"
        if isinstance(part, int)
        else f".{part}"
        if re.fullmatch(r"[A-Za-z_][\w-]*", part, re.ASCII)
        else f"[{json.dumps(part)}]"
        for part in key
    )
    return "".join(steps).removeprefix(".")


def refusal(stack: str, problems: Sequence[Problem]) -> SettingsError:
    """The error for what is found wrong between checked settings later on: in the same words, with the same cures."""
    return SettingsError(_message(stack, problems))


def _message(stack: str, problems: Sequence[Problem]) -> str:
    file = f"Pulumi.{stack}.yaml"
    own = _file_config(file) if (ROOT / file).exists() else {}
    defaults = _project_defaults()
    # What `pulumi config set` would write to the stack's file takes the place of the project's whole mapping.
    in_project = {key for key, value in defaults.items() if isinstance(value, dict) and value and key not in own}
    blocks = {
        f"  {where}: {problem.wrong}; allowed: {problem.allowed}{MEND}{cure}"
        for problem in problems
        for where, cure in [_cure(problem, stack, in_project)]
    }
    count = f"{len(blocks)} error{'s' * (len(blocks) > 1)}"
    return "\n".join([f"stack {stack}: {count} in its config", *sorted(blocks)])


def _cure(problem: Problem, stack: str, in_project: set[str]) -> tuple[str, str]:
    """The key as the user knows it, and the command that mends it."""
    section, path = problem.key[0], _path(problem.key)
    if section == "local" and problem.cure != "remove":
        given = "" if stack == "dev" else f" STACK={shlex.quote(stack)}"
        up = f"make up{given}"
        again = up if problem.wrong == "is missing" else f"make down{given} WIPE=1 && {up}"
        return f"{state_file(stack).relative_to(ROOT)}: {path}", again
    key = f"{PROJECT}:{path}"
    flags = f"--stack {shlex.quote(stack)} --path {shlex.quote(key)}"
    if f"{PROJECT}:{section}" in in_project:
        return key, f"${{EDITOR:-vi}} Pulumi.yaml  # under config, {key}"
    if problem.cure == "remove":
        return key, f"pulumi config rm {flags}"
    if problem.cure == "edit":
        return key, f"${{EDITOR:-vi}} {shlex.quote(f'Pulumi.{stack}.yaml')}  # under config, {key}"
    secret = "--secret " if _place(problem.key)[1].get("writeOnly") else ""
    return key, f"pulumi config set {secret}{flags} VALUE"

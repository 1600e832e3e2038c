"""The one config boundary: the stack config, parsed whole into frozen, typed values.

Nothing else in the program reads stack config, and everything that can be wrong with it is
said here, at once, before any resource is touched (`SettingsError`).
"""

import difflib
import ipaddress
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pulumi.runtime.config import CONFIG, get_config_env
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

PROJECT = "lightwave"
ROOT = Path(__file__).resolve().parent
DATABASE = "lightwave_platform"
ADMIN = "lightwave_admin"
BUCKET = "lightwave-media"

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


class SettingsError(Exception):
    """The stack config is wrong. The message lists every error with its key, what is allowed and the cure."""


# --- values -----------------------------------------------------------------------------------------------------------


def _cidr(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=True))
    except ValueError as error:
        raise PydanticCustomError(
            "cidr", "{error}; allowed: a network in CIDR form such as 10.0.0.0/16", {"error": str(error)}
        ) from error


def _matching(pattern: str, allowed: str) -> AfterValidator:
    """A validator that says in words what is allowed; the pattern alone is no help to who must mend it."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if value != KNOWN_AT_DEPLOY and not compiled.fullmatch(value):
            raise PydanticCustomError("form", "is malformed; allowed: {allowed}", {"allowed": allowed})
        if value == KNOWN_AT_DEPLOY and _facts_required.get():
            raise PydanticCustomError("form", "is a placeholder; allowed: {allowed}", {"allowed": allowed})
        return value

    return AfterValidator(check)


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SQL_NAME = r"[a-z][a-z0-9_]{0,47}"

Cidr = Annotated[str, AfterValidator(_cidr)]
SqlName = Annotated[str, _matching(_SQL_NAME, "a lower-case SQL name: a letter, then letters, digits or _, at most 48")]
DnsLabel = Annotated[str, _matching(_LABEL, "a DNS label: lower-case letters, digits and inner hyphens, at most 63")]
Domain = Annotated[str, _matching(rf"({_LABEL}\.)+[a-z][a-z0-9-]*[a-z0-9]", "a domain name such as example.com")]
Origin = Annotated[
    str, _matching(rf"https?://({_LABEL}\.)*{_LABEL}(:\d{{1,5}})?", "an origin such as https://example.com, no path")
]
EnvName = Annotated[str, _matching(r"[A-Z][A-Z0-9_]*", "an environment variable's name such as PAYLOAD_SECRET")]
Arn = Annotated[str, _matching(r"arn:aws[a-z-]*:[^\s]+", "an ARN such as arn:aws:iam::123456789012:role/deploy")]
AwsAccountId = Annotated[str, _matching(r"\d{12}", "the 12 digits of an AWS account")]
AwsRegion = Annotated[str, _matching(r"[a-z]{2}(-[a-z]+)+-\d", "an AWS region such as eu-central-1")]
CloudflareId = Annotated[str, _matching(r"[0-9a-f]{32}", "32 hexadecimal digits, as Cloudflare's dashboard shows them")]
ImageDigest = Annotated[
    str,
    _matching(
        r"[a-z0-9./:_-]+:[\w.-]+@sha256:[0-9a-f]{64}", "an image by tag and digest: name:tag@sha256:<64 hex digits>"
    ),
]
HostName = Annotated[str, _matching(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?", "a host name or an IP address")]
Port = Annotated[int, Field(ge=1, le=65535)]
Quantity = Annotated[
    str, _matching(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?", "a Kubernetes quantity such as 500m, 2 or 4Gi")
]
Window = Annotated[str, _matching(r"\d\d:\d\d-\d\d:\d\d", "a daily window in UTC such as 02:00-03:00")]
WeeklyWindow = Annotated[
    str,
    _matching(
        r"(mon|tue|wed|thu|fri|sat|sun):\d\d:\d\d-(mon|tue|wed|thu|fri|sat|sun):\d\d:\d\d",
        "a weekly window in UTC such as sun:03:30-sun:04:30",
    ),
]
NonEmpty = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Model(BaseModel):
    """Frozen, strict about unknown keys and about types; keys in stack config are camelCase."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, serialize_by_alias=True
    )


# --- the product table ------------------------------------------------------------------------------------------------


class Pool(_Model):
    """PgBouncer's server connections for one product, each PgBouncer instance."""

    size: Annotated[int, Field(ge=1, le=200)] = 5
    """Server connections kept for the product (PgBouncer's pool_size)."""
    reserve: Annotated[int, Field(ge=0, le=100)] = 2
    """More of them when clients wait (PgBouncer's reserve_pool)."""


class Product(_Model):
    """One entry of the product table: it drives roles, grants, pools, secrets, env files and the access matrix."""

    name: SqlName
    """Its key in the table."""
    schema_name: Annotated[SqlName, Field(alias="schema")]
    """Its schema; the product's name unless the entry says otherwise."""
    readers: tuple[SqlName, ...] = ()
    """Products whose login role may read this schema. Off by default: a reader of `payload` reads `payload.users` too."""
    pool: Pool = Pool()
    connection_limit: Annotated[int, Field(ge=1, le=1000)] = 40
    """CONNECTION LIMIT of the login role: pooled and direct connections together."""
    statement_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 30_000
    idle_in_transaction_timeout_ms: Annotated[int, Field(ge=1000, le=3_600_000)] = 60_000
    framework: Literal["payload", "django"] | None = None
    """Whose terms the env file is written in; a product without one has schema and roles alone."""
    service: NonEmpty | None = None
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


class LocalDatabase(_Model):
    """The PostgreSQL 15 that `make up` runs; its ports and passwords are in the ignored state folder."""

    server: Literal["local"]
    max_connections: Annotated[int, Field(ge=20, le=1000)] = 200


class AdminEndpoint(_Model):
    """How the postgresql provider reaches a private RDS when the program does not run inside the VPC: a tunnel's end."""

    host: HostName
    port: Port
    ssl_mode: Literal["verify-full", "verify-ca"] = "verify-ca"
    """verify-ca for a port forward (the host name differs); verify-full through a SOCKS5 proxy, which keeps the name."""


class RdsDatabase(_Model):
    """RDS PostgreSQL 15."""

    server: Literal["rds"]
    instance_class: Annotated[
        str, _matching(r"db\.[a-z0-9]+\.[a-z0-9]+", "an RDS instance class such as db.t3.medium")
    ] = "db.t3.medium"
    allocated_storage_gib: Annotated[int, Field(ge=20, le=65536)] = 50
    max_allocated_storage_gib: Annotated[int, Field(ge=26, le=65536)] = 200
    multi_az: bool = True
    backup_retention_days: Annotated[int, Field(ge=1, le=35)] = 14
    backup_window: Window = "02:00-03:00"
    maintenance_window: WeeklyWindow = "sun:03:30-sun:04:30"
    log_retention_days: Literal[7, 14, 30, 60, 90, 180, 365] = 30
    kms_key_arn: Arn | None = None
    """An own KMS key for storage; AWS's own `aws/rds` key without it."""
    alarm_email: Annotated[str, _matching(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")] | None = None
    import_id: DnsLabel | None = None
    """Identifier of an existing instance to adopt; taken out again after the deploy that adopted it."""
    admin_endpoint: AdminEndpoint | None = None


Database = Annotated[LocalDatabase | RdsDatabase, Field(discriminator="server")]


class Aws(_Model):
    """The account and, where lookups from the EKS cluster must not be used, its network facts."""

    account_id: AwsAccountId
    region: AwsRegion
    vpc_id: Annotated[str, _matching(r"vpc-[0-9a-f]{8,17}", "a VPC id such as vpc-0a1b2c3d4e5f67890")] | None = None
    private_subnet_ids: tuple[
        Annotated[str, _matching(r"subnet-[0-9a-f]{8,17}", "a subnet id such as subnet-0a1b2c3d")], ...
    ] = ()
    cluster_security_group_id: (
        Annotated[str, _matching(r"sg-[0-9a-f]{8,17}", "a security group id such as sg-0a1b2c3d")] | None
    ) = None


# --- PgBouncer --------------------------------------------------------------------------------------------------------


class PgBouncer(_Model):
    """The pooler before PostgreSQL, in transaction mode."""

    max_client_connections: Annotated[int, Field(ge=10, le=20_000)] = 1000
    """Clients one instance accepts; it must fit its file-descriptor limit."""
    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    max_surge: Annotated[int, Field(ge=0, le=5)] = 0
    """Instances above `replicas` during a rollout; they count in the connection budget."""
    client_tls: bool = False
    image: ImageDigest | None = None
    exporter_image: ImageDigest | None = None


# --- Cloudflare -------------------------------------------------------------------------------------------------------


class Media(_Model):
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
    """token: an account token scoped to the bucket is made; given: `media.accessKeyId` and `secretAccessKey`, secrets."""
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    zone_singletons: bool = True
    """Whether this stack owns the zone's cache ruleset and tiered cache: one stack a zone."""


# --- Kubernetes -------------------------------------------------------------------------------------------------------


class Quota(_Model):
    """ResourceQuota of a namespace, with the headroom that a rolling update needs."""

    requests_cpu: Quantity
    requests_memory: Quantity
    limits_cpu: Quantity
    limits_memory: Quantity
    pods: Annotated[int, Field(ge=1, le=500)]


class Namespace(_Model):
    """One namespace and its guard rails."""

    quota: Quota
    pod_security: Literal["baseline", "restricted"] = "restricted"
    deployer_principal: Arn | None = None
    """IAM role of the service's own deploy job; an EKS access entry binds it to the namespace's deployer Role."""


class Kubernetes(_Model):
    """The cluster and its namespaces."""

    cluster: DnsLabel = "lightwave-prod"
    context: NonEmpty | None = None
    """A kubeconfig context (kind, k3d) in place of the EKS cluster."""
    network_policy_enforced: bool = False
    """Set once the VPC CNI add-on runs with enableNetworkPolicy=true; a loud output says so while it is not."""
    edge_namespace: DnsLabel = "ingress-nginx"
    """Namespace of the ingress controller, the one place from which the edge reaches Payload and the API."""
    namespaces: dict[DnsLabel, Namespace]


# --- the whole --------------------------------------------------------------------------------------------------------


class LocalState(_Model):
    """What `make up` generated once for the dev stack: ports, passwords, application secrets."""

    database_port: Port
    pgbouncer_port: Port
    passwords: dict[str, SecretStr]
    """By role: the admin and every login role."""
    scram_verifiers: dict[str, SecretStr]
    """By login role: `SCRAM-SHA-256$…` of its password, the same on the server and in PgBouncer's auth file."""
    secrets: dict[str, SecretStr]
    """By env variable: PAYLOAD_SECRET and the like."""


class Settings(_Model):
    """Everything the program is told, checked."""

    stack: str
    protect: bool = False
    """Whether what holds data, and every role and grant, is protected from deletion."""
    products: dict[SqlName, Product]
    database: Database
    pgbouncer: PgBouncer = PgBouncer()
    rotations: dict[str, Annotated[int, Field(ge=1)]] = {}
    """By secret (a login role, the admin, an env variable): a counter; raising it generates the secret anew."""
    aws: Aws | None = None
    media: Media | None = None
    kubernetes: Kubernetes | None = None
    local: LocalState | None = None

    def readable_by(self, reader: Product) -> tuple[Product, ...]:
        """The other products whose schema `reader` may read, in the table's order."""
        return tuple(product for product in self.products.values() if reader.name in product.readers)


RESERVED_SCHEMAS = ("public", "information_schema", "extensions")

APPLICATION_SECRETS = {"payload": "PAYLOAD_SECRET", "django": "DJANGO_SECRET_KEY"}
"""The generated secret of each framework's service, by framework."""


# --- reading and refusing ---------------------------------------------------------------------------------------------


class Problem(NamedTuple):
    """One thing that is wrong: where, and what is wrong with what would be allowed."""

    key: tuple[str, ...]
    message: str


def stack_config(stack: str) -> dict[str, Any]:
    """The stack's config as the engine would give it: Pulumi.yaml's defaults under Pulumi.<stack>.yaml's values.

    Raises SettingsError when there is no such stack file.
    """
    path = ROOT / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.name.split(".")[1] for p in ROOT.glob("Pulumi.*.yaml")))
        raise SettingsError(f"stack {stack}: there is no {path.name}; allowed: {known}")
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    defaults = {
        key: entry["default"] for key, entry in project.items() if isinstance(entry, dict) and "default" in entry
    }
    return {**defaults, **(yaml.safe_load(path.read_text()).get("config") or {})}


def from_engine(stack: str) -> "Settings":
    """Settings from the config that the engine (or the recorder) handed to this run: strings, an object as JSON."""
    config = {**get_config_env(), **CONFIG.get()}
    return load(stack, {key: _decoded(value) for key, value in config.items()}, local=_local_state())


def load(stack: str, config: Mapping[str, Any], local: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a stack from its config (`lightwave:` keys; other namespaces are their providers' business).

    `local` is the dev stack's state as `make up` wrote it. Raises SettingsError with every error at once.
    """
    raw = {key.partition(":")[2]: value for key, value in config.items() if key.startswith(f"{PROJECT}:")}
    on_rds = _at(raw, "database", "server") == "rds"
    for section in ("media", "kubernetes", *(() if on_rds else ("aws",))):
        if raw.get(section) == {}:  # Pulumi.yaml's default: the stack has none
            del raw[section]
    if not _facts_required.get():
        _stand_in_for_facts(raw)
    problems = list(_cross_field_problems(raw))
    raw = _with_names(raw)
    server = _at(raw, "database", "server")
    if server == "local":
        if not _facts_required.get():
            raw["local"] = _placeholder_state(raw)
        elif local is not None:
            raw["local"] = local
        else:
            problems.append(Problem((), f"the local PostgreSQL is not set up ({LOCAL_STATE} is missing); run: make up"))
    try:
        settings = Settings.model_validate_json(json.dumps({**raw, "stack": stack}, default=str))
    except ValidationError as error:
        problems += _shape_problems(error)
    if problems:
        raise SettingsError(_message(stack, problems))
    return settings


LOCAL_STATE = ".local/state.json"
FACTS = (
    ("aws", "accountId"),
    ("aws", "region"),
    ("media", "accountId"),
    ("media", "zoneId"),
    ("pgbouncer", "image"),
    ("pgbouncer", "exporterImage"),
)
"""Facts of an account or a registry: the repository does not know them, a deploy must be told."""


def _local_state() -> dict[str, Any] | None:
    path = ROOT / LOCAL_STATE
    if not path.exists():
        return None
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def _placeholder_state(raw: dict[str, Any]) -> dict[str, Any]:
    """Stands in for the dev stack's state in the offline plan: PostgreSQL's and PgBouncer's usual ports, no secrets."""
    roles = [f"{name}_user" for name in (raw["products"] if isinstance(raw.get("products"), dict) else {})]
    return {
        "databasePort": 5432,
        "pgbouncerPort": 6432,
        "passwords": dict.fromkeys([ADMIN, *roles], KNOWN_AT_DEPLOY),
        "scramVerifiers": dict.fromkeys(roles, KNOWN_AT_DEPLOY),
        "secrets": dict.fromkeys(APPLICATION_SECRETS.values(), KNOWN_AT_DEPLOY),
    }


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _at(raw: Any, *keys: str) -> Any:
    """The value under the keys, None where there is none or something else is in the way."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _with_names(raw: dict[str, Any]) -> dict[str, Any]:
    products = raw.get("products")
    if not isinstance(products, dict):
        return dict(raw)
    named = {
        name: {"schema": name, **entry, "name": name} if isinstance(entry, dict) else entry
        for name, entry in products.items()
    }
    return {**raw, "products": named}


def _stand_in_for_facts(raw: dict[str, Any]) -> None:
    for section, key in FACTS:
        # Only a pooler on Kubernetes has images.
        if isinstance(raw.get(section), dict) and (section != "pgbouncer" or "kubernetes" in raw):
            raw[section] = {key: KNOWN_AT_DEPLOY, **raw[section]}


def _cross_field_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between fields. It reads the raw config, so that it is said even where a field's own form is wrong."""
    products = raw.get("products")
    yield from _product_problems(products if isinstance(products, dict) else {})
    yield from _production_problems(raw)
    yield from _media_problems(raw)

    storage = _at(raw, "database", "allocatedStorageGib")
    ceiling = _at(raw, "database", "maxAllocatedStorageGib")
    # RDS refuses a ceiling less than 26 % above what is allocated.
    if isinstance(storage, int) and isinstance(ceiling, int) and ceiling * 100 < storage * 126:
        least = -(-storage * 126 // 100)
        yield Problem(("database", "maxAllocatedStorageGib"), f"is too small; allowed: {least} (26 % above) or more")

    namespaces = _at(raw, "kubernetes", "namespaces")
    if isinstance(namespaces, dict) and isinstance(products, dict):
        for name, entry in products.items():
            namespace = _at(entry, "namespace")
            if isinstance(namespace, str) and namespace not in namespaces:
                allowed = ", ".join(sorted(map(str, namespaces)))
                yield Problem(("products", name, "namespace"), f"is not declared; allowed: {allowed}")
        if "shared" not in namespaces:
            yield Problem(("kubernetes", "namespaces", "shared"), "is missing; allowed: an entry, PgBouncer runs there")

    rotations = raw.get("rotations")
    if isinstance(rotations, dict) and isinstance(products, dict):
        secrets = [ADMIN, *(f"{name}_user" for name in products), *APPLICATION_SECRETS.values()]
        for name in rotations:
            if name not in secrets:
                yield Problem(("rotations", str(name)), f"is no secret; allowed: {', '.join(secrets)}")


def _product_problems(products: dict[str, Any]) -> Iterator[Problem]:
    if not products:
        yield Problem(("products",), "is missing or empty; allowed: a mapping with an entry a product")
    owner_of: dict[str, str] = {}
    for name, entry in products.items():
        readers = _at(entry, "readers")
        for index, reader in enumerate(readers if isinstance(readers, list) else []):
            others = ", ".join(sorted(str(p) for p in products if p != name))
            if reader == name:
                yield Problem(("products", name, f"readers[{index}]"), f"is the product itself; allowed: {others}")
            elif reader not in products:
                yield Problem(("products", name, f"readers[{index}]"), f"{reader!r} is no product; allowed: {others}")
        schema = _at(entry, "schema") or name
        if schema in owner_of:
            yield Problem(("products", name, "schema"), f"is {owner_of[schema]}'s schema; allowed: one of its own")
        elif schema in RESERVED_SCHEMAS or str(schema).startswith("pg_"):
            yield Problem(("products", name, "schema"), "is reserved; allowed: a name of its own")
        owner_of.setdefault(schema, name)
        if (_at(entry, "framework") is None) != (_at(entry, "service") is None):
            yield Problem(("products", name, "service"), "goes with framework; allowed: both or neither")


def _production_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Whatever runs on RDS is production."""
    if _at(raw, "database", "server") != "rds":
        return
    retention = _at(raw, "database", "backupRetentionDays")
    rules = (
        (("protect",), raw.get("protect") is True, "true: in production what holds data is protected"),
        (("database", "multiAz"), _at(raw, "database", "multiAz") is not False, "true in production"),
        (
            ("database", "backupRetentionDays"),
            not isinstance(retention, int) or retention >= 7,
            "7 to 35 in production",
        ),
        (("aws",), "aws" in raw, "accountId and region of the RDS instance"),
        (("kubernetes",), "kubernetes" in raw, "the EKS cluster, from which alone the database is reached"),
        (("pgbouncer", "image"), _at(raw, "pgbouncer", "image") is not None, "an image by tag and digest"),
        (
            ("pgbouncer", "exporterImage"),
            _at(raw, "pgbouncer", "exporterImage") is not None,
            "an image by tag and digest",
        ),
    )
    for key, holds, allowed in rules:
        if not holds:
            yield Problem(key, f"is missing or wrong; allowed: {allowed}")


def _media_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    domain, zone = _at(raw, "media", "domain"), _at(raw, "media", "zone")
    if isinstance(domain, str) and isinstance(zone, str) and not domain.endswith(f".{zone}"):
        yield Problem(("media", "domain"), f"is not in the zone; allowed: a name that ends in .{zone}")
    given = _at(raw, "media", "credentials") == "given"
    for key in ("accessKeyId", "secretAccessKey"):
        if given and _at(raw, "media", key) is None:
            yield Problem(("media", key), "is missing; allowed: the existing key, set with --secret")
        if not given and _at(raw, "media", key) is not None:
            yield Problem(("media", key), "is not used; allowed: nothing, or credentials: given")


_SECRET_KEYS = ("accessKeyId", "secretAccessKey", "passwords", "scramVerifiers", "secrets")
_UNION_TAGS = ("local", "rds")


def _shape_problems(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        loc = [str(part) for part in detail["loc"]]
        # pydantic names the union's member in the path; the user's file does not.
        if loc[:1] == ["database"] and loc[1:2] and loc[1] in _UNION_TAGS:
            del loc[1]
        if loc == ["products"] and detail["type"] == "missing":
            continue  # said by _product_problems
        key: list[str] = []
        for part in loc:
            if part == "[key]":
                continue
            if part.isdigit() and key:
                key[-1] += f"[{part}]"
            else:
                key.append(part)
        message = detail["msg"]
        if detail["type"] == "extra_forbidden":
            message = "is not a key" + _suggestion(loc)
        elif detail["type"] == "missing":
            message = "is missing"
        elif not isinstance(detail["input"], dict | list) and not set(key) & set(_SECRET_KEYS):
            message = f"{detail['input']!r}: {message}"
        yield Problem(tuple(key), message)


def _suggestion(loc: list[str]) -> str:
    """The allowed keys beside the unknown one, the nearest first."""
    model: Any = Settings
    for part in loc[:-1]:
        model = _CHILDREN.get(part, model)
    allowed = sorted(
        (f.alias or to_camel(n)) for n, f in model.model_fields.items() if n not in ("name", "stack", "local")
    )
    near = difflib.get_close_matches(loc[-1], allowed, n=1)
    return (f"; did you mean {near[0]}?" if near else "") + f"; allowed: {', '.join(allowed)}"


_CHILDREN: dict[str, type[BaseModel]] = {
    "products": Product,
    "pool": Pool,
    "database": RdsDatabase,
    "adminEndpoint": AdminEndpoint,
    "pgbouncer": PgBouncer,
    "aws": Aws,
    "media": Media,
    "kubernetes": Kubernetes,
    "namespaces": Namespace,
    "quota": Quota,
}


def _message(stack: str, problems: list[Problem]) -> str:
    path = ROOT / f"Pulumi.{stack}.yaml"
    own = (yaml.safe_load(path.read_text()) or {}).get("config") or {} if path.exists() else {}
    lines = [f"stack {stack}: {len(problems)} error{'s' * (len(problems) > 1)} in its config"]
    for problem in sorted(set(problems)):
        if not problem.key:
            lines.append(f"  {problem.message}")
            continue
        key = f"{PROJECT}:{'.'.join(problem.key)}"
        lines.append(f"  {key}: {problem.message}")
        lines.append(f"      {_cure(stack, key, problem, f'{PROJECT}:{problem.key[0]}' in own)}")
    return "\n".join(lines)


def _cure(stack: str, key: str, problem: Problem, in_stack_file: bool) -> str:
    quoted, stacked = shlex.quote(key), shlex.quote(stack)
    if problem.key[0] == "products" and not in_stack_file:
        # `pulumi config set` would write a one-entry table into the stack's file, in place of the whole one.
        return f"mend it: ${{EDITOR:-vi}} Pulumi.yaml  # under config, {key}"
    if "is not a key" in problem.message or "is no secret" in problem.message or "is not used" in problem.message:
        return f"mend it: pulumi config rm --stack {stacked} --path {quoted}"
    secret = "--secret " if set(problem.key) & set(_SECRET_KEYS) else ""
    return f"mend it: pulumi config set --stack {stacked} {secret}--path {quoted} <value>"

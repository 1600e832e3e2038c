"""The environment of a product's service, written once: for Kubernetes Secrets, stack outputs and env files alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pulumi

from settings import Product

VERIFIED = "verify-full"
"""sslmode of every direct connection over TLS. node-postgres reads `require` as this too; libpq does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvEntry:
    """One environment variable."""

    name: str
    value: pulumi.Input[str]
    secret: bool
    optional: bool
    """Whether it goes beyond the contract that the service's repository relies on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A host and port that the service reaches."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectStore:
    """An S3-compatible store with credentials for one bucket."""

    endpoint: pulumi.Input[str]
    """Its URL, such as https://<account>.r2.cloudflarestorage.com."""
    account_id: pulumi.Input[str]
    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str]
    bucket: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceEnvArgs:
    """What a service is told. Plain values give plain entries, outputs give outputs."""

    product: Product
    database: str
    pooled: Server
    """PgBouncer, in transaction mode: the service's own connections."""
    direct: Server
    """PostgreSQL itself: migrations, LISTEN, advisory locks."""
    password: pulumi.Input[str]
    """Of the product's login role."""
    application_secret: pulumi.Input[str]
    """PAYLOAD_SECRET or DJANGO_SECRET_KEY."""
    store: ObjectStore | None = None
    """Required for Payload."""
    cdn_base_url: str | None = None
    """Where the bucket's objects are served, such as https://cdn.lightwave-media.site."""
    direct_ca_bundle: str | None = None
    """Path, where the service runs, of the CA certificates that verify the direct server's; no TLS without."""
    pooled_ca_bundle: str | None = None
    """The same for PgBouncer; no TLS without. The same file as the other: Node takes one."""
    payload_api_url: str | None = None
    """Required for Django: http://payload:3000/api in the cluster."""
    redis_url: pulumi.Input[str] | None = None

    @property
    def ca_bundle(self) -> str | None:
        """The file of both."""
        return self.direct_ca_bundle or self.pooled_ca_bundle

    def __post_init__(self) -> None:
        if self.product.framework is None:
            raise pulumi.InputPropertyError(
                "product", f"{self.product.name} has no framework, so no service and no env"
            )
        if self.product.framework == "payload" and self.store is None:
            raise pulumi.InputPropertyError("store", "Payload keeps its media in an S3-compatible store")
        if self.product.framework == "django" and self.payload_api_url is None:
            raise pulumi.InputPropertyError("payload_api_url", "Django reads Payload's content there")
        if self.pooled_ca_bundle not in (None, self.ca_bundle):
            raise pulumi.InputPropertyError("pooled_ca_bundle", f"is another file than {self.ca_bundle}")


def service_env(args: ServiceEnvArgs) -> list[EnvEntry]:
    """The service's variables in the terms of its framework, the contract first, then the optional ones."""
    entries = list(_payload(args) if args.product.framework == "payload" else _django(args))
    return sorted(entries, key=lambda entry: entry.optional)


def env_names(product: Product) -> list[str]:
    """The variables of a product's service on a developer's machine, where nothing beyond the contract runs."""
    nowhere = Server(host="", port=0)
    args = ServiceEnvArgs(
        product=product,
        database="",
        pooled=nowhere,
        direct=nowhere,
        password="",
        application_secret="",
        store=ObjectStore(endpoint="", account_id="", access_key_id="", secret_access_key="", bucket=""),
        payload_api_url="",
    )
    return [entry.name for entry in service_env(args)]


def _payload(args: ServiceEnvArgs) -> Iterator[EnvEntry]:
    store = args.store
    assert store is not None  # noqa: S101 (checked by ServiceEnvArgs)
    # The seed's URL shape. node-postgres ignores `schema`; what works is the role's search_path.
    schema = {"schema": args.product.schema_name}
    yield _secret("DATABASE_URI", _url(args, args.pooled, {**schema, **_node_tls(args.pooled_ca_bundle)}))
    yield _secret("PAYLOAD_SECRET", args.application_secret)
    yield _plain("S3_ENDPOINT", store.endpoint)
    yield _plain("S3_REGION", "auto")
    yield _secret("S3_ACCESS_KEY_ID", store.access_key_id)
    yield _secret("S3_SECRET_ACCESS_KEY", store.secret_access_key)
    yield _plain("S3_BUCKET", store.bucket)
    yield _plain("CF_ACCOUNT_ID", store.account_id, optional=True)
    yield _secret("CF_R2_ACCESS_KEY_ID", store.access_key_id, optional=True)
    yield _secret("CF_R2_SECRET_ACCESS_KEY", store.secret_access_key, optional=True)
    yield _secret(
        "DATABASE_URI_DIRECT", _url(args, args.direct, {**schema, **_node_tls(args.direct_ca_bundle)}), optional=True
    )
    if args.ca_bundle:
        yield _plain("NODE_EXTRA_CA_CERTS", args.ca_bundle, optional=True)
    # Newer AWS SDKs send checksums that R2 does not take on every call.
    yield _plain("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED", optional=True)
    yield _plain("AWS_RESPONSE_CHECKSUM_VALIDATION", "WHEN_REQUIRED", optional=True)
    if args.cdn_base_url:
        yield _plain("CDN_BASE_URL", args.cdn_base_url, optional=True)


def _django(args: ServiceEnvArgs) -> Iterator[EnvEntry]:
    assert args.payload_api_url is not None  # noqa: S101 (checked by ServiceEnvArgs)
    yield _secret("DATABASE_URL", _url(args, args.pooled, _libpq_tls(args.pooled_ca_bundle)))
    # The keys of the seed's DATABASES dict.
    yield _plain("DATABASE_NAME", args.database)
    yield _plain("DATABASE_USER", args.product.login_role)
    yield _secret("DATABASE_PASSWORD", args.password)
    yield _plain("DATABASE_HOST", args.pooled.host)
    yield _plain("DATABASE_PORT", _mapped(str, args.pooled.port))
    yield _secret("DJANGO_SECRET_KEY", args.application_secret)
    # A cursor WITH HOLD does not outlive its transaction behind a pooler in transaction mode.
    yield _plain("DISABLE_SERVER_SIDE_CURSORS", "true")
    yield _plain("PAYLOAD_API_URL", args.payload_api_url)
    yield _secret("DATABASE_URL_DIRECT", _url(args, args.direct, _libpq_tls(args.direct_ca_bundle)), optional=True)
    if args.pooled_ca_bundle:
        # What DATABASE_HOST takes: the seed's keys name the pooled server.
        yield _plain("DATABASE_SSLMODE", VERIFIED, optional=True)
    if args.ca_bundle:
        yield _plain("DATABASE_SSLROOTCERT", args.ca_bundle, optional=True)
    if args.redis_url is not None:
        yield _secret("REDIS_URL", args.redis_url, optional=True)
    if args.cdn_base_url:
        yield _plain("CDN_BASE_URL", args.cdn_base_url, optional=True)


def _plain(name: str, value: pulumi.Input[str], *, optional: bool = False) -> EnvEntry:
    return EnvEntry(name=name, value=value, secret=False, optional=optional)


def _secret(name: str, value: pulumi.Input[str], *, optional: bool = False) -> EnvEntry:
    if isinstance(value, pulumi.Output):
        value = pulumi.Output.secret(value)
    return EnvEntry(name=name, value=value, secret=True, optional=optional)


def _node_tls(ca_bundle: str | None) -> dict[str, str]:
    # The CA reaches Node through NODE_EXTRA_CA_CERTS.
    return {"sslmode": VERIFIED} if ca_bundle else {}


def _libpq_tls(ca_bundle: str | None) -> dict[str, str]:
    return {"sslmode": VERIFIED, "sslrootcert": ca_bundle} if ca_bundle else {}


def _url(args: ServiceEnvArgs, server: Server, parameters: dict[str, str]) -> pulumi.Input[str]:
    """postgresql:// with everything percent-encoded that could end its part."""
    query = "&".join(f"{key}={quote(value, safe='/')}" for key, value in parameters.items())

    def compose(password: str, host: str, port: int) -> str:
        address = f"{quote(args.product.login_role, safe='')}:{quote(password, safe='')}@{host}:{int(port)}"
        return f"postgresql://{address}/{quote(args.database, safe='')}" + (f"?{query}" if query else "")

    return _mapped(compose, args.password, server.host, server.port)


def _mapped(function: Callable[..., str], *inputs: pulumi.Input[object]) -> pulumi.Input[str]:
    """`function` of the inputs: at once where all are plain, an output where one is."""
    if any(isinstance(value, pulumi.Output) for value in inputs):
        return pulumi.Output.all(*inputs).apply(lambda values: function(*values))
    return function(*inputs)

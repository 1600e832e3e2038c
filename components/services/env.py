"""The environment of a product's service: the same for Kubernetes Secrets, stack outputs and env files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pulumi

from components.server import Server
from settings import Product

VERIFIED = "verify-full"
"""sslmode of every connection over TLS. node-postgres treats `require` the same; libpq does not."""

MIGRATION_OPTIONS = "-c statement_timeout=0 -c lock_timeout=5s"
"""Session settings of the direct URL, where migrations run. An index may take as long as it needs; a migration
that waits for a lock fails after 5 seconds, because every query behind it waits too. The role's own limits hold on the
pooled URL: PgBouncer accepts no startup options."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvEntry:
    """One environment variable."""

    name: str
    value: pulumi.Input[str]
    secret: bool
    optional: bool
    """Whether it is outside the contract that the service's repository relies on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectStore:
    """An S3-compatible store with credentials for one bucket."""

    endpoint: pulumi.Input[str]
    """URL, such as https://<account>.r2.cloudflarestorage.com."""
    account_id: pulumi.Input[str]
    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str]
    bucket: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceEnvArgs:
    """Arguments of `service_env`. Plain values make plain entries, outputs make outputs."""

    product: Product
    database: str
    pooled: Server
    """PgBouncer, in transaction mode: for the service's own connections."""
    direct: Server
    """PostgreSQL itself: for migrations, LISTEN and advisory locks."""
    password: pulumi.Input[str]
    """Password of the product's login role."""
    application_secret: pulumi.Input[str]
    """PAYLOAD_SECRET or DJANGO_SECRET_KEY."""
    store: ObjectStore
    """Where Payload keeps its media."""
    payload_api_url: str
    """Where Django reads Payload's content, such as http://payload:3000/api."""
    cdn_base_url: str | None = None
    """Base URL of the bucket's objects, such as https://cdn.lightwave-media.site."""
    direct_ca_path: str | None = None
    """Path, where the service runs, of the CA certificates that verify the direct server; None: no TLS."""
    pooled_ca_path: str | None = None
    """The same for PgBouncer. One file serves both, because Node reads only one."""
    redis_url: pulumi.Input[str] | None = None
    """Valkey, for Django's cache and Celery."""
    test_database: str | None = None
    """The database on the same servers in which Django's own tests run; None where there must be none."""

    @property
    def ca_path(self) -> str | None:
        """The one file with CA certificates; None where no server uses TLS."""
        return self.direct_ca_path or self.pooled_ca_path

    def __post_init__(self) -> None:
        if self.product.framework is None:
            raise pulumi.InputPropertyError(
                "product", f"{self.product.name} has no framework, so no service and no env"
            )
        if self.pooled_ca_path not in (None, self.ca_path):
            raise pulumi.InputPropertyError("pooled_ca_path", f"is another file than {self.ca_path}")


def service_env(args: ServiceEnvArgs) -> list[EnvEntry]:
    """The variables that the service's framework expects: the contract first, then the optional ones."""
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
        cdn_base_url=".",
        test_database=".",
    )
    return [entry.name for entry in service_env(args)]


def _payload(args: ServiceEnvArgs) -> Iterator[EnvEntry]:
    store = args.store
    # The contract's URL has ?schema=. node-postgres ignores it; the role's search_path selects the schema.
    schema = {"schema": args.product.schema_name}
    yield _secret("DATABASE_URI", _url(args, args.pooled, {**schema, **_node_tls(args.pooled_ca_path)}))
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
        "DATABASE_URI_DIRECT",
        _url(args, args.direct, {**_node_tls(args.direct_ca_path), "options": MIGRATION_OPTIONS}),
        optional=True,
    )
    if args.ca_path:
        yield _plain("NODE_EXTRA_CA_CERTS", args.ca_path, optional=True)
    # Newer AWS SDKs send checksums by default, which R2 does not accept on every call.
    yield _plain("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED", optional=True)
    yield _plain("AWS_RESPONSE_CHECKSUM_VALIDATION", "WHEN_REQUIRED", optional=True)
    if args.cdn_base_url:
        yield _plain("CDN_BASE_URL", args.cdn_base_url, optional=True)


def _django(args: ServiceEnvArgs) -> Iterator[EnvEntry]:
    yield _secret("DATABASE_URL", _url(args, args.pooled, _libpq_tls(args.pooled_ca_path)))
    # What the contract's DATABASES dict reads.
    yield _plain("DATABASE_NAME", args.database)
    yield _plain("DATABASE_USER", args.product.login_role)
    yield _secret("DATABASE_PASSWORD", args.password)
    yield _plain("DATABASE_HOST", args.pooled.host)
    yield _plain("DATABASE_PORT", _mapped(str, args.pooled.port))
    yield _secret("DJANGO_SECRET_KEY", args.application_secret)
    # Django declares its cursors WITH HOLD: the next FETCH may reach another connection behind PgBouncer.
    yield _plain("DISABLE_SERVER_SIDE_CURSORS", "true")
    yield _plain("PAYLOAD_API_URL", args.payload_api_url)
    yield _secret(
        "DATABASE_URL_DIRECT",
        _url(args, args.direct, {**_libpq_tls(args.direct_ca_path), "options": MIGRATION_OPTIONS}),
        optional=True,
    )
    if args.test_database:
        yield _plain("DATABASE_TEST_NAME", args.test_database, optional=True)
    if args.pooled_ca_path:
        # For DATABASE_HOST, which is the pooled server.
        yield _plain("DATABASE_SSLMODE", VERIFIED, optional=True)
    if args.ca_path:
        yield _plain("DATABASE_SSLROOTCERT", args.ca_path, optional=True)
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


def _node_tls(ca_path: str | None) -> dict[str, str]:
    # Node reads the CA certificates from NODE_EXTRA_CA_CERTS.
    return {"sslmode": VERIFIED} if ca_path else {}


def _libpq_tls(ca_path: str | None) -> dict[str, str]:
    return {"sslmode": VERIFIED, "sslrootcert": ca_path} if ca_path else {}


def _url(args: ServiceEnvArgs, server: Server, parameters: dict[str, str]) -> pulumi.Input[str]:
    """A postgresql:// URL, percent-encoded."""
    query = "&".join(f"{key}={quote(value, safe='/')}" for key, value in parameters.items())

    def compose(password: str, host: str, port: int) -> str:
        address = f"{quote(args.product.login_role, safe='')}:{quote(password, safe='')}@{host}:{int(port)}"
        return f"postgresql://{address}/{quote(args.database, safe='')}" + (f"?{query}" if query else "")

    return _mapped(compose, args.password, server.host, server.port)


def _mapped(function: Callable[..., str], *inputs: pulumi.Input[object]) -> pulumi.Input[str]:
    """`function` of the inputs: a plain value where all of them are plain, an output where one is an output."""
    if any(isinstance(value, pulumi.Output) for value in inputs):
        return pulumi.Output.all(*inputs).apply(lambda values: function(*values))
    return function(*inputs)


def valkey_user(products: Iterable[Product]) -> str:
    """Valkey's ACL user for the services: the product whose env has REDIS_URL.

    Raises StopIteration where no product uses Valkey, which the settings do not accept.
    """
    return next(product.name for product in products if product.framework == "django")

"""Names that the platform's parts share and that other repositories rely on. They are the same in every stack."""

import re

PROJECT = "lightwave"
PRODUCTION = "prod"
"""The stack whose names carry no stack's name: other repositories rely on them. Every other stack's names carry its
own, see `is_own`."""
DATABASE = "lightwave_platform"
TEST_DATABASE = f"test_{DATABASE}"
"""Where Django's tests run on a local stack: Django's own name for it."""
ADMIN = "lightwave_admin"
BUCKET = "lightwave-media"
IDENTIFIER = "lightwave-platform"
CLUSTER = "lightwave-prod"
CDN = "cdn.lightwave-media.site"
CMS = "cms.lightwave-media.site"
PLAIN_NAMES = (IDENTIFIER, CLUSTER, BUCKET, CDN, CMS)
"""Of `PRODUCTION`, in its own file or by default."""
HOST = "127.0.0.1"
"""Where a local stack's servers listen, and nowhere else."""
STATS_USER = "pgbouncer_stats"
"""May run SHOW on PgBouncer's admin console and nothing else; the metrics exporter logs in with it."""
VALKEY_METRICS_USER = "metrics"
"""May read Valkey's statistics and nothing else; the metrics exporter logs in with it."""

RDS_CA_URL = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
"""CA certificates of RDS in every region, as AWS publishes them."""

KNOWN_AT_DEPLOY = "<known at deploy>"
"""Stands for an account fact in the offline plan; a deploy refuses it."""

IDLE_IN_TRANSACTION_MS = {"payload": 300_000, "django": 120_000}
"""By framework, how long an open transaction may be idle unless the product says otherwise, in milliseconds.

PostgreSQL ends the session at this limit, and Payload does not report the failed COMMIT: the write is lost silently. So
the limit lies above what a framework does inside a transaction. Payload runs hooks and uploads in it: 100 MB at 3 Mbps
take 4.5 minutes. Django's `atomic` blocks call other services: their clients give up after a minute by default.
"""
DEFAULT_IDLE_IN_TRANSACTION_MS = 60_000
"""The same for a product without a framework."""

EGRESS_PORTS = {"payload": (443,), "django": (443, 587)}
"""By framework, the TCP ports on the internet that its service needs: R2 for Payload, AI and mail for Django."""

PAYLOAD_PORT = 3000
API_PORT = 8000
"""Where the services' pods serve HTTP."""

APPLICATION_SECRETS = {"payload": "PAYLOAD_SECRET", "django": "DJANGO_SECRET_KEY"}
"""The generated secret of each framework's service, by framework."""
VALKEY_PASSWORD = "VALKEY_PASSWORD"  # noqa: S105 (a name)
VALKEY_METRICS_PASSWORD = "VALKEY_METRICS_PASSWORD"  # noqa: S105 (a name)
TUNNEL_SECRET = "TUNNEL_SECRET"  # noqa: S105 (a name)
"""With it, pods connect to Cloudflare as the tunnel."""
VALKEY_SECRETS = (VALKEY_PASSWORD, VALKEY_METRICS_PASSWORD)
"""The generated passwords of Valkey's users: the services' and the metrics exporter's."""

PRODUCT_EXTENSIONS_SCHEMA = "product_extensions"
"""Schema of the extensions that products ask for. It is on their search_path, and only the admin changes it."""

RESERVED_SCHEMAS = ("public", "information_schema", "extensions", PRODUCT_EXTENSIONS_SCHEMA)
RESERVED_PRODUCTS = ("lightwave", "pgbouncer", "postgres", "rdsadmin", "template0", "template1")
"""The platform's own roles begin with the first two; the others are roles or databases that servers bring along."""
RESERVED_PREFIXES = ("pg_", "rds_")
"""PostgreSQL refuses roles and schemas that begin with the first; the roles of RDS itself begin with the second."""
VALKEY_USERS = ("default", VALKEY_METRICS_USER)
"""Users that every Valkey has: the product that uses it logs in under its own name, which cannot be one of these."""

EDGE_NAMESPACE = ("kubernetes", "edgeNamespace")
EKS_FACTS = (EDGE_NAMESPACE, ("valkey", "storageClass"), ("monitoring", "storageClass"))
"""Facts about the EKS cluster; kind and k3d have a default StorageClass, and need no ingress controller."""
FACTS = (
    *EKS_FACTS,
    ("aws", "accountId"),
    ("aws", "region"),
    ("media", "accountId"),
    ("media", "zoneId"),
    ("pgbouncer", "image"),
    ("pgbouncer", "exporterImage"),
    ("valkey", "image"),
    ("valkey", "exporterImage"),
    ("monitoring", "image"),
    ("monitoring", "alertmanagerImage"),
    ("edge", "image"),
)
"""Facts about an account, a registry or a cluster: the repository does not know them, a deploy must be given them."""


def admin_secret(stack: str) -> str:
    """Name of the secret in AWS Secrets Manager that holds the login of `ADMIN`."""
    return f"{PROJECT}/{stack}/database/admin"


def label(stack: str) -> str:
    """The stack's name as a part of a DNS label."""
    return re.sub(r"[^a-z0-9]+", "-", stack.lower()).strip("-")


def named(base: str, stack: str) -> str:
    """A name of the stack's own: with the stack's name at its end, and for `PRODUCTION` as it is."""
    return base if stack == PRODUCTION else f"{base}-{label(stack)}"


def is_own(stack: str, name: str) -> bool:
    """Whether a name that all stacks could see may be this stack's: it has the stack's name as a part of its own.

    `PRODUCTION` has the names without one, so any is its own.
    """
    part = rf"(?<![a-z0-9]){re.escape(label(stack))}(?![a-z0-9])"
    return stack == PRODUCTION or (name not in PLAIN_NAMES and re.search(part, name) is not None)

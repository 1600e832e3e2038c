"""The form of single values: what is refused, and that each message names the key and what is expected."""

from typing import Any

import pytest

from tests.unit.settings.changes import SECRET, check_refused, problems

_NAME = "a lower-case SQL name: a letter, then letters, digits or _, at most 48"
_LABEL = "a DNS label: lower-case letters, digits and inner hyphens, at most 63"
_PRODUCT_KEYS = (
    "connectionLimit, egress, extensions, framework, idleInTransactionTimeoutMs, namespace, pool, readers, "
    "schema, service, statementTimeoutMs"
)
_IMAGE = f"edoburu/pgbouncer:{{}}@sha256:{'c' * 64}"
_PGBOUNCER = "expected: an image by tag and digest, its tag a PgBouncer version of 1.25.2 or newer"

REFUSED: list[tuple[str, str, Any, str]] = [
    # unknown keys
    ("dev", "wat", 1,
     "is not a key; expected: aws, database, edge, kubernetes, media, monitoring, pgbouncer, products, protect, "),
    ("dev", "stack", "x", "is not a key; expected: aws, database, edge, kubernetes"),
    ("dev", "local", {}, "is not a key; expected: aws, database, edge, kubernetes"),
    ("dev", "pgbouncer.replica", 2, "is not a key; did you mean replicas?; expected: clientCaFile, "),
    ("dev", "database.multiAz", True, "is not a key; expected: maxConnections, server"),
    ("dev", "products.payload.name", "x", f"is not a key; did you mean namespace?; expected: {_PRODUCT_KEYS}"),
    ("dev", "products.payload.pool.sise", 2, "did you mean size?; expected: reserve, size"),
    ("prod", "database.adminEndpoint > database.adminEndpoint.x", {"host": "h", "port": 1, "x": 1},
     "is not a key; expected: host, port, sslMode"),
    ("prod", "valkey.replicas", 2, "is not a key; expected: exporterImage, image, maxMemoryMib, storageClass"),
    # missing keys
    ("dev", "database", ..., 'is missing; expected: a mapping with server: "local" or "rds"'),
    ("dev", "products", ..., f"is missing; expected: a mapping; a key: {_NAME}; an entry: a mapping with the keys"),
    ("dev", "database.server", ..., 'is missing; expected: "local" or "rds"'),
    ("prod", "aws.region", ..., "is missing; expected: an AWS region such as eu-central-1"),
    ("prod", "media.zone", ..., "is missing; expected: a domain name such as example.com"),
    ("prod", "kubernetes.namespaces.shared.quota.pods", ..., "is missing; expected: a whole number from 1 to 500"),
    # wrong types
    ("dev", "protect", "maybe", '"maybe" is not allowed; expected: true or false'),
    ("dev", "pgbouncer", [], "a list is not allowed; expected: a mapping with the keys clientCaFile, clientTls"),
    ("dev", "pgbouncer.replicas", "2", '"2" is not allowed; expected: a whole number from 1 to 20'),
    ("dev", "pgbouncer.replicas", True, "true is not allowed; expected: a whole number from 1 to 20"),
    ("dev", "pgbouncer.replicas", 2.5, "2.5 is not allowed; expected: a whole number from 1 to 20"),
    ("dev", "database", "local", 'text is not allowed; expected: a mapping with server: "local" or "rds"'),
    ("dev", "products.createos", None, f"null is not allowed; expected: a mapping with the keys {_PRODUCT_KEYS}"),
    ("dev", "products.payload.readers", "django", f"text is not allowed; expected: a list; an entry: {_NAME}"),
    ("dev", "products.payload.readers > products.payload.readers[0]", [{}],
     f"a mapping is not allowed; expected: {_NAME}"),
    ("prod", "media.corsOrigins", "https://x.y", "text is not allowed; expected: a list; an entry: an origin"),
    ("prod", "media.minTls", 1.2, '1.2 is not allowed; expected: "1.2" or "1.3"'),
    # impossible values
    ("dev", "database.server", "mysql", '"mysql" is not allowed; expected: "local" or "rds"'),
    ("dev", "products.payload.pool.size", 0, "0 is not allowed; expected: a whole number from 1 to 200"),
    ("dev", "products.payload.framework", "rails", '"rails" is not allowed; expected: "payload" or "django"'),
    ("prod", "rotations.payload_user", 0, "0 is not allowed; expected: a whole number from 1 to 1000000"),
    ("prod", "database.logRetentionDays", 8, "8 is not allowed; expected: 7 or 14 or 30"),
    ("prod", "valkey.maxMemoryMib", 63, "63 is not allowed; expected: a whole number from 64 to 16384"),
    # malformed names, domains, networks and ids
    ("dev", "products.Payload", {}, f'"Payload" is malformed; expected: {_NAME}'),
    ("dev", "products.p-q", {}, f'"p-q" is malformed; expected: {_NAME}'),
    ("dev", f"products.{'x' * 49}", {}, f"is malformed; expected: {_NAME}"),
    ("dev", 'products.a\nb > products["a\\nb"]', {}, f'"a\\nb" is malformed; expected: {_NAME}'),
    ("dev", "products.payload.schema", "payload\n", f'"payload\\n" is malformed; expected: {_NAME}'),
    ("dev", "products.payload.namespace", "<known at deploy>", f"is malformed; expected: {_LABEL}"),
    ("prod", "kubernetes.namespaces.Shared", {}, f'"Shared" is malformed; expected: {_LABEL}'),
    ("prod", "kubernetes.cluster", "x" * 64, f"is malformed; expected: {_LABEL}"),
    ("prod", "kubernetes.databaseCidrs > kubernetes.databaseCidrs[0]", ["10.0.0.1/16"],
     "has host bits set; expected: an IPv4 network in CIDR form such as 10.0.0.0/16"),
    ("prod", "kubernetes.databaseCidrs > kubernetes.databaseCidrs[0]", ["10.0.0.0/33"],
     "is not a network: '33' is not a valid netmask; expected: an IPv4"),
    ("prod", "kubernetes.namespaces.shared.quota.requestsCpu", "four",
     '"four" is malformed; expected: a Kubernetes quantity such as 500m, 2 or 4Gi'),
    ("prod", "media.zone", "localhost", '"localhost" is malformed; expected: a domain name such as example.com'),
    ("prod", "media.domain", "cdn..lightwave-media.site", "is malformed; expected: a domain name such as example.com"),
    ("prod", "media.corsOrigins.0 > media.corsOrigins[0]", "https://a.b/c", "is malformed; expected: an origin"),
    ("prod", "media.accountId", "A" * 32, "is malformed; expected: 32 hexadecimal digits"),
    ("prod", "aws.accountId", "12345", "is malformed; expected: the 12 digits of an AWS account"),
    ("prod", "aws.accountId", "١٢٣٤٥٦٧٨٩٠١٢", "is malformed; expected: the 12 digits of an AWS account"),
    ("prod", "aws.vpcId", "vpc-1", "is malformed; expected: a VPC id such as vpc-"),
    ("prod", "database.kmsKeyArn", "key", "is malformed; expected: an ARN such as"),
    ("prod", "database.alarmEmail", "nobody", "is malformed; expected: an e-mail address"),
    ("prod", "database.adminEndpoint > database.adminEndpoint.host", {"host": "-", "port": 1},
     "is malformed; expected: a host name"),
    ("prod", "database.backupWindow", "24:00-25:00", "malformed; expected: a daily window in UTC"),
    ("prod", "database.maintenanceWindow", "sun:3-sun:4", "malformed; expected: a weekly window in UTC"),
    ("prod", "pgbouncer.clientCaFile", "../ca.pem", "is malformed; expected: a file name that ends in .pem"),
    ("prod", "valkey.storageClass", "GP3", "is malformed; expected: a DNS label"),
    # images
    ("prod", "valkey.image", "valkey/valkey:8", "is malformed; expected: an image by tag and digest"),
    ("prod", "pgbouncer.image", "edoburu/pgbouncer:latest", f"is malformed; {_PGBOUNCER}"),
    ("prod", "pgbouncer.image", "<known at deploy>", "is a placeholder of the offline plan; expected: an image"),
    ("prod", "pgbouncer.image", _IMAGE.format("v1.22.0-p0"), f"is PgBouncer 1.22.0; {_PGBOUNCER}"),
    ("prod", "pgbouncer.image", _IMAGE.format("1.25.1"), f"is PgBouncer 1.25.1; {_PGBOUNCER}"),
    ("prod", "pgbouncer.image", _IMAGE.format("stable"), f"has no version at the beginning of its tag; {_PGBOUNCER}"),
    # secrets
    ("prod", "media.secretAccessKey", [SECRET], "a list is not allowed; expected: a secret text"),
]  # fmt: skip


@pytest.mark.parametrize(("stack", "change", "value", "what"), REFUSED)
def test_what_is_refused_and_in_which_words(stack: str, change: str, value: Any, what: str) -> None:
    check_refused(stack, change, value, what)


@pytest.mark.parametrize("key", ["pool.size", "readers", "connectionLimit", "schema", "wat"])
def test_an_error_in_the_product_table_names_the_product_and_its_key(key: str) -> None:
    assert list(problems("dev", {f"products.cineos.{key}": "?"})) == [f"lightwave:products.cineos.{key}"]

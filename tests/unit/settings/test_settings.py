"""The config boundary: what it takes, what it refuses, and that each refusal says how to mend it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.config import set_all_config
from pydantic import SecretStr

import settings
from settings import Settings, SettingsError
from tests.configs import ON_KIND, VALKEY_IMAGES
from tests.unit.conftest import STACKS, full_config, local_state

SECRET = "s3cr3t-value"  # no message may repeat it


def load(stack: str, config: dict[str, Any]) -> Settings:
    return settings.load(stack, config, local=local_state())


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Sets the value at a dotted path, or takes the key out for `...`; a step may be an index."""
    first, *rest = path.split(".")
    *outer, last = [f"lightwave:{first}", *rest]
    target: Any = config
    for step in outer:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    if value is ...:
        del target[last]
    elif isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value


def problems(stack: str, changes: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By key, what the error says of it and the command that mends it. The config must be refused."""
    config = full_config(stack)
    for path, value in changes.items():
        put(config, path, value)
    products = config.get("lightwave:products", {})
    with pytest.raises(SettingsError) as refused:
        settings.load(stack, config, local=local_state(tuple(products)))
    head, *lines = str(refused.value).splitlines()
    assert re.fullmatch(rf"stack {stack}: \d+ errors? in its config", head)
    found: dict[str, tuple[str, str]] = {}
    for said, cure in zip(lines[::2], lines[1::2], strict=True):
        key, _, text = said.strip().partition(": ")
        assert cure.startswith("      mend it: ")
        found[key] = (f"{found[key][0]}\n{text}" if key in found else text, cure.strip().removeprefix("mend it: "))
    assert head.split()[2] == str(len(lines) // 2)
    return found


@pytest.mark.parametrize(("stack", "is_local"), [("dev", True), ("alice", True), ("prod", False)])
def test_the_database_decides_whether_a_stack_is_local(stack: str, is_local: bool) -> None:
    loaded = load(stack, full_config("dev" if is_local else "prod"))
    assert loaded.is_local is is_local
    assert (loaded.production is None) is is_local
    assert (loaded.local is not None) is is_local


def test_production_is_what_a_stack_on_rds_always_has() -> None:
    loaded = load("prod", full_config("prod"))
    production = loaded.production
    assert production
    sections = (production.rds, production.aws, production.kubernetes, production.media)
    assert sections == (loaded.database, loaded.aws, loaded.kubernetes, loaded.media)


@pytest.mark.parametrize(
    ("stack", "changes", "stats", "secrets"),
    [
        ("dev", {}, (), ("PAYLOAD_SECRET", "DJANGO_SECRET_KEY")),
        ("prod", {}, (settings.STATS_USER,), ("PAYLOAD_SECRET", "DJANGO_SECRET_KEY", *settings.VALKEY_SECRETS)),
        ("dev", {"products": {"a": {}}}, (), ()),
    ],
)
def test_the_secrets_that_a_stack_generates(
    stack: str, changes: dict[str, Any], stats: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    config = full_config(stack)
    for path, value in changes.items():
        put(config, path, value)
    products = tuple(config["lightwave:products"])
    loaded = settings.load(stack, config, local=local_state(products))
    assert loaded.login_roles == (*(f"{name}_user" for name in products), *stats)
    assert loaded.application_secrets == secrets


def test_warnings_name_readers_and_unenforced_policies() -> None:
    assert load("dev", full_config("dev")).warnings() == ()
    config = full_config("prod")
    put(config, "products.payload.readers", ["django", "createos"])
    readers, policies = load("prod", config).warnings()
    assert readers == "django, createos can read every table of payload, users' hashes too"
    assert "pulumi config set --stack prod --path lightwave:kubernetes.networkPolicyEnforced true" in policies
    put(config, "kubernetes.networkPolicyEnforced", True)
    assert load("prod", config).warnings() == (readers,)


@pytest.mark.parametrize("stack", STACKS)
def test_both_stacks_are_valid(stack: str) -> None:
    loaded = load(stack, full_config(stack))
    assert loaded.stack == stack
    assert list(loaded.products) == ["payload", "django", "createos", "cineos", "photographyos"]
    assert all(product.name == name == product.schema_name for name, product in loaded.products.items())
    assert {p.login_role for p in loaded.products.values()} == {f"{name}_user" for name in loaded.products}
    assert {p.reader_role for p in loaded.products.values()} == {f"{name}_reader" for name in loaded.products}


def test_prod_holds_what_production_needs() -> None:
    prod = load("prod", full_config("prod"))
    assert prod.protect
    assert isinstance(prod.database, settings.RdsSettings)
    assert prod.database.multi_az
    assert prod.database.backup_retention_days == 14
    assert prod.aws is not None
    assert prod.kubernetes is not None
    assert set(prod.kubernetes.namespaces) == {"django-api", "payload-cms", "shared"}
    assert prod.media is not None
    assert (prod.media.bucket, prod.media.domain) == ("lightwave-media", "cdn.lightwave-media.site")
    assert prod.local is None


def test_dev_declares_nothing_that_needs_an_account() -> None:
    dev = load("dev", full_config("dev"))
    assert isinstance(dev.database, settings.LocalDatabaseSettings)
    assert (dev.aws, dev.media, dev.kubernetes, dev.protect) == (None, None, None, False)
    assert dev.local is not None
    assert dev.local.passwords["payload_user"] == SecretStr("s3cr3t-payload_user")


def test_an_own_schema_and_readers() -> None:
    config = full_config("dev")
    put(config, "products.payload.readers", ["django"])
    put(config, "products.django.schema", "api")
    loaded = load("dev", config)
    payload, django = loaded.products["payload"], loaded.products["django"]
    assert django.schema_name == "api"
    assert loaded.readable_by(django) == (payload,)
    assert loaded.readable_by(payload) == ()


def test_settings_are_frozen() -> None:
    loaded = load("dev", full_config("dev"))
    with pytest.raises(ValueError, match="frozen"):
        loaded.products["payload"].pool.size = 7  # type: ignore[misc]


def test_the_shown_settings_hold_no_secret() -> None:
    config = full_config("prod")
    put(config, "media.credentials", "given")
    put(config, "media.accessKeyId", SECRET)
    put(config, "media.secretAccessKey", SECRET)
    assert SECRET not in repr(load("prod", config))
    assert "s3cr3t" not in repr(load("dev", full_config("dev")))


# --- every kind of refusal: the change, the key that is named, what is wrong, what is allowed -----------------------

_NAME = "a lower-case SQL name: a letter, then letters, digits or _, at most 48"
_LABEL = "a DNS label: lower-case letters, digits and inner hyphens, at most 63"
_OTHERS = "django, createos, cineos, photographyos"
_PRODUCT_KEYS = (
    "connectionLimit, framework, idleInTransactionTimeoutMs, namespace, pool, readers, "
    "schema, service, statementTimeoutMs"
)
_RESERVED = (
    "a name other than lightwave, pgbouncer, postgres, rdsadmin, template0, template1, not beginning with pg_, rds_"
)

REFUSED: list[tuple[str, str, Any, str]] = [
    # unknown keys
    ("dev", "wat", 1,
     "is not a key; allowed: aws, database, kubernetes, media, pgbouncer, products, protect, rotations, valkey"),
    ("dev", "stack", "x", "is not a key; allowed: aws, database, kubernetes"),
    ("dev", "local", {}, "is not a key; allowed: aws, database, kubernetes"),
    ("dev", "pgbouncer.replica", 2, "is not a key; did you mean replicas?; allowed: clientCaBundle, "),
    ("dev", "database.multiAz", True, "is not a key; allowed: maxConnections, server"),
    ("dev", "products.payload.name", "x", f"is not a key; did you mean namespace?; allowed: {_PRODUCT_KEYS}"),
    ("dev", "products.payload.pool.sise", 2, "did you mean size?; allowed: reserve, size"),
    ("prod", "database.adminEndpoint > database.adminEndpoint.x", {"host": "h", "port": 1, "x": 1},
     "is not a key; allowed: host, port, sslMode"),
    # missing keys
    ("dev", "database", ..., 'is missing; allowed: a mapping with server: "local" or "rds"'),
    ("dev", "products", ..., f"is missing; allowed: a mapping; a key: {_NAME}; an entry: a mapping with the keys"),
    ("dev", "products", {}, "is empty; allowed: an entry a product"),
    ("dev", "database.server", ..., 'is missing; allowed: "local" or "rds"'),
    ("prod", "aws.region", ..., "is missing; allowed: an AWS region such as eu-central-1"),
    ("prod", "media.zone", ..., "is missing; allowed: a domain name such as example.com"),
    ("prod", "kubernetes.namespaces.shared.quota.pods", ..., "is missing; allowed: a whole number from 1 to 500"),
    ("prod", "kubernetes.namespaces.shared", ..., "is missing; allowed: an entry: PgBouncer runs there"),
    # wrong types
    ("dev", "protect", "maybe", '"maybe" is not allowed; allowed: true or false'),
    ("dev", "pgbouncer", [], "a list is not allowed; allowed: a mapping with the keys clientCaBundle, clientTls"),
    ("dev", "pgbouncer.replicas", "2", '"2" is not allowed; allowed: a whole number from 1 to 20'),
    ("dev", "pgbouncer.replicas", True, "true is not allowed; allowed: a whole number from 1 to 20"),
    ("dev", "pgbouncer.replicas", 2.5, "2.5 is not allowed; allowed: a whole number from 1 to 20"),
    ("dev", "database", "local", 'text is not allowed; allowed: a mapping with server: "local" or "rds"'),
    ("dev", "products.createos", None, f"null is not allowed; allowed: a mapping with the keys {_PRODUCT_KEYS}"),
    ("dev", "products.payload.readers", "django", f"text is not allowed; allowed: a list; an entry: {_NAME}"),
    ("prod", "media.corsOrigins", "https://x.y", "text is not allowed; allowed: a list; an entry: an origin"),
    ("prod", "media.minTls", 1.2, '1.2 is not allowed; allowed: "1.2" or "1.3"'),
    # impossible values
    ("dev", "database.server", "mysql", '"mysql" is not allowed; allowed: "local" or "rds"'),
    ("dev", "products.payload.pool.size", 0, "0 is not allowed; allowed: a whole number from 1 to 200"),
    ("dev", "products.payload.framework", "rails", '"rails" is not allowed; allowed: "payload" or "django"'),
    ("dev", "products.cineos.framework > products.cineos.service", "django",
     "goes with framework; allowed: both or neither"),
    ("dev", "products.django.service", "lightwave-media-site/website", "is \"payload\"'s; allowed: one of its own"),
    ("prod", "rotations.nobody", 2, "is no secret; allowed: lightwave_admin, pgbouncer_stats, payload_user"),
    ("prod", "rotations.payload_user", 0, "0 is not allowed; allowed: a whole number from 1 to 1000000"),
    ("dev", "rotations.payload_user", 2, "rotates nothing: this stack's secrets are given; allowed: none here"),
    ("dev", "products.createos > products.createos.framework", {"framework": "django", "service": "a"},
     "is \"django\"'s; allowed: one of its own"),
    ("prod", "database.logRetentionDays", 8, "8 is not allowed; allowed: 7 or 14 or 30"),
    ("prod", "database.maxAllocatedStorageGib", 62, "is too small; allowed: 63 (26 % above)"),
    ("prod", "database.backupWindow", "24:00-25:00", "malformed; allowed: a daily window in UTC"),
    ("prod", "database.backupWindow", "06:00-06:10", "is too short; allowed: 30 minutes or more"),
    ("prod", "database.backupWindow", "04:00-05:00", "overlaps the maintenance window; allowed: outside sun:03:30"),
    ("prod", "database.maintenanceWindow", "sun:3-sun:4", "malformed; allowed: a weekly window in UTC"),
    ("prod", "aws.privateSubnetIds", ["subnet-0a1b2c3d"], "is one subnet; allowed: two or more"),
    # production's invariants
    ("prod", "protect", False, "is off; allowed: true: in production what holds data is protected"),
    ("prod", "protect", ..., "is off; allowed: true: in production"),
    ("prod", "database.multiAz", False, "is off; allowed: true in production"),
    ("prod", "database.backupRetentionDays", 6, "is too short; allowed: 7 to 35 in production"),
    ("prod", "aws", None, "is missing; allowed: accountId and region"),
    ("prod", "kubernetes", None, "is missing; allowed: the EKS cluster"),
    ("prod", "pgbouncer.image", ..., "is missing; allowed: an image by tag and digest, for its pods"),
    ("prod", "pgbouncer.exporterImage", None, "is missing; allowed: an image by tag and digest"),
    ("prod", "pgbouncer.image", "edoburu/pgbouncer:latest", "is malformed; allowed: an image by tag and digest"),
    ("prod", "pgbouncer.image", "<known at deploy>", "is a placeholder of the offline plan; allowed: an image"),
    ("prod", "kubernetes.databaseHost", "172.18.0.1", "is not used; allowed: nothing: RDS tells its own"),
    ("prod", "pgbouncer.clientTls > pgbouncer.clientCaBundle", True,
     "is missing; allowed: a file with the CAs that sign PgBouncer's certificate, with clientTls"),
    ("prod", "pgbouncer.clientCaBundle", "pgbouncer-ca.pem", "is not used; allowed: nothing, or clientTls: true"),
    ("prod", "pgbouncer.clientCaBundle", "../ca.pem", "is malformed; allowed: a file name that ends in .pem"),
    ("prod", "valkey.image", ..., "is missing; allowed: an image by tag and digest, for its pods"),
    ("prod", "valkey.exporterImage", None, "is missing; allowed: an image by tag and digest, for its pods"),
    ("prod", "valkey.image", "valkey/valkey:8", "is malformed; allowed: an image by tag and digest"),
    ("prod", "valkey.maxMemoryMib", 63, "63 is not allowed; allowed: a whole number from 64 to 16384"),
    ("prod", "valkey.maxMemoryMib > valkey.storageGib", 2731, "is too small; allowed: 9 (3 x maxMemoryMib) or more"),
    ("prod", "valkey.storageGib", 1, "is too small; allowed: 2 (3 x maxMemoryMib) or more"),
    ("prod", "valkey.storageClass", "GP3", "is malformed; allowed: a DNS label"),
    ("prod", "valkey.replicas", 2, "is not a key; allowed: exporterImage, image, maxMemoryMib, storageClass"),
    ("prod", "kubernetes > valkey", None, "has no cluster to run in; allowed: nothing, or kubernetes as well"),
    ("prod", "products.django.framework > valkey", ..., "has no user; allowed: nothing, or a product with framework"),
    # a developer's cluster
    ("dev", "valkey", VALKEY_IMAGES, "has no cluster to run in; allowed: nothing, or kubernetes as well"),
    ("dev", "valkey > valkey.image", {"maxMemoryMib": 64}, "is missing; allowed: an image by tag and digest"),
    ("dev", "kubernetes > kubernetes.context", {**ON_KIND["kubernetes"], "context": None},
     "is missing; allowed: a kubeconfig context of kind or k3d"),
    ("dev", "kubernetes > kubernetes.databaseHost", {**ON_KIND["kubernetes"], "databaseHost": None},
     "is missing; allowed: where its pods reach this machine's PostgreSQL, such as host.docker.internal"),
    ("dev", "kubernetes > kubernetes.databaseHost", {**ON_KIND["kubernetes"], "databaseHost": "0.0.0.0"},  # noqa: S104
     "is no address that pods reach; allowed: where its pods reach this machine's PostgreSQL"),
    *(("dev", "kubernetes > kubernetes.databaseHost", {**ON_KIND["kubernetes"], "databaseHost": host}, said)
      for host, said in (("127.0.0.1", "is no address that pods reach; allowed: where"),
                         ("localhost", "is no host that pods reach; allowed: where"),
                         ("0", "is no host that pods reach; allowed: where"),
                         ("fd00::1", "is no address that pods reach; allowed: where"),
                         ("10.0.0.1", "would not let pods there; allowed: where its pods reach"))),
    ("dev", "kubernetes > kubernetes.context", {**ON_KIND["kubernetes"], "context": "arn:aws:eks:x:1:cluster/prod"},
     "is no cluster of a developer's own; allowed: a kubeconfig context of kind or k3d"),
    ("dev", "pgbouncer.clientTls", True, "has no cluster to run in; allowed: nothing, or kubernetes as well"),
    ("dev", "media > media.bucket", {"zone": "a.site"}, "is production's; allowed: another name, such as"),
    ("dev", "media > media.zoneSingletons", {"zone": "a.site"}, "is on; allowed: false: production's stack owns"),
    ("dev", "kubernetes > kubernetes.databaseCidrs", {**ON_KIND["kubernetes"], "databaseCidrs": []},
     "is missing; allowed: the networks that databaseHost is in, such as [172.18.0.0/16]"),
    ("dev", "kubernetes > pgbouncer.image", ON_KIND["kubernetes"], "is missing; allowed: an image by tag and digest"),
    # readers and schemas
    ("dev", "products.payload.readers > products.payload.readers[0]", ["nobody"],
     f'"nobody" is no product; allowed: {_OTHERS}'),
    ("dev", "products.payload.readers > products.payload.readers[0]", ["payload"],
     f"is the product itself; allowed: {_OTHERS}"),
    ("dev", "products.payload.readers > products.payload.readers[1]", ["django", "django"],
     f"is there twice; allowed: {_OTHERS}"),
    ("dev", "products.payload.readers > products.payload.readers[0]", [{}],
     f"a mapping is not allowed; allowed: {_NAME}"),
    ("dev", "products.django.schema", "payload", "is \"payload\"'s schema; allowed: one of its own"),
    ("dev", "products.payload.schema > products.django.schema", "django",
     "is \"payload\"'s schema; allowed: one of its own"),
    ("dev", "products.payload.schema", "public", '"public" is reserved; allowed: a name of its own'),
    ("dev", "products.payload.schema", "pg_toast", '"pg_toast" is reserved; allowed: a name of its own'),
    ("dev", "products.extensions > products.extensions.schema", {},
     '"extensions" is reserved; allowed: a name of its own'),
    ("dev", "products.pgbouncer", {}, f"is a reserved name: its roles would clash; allowed: {_RESERVED}"),
    ("dev", "products.lightwave", {}, f"is a reserved name: its roles would clash; allowed: {_RESERVED}"),
    ("dev", "products.rds_super", {"schema": "x"}, f"is a reserved name: its roles would clash; allowed: {_RESERVED}"),
    # malformed names, domains, networks and ids
    ("dev", "products.Payload", {}, f'"Payload" is malformed; allowed: {_NAME}'),
    ("dev", "products.p-q", {}, f'"p-q" is malformed; allowed: {_NAME}'),
    ("dev", f"products.{'x' * 49}", {}, f"is malformed; allowed: {_NAME}"),
    ("dev", 'products.a\nb > products["a\\nb"]', {}, f'"a\\nb" is malformed; allowed: {_NAME}'),
    ("dev", "products.payload.schema", "payload\n", f'"payload\\n" is malformed; allowed: {_NAME}'),
    ("dev", "products.payload.namespace", "<known at deploy>", f"is malformed; allowed: {_LABEL}"),
    ("prod", "products.payload.namespace", "elsewhere", "is not declared; allowed: django-api, payload-cms, shared"),
    ("prod", "kubernetes.namespaces.Shared", {}, f'"Shared" is malformed; allowed: {_LABEL}'),
    ("prod", "kubernetes.cluster", "x" * 64, f"is malformed; allowed: {_LABEL}"),
    ("prod", "kubernetes.databaseCidrs > kubernetes.databaseCidrs[0]", ["10.0.0.1/16"],
     "has host bits set; allowed: an IPv4 network in CIDR form such as 10.0.0.0/16"),
    ("prod", "kubernetes.databaseCidrs > kubernetes.databaseCidrs[0]", ["10.0.0.0/33"],
     "is no network: '33' is not a valid netmask; allowed: an IPv4"),
    ("prod", "kubernetes.namespaces.shared.quota.requestsCpu", "four",
     '"four" is malformed; allowed: a Kubernetes quantity such as 500m, 2 or 4Gi'),
    ("prod", "media.zone", "localhost", '"localhost" is malformed; allowed: a domain name such as example.com'),
    ("prod", "media.domain", "cdn..lightwave-media.site", "is malformed; allowed: a domain name such as example.com"),
    ("prod", "media.domain", "cdn.example.com", "is not in the zone; allowed: a name in media.zone"),
    ("prod", "media.corsOrigins.0 > media.corsOrigins[0]", "https://a.b/c", "is malformed; allowed: an origin such as"),
    ("prod", "media.accountId", "A" * 32, "is malformed; allowed: 32 hexadecimal digits"),
    ("prod", "aws.accountId", "12345", "is malformed; allowed: the 12 digits of an AWS account"),
    ("prod", "aws.accountId", "١٢٣٤٥٦٧٨٩٠١٢", "is malformed; allowed: the 12 digits of an AWS account"),
    ("prod", "aws.vpcId", "vpc-1", "is malformed; allowed: a VPC id such as vpc-"),
    ("prod", "database.kmsKeyArn", "key", "is malformed; allowed: an ARN such as"),
    ("prod", "database.alarmEmail", "nobody", "is malformed; allowed: an e-mail address"),
    ("prod", "database.adminEndpoint > database.adminEndpoint.host", {"host": "-", "port": 1},
     "is malformed; allowed: a host name"),
    # secrets
    ("prod", "media.credentials > media.accessKeyId", "given", "is missing; allowed: the existing key"),
    ("prod", "media.accessKeyId", SECRET, "is not used; allowed: nothing, or credentials: given"),
    ("prod", "media.secretAccessKey", [SECRET], "a list is not allowed; allowed: a secret text"),
]  # fmt: skip


@pytest.mark.parametrize(("stack", "change", "value", "said"), REFUSED)
def test_what_is_refused_and_what_is_said(stack: str, change: str, value: Any, said: str) -> None:
    path, _, key = change.partition(" > ")
    text, cure = problems(stack, {path: value})[f"lightwave:{key or path}"]
    assert said in text
    assert "; allowed: " in said
    assert SECRET not in text + cure
    assert (key or path) in cure.replace("'", "")


def test_every_error_is_said_at_once() -> None:
    changes = {
        "wat": 1,
        "protect": False,
        "database.multiAz": "yes",
        "database.backupWindow": "x",
        "database.maxAllocatedStorageGib": 50,
        "pgbouncer.replicas": 0,
        "products.payload.readers": ["nobody"],
        "products.django.schema": "payload",
        "products.createos.pool": {"size": 0, "sise": 1},
        "products.Cine": {},
        "media.domain": "cdn..x",
        "media.zoneId": ...,
        "kubernetes.databaseCidrs": ["10.0.0.0/8", "10.0.0.0/99"],
        "kubernetes.namespaces.shared.quota.pods": None,
        "kubernetes.namespaces.shared.wat": None,
        "aws": None,
    }
    also_wrong = {"products.payload.readers[0]", "products.createos.pool.size", "products.createos.pool.sise"}
    also_wrong |= {"kubernetes.databaseCidrs[1]"}
    replaced = {"products.payload.readers", "products.createos.pool", "kubernetes.databaseCidrs"}
    # The domain is malformed and outside the zone: both are said, so `problems` would find its key twice.
    changes["media.domain"] = "cdn.example.com"
    assert set(problems("prod", changes)) == {f"lightwave:{key}" for key in {*changes, *also_wrong} - replaced}


def test_one_mistake_is_one_error() -> None:
    assert list(problems("dev", {"products.Payload": {}})) == ["lightwave:products.Payload"]
    assert list(problems("dev", {"database": ...})) == ["lightwave:database"]
    assert list(problems("dev", {"products.pg_x": {}})) == ["lightwave:products.pg_x"]
    assert list(problems("prod", {"protect": "maybe"})) == ["lightwave:protect"]


# --- the commands that mend it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key", "cure"),
    [
        ({"media.zone": ...}, "media.zone", "pulumi config set --stack prod --path lightwave:media.zone VALUE"),
        ({"wat": 1}, "wat", "pulumi config rm --stack prod --path lightwave:wat"),
        (
            {"media.secretAccessKey": 5, "media.accessKeyId": "x", "media.credentials": "given"},
            "media.secretAccessKey",
            "pulumi config set --secret --stack prod --path lightwave:media.secretAccessKey VALUE",
        ),
        (
            {"media.corsOrigins.1": "x"},
            "media.corsOrigins[1]",
            "pulumi config set --stack prod --path 'lightwave:media.corsOrigins[1]' VALUE",
        ),
        (
            {"media.corsOrigins": 5},
            "media.corsOrigins",
            "${EDITOR:-vi} Pulumi.prod.yaml  # under config, lightwave:media.corsOrigins",
        ),
        (
            {"kubernetes.namespaces.Shared": {}},
            "kubernetes.namespaces.Shared",
            "${EDITOR:-vi} Pulumi.prod.yaml  # under config, lightwave:kubernetes.namespaces.Shared",
        ),
        # The product table is the project's: what `config set` wrote to the stack's file would take its place whole.
        (
            {"products.payload.pool.size": 0},
            "products.payload.pool.size",
            "${EDITOR:-vi} Pulumi.yaml  # under config, lightwave:products.payload.pool.size",
        ),
        (
            {"products.payload.wat": 0},
            "products.payload.wat",
            "${EDITOR:-vi} Pulumi.yaml  # under config, lightwave:products.payload.wat",
        ),
    ],
)
def test_the_command_that_mends_it(changes: dict[str, Any], key: str, cure: str) -> None:
    assert problems("prod", changes)[f"lightwave:{key}"][1] == cure


def test_a_product_table_in_the_stacks_own_file_is_mended_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = (settings.ROOT / "Pulumi.yaml").read_text()
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / "Pulumi.yaml").write_text(project)
    (tmp_path / "Pulumi.own.yaml").write_text(
        "config: {'lightwave:database': {server: local}, 'lightwave:products': {payload: {readers: [x]}}}"
    )
    with pytest.raises(SettingsError) as refused:
        load("own", settings.stack_config("own"))
    assert "pulumi config rm --stack own --path 'lightwave:products.payload.readers[0]'" in str(refused.value)


@pytest.mark.parametrize("stack", STACKS)
def test_no_command_breaks_out_of_its_line_in_a_shell(stack: str) -> None:
    found = problems(stack, {"x; rm -rf $HOME\n`id`": 1, "pgbouncer.a' b": 2})
    for key, (_, cure) in found.items():
        assert shlex.split(cure)[-1] == key


# --- where config comes from ----------------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Hands config over as the engine does, in a project folder with the dev stack's state."""

    def given(config: dict[str, str], secret_keys: tuple[str, ...] = (), state: str | None = None) -> None:
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
        monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(secret_keys))
        set_all_config({}, [])
        root = tmp_path / "project"
        (root / ".local" / "dev").mkdir(parents=True)
        for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml"):
            (root / name).write_text((settings.ROOT / name).read_text())
        (root / ".local" / "dev" / "state.json").write_text(json.dumps(local_state()) if state is None else state)
        monkeypatch.setattr(settings, "ROOT", root)

    return given


def as_strings(config: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_the_engine_hands_strings(engine: Any, stack: str) -> None:
    engine(as_strings(full_config(stack)))
    assert settings.from_engine(stack) == load(stack, full_config(stack))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_boolean_that_came_as_a_string(engine: Any, text: str, value: bool) -> None:
    engine({**as_strings(full_config("dev")), "lightwave:protect": text})
    assert settings.from_engine("dev").protect is value


def test_a_text_of_digits_may_come_as_a_number() -> None:
    config = full_config("prod")
    put(config, "aws.accountId", 123456789012)  # as `pulumi config set --path` stores it
    put(config, "kubernetes.namespaces.shared.quota.requestsCpu", 4)
    prod = load("prod", config)
    assert prod.aws is not None
    assert prod.aws.account_id == "123456789012"
    assert prod.kubernetes is not None
    assert prod.kubernetes.namespaces["shared"].quota.requests_cpu == "4"


@pytest.mark.parametrize("junk", ["{", "maybe", "NaN", "[" * 100_000, "9" * 5000, '"\\ud800"', ""])
def test_junk_from_the_engine_is_refused_with_words(engine: Any, junk: str) -> None:
    engine({**as_strings(full_config("dev")), "lightwave:protect": junk})
    with pytest.raises(SettingsError, match=r"lightwave:protect: .* is not allowed; allowed: true or false"):
        settings.from_engine("dev")


def test_no_value_of_a_section_with_secrets_is_repeated(engine: Any) -> None:
    config = full_config("prod")
    put(config, "media.bucket", "S3cr3t at the wrong key")
    engine(as_strings(config), ("lightwave:media",))
    with pytest.raises(SettingsError) as refused:
        settings.from_engine("prod")
    assert "lightwave:media.bucket: text is malformed" in str(refused.value)
    assert "S3cr3t" not in str(refused.value)


@pytest.mark.parametrize("state", ["", "{", "[]", '{"databasePort": "x"}', "\x00", "[" * 100_000])
def test_a_broken_local_state_is_refused_with_words(engine: Any, state: str) -> None:
    engine(as_strings(full_config("dev")), state=state)
    with pytest.raises(SettingsError, match=r"\.local/dev/state\.json: local.*\n      mend it: make "):
        settings.from_engine("dev")


def test_the_state_of_another_local_stack_is_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (tmp_path / name.replace("dev", "alice")).write_text((settings.ROOT / name).read_text())
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    file = settings.state_file("alice")
    assert file == tmp_path / ".local" / "alice" / "state.json"
    with pytest.raises(SettingsError, match=r"  \.local/alice/state\.json: local: .*\n.*: make up STACK=alice$"):
        settings.of_stack("alice")
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    with pytest.raises(SettingsError, match=r": make down STACK=alice WIPE=1 && make up STACK=alice$"):
        settings.of_stack("alice")
    file.write_text(json.dumps(local_state()))
    assert settings.of_stack("alice").local == load("alice", settings.stack_config("alice")).local


def test_without_local_state_it_says_make_up() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load("dev", full_config("dev"))
    assert "1 error " in str(refused.value)
    assert "mend it: make up" in str(refused.value)


def test_a_local_state_from_before_valkey_says_make_up() -> None:
    state = local_state()
    for name in settings.VALKEY_SECRETS:
        del state["secrets"][name]
    with pytest.raises(SettingsError) as refused:
        settings.load("dev", full_config("dev"), local=state)
    assert re.findall(r"local\.secrets\.(\S+): is missing", str(refused.value)) == sorted(settings.VALKEY_SECRETS)
    assert str(refused.value).count("mend it: make up") == 2


def test_valkeys_passwords_rotate_where_there_is_one() -> None:
    config = full_config("prod")
    put(config, "rotations", {"VALKEY_PASSWORD": 1, "VALKEY_METRICS_PASSWORD": 2})
    assert load("prod", config).rotations == {"VALKEY_PASSWORD": 1, "VALKEY_METRICS_PASSWORD": 2}
    config["lightwave:valkey"] = {}
    with pytest.raises(SettingsError, match=r"rotations\.VALKEY_PASSWORD: is no secret; allowed: lightwave_admin"):
        load("prod", config)


def test_a_product_that_the_local_state_does_not_know_says_make_up() -> None:
    config = full_config("dev")
    put(config, "products.audioos", {})
    with pytest.raises(SettingsError) as refused:
        load("dev", config)
    assert str(refused.value).count("mend it: make up") == 2
    assert "local.passwords.audioos_user: is missing" in str(refused.value)
    assert "local.scramVerifiers.audioos_user: is missing" in str(refused.value)


def test_offline_facts_and_state_may_be_missing() -> None:
    with settings.offline():
        prod = settings.load("prod", settings.stack_config("prod"))
        dev = settings.load("dev", settings.stack_config("dev"))
    assert prod.aws is not None
    assert prod.aws.account_id == settings.KNOWN_AT_DEPLOY
    assert prod.pgbouncer.image == settings.KNOWN_AT_DEPLOY
    assert dev.local is not None
    logins = {product.login_role for product in dev.products.values()}
    assert set(dev.local.scram_verifiers) == {settings.STATS_USER, *logins}


def test_a_deploy_refuses_missing_facts() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load("prod", settings.stack_config("prod"))
    said = re.findall(r"^  lightwave:(\S+): is missing", str(refused.value), re.MULTILINE)
    assert said == sorted(".".join(fact) for fact in settings.FACTS)


def test_offline_names_are_checked_all_the_same() -> None:
    config = settings.stack_config("dev")
    config["lightwave:products"] = {settings.KNOWN_AT_DEPLOY: {}}
    with settings.offline(), pytest.raises(SettingsError, match="is malformed"):
        settings.load("dev", config)


def test_other_namespaces_are_not_ours() -> None:
    assert load("dev", {**full_config("dev"), "aws:region": 5, "pulumi:tags": {}}) == load("dev", full_config("dev"))


def test_a_key_without_a_namespace_is_the_projects() -> None:
    config = full_config("dev")
    assert load("dev", {**config, "protect": True}).protect
    with pytest.raises(SettingsError, match="lightwave:wat: is not a key"):
        load("dev", {**config, "wat": 1})


# --- stack files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("config: {'lightwave:a': {default: 1}, 'lightwave:b': {type: string}}")
    return tmp_path


def test_the_stacks_values_lie_over_the_projects_defaults(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text("config: {'lightwave:b': 2}")
    (folder / "Pulumi.y.yaml").write_text("config: {'lightwave:a': 3}")
    (folder / "Pulumi.z.yaml").write_text("encryptionsalt: x")
    assert settings.stack_config("x") == {"lightwave:a": 1, "lightwave:b": 2}
    assert settings.stack_config("y") == {"lightwave:a": 3}
    assert settings.stack_config("z") == {"lightwave:a": 1}


def test_an_encrypted_value_is_known_at_deploy(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text(
        "config: {'lightwave:b': {c: {secure: v1:abc}, d: [{secure: v1:def}], secure: 1}}"
    )
    known = settings.KNOWN_AT_DEPLOY
    assert settings.stack_config("x")["lightwave:b"] == {"c": known, "d": [known], "secure": 1}


@pytest.mark.parametrize("name", ["staging", "../prod", "", "\x00", "a\nb"])
def test_a_stack_without_a_file_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="allowed: dev, prod\n      mend it: pulumi stack init"):
        settings.stack_config(name)


@pytest.mark.parametrize(
    "text",
    ["config: [", "[]", "config: [1]", "config: 5", "a: *b", "\x01", "config: {? [a] : 1}", "config: {a: &b [*b]}"],
)
def test_a_file_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "Pulumi.x.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"Pulumi\.x\.yaml: .*allowed: YAML with a mapping under config\n"):
        settings.stack_config("x")


def test_what_is_said_of_a_broken_file_quotes_nothing_of_it(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text(f"config:\n  lightwave:media: {{secretAccessKey: '{SECRET}', }}}}\n")
    with pytest.raises(SettingsError, match="line 2") as refused:
        settings.stack_config("x")
    assert SECRET not in str(refused.value)


def test_a_key_that_is_there_twice_is_refused(folder: Path) -> None:
    (folder / "Pulumi.x.yaml").write_text("config:\n  lightwave:products:\n    payload: {}\n    payload: {schema: x}\n")
    with pytest.raises(SettingsError, match="payload is there twice"):
        settings.stack_config("x")


def test_a_deploy_without_the_databases_authorities_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    database = settings.RdsSettings(server="rds")
    with pytest.raises(SettingsError, match=r"rds-ca\.pem is missing(.|\n)*curl --fail --output rds-ca\.pem"):
        settings.ca_bundle(database)
    with settings.offline():
        assert settings.ca_bundle(database) == settings.KNOWN_AT_DEPLOY
    (tmp_path / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    assert settings.ca_bundle(database) == "-----BEGIN CERTIFICATE-----"

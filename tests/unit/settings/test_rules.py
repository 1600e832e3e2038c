"""Rules between fields: what is refused, in which words, and every error at once."""

from typing import Any

import pytest

from tests.configs import IMAGES, ON_KIND, VALKEY_IMAGES
from tests.unit.conftest import FACTS_OF_PROD, full_config
from tests.unit.settings.changes import SECRET, check_refused, load, problems, put

_OTHERS = "django, createos, cineos, photographyos"
_RESERVED = (
    "a name other than lightwave, pgbouncer, postgres, rdsadmin, template0, template1, not beginning with pg_, rds_"
)
_MEDIA = {**FACTS_OF_PROD["media"], "zone": "a.site", "domain": "cdn.a.site"}
_DJANGO = {"framework": "django", "service": "a"}


def on_kind(**changes: Any) -> dict[str, Any]:
    return {**ON_KIND["kubernetes"], **changes}


REFUSED: list[tuple[str, str, Any, str]] = [
    # the product table
    ("dev", "products", {}, "is empty; expected: one entry per product"),
    ("dev", "products.pgbouncer", {}, f"is a reserved name: its roles would clash; expected: {_RESERVED}"),
    ("dev", "products.lightwave", {}, f"is a reserved name: its roles would clash; expected: {_RESERVED}"),
    ("dev", "products.rds_super", {"schema": "x"}, f"is a reserved name: its roles would clash; expected: {_RESERVED}"),
    ("dev", "products.payload.readers > products.payload.readers[0]", ["nobody"],
     f'"nobody" is not a product; expected: {_OTHERS}'),
    ("dev", "products.payload.readers > products.payload.readers[0]", ["payload"],
     f"is the product itself; expected: {_OTHERS}"),
    ("dev", "products.payload.readers > products.payload.readers[1]", ["django", "django"],
     f"is there twice; expected: {_OTHERS}"),
    ("dev", "products.django.schema", "payload", "is \"payload\"'s schema; expected: one of its own"),
    ("dev", "products.payload.schema > products.django.schema", "django",
     "is \"payload\"'s schema; expected: one of its own"),
    ("dev", "products.payload.schema", "public", '"public" is reserved; expected: a name of its own'),
    ("dev", "products.payload.schema", "pg_toast", '"pg_toast" is reserved; expected: a name of its own'),
    ("dev", "products.extensions > products.extensions.schema", {},
     '"extensions" is reserved; expected: a name of its own'),
    ("dev", "products.cineos.framework > products.cineos.service", "django",
     "goes with framework; expected: both or neither"),
    ("dev", "products.django.service", "lightwave-media-site/website", "is \"payload\"'s; expected: one of its own"),
    ("dev", "products.createos > products.createos.framework", _DJANGO, "is \"django\"'s; expected: one of its own"),
    ("dev", "products.django.namespace", "payload-cms", "is \"payload\"'s; expected: one of its own"),
    # production
    ("prod", "protect", False, "is off; expected: true: in production everything that holds data is protected"),
    ("prod", "protect", ..., "is off; expected: true: in production"),
    ("prod", "aws", None, "is missing; expected: accountId and region"),
    ("prod", "kubernetes", None, "is missing; expected: the EKS cluster"),
    ("prod", "media", None, "is missing; expected: the bucket and its CDN domain"),
    ("prod", "database.multiAz", False, "is off; expected: true in production"),
    ("prod", "database.backupRetentionDays", 6, "is too short; expected: 7 to 35 in production"),
    ("prod", "database.maxAllocatedStorageGib", 62, "is too small; expected: 63 (26 % above)"),
    ("prod", "database > database.maxAllocatedStorageGib", {"server": "rds", "allocatedStorageGib": 500},
     "is too small; expected: 630 (26 % above)"),
    ("prod", "database.importId", "old-one",
     "would be renamed to lightwave-platform; expected: lightwave-platform, or database.identifier old-one too"),
    ("prod", "database.backupWindow", "06:00-06:10", "is too short; expected: 30 minutes or more"),
    ("prod", "database.maintenanceWindow", "sun:05:00-sun:05:29", "is too short; expected: 30 minutes or more"),
    ("prod", "database.backupWindow", "04:00-05:00", "overlaps the maintenance window; expected: outside sun:03:30"),
    ("prod", "database.maintenanceWindow > database.backupWindow", "sat:23:00-sun:02:01",
     "overlaps the maintenance window; expected: outside sat:23:00-sun:02:01"),
    ("prod", "aws.privateSubnetIds", ["subnet-0a1b2c3d"], "is one subnet; expected: two or more"),
    ("prod", "aws.privateSubnetIds", ["subnet-0a1b2c3d"] * 2, "is one subnet; expected: two or more"),
    # egress
    ("prod", "products.createos.egress", [{"port": 443}],
     "has no pods to apply to; expected: nothing, or framework and namespace as well"),
    ("prod", "products.payload.egress > products.payload.egress[1]", [{"port": 443}] * 2,
     "443 is there twice; expected: each port once, and once more with cidrs"),
    ("prod", "products.payload.egress > products.payload.egress[2]",
     [{"port": 80, "cidrs": ["10.0.0.0/24"]}, {"port": 80}, {"port": 80, "cidrs": ["10.0.1.0/24"]}],
     "80 is there twice; expected: each port once, and once more with cidrs"),
    ("prod", "products.payload.egress > products.payload.egress[0].cidrs", [{"port": 80, "cidrs": []}],
     "is empty; expected: one or more networks, or no cidrs for the internet"),
    # media
    ("prod", "media.domain", "cdn.example.com", "is not in the zone; expected: a name in media.zone"),
    ("prod", "media.domain", "cdnlightwave-media.site", "is not in the zone; expected: a name in media.zone"),
    ("prod", "media.credentials > media.accessKeyId", "given", "is missing; expected: the existing key"),
    ("prod", "media.credentials > media.secretAccessKey", "given", "is missing; expected: the existing key"),
    ("prod", "media.accessKeyId", SECRET, "is not used; expected: nothing, or credentials: given"),
    ("prod", "media.secretAccessKey", SECRET, "is not used; expected: nothing, or credentials: given"),
    # the cluster
    ("prod", "products.payload.namespace", "elsewhere", "is not declared; expected: django-api, payload-cms, shared"),
    ("prod", "kubernetes.namespaces.shared", ..., "is missing; expected: an entry: PgBouncer runs there"),
    ("prod", "kubernetes.databaseHost", "172.18.0.1", "is not used; expected: nothing: RDS provides its own"),
    ("dev", "kubernetes > kubernetes.context", on_kind(context=None),
     "is missing; expected: a kubeconfig context of kind or k3d"),
    ("dev", "kubernetes > kubernetes.context", on_kind(context="arn:aws:eks:x:1:cluster/prod"),
     "is not a local cluster; expected: a kubeconfig context of kind or k3d"),
    ("dev", "kubernetes > kubernetes.databaseHost", on_kind(databaseHost=None),
     "is missing; expected: where its pods reach this machine's PostgreSQL, such as host.docker.internal"),
    *(("dev", "kubernetes > kubernetes.databaseHost", on_kind(databaseHost=host), f"{what}; expected: where its pods")
      for host, what in (("0.0.0.0", "is not an address that pods reach"),  # noqa: S104
                         ("127.0.0.1", "is not an address that pods reach"),
                         ("localhost", "is not a host that pods reach"),
                         ("0", "is not a host that pods reach"),
                         ("fd00::1", "is not an address that pods reach"),
                         ("10.0.0.1", "network policies would not let pods there"))),
    ("dev", "kubernetes > kubernetes.databaseCidrs", on_kind(databaseCidrs=[]),
     "is missing; expected: the networks that databaseHost is in, such as [172.18.0.0/16]"),
    # PgBouncer and Valkey on the cluster
    ("prod", "pgbouncer.image", ..., "is missing; expected: an image by tag and digest, for its pods"),
    ("prod", "pgbouncer.exporterImage", None, "is missing; expected: an image by tag and digest"),
    ("dev", "kubernetes > pgbouncer.image", ON_KIND["kubernetes"], "is missing; expected: an image by tag and digest"),
    ("prod", "pgbouncer.clientTls > pgbouncer.clientCaFile", True,
     "is missing; expected: a file with the CA certificates that PgBouncer's clients verify it with, with clientTls"),
    ("prod", "pgbouncer.clientCaFile", "pgbouncer-ca.pem", "is not used; expected: nothing, or clientTls: true"),
    ("dev", "pgbouncer.clientTls", True, "has no cluster to run in; expected: nothing, or kubernetes as well"),
    ("prod", "valkey.image", ..., "is missing; expected: an image by tag and digest, for its pods"),
    ("prod", "valkey.exporterImage", None, "is missing; expected: an image by tag and digest, for its pods"),
    ("prod", "valkey.storageClass", ..., "is missing; expected: a StorageClass of the cluster, such as gp3"),
    ("prod", "valkey.maxMemoryMib > valkey.storageGib", 2731, "is too small; expected: 9 (3 x maxMemoryMib) or more"),
    ("prod", "valkey.storageGib", 1, "is too small; expected: 2 (3 x maxMemoryMib) or more"),
    ("prod", "kubernetes > valkey", None, "has no cluster to run in; expected: nothing, or kubernetes as well"),
    ("dev", "valkey", VALKEY_IMAGES, "has no cluster to run in; expected: nothing, or kubernetes as well"),
    ("dev", "valkey > valkey.image", {"maxMemoryMib": 64}, "is missing; expected: an image by tag and digest"),
    ("prod", "products.django.framework > valkey", ..., "has no user; expected: nothing, or a product with framework"),
    ("prod", "products > products.default", {"default": _DJANGO},
     "is a user of Valkey's own; expected: a name other than default, metrics, with valkey"),
    ("prod", "products > products.metrics", {"metrics": _DJANGO},
     "is a user of Valkey's own; expected: a name other than default, metrics, with valkey"),
    # secrets
    ("prod", "rotations.nobody", 2, "is not a secret; expected: lightwave_admin, pgbouncer_stats, payload_user"),
    ("dev", "rotations.payload_user", 2,
     "rotates nothing: the secrets of a local stack are kept in its state; expected: none here"),
]  # fmt: skip


@pytest.mark.parametrize("host", ["host.docker.internal", "postgres.internal", "172.18.0.1", "a"])
def test_where_pods_may_reach_the_local_database(host: str) -> None:
    sections = ON_KIND | {"kubernetes": on_kind(databaseHost=host)}
    config = full_config("dev") | {f"lightwave:{section}": value for section, value in sections.items()}
    loaded = load("dev", config).kubernetes
    assert loaded is not None
    assert loaded.database_host == host


@pytest.mark.parametrize(("stack", "change", "value", "what"), REFUSED)
def test_what_is_refused_and_in_which_words(stack: str, change: str, value: Any, what: str) -> None:
    check_refused(stack, change, value, what)


def test_a_secret_that_no_product_has_does_not_rotate() -> None:
    changes: dict[str, Any] = {"products": {"cineos": {}}, "valkey": None, "rotations.DJANGO_SECRET_KEY": 2}
    (text, _) = problems("prod", changes)["lightwave:rotations.DJANGO_SECRET_KEY"]
    assert text.startswith("is not a secret; expected: lightwave_admin, pgbouncer_stats, cineos_user")


def test_a_deploy_job_needs_the_eks_cluster() -> None:
    changes = {
        "kubernetes.context": "by-hand",
        "kubernetes.namespaces.shared.deployerPrincipal": "arn:aws:iam::123456789012:role/deploy",
    }
    (text, _) = problems("prod", changes)["lightwave:kubernetes.namespaces.shared.deployerPrincipal"]
    assert text == "needs the EKS cluster; expected: nothing with kubernetes.context"


@pytest.mark.parametrize(
    ("changes", "also", "not_named"),
    [
        (
            {
                "wat": 1,
                "protect": False,
                "database.multiAz": "yes",
                "database.backupWindow": "x",
                "pgbouncer.replicas": 0,
                "products.createos.pool": {"size": 0, "sise": 1},
                "products.Cine": {},
                "media.domain": "cdn..x",
                "media.zoneId": ...,
                "kubernetes.databaseCidrs": ["10.0.0.0/8", "10.0.0.0/99"],
                "kubernetes.namespaces.shared.quota.pods": None,
                "kubernetes.namespaces.shared.wat": None,
                "valkey.storageGib": 1,
                "aws": None,
            },
            {"products.createos.pool.size", "products.createos.pool.sise", "kubernetes.databaseCidrs[1]"},
            {"products.createos.pool", "kubernetes.databaseCidrs"},
        ),
        (
            {
                "wat": 1,
                "protect": False,
                "database.maxAllocatedStorageGib": 50,
                "database.multiAz": False,
                "pgbouncer.replicas": 0,
                "products.payload.readers": ["nobody"],
                "products.django.schema": "payload",
                "media.domain": "cdn.example.com",
                "media.credentials": "given",
                "kubernetes.namespaces.shared.wat": None,
                "valkey.storageGib": 1,
                "aws": None,
                "rotations.nobody": 1,
            },
            {"products.payload.readers[0]", "media.accessKeyId", "media.secretAccessKey"},
            {"products.payload.readers", "media.credentials"},
        ),
    ],
)
def test_every_error_is_reported_at_once(changes: dict[str, Any], also: set[str], not_named: set[str]) -> None:
    """A section that failed skips only the rules that read it."""
    assert set(problems("prod", changes)) == {f"lightwave:{key}" for key in {*changes, *also} - not_named}


def test_one_mistake_is_one_error() -> None:
    assert list(problems("dev", {"products.Payload": {}})) == ["lightwave:products.Payload"]
    assert list(problems("dev", {"database": ...})) == ["lightwave:database"]
    assert list(problems("dev", {"products.pg_x": {}})) == ["lightwave:products.pg_x"]
    assert list(problems("prod", {"protect": "maybe"})) == ["lightwave:protect"]
    assert list(problems("prod", {"pgbouncer.image": IMAGES["image"].replace("1.25", "1.22")})) == [
        "lightwave:pgbouncer.image"
    ]


def test_a_product_may_be_called_as_its_service_and_framework() -> None:
    config = full_config("dev")
    put(config, "products", {"payload": {"framework": "payload", "service": "payload", "namespace": "payload"}})
    assert load("dev", config).products["payload"].service == "payload"

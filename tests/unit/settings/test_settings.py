"""A stack's whole settings: what the stacks hold, and what follows from it."""

from typing import Any

import pytest
from pydantic import SecretStr

import settings
from tests.configs import ON_KIND
from tests.unit.conftest import STACKS, full_config, local_state
from tests.unit.settings.changes import SECRET, load, put


@pytest.mark.parametrize(("stack", "is_local"), [("dev", True), ("alice", True), ("staging", False), ("prod", False)])
def test_the_database_decides_whether_a_stack_is_local(stack: str, is_local: bool) -> None:
    loaded = load(stack, full_config("dev" if is_local else stack))
    assert loaded.is_local is is_local
    assert (loaded.on_rds is None) is is_local
    assert (loaded.local is not None) is is_local


def test_a_stack_on_rds_always_has_these_sections() -> None:
    loaded = load("prod", full_config("prod"))
    on_rds = loaded.on_rds
    assert on_rds
    sections = (on_rds.rds, on_rds.aws, on_rds.kubernetes, on_rds.media)
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


@pytest.mark.parametrize("enforced", [False, True])
def test_a_cluster_whose_dns_nobody_looked_at_is_warned_of(enforced: bool) -> None:
    """Before policies are enforced as well as after: then its pods would resolve nothing."""
    config = full_config("prod")
    put(config, "kubernetes.networkPolicyEnforced", enforced)
    put(config, "kubernetes.dnsCidrs", ...)
    warning = load("prod", config).warnings()[-1]
    assert "set kubernetes.dnsCidrs in Pulumi.prod.yaml" in warning
    answers: list[list[str]] = [[], ["169.254.20.10/32"]]
    for answered in answers:
        put(config, "kubernetes.dnsCidrs", answered)
        assert warning not in load("prod", config).warnings()
    kind = full_config("dev") | {f"lightwave:{section}": value for section, value in ON_KIND.items()}
    assert not [text for text in load("dev", kind).warnings() if "dnsCidrs" in text]


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_is_valid(stack: str) -> None:
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


def test_only_a_local_stacks_django_product_has_a_test_database() -> None:
    with settings.offline():
        assert settings.load("prod", full_config("prod")).tested_product is None
        dev = full_config("dev")
        found = settings.load("dev", dev).tested_product
        assert found is not None
        assert found.name == "django"
        assert settings.load("dev", {**dev, "lightwave:products": {"payload": {}}}).tested_product is None

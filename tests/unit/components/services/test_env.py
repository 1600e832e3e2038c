"""The environment of a service: the contract's names first, URLs that parse, secrets that stay secret."""

from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pulumi
import pytest

import settings
from components.server import Server
from components.services.env import MIGRATION_OPTIONS, EnvEntry, ObjectStore, ServiceEnvArgs, service_env
from ops.plan.recorder import record
from policies.rules.model import Secret
from settings import Product, Settings
from tests.unit.conftest import full_config, local_state

AWKWARD = "p@ss/w:rd?#[]&=% +"
STORE = ObjectStore(
    endpoint="https://acc.r2.cloudflarestorage.com",
    account_id="acc",
    access_key_id="key-id",
    secret_access_key="key-secret",
    bucket="lightwave-media",
)


@pytest.fixture
def dev() -> Settings:
    return settings.load("dev", full_config("dev"), local=local_state())


def arguments(product: Product) -> dict[str, Any]:
    return {
        "product": product,
        "database": "lightwave_platform",
        "pooled": Server(host="pgbouncer.shared", port=6432),
        "direct": Server(host="db.example.com", port=5432),
        "password": AWKWARD,
        "application_secret": "app-secret",
        "store": STORE,
        "payload_api_url": "http://payload:3000/api",
    }


def args(product: Product, **changes: Any) -> ServiceEnvArgs:
    return ServiceEnvArgs(**arguments(product) | changes)


def values(entries: list[EnvEntry]) -> dict[str, Any]:
    return {entry.name: entry.value for entry in entries}


def test_payload_gets_the_contracts_variables_first(dev: Settings) -> None:
    entries = service_env(args(dev.products["payload"]))
    assert [entry.name for entry in entries if not entry.optional] == [
        "DATABASE_URI",
        "PAYLOAD_SECRET",
        "S3_ENDPOINT",
        "S3_REGION",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "S3_BUCKET",
    ]
    found = values(entries)
    assert found["S3_REGION"] == "auto"
    assert found["S3_BUCKET"] == "lightwave-media"
    assert found["PAYLOAD_SECRET"] == "app-secret"
    aliases = ("CF_ACCOUNT_ID", "CF_R2_ACCESS_KEY_ID", "CF_R2_SECRET_ACCESS_KEY")
    assert [found[name] for name in aliases] == ["acc", found["S3_ACCESS_KEY_ID"], found["S3_SECRET_ACCESS_KEY"]]
    assert found["AWS_REQUEST_CHECKSUM_CALCULATION"] == found["AWS_RESPONSE_CHECKSUM_VALIDATION"] == "WHEN_REQUIRED"


def test_payloads_url_has_the_contracts_form_and_parses(dev: Settings) -> None:
    found = values(service_env(args(dev.products["payload"])))
    assert found["DATABASE_URI"].startswith("postgresql://payload_user:")
    assert found["DATABASE_URI"].endswith("@pgbouncer.shared:6432/lightwave_platform?schema=payload")
    url = urlsplit(found["DATABASE_URI_DIRECT"])
    assert (unquote(url.password or ""), url.hostname, url.port) == (AWKWARD, "db.example.com", 5432)
    assert parse_qs(url.query) == {"options": [MIGRATION_OPTIONS]}
    # Literally: what unquotes cannot tell a password that was never quoted.
    for name in ("DATABASE_URI", "DATABASE_URI_DIRECT"):
        assert f":{quote(AWKWARD, safe='')}@" in found[name]


def test_django_gets_djangos_variables(dev: Settings) -> None:
    found = values(service_env(args(dev.products["django"], redis_url="redis://redis.shared:6379/0")))
    url = urlsplit(found["DATABASE_URL"])
    assert unquote(url.password or "") == found["DATABASE_PASSWORD"] == AWKWARD
    assert (url.username, url.path, url.query) == ("django_user", "/lightwave_platform", "")
    assert {name: found[name] for name in found if name not in ("DATABASE_URL", "DATABASE_URL_DIRECT")} == {
        "DATABASE_NAME": "lightwave_platform",
        "DATABASE_USER": "django_user",
        "DATABASE_PASSWORD": AWKWARD,
        "DATABASE_HOST": "pgbouncer.shared",
        "DATABASE_PORT": "6432",
        "DJANGO_SECRET_KEY": "app-secret",
        "DISABLE_SERVER_SIDE_CURSORS": "true",
        "PAYLOAD_API_URL": "http://payload:3000/api",
        "REDIS_URL": "redis://redis.shared:6379/0",
    }
    # libpq refuses a parameter that it does not know.
    assert "schema" not in found["DATABASE_URL_DIRECT"]


def test_no_service_gets_anothers_secrets(dev: Settings) -> None:
    django = values(service_env(args(dev.products["django"])))
    assert not [name for name in django if name.startswith(("S3_", "CF_", "PAYLOAD_SECRET"))]
    payload = values(service_env(args(dev.products["payload"], redis_url="redis://redis.shared")))
    assert not [name for name in payload if name.startswith(("DJANGO", "REDIS"))]


def test_tls_to_the_server_is_verified(dev: Settings) -> None:
    ca_path = "/etc/ssl/rds/global-bundle.pem"
    payload = values(service_env(args(dev.products["payload"], direct_ca_path=ca_path)))
    assert parse_qs(urlsplit(payload["DATABASE_URI_DIRECT"]).query)["sslmode"] == ["verify-full"]
    assert "sslmode" not in payload["DATABASE_URI"]
    assert payload["NODE_EXTRA_CA_CERTS"] == ca_path
    django = values(service_env(args(dev.products["django"], direct_ca_path=ca_path, pooled_ca_path=ca_path)))
    assert parse_qs(urlsplit(django["DATABASE_URL_DIRECT"]).query) == {
        "sslmode": ["verify-full"],
        "sslrootcert": [ca_path],
        "options": [MIGRATION_OPTIONS],
    }
    assert parse_qs(urlsplit(django["DATABASE_URL"]).query)["sslrootcert"] == [ca_path]
    assert (django["DATABASE_SSLMODE"], django["DATABASE_SSLROOTCERT"]) == ("verify-full", ca_path)
    direct_alone = values(service_env(args(dev.products["django"], direct_ca_path=ca_path)))
    assert direct_alone["DATABASE_SSLROOTCERT"] == ca_path
    assert "DATABASE_SSLMODE" not in direct_alone


def test_two_ca_files_are_refused(dev: Settings) -> None:
    with pytest.raises(pulumi.InputPropertyError, match=r"pooled_ca_path.*is another file than /rds\.pem"):
        args(dev.products["payload"], direct_ca_path="/rds.pem", pooled_ca_path="/pooler.pem")


SECRETS = {
    "payload": {
        "DATABASE_URI",
        "DATABASE_URI_DIRECT",
        "PAYLOAD_SECRET",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "CF_R2_ACCESS_KEY_ID",
        "CF_R2_SECRET_ACCESS_KEY",
    },
    "django": {"DATABASE_URL", "DATABASE_URL_DIRECT", "DATABASE_PASSWORD", "DJANGO_SECRET_KEY", "REDIS_URL"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_outputs_stay_outputs_and_secret(dev: Settings, name: str) -> None:
    entries: list[EnvEntry] = []

    def program() -> None:
        entries.extend(
            service_env(
                args(
                    dev.products[name],
                    password=pulumi.Output.secret(AWKWARD),
                    pooled=Server(host=pulumi.Output.from_input("pgbouncer.shared"), port=6432),
                    application_secret=pulumi.Output.from_input("app-secret"),
                    store=ObjectStore(
                        endpoint=STORE.endpoint,
                        account_id=STORE.account_id,
                        access_key_id=pulumi.Output.from_input("key-id"),
                        secret_access_key=pulumi.Output.from_input("key-secret"),
                        bucket=STORE.bucket,
                    ),
                    redis_url=pulumi.Output.from_input("redis://redis.shared"),
                )
            )
        )
        for entry in entries:
            pulumi.export(entry.name, entry.value)

    outputs = record(program, stack="prod").outputs
    assert {key for key, value in outputs.items() if isinstance(value, Secret)} == SECRETS[name]
    assert {entry.name for entry in entries if entry.secret} == SECRETS[name]
    plain = values(service_env(args(dev.products[name], redis_url="redis://redis.shared")))
    assert {key: value.value if isinstance(value, Secret) else value for key, value in outputs.items()} == plain


def test_a_product_without_a_framework_is_refused(dev: Settings) -> None:
    with pytest.raises(pulumi.InputPropertyError) as error:
        args(dev.products["createos"])
    assert error.value.property_path == "product"


@pytest.mark.parametrize("missing", ["store", "payload_api_url"])
def test_a_missing_argument_is_named(dev: Settings, missing: str) -> None:
    given = arguments(dev.products["payload"])
    del given[missing]
    with pytest.raises(TypeError, match=missing):
        ServiceEnvArgs(**given)

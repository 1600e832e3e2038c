"""The env of the services: the contract's names, URLs that parse back, files that readers take alike."""

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pulumi
import pytest

import settings
from components.services.env import EnvEntry, ObjectStore, Server, ServiceEnvArgs, service_env
from ops.deploy import pulumi_cli as engine
from ops.dev import env as env_files
from ops.dev import servers as services
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
def told() -> Settings:
    return settings.load("dev", full_config("dev"), local=local_state())


def args(product: Product, **changes: Any) -> ServiceEnvArgs:
    given: dict[str, Any] = {
        "product": product,
        "database": "lightwave_platform",
        "pooled": Server(host="pgbouncer.shared", port=6432),
        "direct": Server(host="db.example.com", port=5432),
        "password": AWKWARD,
        "application_secret": "app-secret",
        "store": STORE,
        "payload_api_url": "http://payload:3000/api",
    }
    return ServiceEnvArgs(**{**given, **changes})


def values(entries: list[EnvEntry]) -> dict[str, Any]:
    return {entry.name: entry.value for entry in entries}


# --- what a service is told -------------------------------------------------------------------------------------------


def test_payload_is_told_the_seeds_variables_first(told: Settings) -> None:
    entries = service_env(args(told.products["payload"]))
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


def test_payloads_url_has_the_seeds_shape_and_parses_back(told: Settings) -> None:
    found = values(service_env(args(told.products["payload"])))
    assert found["DATABASE_URI"].startswith("postgresql://payload_user:")
    assert found["DATABASE_URI"].endswith("@pgbouncer.shared:6432/lightwave_platform?schema=payload")
    url = urlsplit(found["DATABASE_URI_DIRECT"])
    assert (unquote(url.password or ""), url.hostname, url.port) == (AWKWARD, "db.example.com", 5432)
    assert parse_qs(url.query) == {"schema": ["payload"]}


def test_django_is_told_in_djangos_terms(told: Settings) -> None:
    found = values(service_env(args(told.products["django"], redis_url="redis://redis.shared:6379/0")))
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


def test_nobody_is_told_anothers_secrets(told: Settings) -> None:
    django = values(service_env(args(told.products["django"])))
    assert not [name for name in django if name.startswith(("S3_", "CF_", "PAYLOAD_SECRET"))]
    payload = values(service_env(args(told.products["payload"], redis_url="redis://redis.shared")))
    assert not [name for name in payload if name.startswith(("DJANGO", "REDIS"))]


def test_tls_to_the_server_is_verified(told: Settings) -> None:
    bundle = "/etc/ssl/rds/global-bundle.pem"
    payload = values(service_env(args(told.products["payload"], direct_ca_bundle=bundle)))
    assert parse_qs(urlsplit(payload["DATABASE_URI_DIRECT"]).query)["sslmode"] == ["verify-full"]
    assert "sslmode" not in payload["DATABASE_URI"]
    assert payload["NODE_EXTRA_CA_CERTS"] == bundle
    django = values(service_env(args(told.products["django"], direct_ca_bundle=bundle, pooled_ca_bundle=bundle)))
    assert parse_qs(urlsplit(django["DATABASE_URL_DIRECT"]).query) == {
        "sslmode": ["verify-full"],
        "sslrootcert": [bundle],
    }
    assert parse_qs(urlsplit(django["DATABASE_URL"]).query)["sslrootcert"] == [bundle]
    assert (django["DATABASE_SSLMODE"], django["DATABASE_SSLROOTCERT"]) == ("verify-full", bundle)
    direct_alone = values(service_env(args(told.products["django"], direct_ca_bundle=bundle)))
    assert direct_alone["DATABASE_SSLROOTCERT"] == bundle
    assert "DATABASE_SSLMODE" not in direct_alone


def test_two_files_of_cas_are_refused(told: Settings) -> None:
    with pytest.raises(pulumi.InputPropertyError, match=r"pooled_ca_bundle.*is another file than /rds\.pem"):
        args(told.products["payload"], direct_ca_bundle="/rds.pem", pooled_ca_bundle="/pooler.pem")


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
def test_outputs_stay_outputs_and_secret(told: Settings, name: str) -> None:
    entries: list[EnvEntry] = []

    def program() -> None:
        entries.extend(
            service_env(
                args(
                    told.products[name],
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
    plain = values(service_env(args(told.products[name], redis_url="redis://redis.shared")))
    assert {key: value.value if isinstance(value, Secret) else value for key, value in outputs.items()} == plain


@pytest.mark.parametrize(
    ("product", "changes", "key"),
    [
        ("createos", {}, "product"),
        ("payload", {"store": None}, "store"),
        ("django", {"payload_api_url": None}, "payload_api_url"),
    ],
)
def test_what_is_missing_is_named(told: Settings, product: str, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as error:
        args(told.products[product], **changes)
    assert error.value.property_path == key


# --- the files --------------------------------------------------------------------------------------------------------


def read_by_a_shell(path: Path) -> dict[str, str]:
    script = 'set -a; . "$1"; env -0'
    done = subprocess.run(["sh", "-c", script, "sh", path], env={}, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)


def test_every_local_service_gets_its_file(told: Settings, tmp_path: Path) -> None:
    written = env_files.write_local(told, tmp_path)
    assert [path.name for path in written] == ["payload.env", "django.env", ".env.services.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    before = [path.read_bytes() for path in written]
    env_files.write_local(told, tmp_path)
    assert [path.read_bytes() for path in written] == before


def test_a_shell_reads_back_what_was_written(told: Settings, tmp_path: Path) -> None:
    awkward = {"A": "spaces  and #hash", "B": 'double " quote', "C": "p@ss/w:rd?&=;|<>(){}*~!%", "D": "", "E": "ünï"}
    path = env_files.write(told.products["payload"], "dev", awkward, tmp_path)
    assert {name: value for name, value in read_by_a_shell(path).items() if name in awkward} == awkward
    assert path.read_text().startswith("# Written by make env STACK=dev SERVICE=payload")


@pytest.mark.parametrize("character", ["'", "\\", "$", "`", "\n", "\r", "\0", "\x7f"])
def test_a_value_that_readers_take_differently_is_refused(told: Settings, tmp_path: Path, character: str) -> None:
    with pytest.raises(env_files.EnvFileError, match="DATABASE_PASSWORD holds") as error:
        env_files.write(told.products["django"], "dev", {"DATABASE_PASSWORD": f"hush{character}hush"}, tmp_path)
    assert "hush" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_local_file_names_this_machines_servers(told: Settings, tmp_path: Path) -> None:
    payload, django, _ = env_files.write_local(told, tmp_path)
    assert read_by_a_shell(payload)["DATABASE_URI"] == (
        "postgresql://payload_user:s3cr3t-payload_user@127.0.0.1:6432/lightwave_platform?schema=payload"
    )
    found = read_by_a_shell(django)
    assert found["DATABASE_URL_DIRECT"] == (
        "postgresql://django_user:s3cr3t-django_user@127.0.0.1:5432/lightwave_platform"
    )
    assert found["PAYLOAD_API_URL"] == "http://localhost:3000/api"
    assert found["DJANGO_SECRET_KEY"] == "s3cr3t-django"


def test_without_a_store_the_contract_is_kept_and_reaches_nobody(told: Settings, tmp_path: Path) -> None:
    found = read_by_a_shell(env_files.write_local(told, tmp_path)[0])
    assert urlsplit(found["S3_ENDPOINT"]).hostname == "127.0.0.1"
    assert all(found[name] for name in found if name.startswith("S3_"))
    assert (found["S3_REGION"], found["S3_BUCKET"]) == ("auto", "lightwave-media")


def test_what_runs_in_containers_is_in_the_files(told: Settings, tmp_path: Path) -> None:
    extras = services.Extras(store=STORE, redis_url="redis://127.0.0.1:6379/0")
    payload, django = map(read_by_a_shell, env_files.write_local(told, tmp_path, extras)[:2])
    assert (payload["S3_ENDPOINT"], payload["S3_ACCESS_KEY_ID"]) == (STORE.endpoint, "key-id")
    assert payload["S3_SECRET_ACCESS_KEY"] == "key-secret"
    assert django["REDIS_URL"] == "redis://127.0.0.1:6379/0"
    assert "REDIS_URL" not in payload


@pytest.mark.parametrize("service", ["payload", "lightwave-media-site/website"])
def test_a_service_goes_by_its_key_or_its_product(told: Settings, tmp_path: Path, service: str) -> None:
    assert env_files.run(told, service, tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.services.json", "payload.env"]


def test_an_unknown_service_is_refused_with_what_is_allowed(
    told: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert env_files.run(told, "createos", tmp_path) == 2
    assert capsys.readouterr().err == (
        "SERVICE=createos: no such service; allowed: payload (lightwave-media-site/website), "
        "django (lightwave-api-gateway)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_somebody_else_stays_as_it_is(
    told: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "payload.env"
    path.write_text("MINE=1\n")
    assert env_files.run(told, "payload", tmp_path) == 2
    assert path.read_text() == "MINE=1\n"
    assert "move it away, then run again" in capsys.readouterr().err


def test_a_link_to_a_file_of_somebody_else_is_not_followed(told: Settings, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text(f"{env_files.MARKER}\n")
    (tmp_path / "payload.env").symlink_to(target)
    assert env_files.run(told, "payload", tmp_path) == 2
    assert target.read_text() == f"{env_files.MARKER}\n"


# --- the contract file ------------------------------------------------------------------------------------------------

SEEDS_CONTRACT = {
    "description": "Payload CMS frontend",
    "required_variables": [
        "DATABASE_URI",
        "PAYLOAD_SECRET",
        "S3_ENDPOINT",
        "S3_REGION",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "S3_BUCKET",
    ],
}


def test_the_contract_is_the_seeds(told: Settings, tmp_path: Path) -> None:
    document = json.loads(env_files.write_local(told, tmp_path)[-1].read_text())
    assert document["services"]["lightwave-media-site/website"] == SEEDS_CONTRACT
    assert set(document["services"]) == {"lightwave-media-site/website", "lightwave-api-gateway"}
    django = document["services"]["lightwave-api-gateway"]["required_variables"]
    assert "DATABASE_URL" in django
    assert "DATABASE_URL_DIRECT" not in django


def test_other_services_in_the_contract_stay(told: Settings, tmp_path: Path) -> None:
    path = tmp_path / ".env.services.json"
    other = {"description": "another", "required_variables": ["X"]}
    path.write_text(json.dumps({"version": 1, "services": {"other": other}}))
    env_files.write_local(told, tmp_path)
    document = json.loads(path.read_text())
    assert document["version"] == 1
    assert document["services"]["other"] == other
    assert document["services"]["lightwave-media-site/website"] == SEEDS_CONTRACT


@pytest.mark.parametrize("content", ["not json", "[]", '{"services": []}'])
def test_what_is_no_contract_stays_as_it_is(told: Settings, tmp_path: Path, content: str) -> None:
    path = tmp_path / ".env.services.json"
    path.write_text(content)
    with pytest.raises(env_files.EnvFileError, match="move it away"):
        env_files.write_local(told, tmp_path)
    assert path.read_text() == content


# --- a deployed stack -------------------------------------------------------------------------------------------------


@pytest.fixture
def prod() -> Settings:
    return settings.load("prod", full_config("prod"))


def fake_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    engine = tmp_path / "bin" / "pulumi"
    engine.parent.mkdir()
    engine.write_text(f"#!/bin/sh\n{script}\n")
    engine.chmod(0o700)
    monkeypatch.setenv("PATH", f"{engine.parent}:/usr/bin:/bin")


def test_a_deployed_services_values_come_from_the_stacks_outputs(
    prod: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {"service_env": {"payload": {"DATABASE_URI": "postgresql://hush", "S3_REGION": "auto"}}}
    asked = '[ "$*" = "stack output --stack prod --json --show-secrets" ] || exit 1'
    fake_engine(tmp_path, monkeypatch, f"{asked}\ncat <<'E'\n{json.dumps(outputs)}\nE")
    assert env_files.run(prod, "payload", tmp_path / "env") == 0
    path = tmp_path / "env" / "payload.prod.env"
    assert read_by_a_shell(path)["DATABASE_URI"] == "postgresql://hush"
    assert path.stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr()
    assert "hush" not in said.out + said.err


@pytest.mark.parametrize(
    "answer",
    [
        ("echo 'no stack named prod' >&2; exit 255", "no stack named prod"),
        ("echo '{}'", "has no output service_env.payload"),
    ],
)
def test_a_stack_without_outputs_is_said(
    prod: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[str, str],
) -> None:
    script, reason = answer
    fake_engine(tmp_path, monkeypatch, script)
    assert env_files.run(prod, "payload", tmp_path / "env") == 2
    said = capsys.readouterr().err
    assert reason in said
    assert "make deploy STACK=prod" in said
    assert not (tmp_path / "env").exists()


def test_no_engine_is_said(
    prod: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(engine.SWITCH, "off")
    assert env_files.run(prod, "payload", tmp_path) == 2
    assert capsys.readouterr().err == (
        f"the values are in the stack's state, which takes an engine: {engine.SWITCH}=off\n"
    )

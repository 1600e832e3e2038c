"""The env files of the services: what is in them, who else's they are not, and which of them are removed."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import settings
from components.services.env import ObjectStore
from ops.deploy import install
from ops.dev import env as env_files
from ops.dev.env import EnvFileError
from ops.dev.model import Extras
from settings import Settings
from settings.problems import OperatorError
from tests.unit.conftest import full_config, local_state

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


def read(path: Path) -> dict[str, str]:
    """As `docker --env-file` reads it: what stands after the first equals sign, as it is."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_every_local_service_gets_its_file(dev: Settings, tmp_path: Path) -> None:
    written = env_files.write_local(dev, tmp_path).files
    assert [path.name for path in written] == ["payload.env", "django.env", ".env.services.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    before = [path.read_bytes() for path in written]
    env_files.write_local(dev, tmp_path)
    assert [path.read_bytes() for path in written] == before


def test_a_file_says_where_it_is_from(dev: Settings, tmp_path: Path) -> None:
    path = env_files.write(dev.products["payload"], "dev", {"A": "b"}, tmp_path)
    assert path.read_text() == (
        "# Written by make env STACK=dev SERVICE=payload for lightwave-media-site/website: edits are lost, secrets"
        " inside.\nA=b\n"
    )


@pytest.mark.parametrize("character", [*"'\"\\$`#;|<>()~ \t\n\r\0\x7f", "\u2028"])
def test_a_value_that_readers_take_differently_is_refused(dev: Settings, tmp_path: Path, character: str) -> None:
    with pytest.raises(EnvFileError, match="DATABASE_PASSWORD holds") as error:
        env_files.write(dev.products["django"], "dev", {"DATABASE_PASSWORD": f"hush{character}hush"}, tmp_path)
    assert "hush" not in str(error.value)
    assert "percent-encode" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_local_file_names_this_machines_servers(dev: Settings, tmp_path: Path) -> None:
    payload, django, _ = env_files.write_local(dev, tmp_path).files
    assert read(payload)["DATABASE_URI"] == (
        "postgresql://payload_user:s3cr3t-payload_user@127.0.0.1:6432/lightwave_platform?schema=payload"
    )
    found = read(django)
    assert found["DATABASE_URL_DIRECT"] == (
        "postgresql://django_user:s3cr3t-django_user@127.0.0.1:5432/lightwave_platform"
        "?options=-c%20statement_timeout%3D0%20-c%20lock_timeout%3D5s"
    )
    assert found["PAYLOAD_API_URL"] == "http://localhost:3000/api"
    assert found["DJANGO_SECRET_KEY"] == "s3cr3t-django"
    assert found["DATABASE_TEST_NAME"] == "test_lightwave_platform"
    assert "DATABASE_TEST_NAME" not in read(payload)


def test_djangos_file_says_what_its_drivers_need_at_the_pooler(dev: Settings, tmp_path: Path) -> None:
    django = env_files.write(dev.products["django"], "dev", {"A": "b"}, tmp_path)
    _, comment, line = django.read_text().splitlines()
    assert comment == (
        "# DATABASE_URL: psycopg takes prepare_threshold=None (Django sets it), asyncpg statement_cache_size=0."
    )
    assert line == "A=b"


def test_without_a_store_the_contract_is_kept_and_reaches_nobody(dev: Settings, tmp_path: Path) -> None:
    found = read(env_files.write_local(dev, tmp_path).files[0])
    assert urlsplit(found["S3_ENDPOINT"]).hostname == "127.0.0.1"
    assert all(found[name] for name in found if name.startswith("S3_"))
    assert (found["S3_REGION"], found["S3_BUCKET"]) == ("auto", "lightwave-media")


def test_what_runs_in_containers_is_in_the_files(dev: Settings, tmp_path: Path) -> None:
    extras = Extras(store=STORE, redis_url="redis://127.0.0.1:6379/0")
    payload, django = map(read, env_files.write_local(dev, tmp_path, extras).files[:2])
    assert (payload["S3_ENDPOINT"], payload["S3_ACCESS_KEY_ID"]) == (STORE.endpoint, "key-id")
    assert payload["S3_SECRET_ACCESS_KEY"] == "key-secret"
    assert django["REDIS_URL"] == "redis://127.0.0.1:6379/0"
    assert "REDIS_URL" not in payload


@pytest.mark.parametrize("service", ["payload", "lightwave-media-site/website"])
def test_a_service_goes_by_its_key_or_its_product(dev: Settings, tmp_path: Path, service: str) -> None:
    assert env_files.run(dev, service, tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.services.json", "payload.env"]


def test_an_unknown_service_is_refused_with_the_known_ones(dev: Settings, tmp_path: Path) -> None:
    with pytest.raises(EnvFileError) as refused:
        env_files.run(dev, "createos", tmp_path)
    assert str(refused.value) == (
        "SERVICE=createos: no such service; expected: payload (lightwave-media-site/website), "
        "django (lightwave-api-gateway)\n"
        "      fix: make env STACK=dev SERVICE=<one of them>"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_users_own_stays_as_it_is(dev: Settings, tmp_path: Path) -> None:
    path = tmp_path / "payload.env"
    path.write_text("MINE=1\n")
    with pytest.raises(EnvFileError, match="move it away, then run again"):
        env_files.run(dev, "payload", tmp_path)
    assert path.read_text() == "MINE=1\n"


def test_a_link_to_another_file_is_not_followed(dev: Settings, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text(f"{env_files.MARKER}\n")
    (tmp_path / "payload.env").symlink_to(target)
    with pytest.raises(EnvFileError, match="was not written by make env"):
        env_files.run(dev, "payload", tmp_path)
    assert target.read_text() == f"{env_files.MARKER}\n"


def test_the_file_of_a_product_that_is_gone_is_removed(dev: Settings, tmp_path: Path) -> None:
    _, django, contract = env_files.write_local(dev, tmp_path).files
    (tmp_path / "mine.env").write_text("MINE=1\n")
    without = dev.model_copy(update={"products": {n: p for n, p in dev.products.items() if n != "django"}})
    assert env_files.write_local(without, tmp_path).removed == (django,)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.services.json", "mine.env", "payload.env"]
    assert set(json.loads(contract.read_text())["services"]) == {"lightwave-media-site/website"}
    assert env_files.write_local(without, tmp_path).removed == ()


def test_a_service_under_another_products_name_stays_in_the_contract(dev: Settings, tmp_path: Path) -> None:
    _, django, contract = env_files.write_local(dev, tmp_path).files
    products = dict(dev.products)
    products["api"] = products.pop("django").model_copy(update={"name": "api"})
    assert dev.local is not None
    passwords = dev.local.passwords | {"api_user": dev.local.passwords["django_user"]}
    local = dev.local.model_copy(update={"passwords": passwords})
    renamed = dev.model_copy(update={"products": products, "local": local})
    assert env_files.write_local(renamed, tmp_path).removed == (django,)
    assert set(json.loads(contract.read_text())["services"]) == {
        "lightwave-media-site/website",
        "lightwave-api-gateway",
    }


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


def test_the_contract_is_the_seeds(dev: Settings, tmp_path: Path) -> None:
    document = json.loads(env_files.write_local(dev, tmp_path).files[-1].read_text())
    assert document["services"]["lightwave-media-site/website"] == SEEDS_CONTRACT
    assert set(document["services"]) == {"lightwave-media-site/website", "lightwave-api-gateway"}
    django = document["services"]["lightwave-api-gateway"]["required_variables"]
    assert "DATABASE_URL" in django
    assert "DATABASE_URL_DIRECT" not in django


def test_other_services_in_the_contract_stay(dev: Settings, tmp_path: Path) -> None:
    path = tmp_path / ".env.services.json"
    other = {"description": "another", "required_variables": ["X"]}
    path.write_text(json.dumps({"version": 1, "services": {"other": other}}))
    env_files.write_local(dev, tmp_path)
    document = json.loads(path.read_text())
    assert document["version"] == 1
    assert document["services"]["other"] == other
    assert document["services"]["lightwave-media-site/website"] == SEEDS_CONTRACT


@pytest.mark.parametrize("content", ["not json", "[]", '{"services": []}'])
def test_what_is_no_contract_stays_as_it_is(dev: Settings, tmp_path: Path, content: str) -> None:
    path = tmp_path / ".env.services.json"
    path.write_text(content)
    with pytest.raises(env_files.EnvFileError, match="move it away"):
        env_files.write_local(dev, tmp_path)
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
    asked = '[ "$*" = "--non-interactive stack output --stack prod --json --show-secrets" ] || exit 1'
    fake_engine(tmp_path, monkeypatch, f"{asked}\ncat <<'E'\n{json.dumps(outputs)}\nE")
    assert env_files.run(prod, "payload", tmp_path / "env") == 0
    path = tmp_path / "env" / "payload.env"
    assert read(path)["DATABASE_URI"] == "postgresql://hush"
    assert path.stat().st_mode & 0o777 == 0o600
    output = capsys.readouterr()
    assert "hush" not in output.out + output.err


@pytest.mark.parametrize(
    "answer",
    [
        ("echo 'no stack named prod' >&2; exit 255", "no stack named prod"),
        ("echo '{}'", "has no output service_env.payload"),
    ],
)
def test_a_stack_without_outputs_is_reported(
    prod: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[str, str],
) -> None:
    script, reason = answer
    fake_engine(tmp_path, monkeypatch, script)
    with pytest.raises(OperatorError) as refused:
        env_files.run(prod, "payload", tmp_path / "env")
    assert reason in str(refused.value)
    assert "make deploy STACK=prod" in str(refused.value)
    assert not (tmp_path / "env").exists()


def test_a_missing_pulumi_cli_is_reported(prod: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(install.SWITCH, "off")
    with pytest.raises(install.NoPulumiError, match=f"{install.SWITCH}=off"):
        env_files.run(prod, "payload", tmp_path)

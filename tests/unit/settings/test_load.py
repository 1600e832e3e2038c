"""Where a config comes from: Pulumi, the stack's files, the state of a local stack, nothing at all offline."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.config import set_all_config

import settings
from settings import SettingsError, files
from tests.unit.conftest import STACKS, full_config, local_state
from tests.unit.settings.changes import load, put


@pytest.fixture
def pulumi_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Hands config over as Pulumi does, in a project folder with the dev stack's state."""

    def given(config: dict[str, str], secret_keys: tuple[str, ...] = (), state: str | None = None) -> None:
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
        monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(secret_keys))
        set_all_config({}, [])
        root = tmp_path / "project"
        (root / ".local" / "dev").mkdir(parents=True)
        for name in ("Pulumi.yaml", *(f"Pulumi.{stack}.yaml" for stack in STACKS)):
            (root / name).write_text((settings.ROOT / name).read_text())
        (root / ".local" / "dev" / "state.json").write_text(json.dumps(local_state()) if state is None else state)
        monkeypatch.setattr(files, "ROOT", root)

    return given


def as_strings(config: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_pulumi_passes_strings(pulumi_config: Any, stack: str) -> None:
    pulumi_config(as_strings(full_config(stack)))
    assert settings.from_pulumi(stack) == load(stack, full_config(stack))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_a_boolean_that_came_as_a_string(pulumi_config: Any, text: str, value: bool) -> None:
    pulumi_config({**as_strings(full_config("dev")), "lightwave:protect": text})
    assert settings.from_pulumi("dev").protect is value


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
def test_junk_from_pulumi_is_refused_with_words(pulumi_config: Any, junk: str) -> None:
    pulumi_config({**as_strings(full_config("dev")), "lightwave:protect": junk})
    with pytest.raises(SettingsError, match=r"lightwave:protect: .* is not allowed; expected: true or false"):
        settings.from_pulumi("dev")


def test_no_value_of_a_section_with_secrets_is_repeated(pulumi_config: Any) -> None:
    config = full_config("prod")
    put(config, "media.bucket", "S3cr3t at the wrong key")
    pulumi_config(as_strings(config), ("lightwave:media",))
    with pytest.raises(SettingsError) as refused:
        settings.from_pulumi("prod")
    assert "lightwave:media.bucket: text is malformed" in str(refused.value)
    assert "S3cr3t" not in str(refused.value)


@pytest.mark.parametrize("state", ["", "{", "[]", '{"databasePort": "x"}', "\x00", "[" * 100_000])
def test_a_broken_local_state_is_refused_with_words(pulumi_config: Any, state: str) -> None:
    pulumi_config(as_strings(full_config("dev")), state=state)
    with pytest.raises(SettingsError, match=r"\.local/dev/state\.json: local.*\n      fix: make "):
        settings.from_pulumi("dev")


def test_the_state_of_another_local_stack_is_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (tmp_path / name.replace("dev", "alice")).write_text((settings.ROOT / name).read_text())
    monkeypatch.setattr(files, "ROOT", tmp_path)
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
    assert "fix: make up" in str(refused.value)


def test_a_local_state_from_before_valkey_says_make_up() -> None:
    state = local_state()
    for name in settings.VALKEY_SECRETS:
        del state["secrets"][name]
    with pytest.raises(SettingsError) as refused:
        settings.load("dev", full_config("dev"), local=state)
    assert re.findall(r"local\.secrets\.(\S+): is missing", str(refused.value)) == sorted(settings.VALKEY_SECRETS)
    assert str(refused.value).count("fix: make up") == 2


def test_valkeys_passwords_rotate_where_there_is_one() -> None:
    config = full_config("prod")
    put(config, "rotations", {"VALKEY_PASSWORD": 1, "VALKEY_METRICS_PASSWORD": 2})
    assert load("prod", config).rotations == {"VALKEY_PASSWORD": 1, "VALKEY_METRICS_PASSWORD": 2}
    config["lightwave:valkey"] = {}
    with pytest.raises(SettingsError, match=r"rotations\.VALKEY_PASSWORD: is not a secret; expected: lightwave_admin"):
        load("prod", config)


def test_a_product_that_the_local_state_does_not_know_says_make_up() -> None:
    config = full_config("dev")
    put(config, "products.audioos", {})
    with pytest.raises(SettingsError) as refused:
        load("dev", config)
    assert str(refused.value).count("fix: make up") == 2
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
    missing = re.findall(r"^  lightwave:(\S+): is missing", str(refused.value), re.MULTILINE)
    # Prod has no monitoring section, so it lacks no fact about it; it has an edge, so it needs no ingress controller.
    assert missing == sorted(
        ".".join(fact) for fact in settings.FACTS if fact[0] != "monitoring" and fact != settings.EDGE_NAMESPACE
    )


def test_offline_names_are_checked_all_the_same() -> None:
    config = settings.stack_config("dev")
    config["lightwave:products"] = {settings.KNOWN_AT_DEPLOY: {}}
    with settings.offline(), pytest.raises(SettingsError, match="is malformed"):
        settings.load("dev", config)


def test_keys_of_other_namespaces_are_ignored() -> None:
    assert load("dev", {**full_config("dev"), "aws:region": 5, "pulumi:tags": {}}) == load("dev", full_config("dev"))


def test_a_key_without_a_namespace_is_the_projects() -> None:
    config = full_config("dev")
    assert load("dev", {**config, "protect": True}).protect
    with pytest.raises(SettingsError, match="lightwave:wat: is not a key"):
        load("dev", {**config, "wat": 1})

"""Valkey in the whole program: who uses it, its passwords, and its order."""

from pathlib import Path

import pytest

import settings
from components.kubernetes.valkey_files import users_acl
from ops.dev import state as local_state
from ops.plan.recorder import Recording, record_stack
from tests.configs import ON_KIND, VALKEY_IMAGES

CORE = "kubernetes:core/v1:"


@pytest.fixture(scope="module")
def prod() -> Recording:
    return record_stack("prod")


def after(recording: Recording, class_: str, name: str) -> set[str]:
    """Names of the resources that a component on the cluster waits for."""
    component = recording.one(f"lightwave:kubernetes:{class_}", name)
    return {urn.rpartition("::")[2] for urn in component.depends_on}


def test_only_django_gets_its_url(prod: Recording) -> None:
    django, payload = (prod.one(f"{CORE}Secret", f"{name}-env") for name in ("django", "payload"))
    known = settings.KNOWN_AT_DEPLOY.replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
    assert django.inputs["stringData"].value["REDIS_URL"] == f"redis://django:{known}@redis.shared:6379/0"
    assert "REDIS_URL" not in payload.inputs["stringData"].value
    # Valkey first: a client that gets a new password must be able to log in with it.
    assert "valkey-statefulset" in after(prod, "ServiceIdentity", "django")
    assert "valkey-statefulset" not in after(prod, "ServiceIdentity", "payload")


def test_its_passwords_are_generated_and_it_waits_for_the_namespace(prod: Recording) -> None:
    generated = {r.name for r in prod.of_type("random:index/randomPassword:RandomPassword")}
    assert generated >= {"secrets-valkey-password", "secrets-valkey-metrics-password"}
    assert {"shared-namespace", "shared-default-deny"} <= after(prod, "Valkey", "valkey")
    assert {r.provider for r in prod.resources if r.name.startswith("valkey-")} == {
        "urn:pulumi:prod::lightwave::pulumi:providers:kubernetes::kubernetes"
    }
    assert prod.outputs["valkey"] == "redis.shared.svc.cluster.local:6379"


def test_on_a_developers_cluster_it_has_the_passwords_of_the_local_state(tmp_path: Path) -> None:
    local_state.prepare("dev", tmp_path)
    state = local_state.read(tmp_path)
    assert {len(state["secrets"][name]) for name in settings.VALKEY_SECRETS} == {40}
    assert state["secrets"]["VALKEY_PASSWORD"] != state["secrets"]["VALKEY_METRICS_PASSWORD"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("settings.files.placeholder_state", lambda _: state)
        sections = {f"lightwave:{name}": value for name, value in (ON_KIND | {"valkey": VALKEY_IMAGES}).items()}
        recorded = record_stack("dev", overrides=sections)
    assert recorded.one(f"{CORE}Secret", "valkey-auth").inputs["stringData"].value["users.acl"] == users_acl(
        user="django",
        password=state["secrets"]["VALKEY_PASSWORD"],
        metrics_password=state["secrets"]["VALKEY_METRICS_PASSWORD"],
    )
    assert not recorded.of_type("random:index/randomPassword:RandomPassword")


def test_a_stack_without_valkey_declares_nothing_of_it(prod: Recording) -> None:
    without = record_stack("prod", overrides={"lightwave:valkey": {}})
    assert not [r.urn for r in without.resources if "alkey" in r.urn]
    assert "valkey" not in without.outputs
    assert "REDIS_URL" not in without.one(f"{CORE}Secret", "django-env").inputs["stringData"].value
    assert len(prod.resources) == len(without.resources) + 9

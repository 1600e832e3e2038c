"""Passwords, verifiers and application secrets: generated or given, always secret, rotated separately."""

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.secrets.generated import GeneratedSecrets, GeneratedSecretsArgs
from components.secrets.scram import scram_verifier
from ops.plan import recorder
from ops.plan.recorder import RecordedResource, Recording, record
from policies.rules.model import Secret
from settings import LocalState

COMPONENT = "urn:pulumi:prod::lightwave::lightwave:secrets:GeneratedSecrets::secrets"
PASSWORD_TYPE = "random:index/randomPassword:RandomPassword"
SALT_TYPE = "random:index/randomBytes:RandomBytes"
ROLES = ["payload_user", "django_user"]
APPLICATION = ["PAYLOAD_SECRET", "DJANGO_SECRET_KEY"]
GENERATED = [
    (SALT_TYPE, "secrets-django-user-salt"),
    (SALT_TYPE, "secrets-payload-user-salt"),
    (PASSWORD_TYPE, "secrets-django-secret-key"),
    (PASSWORD_TYPE, "secrets-django-user"),
    (PASSWORD_TYPE, "secrets-lightwave-admin"),
    (PASSWORD_TYPE, "secrets-payload-secret"),
    (PASSWORD_TYPE, "secrets-payload-user"),
]
GIVEN = LocalState.model_validate_json(
    """{
    "databasePort": 5432,
    "pgbouncerPort": 6432,
    "passwords": {"lightwave_admin": "given-admin", "payload_user": "given-payload", "django_user": "given-django"},
    "scramVerifiers": {"payload_user": "SCRAM-SHA-256$given-payload", "django_user": "SCRAM-SHA-256$given-django"},
    "secrets": {"PAYLOAD_SECRET": "given-payload-secret", "DJANGO_SECRET_KEY": "given-django-key"}
}"""
)


def arguments(**changes: Any) -> GeneratedSecretsArgs:
    return GeneratedSecretsArgs(
        **{
            "admin": "lightwave_admin",
            "login_roles": ROLES,
            "application_secrets": APPLICATION,
            "rotations": {},
            "protect": True,
            **changes,
        }
    )


def recording(**changes: Any) -> Recording:
    return record(lambda: GeneratedSecrets("secrets", arguments(**changes)), stack="prod")


@pytest.fixture(autouse=True)
def _random(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose values show their generation: the rotation counter is in each."""

    def password(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"result": recorder.secret(f"generated-{inputs['keepers']['rotation']}")}

    def salt(inputs: Mapping[str, Any]) -> dict[str, Any]:
        text = f"salt-of-rotation-{inputs['keepers']['rotation']}"
        return {"base64": recorder.secret(base64.b64encode(text.encode()).decode())}

    monkeypatch.setattr(recorder, "COMPUTED", {PASSWORD_TYPE: password, SALT_TYPE: salt})


def outputs(recorded: Recording) -> dict[str, Any]:
    """The component's outputs; a dict of secrets arrives as one Secret."""
    registered = recorded.component_outputs[COMPONENT]
    assert all(isinstance(value, Secret) for value in registered.values())
    return {key: value.value for key, value in registered.items()}


def test_generates_exactly_these() -> None:
    recorded = recording()
    children = recorded.children(COMPONENT)
    assert sorted((r.type, r.name) for r in children) == GENERATED
    assert len(recorded.resources) == len(children) + 1
    for resource in children:
        length = {"length": 16} if resource.type == SALT_TYPE else {"length": 40, "special": False}
        assert resource.inputs == {**length, "keepers": {"rotation": "0"}}


def test_passwords_verifiers_and_secrets_come_out_secret() -> None:
    recorded = recording()
    found = outputs(recorded)
    assert found["passwords"] == dict.fromkeys(["lightwave_admin", *ROLES], "generated-0")
    assert found["verifiers"] == dict.fromkeys(ROLES, scram_verifier("generated-0", b"salt-of-rotation-0"))
    assert found["application"] == dict.fromkeys(APPLICATION, "generated-0")
    assert set(found) == set(GeneratedSecrets.__annotations__)


@pytest.mark.parametrize("given", [None, GIVEN])
def test_each_output_is_secret(given: LocalState | None) -> None:
    def program() -> None:
        made = GeneratedSecrets("secrets", arguments(given=given))
        for kind in (made.passwords, made.verifiers, made.application):
            for key, output in kind.items():
                pulumi.export(f"{len(kind)}-{key}", output)

    found = record(program, stack="prod").outputs
    assert len(found) == 3 + 2 + 2
    assert all(isinstance(value, Secret) for value in found.values())


@pytest.mark.parametrize("rotated", ["payload_user", "lightwave_admin", "PAYLOAD_SECRET"])
def test_a_rotation_replaces_only_that_secret(rotated: str) -> None:
    before = {r.name: r for r in recording(rotations={rotated: 1}).children(COMPONENT)}
    after = {r.name: r for r in recording(rotations={rotated: 2}).children(COMPONENT)}
    slug = f"secrets-{rotated.lower().replace('_', '-')}"
    expected = {slug, f"{slug}-salt"} if rotated in ROLES else {slug}
    assert {name for name in before if before[name].inputs != after[name].inputs} == expected
    assert all(after[name].inputs["keepers"] == {"rotation": "2"} for name in expected)
    assert before.keys() == after.keys()


def test_a_rotation_makes_the_verifier_of_the_new_password_and_salt() -> None:
    found = outputs(recording(rotations={"payload_user": 3}))["verifiers"]
    assert found["payload_user"] == scram_verifier("generated-3", b"salt-of-rotation-3")
    assert found["django_user"] == scram_verifier("generated-0", b"salt-of-rotation-0")


def test_with_given_secrets_nothing_is_generated() -> None:
    recorded = recording(given=GIVEN)
    assert [r.urn for r in recorded.resources] == [COMPONENT]
    assert outputs(recorded) == {
        "passwords": {
            "lightwave_admin": "given-admin",
            "payload_user": "given-payload",
            "django_user": "given-django",
        },
        "verifiers": {"payload_user": "SCRAM-SHA-256$given-payload", "django_user": "SCRAM-SHA-256$given-django"},
        "application": {"PAYLOAD_SECRET": "given-payload-secret", "DJANGO_SECRET_KEY": "given-django-key"},
    }


def test_no_value_is_in_plain_text() -> None:
    assert "generated-" not in repr(recording())
    assert "SCRAM-SHA-256$" not in repr(recording())
    assert "given-" not in repr(recording(given=GIVEN))


def test_the_component_is_protected_and_its_secrets_can_rotate() -> None:
    def protected(resources: list[RecordedResource]) -> list[str]:
        return [r.name for r in resources if r.protect]

    assert protected(list(recording(protect=True).resources)) == ["secrets"]
    assert protected(list(recording(protect=False).resources)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"login_roles": ["payload_user", "payload_user"]},
            "login_roles: two secrets have the same name: payload_user",
        ),
        ({"application_secrets": ["lightwave_admin"]}, "login_roles: two secrets have the same name: lightwave_admin"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as refused:
        recording(**changes)
    assert message in f"{refused.value.property_path}: {refused.value.reason}"

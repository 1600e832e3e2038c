"""Contracts of every component, and of everything that both stacks declare."""

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import pulumi
import pytest

import components
import settings
from ops.plan import recorder
from ops.plan.recorder import RecordedResource, Recording, record_stack
from policies.rules.model import Secret
from tests.unit.conftest import RECORDED, STACKS
from tests.unit.fresh import lines_of


def _component_classes() -> list[type[pulumi.ComponentResource]]:
    modules = [importlib.import_module(m.name) for m in pkgutil.walk_packages(components.__path__, "components.")]
    return [
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, pulumi.ComponentResource) and value.__module__ == module.__name__
    ]


COMPONENTS = _component_classes()
TOKENS = {"ServiceResources": "ServiceIdentity"}
"""Renamed classes that keep the former name in their type token: it is part of URNs, which must not change."""
SENTINEL = "sentinel-Zm9vYmFy"


def token_name(class_: type[pulumi.ComponentResource]) -> str:
    return TOKENS.get(class_.__name__, class_.__name__)


def of_class(recording: Recording, class_: type[pulumi.ComponentResource]) -> list[RecordedResource]:
    return [r for r in recording.resources if not r.custom and r.type.split(":")[-1] == token_name(class_)]


def everything(
    recording_of: Callable[[str], Recording], class_: type[pulumi.ComponentResource]
) -> list[tuple[Recording, RecordedResource]]:
    return [(recording_of(stack), one) for stack in RECORDED for one in of_class(recording_of(stack), class_)]


def test_every_component_was_found() -> None:
    found = {class_.__name__ for class_ in COMPONENTS}
    assert {"DatabaseAccess", "DatabaseServer", "GeneratedSecrets", "Media", "Namespace", "PgBouncer"} <= found
    assert TOKENS.keys() <= found


# --- each class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_", COMPONENTS)
def test_signature(class_: type[pulumi.ComponentResource]) -> None:
    parameters = inspect.signature(class_).parameters
    assert list(parameters) == ["name", "args", "opts"]
    assert parameters["opts"].default is None
    hints = get_type_hints(class_.__init__)
    assert hints["name"] is str
    assert hints["args"].__name__ == f"{class_.__name__}Args"
    assert hints["opts"] == pulumi.ResourceOptions | None


@pytest.mark.parametrize("class_", COMPONENTS)
def test_args_are_frozen_slotted_and_keyword_only(class_: type[pulumi.ComponentResource]) -> None:
    args = get_type_hints(class_.__init__)["args"]
    assert dataclasses.is_dataclass(args)
    assert vars(args)["__dataclass_params__"].frozen
    assert "__slots__" in vars(args)
    assert all(field.kw_only for field in dataclasses.fields(args))


@pytest.mark.parametrize("class_", COMPONENTS)
def test_each_component_is_declared_in_a_stack(
    class_: type[pulumi.ComponentResource], recording_of: Callable[[str], Recording]
) -> None:
    assert everything(recording_of, class_), f"neither stack declares a {class_.__name__}"


@pytest.mark.parametrize("class_", COMPONENTS)
def test_type_token(class_: type[pulumi.ComponentResource], recording_of: Callable[[str], Recording]) -> None:
    for _, component in everything(recording_of, class_):
        package, module, name = component.type.split(":")
        assert package == "lightwave"
        assert module.isidentifier()
        assert module == module.lower()
        assert name == token_name(class_)


@pytest.mark.parametrize("class_", COMPONENTS)
def test_registered_outputs_are_the_annotated_ones(
    class_: type[pulumi.ComponentResource], recording_of: Callable[[str], Recording]
) -> None:
    annotated = {
        name: hint
        for name, hint in inspect.get_annotations(class_).items()
        if name in vars(class_) or not name.startswith("_")
    }
    # An Output, or several by name.
    outputs = [
        hint for hint in annotated.values() if pulumi.Output in {get_origin(hint), *map(get_origin, get_args(hint))}
    ]
    assert len(outputs) == len(annotated), annotated
    for recording, component in everything(recording_of, class_):
        assert component.urn in recording.component_outputs, f"{component.name} never called register_outputs"
        assert set(recording.component_outputs[component.urn]) == set(annotated)


@pytest.mark.parametrize("class_", COMPONENTS)
def test_a_component_has_children_and_names_them_after_itself(
    class_: type[pulumi.ComponentResource], recording_of: Callable[[str], Recording]
) -> None:
    pairs = [
        (component.name, child.name)
        for recording, component in everything(recording_of, class_)
        for child in recording.children(component.urn)
    ]
    assert pairs
    assert [(parent, child) for parent, child in pairs if not child.startswith(f"{parent}-")] == []


# --- each stack -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
def test_only_components_and_providers_have_no_parent(recording_of: Callable[[str], Recording], stack: str) -> None:
    recording = recording_of(stack)
    top = [r for r in recording.resources if not r.parent]
    strays = [r.urn for r in top if r.custom and not r.type.startswith("pulumi:providers:")]
    assert strays == []
    known = {token_name(class_) for class_ in COMPONENTS}
    assert {r.type.split(":")[-1] for r in top if not r.custom} <= known
    urns = {r.urn for r in recording.resources}
    assert {r.parent for r in recording.resources if r.parent} <= urns


@pytest.mark.parametrize("stack", STACKS)
def test_dependencies_exist_and_providers_are_explicit(recording_of: Callable[[str], Recording], stack: str) -> None:
    recording = recording_of(stack)
    urns = {resource.urn for resource in recording.resources}
    for resource in recording.resources:
        assert set(resource.depends_on) <= urns
        assert resource.provider in {"", *urns}
        # A default provider would use what the machine's environment says.
        package = resource.type.partition(":")[0]
        if resource.custom and package not in {"pulumi", "random", "cloudflare"}:
            assert resource.provider, resource.urn


def _as_json(recording: Recording) -> str:
    return json.dumps(dataclasses.asdict(recording), sort_keys=True)


@pytest.mark.parametrize("stack", STACKS)
def test_two_recordings_are_equal(recording_of: Callable[[str], Recording], stack: str) -> None:
    again = record_stack(stack)
    assert recording_of(stack) == again
    assert _as_json(recording_of(stack)) == _as_json(again)


def test_a_recording_does_not_depend_on_the_order_of_sets(recording_of: Callable[[str], Recording]) -> None:
    program = (
        "import dataclasses, json; from ops.plan.recorder import record_stack\n"
        f"for stack in {STACKS}: print(json.dumps(dataclasses.asdict(record_stack(stack)), sort_keys=True))"
    )
    # Another hash seed than this process's, which is random.
    assert lines_of(program, PYTHONHASHSEED="1") == [_as_json(recording_of(stack)) for stack in STACKS]


# --- secrets ----------------------------------------------------------------------------------------------------------


def _plain_texts(value: Any) -> Iterator[str]:
    """Every string that is not inside a `Secret`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _plain_texts(key)
            yield from _plain_texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _plain_texts(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Secret | type):
        for field in dataclasses.fields(value):
            yield from _plain_texts(getattr(value, field.name))


def _secrets(value: Any) -> Iterator[Any]:
    if isinstance(value, Secret):
        yield value.value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _secrets(getattr(value, field.name))


@pytest.fixture
def recorded_with_sentinels(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Recording]:
    """Records a stack in which every secret from outside has a value that can be searched for."""

    def state(*_: object) -> dict[str, Any]:
        names = ("payload_user", "django_user", "createos_user", "cineos_user", "photographyos_user")
        logins = [*names, settings.STATS_USER]
        return {
            "databasePort": 5432,
            "pgbouncerPort": 6432,
            "passwords": dict.fromkeys([settings.ADMIN, *logins], SENTINEL),
            "scramVerifiers": dict.fromkeys(logins, f"SCRAM-SHA-256${SENTINEL}"),
            "secrets": dict.fromkeys([*settings.APPLICATION_SECRETS.values(), *settings.VALKEY_SECRETS], SENTINEL),
        }

    generated = {
        "random:index/randomPassword:RandomPassword": lambda _: {"result": recorder.secret(SENTINEL)},
        "cloudflare:index/accountToken:AccountToken": lambda _: {"value": recorder.secret(SENTINEL)},
    }

    def recorded(stack: str) -> Recording:
        monkeypatch.setattr("settings.files.placeholder_state", state)
        monkeypatch.setattr(recorder, "COMPUTED", {**recorder.COMPUTED, **generated})
        media = {**settings.stack_config(stack)["lightwave:media"]}
        if media:
            media |= {"credentials": "given", "accessKeyId": SENTINEL, "secretAccessKey": SENTINEL}
        return record_stack(stack, overrides={"lightwave:media": media})

    return recorded


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_is_plain_anywhere(recorded_with_sentinels: Callable[[str], Recording], stack: str) -> None:
    recording = recorded_with_sentinels(stack)
    assert SENTINEL not in repr(recording)
    assert [text for text in _plain_texts(recording) if SENTINEL in text] == []
    # The search above found nothing because the secrets are wrapped, not because they are missing.
    wrapped = [secret for secret in _secrets(recording) if SENTINEL in json.dumps(secret, default=dataclasses.asdict)]
    assert len(wrapped) >= 6


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_secret_by_its_key_is_wrapped(recording_of: Callable[[str], Recording], stack: str) -> None:
    secret_keys = {"password", "passwordWo", "secretString", "stringData", "accessKeyId", "secretAccessKey"}
    found = [
        (resource.urn, key, value)
        for resource in recording_of(stack).resources
        for key, value in resource.inputs.items()
        if key in secret_keys
    ]
    assert len(found) >= 6
    assert [(urn, key) for urn, key, value in found if not isinstance(value, Secret)] == []

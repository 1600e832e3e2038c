"""The recorder has what the Pulumi CLI would receive, and nothing else of the machine it runs on."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pulumi
import pulumi_postgresql as postgresql
import pulumi_random as random
import pytest

import settings
from ops.plan.recorder import FACTS, KNOWN, Recording, masked, record, record_program, record_stack
from policies import tokens
from policies.rules.model import UNKNOWN, Secret


class Box(pulumi.ComponentResource):
    """A component as the program's own are, with one child."""

    label: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:test:Box", name, {}, opts)
        self.child = postgresql.Role(f"{name}-role", name="r", opts=pulumi.ResourceOptions(parent=self))
        self.label = self.child.name
        self.register_outputs({"label": self.label})


def one(recording: Recording) -> Any:
    (resource,) = recording.resources
    return resource


def test_inputs_type_name_and_urn() -> None:
    recording = record(lambda: postgresql.Role("role", name="r", login=True, roles=["a"]), stack="s")
    role = one(recording)
    assert role.inputs == {"name": "r", "login": True, "roles": ["a"]}
    assert (role.type, role.name, role.custom, role.parent) == ("postgresql:index/role:Role", "role", True, "")
    assert role.urn == "urn:pulumi:s::lightwave::postgresql:index/role:Role::role"
    assert recording.stack == "s"


def test_a_childs_urn_has_every_ancestors_type() -> None:
    class Outer(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("lightwave:test:Outer", "outer")
            Box("box", pulumi.ResourceOptions(parent=self))

    recording = record(Outer, stack="s")
    role = recording.one("postgresql:index/role:Role", "box-role")
    types = "lightwave:test:Outer$lightwave:test:Box$postgresql:index/role:Role"
    assert role.urn == f"urn:pulumi:s::lightwave::{types}::box-role"
    box = recording.one("lightwave:test:Box", "box")
    assert not box.custom
    assert role.parent == box.urn
    assert recording.children(box.urn) == [role]
    assert recording.component_outputs == {box.urn: {"label": "r"}}


def test_every_option_is_recorded() -> None:
    def program() -> None:
        provider = postgresql.Provider("provider", host="h")
        first = postgresql.Role("first", name="first", opts=pulumi.ResourceOptions(provider=provider))
        postgresql.Role(
            "role",
            name="role",
            opts=pulumi.ResourceOptions(
                protect=True,
                depends_on=[first],
                provider=provider,
                delete_before_replace=True,
                retain_on_delete=True,
                ignore_changes=["login"],
                replace_on_changes=["name"],
                additional_secret_outputs=["name"],
                aliases=[pulumi.Alias(name="old")],
                import_="known",
                deleted_with=first,
            ),
        )

    recording = record(program, stack="s")
    first = recording.one("postgresql:index/role:Role", "first")
    role = recording.one("postgresql:index/role:Role", "role")
    (provider,) = recording.of_type("pulumi:providers:postgresql")
    assert role.protect
    assert role.depends_on == (first.urn,)
    assert role.provider == provider.urn
    assert role.delete_before_replace
    assert role.retain_on_delete
    assert role.ignore_changes == ("login",)
    assert role.replace_on_changes == ("name",)
    # The provider's own and ours, each once.
    assert role.additional_secret_outputs == ("name", "password", "passwordWo")
    assert [alias.rpartition("::")[2] for alias in role.aliases] == ["old"]
    assert role.import_id == "known"
    assert role.deleted_with == first.urn


def test_the_options_that_were_not_given() -> None:
    role = one(record(lambda: postgresql.Role("role", name="r"), stack="s"))
    assert not (role.protect)
    assert not (role.delete_before_replace)
    assert not (role.retain_on_delete)
    assert not (role.provider)
    assert not (role.depends_on)
    assert not (role.ignore_changes)
    assert not (role.replace_on_changes)
    assert not (role.aliases)
    assert not (role.import_id)
    assert not (role.deleted_with)


def test_a_dependency_that_follows_from_an_input() -> None:
    def program() -> None:
        first = postgresql.Role("first", name="first")
        postgresql.Schema("schema", name="s", database="d", owner=first.name)

    recording = record(program, stack="s")
    schema = recording.one("postgresql:index/schema:Schema", "schema")
    assert schema.depends_on == (recording.one("postgresql:index/role:Role", "first").urn,)
    assert schema.inputs["owner"] == "first"


def test_secrets_are_wrapped_where_they_were_marked_and_never_shown() -> None:
    def program() -> None:
        postgresql.Role("role", name="r", password=pulumi.Output.secret("hidden"))
        pulumi.export("plain", "shown")
        pulumi.export("secret", pulumi.Output.secret("hidden"))
        pulumi.export("nested", {"a": [pulumi.Output.secret("hidden"), "shown"]})

    recording = record(program, stack="s")
    assert one(recording).inputs == {"name": "r", "password": Secret("hidden")}
    assert recording.outputs["secret"] == Secret("hidden")
    assert recording.outputs["plain"] == "shown"
    assert "hidden" not in repr(recording)
    assert "hidden" not in str(recording)


def test_a_value_derived_from_a_secret_is_secret() -> None:
    def program() -> None:
        generated = random.RandomPassword("password", length=8)
        postgresql.Role("role", name="r", password=generated.result)

    recording = record(program, stack="s")
    assert recording.one("postgresql:index/role:Role", "role").inputs["password"] == Secret(KNOWN)


def test_rules_see_unknowns_secrets_and_the_providers_inputs() -> None:
    def program() -> None:
        server = postgresql.Provider("server", host="h")
        postgresql.Role(
            "role",
            name=KNOWN,
            search_paths=[f"x{KNOWN}", pulumi.Output.secret(KNOWN)],
            connection_limit=1,
            opts=pulumi.ResourceOptions(provider=server, protect=True),
        )
        postgresql.Role("other", name="o")

    recording = record(program, stack="prod")
    role, other = recording.one(tokens.ROLE, "role"), recording.one(tokens.ROLE, "other")
    assert role.inputs["name"] is UNKNOWN
    assert role.inputs["connectionLimit"] == 1.0
    paths = role.inputs["searchPaths"]
    # One secret makes the list secret, as the SDK sends it.
    assert paths == Secret(["x<known at deploy>", UNKNOWN])
    assert paths.value[1] is UNKNOWN
    assert role.provider_inputs == recording.one("pulumi:providers:postgresql", "server").inputs
    assert role.provider_inputs["host"] == "h"
    assert other.provider_inputs == {}
    assert (role.protect, other.protect) == (True, False)
    assert role.secrecy_known
    assert type(masked(UNKNOWN)) is str
    assert masked(UNKNOWN) == KNOWN == str(UNKNOWN)


def test_resources_and_outputs_are_sorted() -> None:
    def program() -> None:
        for name in "cab":
            postgresql.Role(name, name=name)
            pulumi.export(name, name)

    recording = record(program, stack="s")
    assert [resource.name for resource in recording.resources] == ["a", "b", "c"]
    assert list(recording.outputs) == ["a", "b", "c"]


def test_two_resources_with_one_urn_are_refused() -> None:
    def program() -> None:
        postgresql.Role("role", name="a")
        postgresql.Role("role", name="b")

    with pytest.raises(Exception, match="two resources with the URN"):
        record(program, stack="s")


def test_what_the_program_raises_is_raised() -> None:
    def program() -> None:
        raise LookupError("from the program")

    with pytest.raises(LookupError, match="from the program"):
        record(program, stack="s")


def test_what_an_apply_raises_is_raised() -> None:
    def fails(_: str) -> str:
        raise LookupError("from an apply")

    def program() -> None:
        first = postgresql.Role("first", name="first")
        postgresql.Role("second", name=first.name.apply(fails))

    with pytest.raises(Exception, match="from an apply"):
        record(program, stack="s")


@pytest.mark.parametrize("fails", [False, True])
def test_it_closes_every_event_loop(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python complains on stderr about one that is not."""
    made: list[asyncio.AbstractEventLoop] = []
    new_loop = asyncio.new_event_loop

    def kept() -> asyncio.AbstractEventLoop:
        made.append(new_loop())
        return made[-1]

    for module in (asyncio, asyncio.events):
        monkeypatch.setattr(module, "new_event_loop", kept)

    def program() -> None:
        Box("box").label.apply(lambda _: 1 / int(not fails))

    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        record(program, stack="s")
    assert made
    assert [loop for loop in made if not loop.is_closed()] == []


def test_a_call_without_an_answer_is_refused_and_one_with_is_recorded() -> None:
    token = "postgresql:index/getSchemas:getSchemas"

    def program() -> None:
        found = postgresql.get_schemas_output(database="d")
        pulumi.export("schemas", found.schemas)

    with pytest.raises(Exception, match=f"no answer to {token}"):
        record(program, stack="s")
    recording = record(program, stack="s", facts={token: {"schemas": ["a"]}})
    assert recording.outputs["schemas"] == ["a"]
    assert [(call, args["database"]) for call, args in recording.calls] == [(token, "d")]
    assert token not in FACTS


def test_warnings_are_recorded_once_and_sorted() -> None:
    def program() -> None:
        for text in ("b", "a", "b"):
            pulumi.warn(text)
        pulumi.info("not a warning")

    assert record(program, stack="s").warnings == ("a", "b")


def test_config_reaches_the_program_as_from_the_pulumi_cli() -> None:
    def program() -> None:
        config = pulumi.Config("lightwave")
        pulumi.export("found", [config.get("text"), config.get_object("object"), config.get_bool("flag")])

    config = {"lightwave:text": "t", "lightwave:object": {"a": [1]}, "lightwave:flag": True}
    assert record(program, stack="s", config=config).outputs["found"] == ["t", {"a": [1]}, True]
    assert record(program, stack="s").outputs["found"] == [None, None, None]


def test_runs_do_not_see_each_other() -> None:
    first = record(lambda: pulumi.export("stack", pulumi.get_stack()), stack="one", config={"lightwave:a": "1"})
    second = record(lambda: pulumi.export("a", pulumi.Config("lightwave").get("a")), stack="two")
    assert first.outputs == {"stack": "one"}
    assert second.outputs.get("a") is None
    assert "stack" not in second.outputs
    assert second.resources == ()


def test_it_records_inside_a_running_event_loop_of_another_thread() -> None:
    async def outside() -> Recording:
        return await asyncio.to_thread(record, lambda: postgresql.Role("role", name="r"), stack="s")

    assert one(asyncio.run(outside())).name == "role"


def test_the_program_runs_offline_and_only_within_the_recording() -> None:
    def program() -> None:
        pulumi.export("id", settings.load("prod", settings.stack_config("prod")).pgbouncer.image)

    assert record(program, stack="s").outputs["id"] == settings.KNOWN_AT_DEPLOY
    with pytest.raises(settings.SettingsError):
        settings.load("prod", settings.stack_config("prod"))


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_settings_of_a_recording_are_those_of_the_stack(stack: str) -> None:
    with settings.offline():
        assert record_program(stack).settings == settings.load(stack, settings.stack_config(stack))


def test_one_refuses_none_and_several() -> None:
    recording = record(lambda: postgresql.Role("role", name="r"), stack="s")
    with pytest.raises(KeyError, match="0 resources"):
        recording.one("postgresql:index/role:Role", "other")
    assert recording.of_type("postgresql:index/schema:Schema") == []


def test_overrides_replace_keys_of_the_stacks_config() -> None:
    changed = record_stack("dev", overrides={"lightwave:protect": True})
    assert {resource.protect for resource in changed.of_type("postgresql:index/schema:Schema")} == {True}
    with pytest.raises(settings.SettingsError, match="lightwave:protect"):
        record_stack("dev", overrides={"lightwave:protect": "maybe"})

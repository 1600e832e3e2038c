"""Whatever is in a stack's config: valid Settings or a SettingsError, nothing else, and no secret in its words."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pulumi.runtime.config import set_all_config

import settings
from settings import LocalDatabaseSettings, RdsSettings, Settings, SettingsError, files, words
from tests.unit.conftest import STACKS, full_config, local_state

SECRET = "5ecret-5entinel"


@pytest.fixture(scope="module", autouse=True)
def _files_read_once() -> Iterator[None]:
    """Each refusal looks into the two YAML files for its fix: reading them anew would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_file_config", cache(files._file_config))
        yield


PATIENT = hypothesis_settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

texts = st.one_of(
    st.text(st.characters(), max_size=12),  # surrogates and control characters too
    st.sampled_from(
        ["", "true", "5", "null", "<known at deploy>", "x" * 300, "payload", "10.0.0.0/8", "\ud800", "\x00", "a\nb"]
    ),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**63, 10**70]),
    st.builds(lambda: 10**5000),  # too long to print
    st.floats(),  # NaN and the infinities too
    texts,
    st.dates(),  # what YAML makes of 2026-01-01
    st.binary(max_size=4),
)
keys = st.one_of(
    texts,
    st.integers(),
    st.none(),
    st.booleans(),
    st.floats(),
    st.dates(),
    st.tuples(st.integers()),
    st.sampled_from(["name", "schema", "local", "stack", "server", "rds", "[key]", "readers", "pool", "secure"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*here, key)
        yield from _paths(item, (*here, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _text(value: Any) -> str:
    try:
        return str(value)[:99]
    except ValueError:  # a number in it is too long to print
        return "5"


def _mangle(draw: st.DrawFn, config: dict[str, Any]) -> None:
    """One change at a random place and depth."""
    paths = list(_paths(config))
    assume(paths)
    *outer, last = draw(st.sampled_from(paths))
    container = _at(config, tuple(outer))
    match draw(st.sampled_from(["drop", "junk", "add", "swap", "rename", "wrap", "text"])):
        case "drop":
            del container[last]
        case "junk":
            container[last] = draw(junk)
        case "add" if isinstance(container[last], dict):
            container[last][draw(keys)] = draw(junk)
        case "add" if isinstance(container[last], list):
            container[last].append(draw(junk))
        case "swap":
            *other, end = draw(st.sampled_from(paths))
            there = _at(config, tuple(other))
            # No value into itself: JSON has no cycles.
            if (*other, end)[: len(outer) + 1] != (*outer, last) and (*outer, last)[: len(other) + 1] != (*other, end):
                container[last], there[end] = there[end], container[last]
        case "rename" if isinstance(container, dict):
            container[draw(keys)] = container.pop(last)
        case "wrap":
            container[last] = [container[last]]
        case "text":
            container[last] = _text(container[last]) if isinstance(container[last], bool | str | dict | list) else "5"
        case _:
            container[last] = None


@st.composite
def mangled(draw: st.DrawFn, stack: str) -> dict[str, Any]:
    """A stack's real config with one to four changes."""
    config = full_config(stack)
    for _ in range(draw(st.integers(1, 4))):
        _mangle(draw, config)
    return config


def check_words(error: SettingsError) -> None:
    """A head with the count, then per error its key, what is wrong, what is expected, the command that fixes it."""
    head, *lines = str(error).split("\n")
    count = re.fullmatch(r"stack \w+: (\d+) errors? in its config", head)
    assert count
    assert int(count[1]) * 2 == len(lines)
    for what, fix in zip(lines[::2], lines[1::2], strict=True):
        assert re.fullmatch(r"  (lightwave:\S.*|\.local/dev/state\.json: local.*): .+; expected: .+", what)
        assert re.fullmatch(r"      fix: (pulumi config (set|rm) |\$\{EDITOR:-vi\} Pulumi\.|make (up|down)).*", fix)
    assert str(error).isprintable() or str(error).replace("\n", "").isprintable()
    str(error).encode()


def check_valid(loaded: Settings) -> None:
    """What the rest of the program takes for granted."""
    products = loaded.products
    assert products
    roles = [role for p in products.values() for role in (p.login_role, p.reader_role)]
    assert len(set(roles)) == 2 * len(products)
    assert not set(roles) & {settings.ADMIN, "lightwave_login", "public", "postgres", "rdsadmin", "pgbouncer_stats"}
    assert not [role for role in roles if role.startswith(("pg_", "rds_")) or len(role) > 63]
    schemas = [p.schema_name for p in products.values()]
    assert len(set(schemas)) == len(schemas)
    assert not set(schemas) & {"public", "information_schema", "extensions"}
    assert all(set(p.readers) <= set(products) - {name} for name, p in products.items())
    assert (loaded.tier == "development") is loaded.is_local
    assert loaded.tier == "production" or loaded.stack != "prod"
    if loaded.media:
        assert loaded.tier == "production" or not loaded.media.zone_singletons
        assert loaded.stack == "prod" or {loaded.media.bucket, loaded.media.domain}.isdisjoint(settings.PLAIN_NAMES)
    if isinstance(loaded.database, RdsSettings):
        assert loaded.aws is not None
        assert loaded.kubernetes is not None
        assert loaded.media is not None
        shared = {loaded.database.identifier, loaded.kubernetes.cluster, loaded.media.bucket, loaded.media.domain}
        assert loaded.stack == "prod" or all(loaded.stack in name for name in shared)
    if isinstance(loaded.database, RdsSettings) and loaded.tier == "production":
        assert loaded.protect
        assert loaded.database.multi_az
        assert loaded.database.backup_retention_days >= 7
    if isinstance(loaded.database, LocalDatabaseSettings):
        assert loaded.local is not None
        assert {p.login_role for p in products.values()} <= set(loaded.local.scram_verifiers)
    if loaded.kubernetes is not None:
        homes = {p.namespace for p in products.values() if p.namespace}
        assert homes | {"shared"} <= set(loaded.kubernetes.namespaces)


def load_or_refuse(stack: str, config: Any, local: Any = None) -> str:
    """The message, or nothing when the config is valid."""
    try:
        check_valid(settings.load(stack, config, local=local))
    except SettingsError as error:
        check_words(error)
        return str(error)
    return ""


@pytest.mark.parametrize("stack", STACKS)
@given(data=st.data())
@PATIENT
def test_a_mangled_config_is_valid_or_refused(stack: str, data: st.DataObject) -> None:
    config = data.draw(mangled(stack))
    load_or_refuse(stack, config, local_state())
    with settings.offline():
        load_or_refuse(stack, config)


@given(config=st.dictionaries(st.one_of(keys, keys.map(lambda key: f"lightwave:{key}")), junk, max_size=4))
@example({"lightwave:products": {10**70: {}, 5: {}, "5": None}, "lightwave:database": {"server": "local"}})
@PATIENT
def test_junk_is_refused(config: dict[Any, Any]) -> None:
    assert load_or_refuse("dev", config, local_state())


@given(state=junk)
@example({"passwords": {"payload_user": SECRET}, "secrets": [SECRET], "scramVerifiers": SECRET, "databasePort": 0})
@PATIENT
def test_a_mangled_local_state_is_refused(state: Any) -> None:
    message = load_or_refuse("dev", full_config("dev"), state)
    assert "fix: make " in message
    assert SECRET not in message


@pytest.mark.parametrize("stack", STACKS)
@given(data=st.data())
@PATIENT
def test_what_pulumi_passes_is_valid_or_refused(stack: str, data: st.DataObject) -> None:
    def as_pulumi(value: Any) -> str:
        try:
            return value if isinstance(value, str) else json.dumps(value)
        except (TypeError, ValueError):
            return str(type(value))

    config = {str(key): as_pulumi(value) for key, value in data.draw(mangled(stack)).items()}
    set_all_config(config, [])
    try:
        with settings.offline():
            check_valid(settings.from_pulumi(stack))
    except SettingsError as error:
        check_words(error)
    finally:
        set_all_config({}, [])


SECRET_SHAPES = st.one_of(
    st.just(SECRET),
    st.just([SECRET]),
    st.just({SECRET: SECRET}),
    st.just({"a": {"b": [SECRET]}}),
    st.just([[SECRET], None]),
    st.just(f"{SECRET}\x00"),
)


@given(data=st.data())
@PATIENT
def test_no_message_repeats_a_secret(data: st.DataObject) -> None:
    config = data.draw(mangled("prod"))
    media: Any = config.get("lightwave:media")
    assume(isinstance(media, dict))
    config["lightwave:media"] = {
        **media,
        "credentials": data.draw(st.sampled_from(["given", "token", "wat", None])),
        "accessKeyId": data.draw(
            SECRET_SHAPES.filter(lambda shape: SECRET not in shape or isinstance(shape, str | list))
        ),
        "secretAccessKey": data.draw(SECRET_SHAPES),
        "secretAccesKey": SECRET,
    }
    config["lightwave:mediaSecret"] = SECRET
    message = load_or_refuse("prod", config)
    assert "lightwave:media.secretAccesKey: is not a key; did you mean secretAccessKey?" in message
    assert SECRET not in message


@given(data=st.data())
@PATIENT
def test_nothing_of_a_section_that_pulumi_calls_secret_is_repeated(data: st.DataObject) -> None:
    config = full_config("prod")
    leaves = [path for path in _paths(config) if not isinstance(_at(config, path), dict | list)]
    leaves = [path for path in leaves if path[0] in {"lightwave:media", "lightwave:aws", "lightwave:kubernetes"}]
    path = data.draw(st.sampled_from(leaves))
    _at(config, path[:-1])[path[-1]] = f"!{SECRET}"
    with pytest.raises(SettingsError) as refused:
        settings.load("prod", config, secret_keys=[path[0]])
    assert SECRET not in str(refused.value)


names = st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True)


@given(
    products=st.lists(
        st.one_of(names, st.sampled_from(settings.RESERVED_PRODUCTS)), min_size=1, max_size=8, unique=True
    )
)
@example(["x", "x_reader", "x_user", "x_user_reader"])
@example(["lightwave_admin", "pgbouncer", "pg_x", "rds_x", "public", "extensions"])
@PATIENT
def test_no_two_roles_are_one(products: list[str]) -> None:
    config = {**full_config("dev"), "lightwave:products": {name: {} for name in products}}
    load_or_refuse("dev", config, local_state(tuple(products)))


def _schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    below += [
        schema.get("propertyNames"),
        *schema.get("anyOf", ()),
        *schema.get("oneOf", ()),
        *schema.get("$defs", {}).values(),
    ]
    for one in below:
        if isinstance(one, dict):
            yield from _schemas(one)


def test_every_field_has_words_for_what_it_accepts() -> None:
    """A field whose words are only "text" accepts anything, or hides what it accepts."""
    free = {"Stack", "Name"}  # not the config's to give
    found = [s for s in _schemas(words.schema_of_settings()) if s.get("type") != "null" and s.get("title") not in free]
    assert len(found) > 80
    assert [schema for schema in found if words.expected(schema) == "text"] == []

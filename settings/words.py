"""What is wrong with the form of a value: pydantic finds it, the models' JSON schema knows what is expected."""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import ValidationError

from settings.problems import Key, Mistake, listed, shown
from settings.settings import Settings

_NOT_CONFIG = ("stack", "local", "name")
"""Fields of the models that are not keys of the stack config."""


def form_mistakes(section: str, error: ValidationError, *, secret: bool) -> Iterator[Mistake]:
    """The errors in one section; `secret` keeps every value of it out of the messages."""
    for detail in error.errors(include_url=False):
        loc, kind, value = (section, *detail["loc"]), detail["type"], detail["input"]
        if kind == "extra_forbidden":
            yield unknown_key(loc)
            continue
        if kind == "default_factory_not_called":  # because of another field, which is reported itself
            continue
        if kind.startswith("union_tag"):
            tag = detail["ctx"]["discriminator"].strip("'")
            loc, value = (*loc, tag), value.get(tag)
            kind = "missing" if kind == "union_tag_not_found" else kind
        key, schema = place(loc)
        if kind == "missing":
            yield missing(key)
            continue
        printable = _is_leaf(schema) and not isinstance(value, dict | list)
        printable = printable and not secret and not schema.get("writeOnly")
        what = detail["msg"] if kind == "form" else "is not allowed"
        by_hand = not _is_leaf(schema) or loc[-1] == "[key]"
        what = f"{shown(value) if printable else _kind(value)} {what}"
        yield Mistake(key, what, expected(schema), "edit" if by_hand else "set")


def missing(key: Key) -> Mistake:
    """A required key is not there."""
    _, schema = place(key)
    return Mistake(key, "is missing", expected(schema), "set" if _is_leaf(schema) else "edit")


def unknown_key(loc: Key) -> Mistake:
    """A key that the config does not have."""
    outer, schema = place(loc[:-1])
    known = keys(schema)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Mistake((*outer, loc[-1]), f"is not a key{hint}", listed(known), "remove")


def place(loc: Key) -> tuple[Key, dict[str, Any]]:
    """The user's key for a pydantic location, and the schema there (empty under an unknown key)."""
    key: list[str | int] = []
    outer: dict[str, Any] = {}
    schema = resolved(schema_of_settings())
    for part in loc:
        members = schema.get("discriminator", {}).get("mapping", {})
        if part == "[key]" and "propertyNames" in outer:
            schema = outer["propertyNames"]
        elif part in members:  # pydantic names the union's member, the user's file does not
            schema = resolved({"$ref": members[part]})
        else:
            key.append(part)
            outer, schema = schema, resolved(_below(schema, part))
    return tuple(key), schema


def expected(schema: dict[str, Any]) -> str:
    """In words, what the JSON schema of a field accepts."""
    match resolved(schema):
        case {"expected": str(given)}:
            words = given
        case {"discriminator": {"propertyName": tag}} as union:
            words = f"a mapping with {tag}: {expected(_below(union, tag))}"
        case {"enum": values}:
            words = " or ".join(map(json.dumps, values))
        case {"const": value}:
            words = json.dumps(value)
        case {"type": "boolean"}:
            words = "true or false"
        case {"type": "integer", "minimum": least, "maximum": most}:
            words = f"a whole number from {least} to {most}"
        case {"writeOnly": True}:
            words = "a secret text that is not empty"
        case {"type": "array", "items": each}:
            words = f"a list; an entry: {expected(each)}"
        case {"properties": _} as model:
            words = f"a mapping with the keys {listed(keys(model))}"
        case {"additionalProperties": dict(each), **rest}:
            names = rest.get("propertyNames", {"expected": "text"})
            words = f"a mapping; a key: {expected(names)}; an entry: {expected(each)}"
        case _:
            words = "text"
    return words


@cache
def schema_of_settings() -> dict[str, Any]:
    """The JSON schema of `Settings`."""
    return Settings.model_json_schema()


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference; of `X | None`, that of X."""
    if "$ref" in schema:
        return resolved(schema_of_settings()["$defs"][schema["$ref"].rpartition("/")[2]])
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return resolved(options[0]) if options else schema


def _below(schema: dict[str, Any], part: str | int) -> dict[str, Any]:
    if "discriminator" in schema:
        members = schema["discriminator"]["mapping"]
        if part == schema["discriminator"]["propertyName"]:
            return {"enum": sorted(members)}
        # The user's key does not say which member it is of.
        below = (_below(resolved({"$ref": member}), part) for member in members.values())
        return next(filter(None, below), {})
    others = schema.get("items") if isinstance(part, int) else schema.get("additionalProperties")
    found: dict[str, Any] = schema.get("properties", {}).get(part) or others or {}
    return found


def _is_leaf(schema: dict[str, Any]) -> bool:
    return schema.get("type") not in ("object", "array") and "oneOf" not in schema


def keys(schema: dict[str, Any]) -> list[str]:
    """The keys that the config may have there, sorted."""
    return sorted(key for key in schema.get("properties", {}) if key not in _NOT_CONFIG)


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")

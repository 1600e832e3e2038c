"""docs/configuration.md, from the models: `.venv/bin/python -m settings.reference` writes it."""

import json
from collections.abc import Iterator
from typing import Any

from settings import files, words

FILE = "docs/configuration.md"

_HEAD = """\
# Configuration

Every key of the stack config, `lightwave:<key>`. `.venv/bin/python -m settings.reference` generates this page from the
models in [`settings/models.py`](../settings/models.py), [`settings/service_models.py`](../settings/service_models.py),
[`settings/edge_models.py`](../settings/edge_models.py) and [`settings/settings.py`](../settings/settings.py).

[`Pulumi.yaml`](../Pulumi.yaml) holds what all stacks share. A section in `Pulumi.<stack>.yaml` replaces that one whole.
`pulumi config set --stack prod --path lightwave:aws.region VALUE` sets one value; a secret takes `--secret` as well. A
wrong value is refused before anything is touched: the error names the key, what is expected and the fix.
"""

_TYPES = {"string": "text", "integer": "number", "boolean": "boolean", "array": "list", "object": "mapping"}

Schema = dict[str, Any]


def markdown() -> str:
    """The page: one table per section, with key, type, default, what is expected, and the meaning."""
    root = words.resolved(words.schema_of_settings())
    parts = [_HEAD]
    for name in words.keys(root):
        for title, schema in _variants(name, root["properties"][name]):
            table = ["| key | type | default | expected | meaning |", "|---|---|---|---|---|"]
            table += [f"| {' | '.join(row)} |" for row in _rows(name, schema, required=name in root["required"])]
            parts += [f"## {title}\n", *table, ""]
    return "\n".join(parts)


def _variants(name: str, field: Schema) -> Iterator[tuple[str, Schema]]:
    tag = words.resolved(field).get("discriminator", {"mapping": {}})
    for value, reference in tag["mapping"].items():
        yield f"{name}, {tag['propertyName']}: {value}", {"$ref": reference}
    if not tag["mapping"]:
        yield name, field


def _rows(key: str, field: Schema, *, required: bool) -> Iterator[tuple[str, ...]]:
    schema = words.resolved(field)
    default = field.get("default")
    known = not isinstance(default, dict | list | type(None))
    shown = "**required**" if required else f"`{json.dumps(default)}`" if known else ""
    type_ = "secret" if schema.get("writeOnly") else _TYPES[schema.get("type", "string")]
    entry = schema.get("additionalProperties")
    names = schema.get("propertyNames", {"expected": "text"})
    each = words.resolved(entry) if isinstance(entry, dict) else {}
    if "properties" in schema:
        expected = ""
    elif "properties" in each:
        expected = f"a key: {words.expected(names)}"
    else:
        expected = words.expected(schema)
    meaning = field.get("description") or schema.get("description", "")
    yield f"`{key}`", type_, shown, _cell(expected), _cell(meaning)
    items = words.resolved(schema["items"]) if "items" in schema else {}
    for outer, inner in ((key, schema), (f"{key}.<name>", each), (f"{key}[n]", items)):
        for name in words.keys(inner):
            yield from _rows(f"{outer}.{name}", inner["properties"][name], required=name in inner.get("required", ()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    (files.ROOT / FILE).write_text(markdown())

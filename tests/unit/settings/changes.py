"""Changes to a stack's real config, and what the settings say of them."""

import re
from typing import Any

import pytest

import settings
from settings import Settings, SettingsError
from tests.unit.conftest import full_config, local_state

SECRET = "s3cr3t-value"  # no message may repeat it


def load(stack: str, config: dict[str, Any]) -> Settings:
    return settings.load(stack, config, local=local_state())


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Sets the value at a dotted path, or takes the key out for `...`; a step may be an index."""
    first, *rest = path.split(".")
    *outer, last = [f"lightwave:{first}", *rest]
    target: Any = config
    for step in outer:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    if value is ...:
        del target[last]
    elif isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value


def problems(stack: str, changes: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By key, what the error says of it and the command that fixes it. The config must be refused."""
    config = full_config(stack)
    for path, value in changes.items():
        put(config, path, value)
    products = config.get("lightwave:products", {})
    with pytest.raises(SettingsError) as refused:
        settings.load(stack, config, local=local_state(tuple(products)))
    head, *lines = str(refused.value).splitlines()
    assert re.fullmatch(rf"stack {stack}: \d+ errors? in its config", head)
    found: dict[str, tuple[str, str]] = {}
    for what, fix in zip(lines[::2], lines[1::2], strict=True):
        key, _, text = what.strip().partition(": ")
        assert fix.startswith("      fix: ")
        found[key] = (f"{found[key][0]}\n{text}" if key in found else text, fix.strip().removeprefix("fix: "))
    assert head.split()[2] == str(len(lines) // 2)
    return found


def check_refused(stack: str, change: str, value: Any, what: str) -> None:
    """`change` is a dotted path, and after ` > ` the key that the message names where that is another one."""
    path, _, key = change.partition(" > ")
    text, fix = problems(stack, {path: value})[f"lightwave:{key or path}"]
    assert what in text
    assert "; expected: " in what
    assert SECRET not in text + fix
    assert (key or path) in fix.replace("'", "")

"""docs/configuration.md is what the models say, and names every key."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settings import ROOT, files, reference
from tests.unit.conftest import STACKS, full_config

PAGE = (ROOT / reference.FILE).read_text()
ROWS = [[cell.strip() for cell in line.split(" | ")] for line in PAGE.splitlines() if line.startswith("| `")]


def test_the_page_is_current() -> None:
    assert reference.markdown() == PAGE, "run: .venv/bin/python -m settings.reference"


def test_every_key_has_a_type_and_a_meaning() -> None:
    assert len(ROWS) > 80
    incomplete = [key for key, type_, _, _, meaning in ROWS if not type_ or len(meaning.removesuffix("|")) < 15]
    assert incomplete == []


def test_every_key_that_takes_a_value_says_what_is_expected() -> None:
    assert [key for key, type_, _, expected, _ in ROWS if type_ != "mapping" and not expected] == []


def keys_of(value: Any, key: str) -> Iterator[str]:
    yield key
    for name, item in value.items() if isinstance(value, dict) else ():
        below = "<name>" if key in ("products", "kubernetes.namespaces", "services", "edge.hostnames") else name
        yield from (found for found in keys_of(item, f"{key}.{below}") if not found.endswith("<name>"))


@pytest.mark.parametrize("stack", STACKS)
def test_every_key_of_the_stacks_is_on_the_page(stack: str) -> None:
    keys = {key for section, value in full_config(stack).items() for key in keys_of(value, section.partition(":")[2])}
    assert len(keys) > 15
    assert keys - {row[0].strip("| `") for row in ROWS} == set()


def test_defaults_and_requirements_are_shown() -> None:
    rows = {row[0].strip("| `"): row for row in ROWS}
    assert rows["aws.region"][1:4] == ["text", "**required**", "an AWS region such as eu-central-1"]
    assert rows["pgbouncer.maxSurge"][1:4] == ["number", "`0`", "a whole number from 0 to 5"]
    assert rows["pgbouncer.clientTls"][2] == "`false`"
    assert rows["media.secretAccessKey"][1] == "secret"
    assert rows["database.instanceClass"][2] == '`"db.t3.medium"`'


def test_the_module_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    page = reference.markdown()
    monkeypatch.setattr(files, "ROOT", tmp_path)
    runpy.run_path(str(ROOT / "settings" / "reference.py"), run_name="__main__")
    assert (tmp_path / "docs" / "configuration.md").read_text() == page

"""The documents: those that are named exist, each decision is one page, and the runbook knows every alarm."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.plan.recorder import Recording
from settings import ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
NAMING_DOCUMENTS = sorted((ROOT / "ops/deploy").glob("*.py"))
"""Programs whose messages name documents."""


@pytest.mark.parametrize("path", [*DOCS, *NAMING_DOCUMENTS], ids=lambda path: path.stem)
def test_every_document_that_is_named_exists(path: Path) -> None:
    for name in re.findall(r"[\w/-]+\.md", path.read_text()):
        if not name.startswith("build/"):
            places = (path.parent, ROOT, ROOT / "docs")
            assert any((place / name).exists() for place in places), f"{path}: {name}"


def test_a_page_each() -> None:
    decisions = [path for path in DOCS if path.parent.name == "adr"]
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert [
            part for part in ("Status:", "**Context.**", "**Decision.**", "**Consequences.**") if part not in text
        ] == []
        assert len(text.splitlines()) <= 50, path
    for reference in {found for path in DOCS for found in re.findall(r"adr/(\d{4})", path.read_text())}:
        assert any(path.name.startswith(reference) for path in decisions), reference


def test_the_alarms_runbook_knows_every_alarm(recording_of: Callable[[str], Recording]) -> None:
    declared = {
        resource.inputs["name"].removeprefix("lightwave-platform-")
        for resource in recording_of("prod").of_type("aws:cloudwatch/metricAlarm:MetricAlarm")
    }
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs/runbooks/alarms.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]*)`", row)} == declared
    assert declared

"""The docs: every path is a link, every link and anchor leads somewhere, every index is complete."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ops.plan.recorder import Recording
from settings import ROOT
from tests.watched import every_alert

ADR = ROOT / "docs/adr"
RUNBOOKS = ROOT / "docs/runbooks"

NAMED_BEFORE_THEY_EXIST = {"rds-ca.pem", "pgbouncer-ca.pem"}


def tracked() -> list[str]:
    """Every file of the repository, relative to its root; new ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return sorted(name for name in set(listed.stdout.split("\0")) if name and (ROOT / name).is_file())


FILES = tracked()
# A pull request's text has no folder that a link could start from.
PAGES = [name for name in FILES if name.endswith(".md") and name.partition("/")[0] not in ("examples", ".github")]
TOP = {name.partition("/")[0] for name in FILES if "/" in name}


class Page(NamedTuple):
    """A page without its code blocks: what is linked, and the text and code that is not."""

    links: list[str]
    text: str
    code: list[str]


def page(name: str) -> Page:
    text = re.sub(r"^( *)```.*?^\1```$", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    links = re.findall(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)", text)
    rest = re.sub(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\([^()\s]+\)", "", text)
    return Page(links, re.sub(r"`[^`]*`", "", rest), re.findall(r"`([^`]*)`", rest))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(name: str) -> Iterator[str]:
    for link in page(name).links:
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = ((ROOT / name).parent / target).resolve() if target else ROOT / name
        if not path.exists() or not path.is_relative_to(ROOT):
            yield f"{name}: {link} is not there"
        elif anchor and anchor not in anchors(path):
            yield f"{name}: {link}: no such heading"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert list(broken(name)) == []


def is_a_path(code: str) -> bool:
    """Whether a piece of code names something of the repository, or looks as if it did."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", code) or code in NAMED_BEFORE_THEY_EXIST:
        return False
    name = code.rstrip("/")
    known = name in FILES or any(file.endswith(f"/{name}") for file in FILES if "." in name)
    return known or (name.partition("/")[0] in TOP and "/" in code)


def unlinked(name: str) -> list[str]:
    """The paths that a page names and never links."""
    found = page(name)
    folder = (ROOT / name).parent
    linked = tuple(f"/{(folder / link).resolve().relative_to('/')}" for link in found.links if "://" not in link)
    named = {*filter(is_a_path, found.code), *re.findall(r"[\w/.-]+\.md\b|\badr/\d+", found.text)}
    return sorted(path for path in named if not any(link.endswith(f"/{path.rstrip('/')}") for link in linked))


@pytest.mark.parametrize("name", PAGES)
def test_every_path_is_a_link(name: str) -> None:
    assert unlinked(name) == []


def test_what_looks_like_a_path_is_seen() -> None:
    assert is_a_path("ops/")
    assert is_a_path("components/instance_class.py"), "gone, and named all the same"
    assert is_a_path("Pulumi.yaml")
    assert is_a_path("ini.py"), "by its name alone"
    assert not is_a_path("payload/posts")
    assert not is_a_path("database.server")
    assert not is_a_path("build/prod/plan.md")


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# One: `two`\n[x](gone.md) [y](#one-two) [z](#three) [`w`](a.md#one-two)\n")
    assert list(broken("a.md")) == ["a.md: gone.md is not there", "a.md: #three: no such heading"]
    (tmp_path / "b.md").write_text("[x](../outside.md)\n```\n[no](link.md)\n```\n")
    assert list(broken("b.md")) == ["b.md: ../outside.md is not there"]


# --- indexes ----------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_every_page_is_in_an_index() -> None:
    indexes = ["README.md", "docs/README.md", "docs/adr/README.md", "docs/runbooks/README.md"]
    linked = {((ROOT / index).parent / link).resolve() for index in indexes for link in page(index).links}
    assert [name for name in PAGES if name.startswith("docs/") and (ROOT / name) not in linked] == []


def decisions() -> list[Path]:
    return [path for path in sorted(ADR.glob("*.md")) if path.name not in ("README.md", "template.md")]


def test_decisions_are_numbered_and_complete() -> None:
    assert [path.name[:4] for path in decisions()] == [f"{number:04}" for number in range(1, len(decisions()) + 1)]
    parts = ("Status:", "**Context.**", "**Decision.**", "**Consequences.**", "**Given up.**")
    for path in [*decisions(), ADR / "template.md"]:
        text = path.read_text()
        assert [part for part in parts if part not in text] == [], path
        assert len(text.splitlines()) <= 50, path


def test_the_table_of_decisions_says_what_each_says() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\((\S+)\) \| (.*) \| (\S+) \| (.*) \|$", (ADR / "README.md").read_text(), re.M)
    heads = []
    for path in decisions():
        head = re.match(r"# (\d+)\. (.*)\n\nDate: (\d{4}-\d\d-\d\d)\. Status: (.*)\n", path.read_text())
        assert head, path
        heads.append((head[1], path.name, head[2], head[3], head[4]))
    assert rows == heads


def test_every_runbook_is_in_the_table_by_symptom_or_by_task() -> None:
    names = {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    assert set(page("docs/runbooks/README.md").links) == names


def test_the_alarms_runbook_knows_every_alarm(recording_of: Callable[[str], Recording]) -> None:
    declared = {
        resource.inputs["name"].removeprefix("lightwave-platform-")
        for resource in recording_of("prod").of_type("aws:cloudwatch/metricAlarm:MetricAlarm")
    }
    rows = re.findall(r"^\| (`[^|]*`) \|", (RUNBOOKS / "alarms.md").read_text(), re.MULTILINE)
    of_prometheus = set(every_alert())
    assert {name for row in rows for name in re.findall(r"`([^`]*)`", row)} == declared | of_prometheus
    assert declared
    assert of_prometheus


def test_the_drain_that_pages_name_is_the_one_that_is_declared(recording_of: Callable[[str], Recording]) -> None:
    deployment = recording_of("prod").one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment")
    seconds = int(deployment.inputs["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])
    for name, sentence in (
        ("docs/runbooks/rotate-a-password.md", f"drains for up to {seconds} s with"),
        ("docs/rollouts.md", f"here and {seconds} s there"),
    ):
        assert sentence in (ROOT / name).read_text(), name


def test_every_page_that_a_message_names_exists() -> None:
    sources = [name for name in FILES if name.endswith(".py") and not name.startswith("tests/")]
    named = {name for source in sources for name in re.findall(r"docs/[\w/-]+\.md", (ROOT / source).read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []

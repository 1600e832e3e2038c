"""Workflows and docs: pinned, least in permissions, and every command they name exists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {".venv/.installed"}


def parsed(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(path)["jobs"].values() for step in job["steps"]]


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "deploy", "drift", "preview"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_actions_are_pinned_and_permissions_least(path: Path) -> None:
    workflow = parsed(path)
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    assert "pull_request_target" not in path.read_text()
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        if "id-token" in job["permissions"]:
            assert "environment" in job, "what takes on a cloud role stands behind an environment"


def test_what_can_change_prod_waits_for_its_turn() -> None:
    for name in ("deploy", "drift"):
        workflow = parsed(ROOT / f".github/workflows/{name}.yml")
        assert workflow["concurrency"] == {"group": "prod", "cancel-in-progress": False}
    assert parsed(ROOT / ".github/workflows/deploy.yml")["jobs"]["apply"]["environment"] == "prod"


def test_a_job_that_may_write_runs_no_code_of_the_pull_request() -> None:
    jobs = parsed(ROOT / ".github/workflows/preview.yml")["jobs"]
    writers = [job for job in jobs.values() if "write" in job["permissions"].values() and "environment" not in job]
    assert len(writers) == 1
    for job in writers:
        assert not any("run" in step or "checkout" in step.get("uses", "") for step in job["steps"])


@pytest.mark.parametrize("path", [*WORKFLOWS, *DOCS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_command_exists(path: Path) -> None:
    if path.suffix == ".md":
        code = re.findall(r"`(make [^`]*)`|^\s*(make [a-z].*)$", path.read_text(), re.MULTILINE)
        commands = [left or right for left, right in code]
    else:
        commands = [line for step in steps(path) for line in step.get("run", "").splitlines() if "make " in line]
    for command in commands:
        named = re.search(r"make (?:--silent )?([.a-z/-]+)", command)
        if named:
            assert named[1] in TARGETS, command


def test_zizmor_finds_nothing() -> None:
    found = subprocess.run(
        [
            str(Path(sys.executable).with_name("zizmor")),
            "--offline",
            "--no-progress",
            "--quiet",
            str(ROOT / ".github/workflows"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_actionlint_finds_nothing() -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("actionlint is built from its Go module, and Go is not on this machine")
    found = subprocess.run(
        [go, "tool", "actionlint", *map(str, WORKFLOWS)],
        cwd=ROOT / "tests/tools",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr

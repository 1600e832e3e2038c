"""`make phase0` and `make handoff`: the Phase 0 report's criteria as measured, and what Phase 1 starts from."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import settings as config
from components.services.env import env_names
from ops.check import Check, show
from ops.console import say
from ops.errors import ExitCode, FailedError
from ops.phase0.checklist import BY_HAND, measure
from ops.phase0.subject import Subject
from settings import ROOT, Settings
from settings.problems import OperatorError, Problem

_FILE = "phase0"


def phase0(stack: str, workspace: Path, payload_url: str) -> ExitCode:
    """Measures every criterion; writes build/<stack>/phase0.json and phase0.md.

    Raises OperatorError where the config is wrong, FailedError with what to fix where a criterion is not met.
    """
    settings = config.of_stack(stack)
    say(f"Phase 0 of stack {stack}:")
    checks = measure(Subject(settings, workspace, payload_url), lambda made: show(made, width=51))
    say(f"  by hand  {BY_HAND}")
    folder = _folder(settings)
    (folder / f"{_FILE}.json").write_text(json.dumps(_document(stack, checks), indent=2) + "\n")
    (folder / f"{_FILE}.md").write_text(_page(stack, checks))
    open_points = sum(1 for made in checks if not made.ok)
    say(f"{len(checks)} criteria, {open_points} open; wrote {(folder / _FILE).relative_to(ROOT)}.md and .json")
    if open_points:
        raise FailedError(problem for made in checks for problem in made.problems)
    return ExitCode.OK


def handoff(stack: str) -> ExitCode:
    """Writes build/<stack>/handoff.md from the last measurement. Raises OperatorError where there is none."""
    settings = config.of_stack(stack)
    path = _folder(settings) / f"{_FILE}.json"
    if not path.exists():
        raise OperatorError("Phase 0 of the stack was not measured", f"make phase0 STACK={stack}")
    written = path.with_name("handoff.md")
    written.write_text(_handoff(settings, json.loads(path.read_text())))
    say(f"wrote {written.relative_to(ROOT)}")
    return ExitCode.OK


def _folder(settings: Settings) -> Path:
    folder = ROOT / "build" / settings.stack
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _document(stack: str, checks: Sequence[Check]) -> dict[str, object]:
    return {
        "stack": stack,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "criteria": [
            {
                "name": made.name,
                "ok": made.ok,
                "found": made.detail,
                "problems": [{"what": problem.what, "fix": problem.fix} for problem in made.problems],
            }
            for made in checks
        ],
        "by_hand": [BY_HAND],
    }


def _page(stack: str, checks: Sequence[Check]) -> str:
    lines = [f"# Phase 0 of stack {stack}", "", "| criterion | | found |", "|---|---|---|"]
    lines += [
        f"| {made.name} | {'met' if made.ok else '**open**'} | {made.detail or _cell(made.problems)} |"
        for made in checks
    ]
    return "\n".join([*lines, f"| {BY_HAND} | by hand | |", ""])


def _cell(problems: Sequence[Problem]) -> str:
    return "<br>".join(f"{problem.what}; fix: {problem.fix}" if problem.fix else problem.what for problem in problems)


def _handoff(settings: Settings, measured: dict[str, object]) -> str:
    criteria = measured["criteria"]
    assert isinstance(criteria, list)  # noqa: S101 (as `_document` wrote it)
    met = [entry for entry in criteria if entry["ok"]]
    still_open = [entry for entry in criteria if not entry["ok"]]
    lines = [
        f"# Handoff to Phase 1: stack {settings.stack}",
        "",
        f"Measured {measured['measured']} with `make phase0`; criteria met: {len(met)} of {len(criteria)}.",
        "",
        "## What runs",
        "",
        *(f"- {entry['name']}: {entry['found']}" for entry in met),
        "",
        "## Open",
        "",
        *([f"- {entry['name']}: {entry['problems'][0]['what']}" for entry in still_open] or ["Nothing measured."]),
        f"- {BY_HAND}: by hand.",
        "",
        "## What a service gets",
        "",
        "| service | schema | login role | variables of its env file |",
        "|---|---|---|---|",
    ]
    for product in settings.products.values():
        if product.framework:
            names = ", ".join(f"`{name}`" for name in env_names(product))
            lines.append(f"| {product.service} | `{product.schema_name}` | `{product.login_role}` | {names} |")
    lines += [
        "",
        "`make env ALL=1` writes the values. Read next: docs/services.md, docs/rest-api.md.",
        "",
    ]
    return "\n".join(lines)

"""The review document: two plans compared, what matters most in front.

It compares the committed golden plans: no engine, no credentials, so a pull request from a fork gets it too.
"""

import difflib
import json
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

import settings
from policies.rules import protection

GOLDEN = "tests/golden"
HOLDS_DATA = (*protection.HOLDS_DATA, "random:index/randomPassword:RandomPassword")
"""Types whose removal or replacement loses data or access to it."""

REPLACES: Mapping[str, tuple[str, ...]] = {
    "aws:rds/instance:Instance": (
        "identifier",
        "dbName",
        "username",
        "storageEncrypted",
        "kmsKeyId",
        "dbSubnetGroupName",
    ),
    "cloudflare:index/r2Bucket:R2Bucket": ("accountId", "name", "jurisdiction"),
    "postgresql:index/schema:Schema": ("database",),
    "postgresql:index/grant:Grant": (
        "database",
        "role",
        "schema",
        "objectType",
        "objects",
        "columns",
        "withGrantOption",
    ),
    "postgresql:index/defaultPrivileges:DefaultPrivileges": ("database", "role", "schema", "owner", "objectType"),
    "random:index/randomPassword:RandomPassword": ("keepers", "length", "special"),
}
"""Inputs that replace their resource when they change, by type: the providers' schemas mark them so. A type that is not
listed is shown as changed; only the engine's preview is sure."""


class Change(NamedTuple):
    """One input or option that differs: dotted path, old and new value (None where there is none)."""

    path: str
    old: Any
    new: Any


class Review(NamedTuple):
    """What differs between two plans of one stack, by URN."""

    added: list[str]
    removed: list[str]
    replaced: dict[str, list[Change]]
    changed: dict[str, list[Change]]


def compare(base: Mapping[str, Any], head: Mapping[str, Any]) -> Review:
    """Compares two plan.json documents."""
    old, new = base["resources"], head["resources"]
    review = Review(sorted(set(new) - set(old)), sorted(set(old) - set(new)), {}, {})
    for urn in sorted(set(old) & set(new)):
        changes = list(_changes(old[urn], new[urn]))
        if not changes:
            continue
        forced = {f"inputs.{key}" for key in REPLACES.get(new[urn]["type"], ())}
        replaces = any(
            change.path in forced or change.path.startswith(tuple(f"{f}." for f in forced)) for change in changes
        )
        (review.replaced if replaces else review.changed)[urn] = changes
    return review


def _changes(old: Any, new: Any, path: str = "") -> list[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted(set(old) | set(new))
        return [c for key in keys for c in _changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)]
    return [] if old == new else [Change(path, old, new)]


def markdown(stack: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """The document of one stack: losses first, then replaced, removed, changed, added."""
    review = compare(base, head)
    types = {urn: r["type"] for plan in (base, head) for urn, r in plan["resources"].items()}
    unprotected = [
        urn
        for urn, changes in review.changed.items()
        if any(c.path == "options.protect" and not c.new for c in changes)
    ]
    losses = [u for u in (*review.removed, *review.replaced) if types[u] in HOLDS_DATA] + unprotected
    parts = [f"## Stack {stack}"]
    told = [key for key in ("access", "budget", "warnings") if base.get(key) != head.get(key)]
    if not any(review) and not told:
        return parts[0] + "\n\nNo change in what is declared.\n"
    if losses:
        parts.append(
            "### ⚠ Data or access to it may be lost\n\n"
            + "\n".join(f"- **{_verb(urn, review)}** {_label(urn)}" for urn in losses)
        )
    new_warnings = [w for w in head.get("warnings", []) if w not in base.get("warnings", [])]
    if new_warnings:
        parts.append("### ⚠ New warnings\n\n" + "\n".join(f"- {warning}" for warning in new_warnings))
    sections = (
        ("Replaced", review.replaced),
        ("Removed", dict.fromkeys(review.removed)),
        ("Changed", review.changed),
        ("Added", dict.fromkeys(review.added)),
    )
    for title, entries in sections:
        if entries:
            lines = [line for urn, changes in entries.items() for line in (f"- {_label(urn)}", *_lines(changes or []))]
            parts.append(f"### {title} ({len(entries)})\n\n" + "\n".join(lines))
    if "access" in told:
        parts.append("### Access\n\n" + _matrix(base.get("access", {}), head.get("access", {})))
    if "budget" in told:
        parts.append("### Connection budget\n\n" + _marked(base.get("budget", []), head.get("budget", [])))
    if head.get("picture"):
        parts.append("### Picture\n\n```mermaid\n" + "\n".join(head["picture"]) + "\n```")
    return "\n\n".join(parts) + "\n"


def _verb(urn: str, review: Review) -> str:
    if urn in review.removed:
        return "removed"
    return "replaced" if urn in review.replaced else "no longer protected"


def _label(urn: str) -> str:
    type_, name = urn.split("::")[2:4]
    return f"`{name}` ({type_.rpartition('$')[2]})"


def _lines(changes: list[Change]) -> list[str]:
    return [line for change in changes for line in _line(change)]


def _line(change: Change) -> list[str]:
    old, new = change.old, change.new
    if isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        differing = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
        shown = [line for line in differing if not line.startswith(("---", "+++", "@@"))]
        return [f"  - {change.path}:", "    ```diff", *(f"    {line}" for line in shown), "    ```"]
    if isinstance(old, list) and isinstance(new, list):
        gone, come = [i for i in old if i not in new], [i for i in new if i not in old]
        return [f"  - {change.path}: without {_value(gone)}, with {_value(come)}"]
    return [f"  - {change.path}: {_value(old)} → {_value(new)}"]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    written = " ".join(written.split())
    return f"`{written if len(written) <= 120 else written[:117] + '…'}`"


def _matrix(old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]) -> str:
    """The access matrix as a table; a cell that changed says what it was and what it becomes."""
    columns = list(dict.fromkeys(column for rows in (new, old) for row in rows.values() for column in row))
    lines = [["login role", *columns], ["---"] * (len(columns) + 1)]
    for role in dict.fromkeys([*new, *old]):
        cells = [(old.get(role, {}).get(column, ""), new.get(role, {}).get(column, "")) for column in columns]
        lines.append(
            [f"`{role}`", *(now if was == now else f"**{was or 'absent'} → {now or 'absent'}**" for was, now in cells)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _marked(old: list[str], new: list[str]) -> str:
    """The head's lines, those that changed marked; lines that are gone struck through."""
    gone = [f"- ~~{line}~~" for line in old if line not in new]
    return "\n".join([*(f"- **{line}**" if line not in old else f"- {line}" for line in new), *gone])


def golden(stack: str) -> Mapping[str, Any]:
    """The stack's golden plan in the working tree."""
    document: dict[str, Any] = json.loads((settings.ROOT / GOLDEN / f"{stack}.json").read_text())
    return document


def golden_at(ref: str, stack: str) -> Mapping[str, Any]:
    """The stack's golden plan at a git ref; an empty one where the ref has none.

    Raises ValueError when there is no such ref.
    """
    git = ["git", "-C", str(settings.ROOT)]
    if subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], capture_output=True, check=False
    ).returncode:
        raise ValueError(f"{ref} is no commit here; fetch it, or name another: make diff BASE=<ref>")
    shown = subprocess.run([*git, "show", f"{ref}:{GOLDEN}/{stack}.json"], capture_output=True, text=True, check=False)
    document: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {"resources": {}}
    return document

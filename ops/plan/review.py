"""The review document: two plans compared, the most important differences first.

It compares the committed golden plans. That takes neither the Pulumi CLI nor credentials, so it also works for a pull
request from a fork.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import settings
from ops import process
from ops.plan import document
from policies import tokens
from policies.rules import protection
from settings.problems import OperatorError, Problem

GOLDEN = "tests/golden"
GIT_TIMEOUT = 60
"""Seconds for one git command."""
HOLDS_DATA = (*protection.HOLDS_DATA, tokens.RANDOM_PASSWORD)
"""Types whose removal or replacement loses data or access to it."""

REPLACES: Mapping[str, tuple[str, ...]] = {
    tokens.RDS_INSTANCE: (
        "identifier",
        "dbName",
        "username",
        "storageEncrypted",
        "kmsKeyId",
        "dbSubnetGroupName",
    ),
    tokens.R2_BUCKET: ("accountId", "name", "jurisdiction"),
    tokens.SCHEMA: ("database",),
    tokens.GRANT: (
        "database",
        "role",
        "schema",
        "objectType",
        "objects",
        "columns",
        "withGrantOption",
    ),
    tokens.DEFAULT_PRIVILEGES: ("database", "role", "schema", "owner", "objectType"),
    tokens.RANDOM_PASSWORD: ("keepers", "length", "special"),
}
"""Inputs that replace their resource when they change, by type, as marked in the providers' schemas. Other types are
shown as changed; only `pulumi preview` knows for certain."""


class Change(NamedTuple):
    """One input or option that differs: dotted path, old and new value (None where absent)."""

    path: str
    old: Any
    new: Any


class Review(NamedTuple):
    """What differs between two plans of one stack, by URN."""

    added: list[str]
    removed: list[str]
    replaced: dict[str, list[Change]]
    changed: dict[str, list[Change]]


def page(stacks: Sequence[str], base: str) -> str:
    """What changes in each stack against a git ref. Raises OperatorError for a stale golden plan or an unknown ref."""
    plans = _plans(stacks, base)
    return "\n".join(["# What changes\n", *(markdown(stack, *both) for stack, both in plans.items())])


def as_json(stacks: Sequence[str], base: str) -> str:
    """What `page` shows of the resources, as JSON. Raises OperatorError as `page` does."""
    reviews = {stack: compare(*both)._asdict() for stack, both in _plans(stacks, base).items()}
    for review in reviews.values():
        for kind in ("replaced", "changed"):
            review[kind] = {urn: [change._asdict() for change in changes] for urn, changes in review[kind].items()}
    return json.dumps(reviews, indent=2)


def _plans(stacks: Sequence[str], base: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By stack, the golden plans at the ref and in the working tree."""
    golden_plans = {stack: golden(stack) for stack in stacks}
    stale = [stack for stack, plan in golden_plans.items() if plan != document.document(stack)]
    if stale:
        raise OperatorError(f"the golden plans of {', '.join(stale)} are not what the program declares", "make golden")
    return {stack: (golden_at(base, stack), plan) for stack, plan in golden_plans.items()}


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
    was, now = _named(old), _named(new)
    if was and now and was.keys() == now.keys():  # containers and the like: what differs in each
        return [c for name in was for c in _changes(was[name], now[name], f"{path}[{name}]")]
    return [] if old == new else [Change(path, old, new)]


def _named(value: Any) -> dict[str, Any]:
    """The items of a list by their names; empty where it is none, or where they have none of their own."""
    if not isinstance(value, list) or not all(isinstance(item, Mapping) and "name" in item for item in value):
        return {}
    items = {str(item["name"]): item for item in value}
    return items if len(items) == len(value) else {}


def markdown(stack: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """The document of one stack: possible losses first, then replaced, removed, changed and added resources."""
    review = compare(base, head)
    differing = [key for key in ("access", "budget", "warnings") if base.get(key) != head.get(key)]
    if not any(review) and not differing:
        return f"## Stack {stack}\n\nNo change in what is declared.\n"
    parts = [f"## Stack {stack}"]
    types = {urn: r["type"] for plan in (base, head) for urn, r in plan["resources"].items()}
    if losses := _losses(review, types):
        parts += ["### ⚠ Data or access to it may be lost", "\n".join(losses)]
    new_warnings = [f"- {warning}" for warning in head.get("warnings", []) if warning not in base.get("warnings", [])]
    if new_warnings:
        parts += ["### ⚠ New warnings", "\n".join(new_warnings)]
    parts += resources(review)
    if "access" in differing:
        parts += ["### Access", _matrix(base.get("access", {}), head.get("access", {}))]
    if "budget" in differing:
        parts += ["### Connection budget", _marked(base.get("budget", []), head.get("budget", []))]
    if head.get("picture"):
        parts += ["### Picture", "\n".join(["```mermaid", *head["picture"], "```"])]
    return "\n\n".join(parts) + "\n"


def resources(review: Review) -> list[str]:
    """What differs in resources, as paragraphs: replaced, removed, changed and added ones."""
    parts = []
    for title, changes in (
        ("Replaced", review.replaced),
        ("Removed", dict.fromkeys(review.removed, ())),
        ("Changed", review.changed),
        ("Added", dict.fromkeys(review.added, ())),
    ):
        if changes:
            lines = [line for urn in changes for line in (f"- {_label(urn)}", *_lines(changes[urn]))]
            parts += [f"### {title} ({len(changes)})", "\n".join(lines)]
    return parts


def _losses(review: Review, types: Mapping[str, str]) -> list[str]:
    """What may lose data or access to it: removed, replaced or no longer protected."""
    unprotected = [
        urn
        for urn, changes in review.changed.items()
        if any(change.path == "options.protect" and not change.new for change in changes)
    ]
    lost = [urn for urn in (*review.removed, *review.replaced) if types[urn] in HOLDS_DATA]
    return [f"- **{_verb(urn, review)}** {_label(urn)}" for urn in (*lost, *unprotected)]


def _verb(urn: str, review: Review) -> str:
    if urn in review.removed:
        return "removed"
    return "replaced" if urn in review.replaced else "no longer protected"


def _label(urn: str) -> str:
    type_, name = urn.split("::")[2:4]
    return f"`{name}` ({type_.rpartition('$')[2]})"


def _lines(changes: Iterable[Change]) -> list[str]:
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
    """The access matrix as a table; a changed field shows its old and new value."""
    columns = list(dict.fromkeys(column for rows in (new, old) for row in rows.values() for column in row))
    lines = [["login role", *columns], ["---"] * (len(columns) + 1)]
    for role in dict.fromkeys([*new, *old]):
        fields = [(old.get(role, {}).get(column, ""), new.get(role, {}).get(column, "")) for column in columns]
        lines.append(
            [f"`{role}`", *(now if was == now else f"**{was or 'absent'} → {now or 'absent'}**" for was, now in fields)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _marked(old: list[str], new: list[str]) -> str:
    """The new lines, with changed ones in bold and removed ones struck through."""
    gone = [f"- ~~{line}~~" for line in old if line not in new]
    return "\n".join([*(f"- **{line}**" if line not in old else f"- {line}" for line in new), *gone])


def golden(stack: str) -> dict[str, Any]:
    """The stack's golden plan in the working tree. Raises OperatorError when there is none."""
    try:
        text = (settings.ROOT / GOLDEN / f"{stack}.json").read_text()
    except FileNotFoundError:
        raise OperatorError(f"{GOLDEN}/{stack}.json is missing", "make golden") from None
    return _parsed(text)


def golden_at(ref: str, stack: str) -> dict[str, Any]:
    """The stack's golden plan at a git ref; an empty one where the ref has none.

    Raises OperatorError when there is no such ref.
    """
    path = f"{GOLDEN}/{stack}.json"
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
    except process.ProcessError as error:
        raise OperatorError(
            Problem(
                key="BASE",
                what=f"{ref!r} is no commit of this repository",
                expected="a git ref: a branch such as origin/main, a tag or a commit",
                fix="git fetch origin, then make diff BASE=<ref>",
            )
        ) from error
    if not _git("ls-tree", commit, path):
        return {"resources": {}}
    return _parsed(_git("show", f"{commit}:{path}"))


def _git(*arguments: str) -> str:
    return process.output(["git", *arguments], timeout=GIT_TIMEOUT, cwd=settings.ROOT)


def _parsed(text: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(text)
    return plan

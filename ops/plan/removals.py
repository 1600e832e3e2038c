"""What the program no longer declares of the roles, schemas and grants that the Pulumi state records."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ops.plan.recorder import RecordedResource, Recording
from policies.tokens import POSTGRESQL, ROLE, SCHEMA
from settings import PROJECT
from settings.files import own_config
from settings.problems import Problem

Resource = Mapping[str, Any]
"""One resource as `pulumi stack export` has it."""

REMOVE = "docs/runbooks/remove-a-product.md"
RENAME = "docs/runbooks/rename-a-schema.md"


class Rename(NamedTuple):
    """A schema that the state and the program name differently."""

    resource: Resource
    new: str
    taken_back: bool = False
    """Whether an older run failed in the middle of the opposite rename, so that the state has grants on both names."""

    @property
    def old(self) -> str:
        """Its name in the state."""
        return schema_of(self.resource)


@dataclass(frozen=True, kw_only=True, slots=True)
class Removals:
    """What an update would take away; the update itself would find out half way."""

    removed: Sequence[Resource] = ()
    renamed: Sequence[Rename] = ()
    """Only those with grants on the old name in the state: the provider cannot move them."""
    taken: Sequence[tuple[Resource, RecordedResource]] = ()
    """Removed resources whose name in the database a new resource wants."""

    @classmethod
    def of(cls, recorded: Iterable[Resource], recording: Recording) -> "Removals":
        """Compares the state's resources with what the program declares."""
        recorded = list(recorded)
        declared = {r.urn: r for r in recording.resources if r.type.startswith(POSTGRESQL)}
        # A pending delete is the end of a replacement.
        ours = [r for r in recorded if r["type"].startswith(POSTGRESQL) and not r.get("delete")]
        removed = [r for r in ours if r["urn"] not in declared and not r.get("retainOnDelete")]
        schemas = {schema_of(r) for r in ours if r["type"] == SCHEMA}
        granted = {schema_of(r) for r in recorded if is_grant(r)}
        renames = [
            Rename(r, new, taken_back=new in granted - schemas)
            for r in ours
            if r["type"] == SCHEMA and r["urn"] in declared
            if (new := str(declared[r["urn"]].inputs["name"])) != schema_of(r)
        ]
        names = {(r["type"], r["inputs"].get("name")): r for r in removed if r["type"] in (ROLE, SCHEMA)}
        known = {r["urn"] for r in ours}
        return cls(
            removed=removed,
            renamed=[rename for rename in renames if rename.old in granted],
            taken=[
                (names[key], new)
                for urn, new in declared.items()
                if urn not in known and (key := (new.type, new.inputs.get("name"))) in names
            ],
        )

    def problems(self, objects: Mapping[str, Sequence[str]], *, confirm: str, stack: str) -> Iterator[Problem]:
        """Why the update must not start.

        `objects` names what each schema holds, `confirm` is the command that confirms removals ("" where it was given).
        """
        why = _cause(stack)
        found = list(self._unsafe(objects, why))
        yield from found
        if self.removed and confirm and not found:
            lines = "".join(f"\n  {line}" for line in self.lines())
            yield Problem(
                what=f"the update would delete {len(self.removed)} roles, schemas and grants{why}:{lines}",
                fix=f"put what is missing back into the product table; or confirm with: {confirm}",
            )

    def _unsafe(self, objects: Mapping[str, Sequence[str]], why: str) -> Iterator[Problem]:
        """What nobody can confirm."""
        for resource in self.removed:
            schema = schema_of(resource) if resource["type"] == SCHEMA else ""
            if held := objects.get(schema):
                yield Problem(
                    what=f"schema {schema} is no longer declared and holds {_listed(held)}: the update would delete its"
                    f" roles and grants, and then fail at the schema{why}",
                    fix=f"put its product back into the table as it was; or remove it on purpose: {REMOVE}",
                )
        for rename in self.renamed:
            if (held := objects.get(rename.old)) and not rename.taken_back:
                yield Problem(
                    what=f"schema {rename.old} would become {rename.new} and holds {_listed(held)}: whatever names the"
                    " schema would no longer find them",
                    fix=f"keep it in its product's entry (schema: {rename.old}); or rename it on purpose: {RENAME}",
                )
        for old, new in self.taken:
            yield Problem(
                what=f"{name_of(new.urn)} takes the name {new.inputs['name']}, which {name_of(old['urn'])} has:"
                " a product cannot be renamed in one step",
                fix=f"put the old entry back; or remove it first ({REMOVE}), then add the new one",
            )

    def lines(self) -> list[str]:
        """What is removed or renamed, one line each."""
        return [
            *(f"deletes {r['type'].rpartition(':')[2]} {name_of(r['urn'])}" for r in self.removed),
            *(f"renames schema {r.old} to {r.new}" for r in self.renamed),
        ]


def production_problems(recorded: Iterable[Resource], recording: Recording) -> list[Problem]:
    """What a deploy must not take away: what is still protected in the state, so that nobody decided on it.

    No database is asked: on RDS every schema counts as one that holds data.
    """
    found = Removals.of(recorded, recording)
    kept = Removals(removed=[r for r in found.removed if r.get("protect")], renamed=found.renamed, taken=found.taken)
    held = {schema_of(r): ["what the database has in it"] for r in kept.removed if r["type"] == SCHEMA}
    held |= {rename.old: ["what the database has in it"] for rename in kept.renamed}
    confirm = f"pulumi state unprotect, as in {REMOVE}"
    return list(kept.problems(held, confirm=confirm, stack=recording.stack))


def without(deployment: Mapping[str, Any], forget: Callable[[Resource], bool]) -> tuple[dict[str, Any], list[str]]:
    """The deployment without the resources that `forget` picks, nor references to them; and their names.

    Only the record goes. An update creates anew what the program declares, which for a grant is the same grant.
    """
    resources = list(deployment.get("resources") or [])
    gone = [r for r in resources if forget(r)]
    left = [r for r in resources if not forget(r)]
    urns = {r["urn"] for r in gone} - {r["urn"] for r in left}

    def kept(resource: Resource) -> dict[str, Any]:
        changed = dict(resource)
        if "dependencies" in changed:
            changed["dependencies"] = [urn for urn in changed["dependencies"] if urn not in urns]
        if "propertyDependencies" in changed:
            changed["propertyDependencies"] = {
                key: [urn for urn in value or [] if urn not in urns]
                for key, value in changed["propertyDependencies"].items()
            }
        return changed

    return {**deployment, "resources": [kept(r) for r in left]}, [name_of(r["urn"]) for r in gone]


def is_grant(resource: Resource) -> bool:
    """Whether it is a grant or a default privilege, which hold nothing of their own."""
    return bool(resource["type"].startswith(POSTGRESQL)) and resource["type"].rpartition(":")[2] in (
        "Grant",
        "DefaultPrivileges",
    )


def schema_of(resource: Resource) -> str:
    """The schema that a resource is, or is about; empty for one of the whole database."""
    return str(resource.get("inputs", {}).get("name" if resource["type"] == SCHEMA else "schema") or "")


def name_of(urn: str) -> str:
    """The resource's name in the program."""
    return urn.rpartition("::")[2]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} objects ({shown})" if len(names) > 1 else shown


def _cause(stack: str) -> str:
    """What most often takes a product out by accident."""
    key = f"{PROJECT}:products"
    if key not in own_config(stack):
        return ""
    return f" ({key} in Pulumi.{stack}.yaml replaces the whole table of Pulumi.yaml, and does not add to it)"

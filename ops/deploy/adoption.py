"""The way back from a killed update of a protected stack: commands for an operator, who looks first."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.deploy.deployment import Pending
from policies.tokens import ROLE, SCHEMA
from settings.problems import Problem

_IMPORT_IDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    ROLE: lambda inputs: str(inputs["name"]),
    SCHEMA: lambda inputs: f"{inputs['database']}.{inputs['name']}",
}
"""The provider's documented import ids."""


def adoption(stack: str, pending: Sequence[Pending]) -> Problem:
    """How to adopt what a killed update of a protected stack created and did not record. Nothing is done here."""
    created = [p for p in pending if p.operation == "creating" and p.type in _IMPORT_IDS]
    what = [
        f"a killed update of stack {stack} left {len(pending)} operations under way:",
        *(f"  {p.operation} {p.urn}" for p in pending),
    ]
    fix = [
        "find out which of them were done (docs/runbooks/interrupted-deploy.md).",
        "Adopt the roles and schemas that were created, each with its line:",
        *(f"  {_import(stack, p)}" for p in created),
        "(a grant is granted again, which changes nothing; anything else: `pulumi import` with its provider's id)",
        "Then drop what is left from the list, and deploy again:",
        f"  pulumi refresh --stack {stack} --run-program --clear-pending-creates",
    ]
    return Problem(what="\n".join(what), fix="\n".join(fix))


def _import(stack: str, pending: Pending) -> str:
    name = pending.urn.rpartition("::")[2]
    command = ["pulumi", "import", pending.type, name, _IMPORT_IDS[pending.type](pending.inputs), "--stack", stack]
    command += ["--parent", f"parent={pending.parent}", "--provider", f"provider={pending.provider}"]
    return shlex.join([*command, "--generate-code=false"])

"""Evaluating the program against a flat one with the same typed resources, and importing the SDKs."""

from pathlib import Path

from benchmarks import flat
from benchmarks.measure import side_by_side, table, write
from ops.plan.recorder import record_stack

RUNS = 3
SDKS = {
    "`pulumi`": "pulumi",
    "`pulumi_postgresql`": "pulumi_postgresql",
    "`pulumi_random`": "pulumi_random",
    "`pulumi_kubernetes.core.v1`": "pulumi_kubernetes.core.v1",
    "`pulumi_aws.ec2`, the largest of AWS's that is used": "pulumi_aws.ec2.vpc",
    "`pulumi_cloudflare`, what is used of it": "components.cloudflare_sdk",
    "`pulumi_cloudflare`, all of it": "pulumi_cloudflare",
}


def against_flat(folder: Path, stacks: tuple[str, ...]) -> str:
    """Each stack's plan, the program's and the flat one's."""
    rows = []
    for stack in stacks:
        file = write(folder / f"flat_{stack}.py", flat.source(record_stack(stack)))
        program = f"from ops.plan.recorder import record_stack; record_stack({stack!r})"
        found = side_by_side({"program": program, "flat": f"import runpy; runpy.run_path({str(file)!r})"}, RUNS)
        ours, other = found["program"], found["flat"]
        rows.append((stack, ours.cpu, other.cpu, ours.cpu / other.cpu, *_memory(ours.memory, other.memory)))
    head = ("stack", "program, s CPU", "flat, s CPU", "ratio", "program, MB", "flat, MB", "ratio")
    return table(head, rows)


def _memory(ours: float, other: float) -> tuple[int, int, float]:
    return round(ours), round(other), ours / other


def imports() -> str:
    """Importing each SDK, without the interpreter's start and the SDKs above it."""
    costs = side_by_side({"": "pass", **{sdk: f"import {module}" for sdk, module in SDKS.items()}}, RUNS)
    rows = []
    for sdk in SDKS:
        base = costs["" if sdk == "`pulumi`" else "`pulumi`"]
        rows.append((sdk, costs[sdk].cpu - base.cpu, round(costs[sdk].memory - base.memory)))
    return table(("import", "s CPU", "MB"), rows)

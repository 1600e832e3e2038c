"""Evaluating the program against a flat one with the same typed resources, and importing the SDKs."""

from pathlib import Path

from benchmarks import flat
from benchmarks.measure import side_by_side, table, write
from ops.plan.recorder import record_stack

RUNS = 3
SDKS = {
    "`pulumi`": "import pulumi",
    "`pulumi_postgresql`": "import pulumi_postgresql",
    "`pulumi_random`": "import pulumi_random",
    "`pulumi_kubernetes.core.v1`": "import pulumi_kubernetes.core.v1",
    # The package imports its modules at their first use.
    "`pulumi_aws.ec2`, AWS's largest that is used": "import pulumi_aws; pulumi_aws.ec2.Vpc",
    "`pulumi_cloudflare`, what is used of it": "import components.cloudflare_sdk",
    "`pulumi_cloudflare`, all of it": "import pulumi_cloudflare",
}


def against_flat(folder: Path, stacks: tuple[str, ...]) -> str:
    """Each stack's plan, the program's and the flat one's."""
    rows = []
    for stack in stacks:
        file = write(folder / f"flat_{stack}.py", flat.recorded(record_stack(stack)))
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
    costs = side_by_side({"": "pass", **SDKS}, RUNS)
    rows = []
    for sdk in SDKS:
        base = costs["" if sdk == "`pulumi`" else "`pulumi`"]
        rows.append((sdk, costs[sdk].cpu - base.cpu, round(costs[sdk].memory - base.memory)))
    return table(("import", "s CPU", "MB"), rows)

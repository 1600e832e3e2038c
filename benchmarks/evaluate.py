"""Evaluating the program against a flat one with the same typed resources, and importing the SDKs."""

from pathlib import Path

from benchmarks import flat
from benchmarks.measure import side_by_side, table, write
from ops.plan.recorder import record_stack

RUNS = 3
SDKS = ("pulumi", "pulumi_postgresql", "pulumi_random", "pulumi_kubernetes", "pulumi_aws", "pulumi_cloudflare")


def against_flat(folder: Path, stacks: tuple[str, ...]) -> str:
    """CPU of each stack's plan, the program's and the flat one's."""
    rows = []
    for stack in stacks:
        file = write(folder / f"flat_{stack}.py", flat.source(record_stack(stack)))
        program = ("-c", f"from ops.plan.recorder import record_stack; record_stack({stack!r})")
        found = side_by_side({"program": program, "flat": (str(file),)}, RUNS)
        ours, other = found["program"], found["flat"]
        rows.append((stack, ours, other, ours / other))
    return table(("stack", "program, s CPU", "flat, s CPU", "ratio"), rows)


def imports() -> str:
    """CPU of importing each SDK, without the interpreter's start and the SDKs above it."""
    costs = side_by_side({"": ("-c", "pass"), **{sdk: ("-c", f"import {sdk}") for sdk in SDKS}}, RUNS)
    rows = []
    for sdk in SDKS:
        base = costs["" if sdk == "pulumi" else "pulumi"]
        rows.append((f"`{sdk}`", costs[sdk] - base))
    return table(("import", "s CPU"), rows)

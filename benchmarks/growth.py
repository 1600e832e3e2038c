"""Growth in products: what the offline commands, and a local stack, cost with many of them."""

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.local_stack import local_stack
from benchmarks.measure import side_by_side, table

RUNS = 3
TURNS = 2
"""Of the commands on a local stack, which take minutes."""

_SETTINGS = "import settings; settings.load('dev', {config!r}, local=settings.files.placeholder_state({products!r}))"
_PLAN = "from ops.plan.recorder import record_stack; record_stack('dev', overrides={config!r})"
_POLICY = (
    "from ops.plan.recorder import record_stack; from ops.plan.policy import verdicts;"
    " list(verdicts(record_stack('dev', overrides={config!r}).resources))"
)


def config(count: int) -> dict[str, Any]:
    """Keys of a local stack with so many products, whose pools fit its server."""
    product = {"pool": {"size": 1, "reserve": 0}, "connectionLimit": 4}
    return {
        "lightwave:tier": "development",
        "lightwave:products": {f"product{number:03}": product for number in range(count)},
        "lightwave:database": {"server": "local", "maxConnections": 1000},
    }


def offline(counts: tuple[int, ...]) -> str:
    """Settings, plan and policy, the interpreter's start included."""
    rows = []
    for count in counts:
        keys = config(count)
        given = {"config": keys, "products": keys["lightwave:products"]}
        programs = {"settings": _SETTINGS, "plan": _PLAN, "policy": _POLICY}
        found = side_by_side({name: code.format(**given) for name, code in programs.items()}, RUNS)
        rows.append((count, *(cost.cpu for cost in found.values()), round(found["policy"].memory)))
    return table(("products", "settings, s CPU", "plan, s CPU", "plan and policy, s CPU", "plan and policy, MB"), rows)


def applied(counts: tuple[int, ...]) -> Iterator[str]:
    """Seconds of `make up` and of what it consists of, on a stack of its own; yields a table per way of applying."""
    for name, pulumi in (("Pulumi CLI", True), ("plan's SQL, without the CLI", False)):
        rows = []
        for count in counts:
            with local_stack(config(count), pulumi=pulumi) as stack:
                first = stack.timed("up")
                turns = [
                    (stack.timed("up"), stack.update(stack.root) if pulumi else 0.0, stack.timed("verify"))
                    for _ in range(TURNS)
                ]
            again, bare, verified = map(statistics.mean, zip(*turns, strict=True))
            rows.append((count, first, again, bare, verified, again / (bare + verified)))
        head = ("products", "first `make up`, s", "again, s", "`pulumi up`, s", "`make verify`, s", "again / both")
        yield f"{name}:\n\n{table(head, rows)}\n"

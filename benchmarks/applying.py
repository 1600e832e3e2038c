"""Applying a local stack with the Pulumi CLI: the program against a flat one with the same typed resources."""

import shutil
import statistics
from dataclasses import replace
from pathlib import Path

from benchmarks import flat
from benchmarks.growth import config
from benchmarks.local_stack import LocalStack, local_stack
from benchmarks.measure import table, write
from ops.plan.recorder import RecordedResource, record_stack
from policies.rules.model import Secret
from policies.tokens import POSTGRESQL_PROVIDER, ROLE
from settings import ADMIN, PROJECT, ROOT, LocalState

RUNS = {5: 15, 50: 4, 200: 1}
"""By number of products. Together, the program is applied 20 times at Pulumi's default parallelism, each time to an
empty database; a collision would fail the update, and the benchmark with it.
"""


def against_flat() -> str:
    """Wall-clock seconds of the first `pulumi up`, the medians; the two programs take turns."""
    rows = []
    for count, runs in RUNS.items():
        ours, other = [], []
        for _ in range(runs):
            with local_stack(config(count), pulumi=True) as stack:
                stack.start_servers()
                ours.append(stack.update(stack.root))
            with local_stack(config(count), pulumi=True) as stack:
                state = stack.start_servers()
                other.append(stack.update(_flat_project(stack, state, count)))
        program, without = statistics.median(ours), statistics.median(other)
        rows.append((count, runs, program, without, program / without))
    return table(("products", "runs", "program, s", "flat, s", "ratio"), rows)


def _flat_project(stack: LocalStack, state: LocalState, count: int) -> Path:
    """A Pulumi project beside the stack's own, for the same servers."""
    resources = [_with_secrets(resource, state) for resource in record_stack("dev", overrides=config(count)).resources]
    folder = stack.root / "flat"
    write(folder / "__main__.py", flat.deployable(resources))
    write(folder / "Pulumi.yaml", f"name: {PROJECT}\nruntime: {{name: python, options: {{toolchain: uv}}}}\n")
    for file in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / file, folder)
    shutil.copy(stack.root / "Pulumi.dev.yaml", folder)
    (folder / ".venv").symlink_to(stack.root / ".venv")
    return folder


def _with_secrets(resource: RecordedResource, state: LocalState) -> RecordedResource:
    """With the stack's own port and passwords, in whose place the offline plan has others."""
    if resource.type == POSTGRESQL_PROVIDER:
        password = Secret(state.passwords[ADMIN].get_secret_value())
        # The SDK passed on as JSON what is no string.
        own = {"connectTimeout": 180, "superuser": False, "port": state.database_port, "password": password}
    elif resource.type == ROLE and "password" in resource.inputs:
        own = {"password": Secret(state.scram_verifiers[resource.inputs["name"]].get_secret_value())}
    else:
        return resource
    return replace(resource, inputs={**resource.inputs, **own})

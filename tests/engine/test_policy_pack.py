"""The policy pack under the real Pulumi CLI: it reports there what it reports over the offline plan."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.plan import policy, recorder
from policies.rules.model import Violation
from settings import ROOT

PROGRAM = """
import pulumi
import pulumi_postgresql as postgresql
import pulumi_random as random

good = pulumi.Config().require_bool("good")
server = postgresql.Provider("server", host="127.0.0.1", username="x", password="x", superuser=False)
options = pulumi.ResourceOptions(provider=server, protect=good)
drawn = random.RandomInteger("drawn", min=1, max=5)
product = postgresql.Role(
    "product", name="p", login=True, connection_limit=5 if good else -1, create_role=not good, opts=options
)
postgresql.Role("unknown", name="u", login=True, connection_limit=drawn.result, superuser=not good, opts=options)
postgresql.Schema("schema", name="s", drop_cascade=not good, opts=options)
postgresql.Grant(
    "grant", role=product.name if good else "public", object_type="database", database="d", privileges=["CONNECT"],
    opts=options,
)
"""

BROKEN = {
    ("data-protected", "grant"),
    ("data-protected", "product"),
    ("data-protected", "schema"),
    ("data-protected", "unknown"),
    ("no-drop-cascade", "schema"),
    ("no-grant-to-public", "grant"),
    ("role-attributes", "product"),
    ("role-attributes", "unknown"),
    ("role-connection-limit", "product"),
}


def pulumi(folder: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI")}
    ours = {
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{folder}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "1",
    }
    return subprocess.run(
        ["pulumi", "--non-interactive", *arguments],
        cwd=folder,
        env=kept | ours,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def preview(folder: Path, home: Path, *, good: bool) -> tuple[int, dict[str, set[tuple[str, str]]]]:
    """Exit status of a preview with the pack and, by enforcement level, (rule, resource) of what the pack said."""
    pulumi(folder, home, "config", "set", "--stack", "prod", "good", json.dumps(good))
    ended = pulumi(folder, home, "preview", "--stack", "prod", "--policy-pack", str(ROOT / "policies"), "--json")
    said: dict[str, set[tuple[str, str]]] = {"mandatory": set(), "advisory": set()}
    for line in ended.stdout.splitlines():
        event = json.loads(line).get("policyEvent") if line.startswith("{") else None
        if event:
            said[event["enforcementLevel"]].add((event["policyName"], event["resourceUrn"].rpartition("::")[2]))
    assert ended.returncode == 0 or said["mandatory"], ended.stdout + ended.stderr
    return ended.returncode, said


@pytest.fixture(autouse=True)
def a_draw_is_not_known_before_the_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"random:index/randomInteger:RandomInteger": lambda _: {"result": recorder.KNOWN}}
    monkeypatch.setattr(recorder, "COMPUTED", {**recorder.COMPUTED, **drawn})


def offline(folder: Path, *, good: bool) -> set[tuple[str, str]]:
    """(rule, resource) of what is broken in the same program's offline plan."""
    recording = recorder.record(
        lambda: runpy.run_path(str(folder / "__main__.py")),
        stack="prod",
        config={"lightwave:good": good},
    )
    return {
        (v.rule.name, v.resource.name) for v in policy.verdicts(recording.resources) if isinstance(v.answer, Violation)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pulumi_home: Path) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "__main__.py").write_text(PROGRAM)
    shutil.copy(ROOT / "uv.lock", folder)
    project: dict[str, Any] = {
        "name": "lightwave",
        "runtime": {"name": "python", "options": {"toolchain": "uv", "virtualenv": sys.prefix}},
    }
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
    made = pulumi(folder, pulumi_home, "stack", "init", "prod")
    assert made.returncode == 0, made.stderr
    return folder


def test_it_refuses_what_the_offline_plan_refuses(folder: Path, pulumi_home: Path) -> None:
    status, said = preview(folder, pulumi_home, good=False)
    assert status != 0
    assert said["mandatory"] == BROKEN == offline(folder, good=False)


def test_it_passes_what_the_offline_plan_passes(folder: Path, pulumi_home: Path) -> None:
    status, said = preview(folder, pulumi_home, good=True)
    assert status == 0
    assert said["mandatory"] == offline(folder, good=True) == set()
    # Only the deploy will know the drawn limit: said, and no more than said.
    assert ("role-connection-limit", "unknown") in said["advisory"]

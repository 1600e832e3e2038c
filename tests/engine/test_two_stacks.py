"""Two local stacks side by side, from `make up STACK=alice` to `make down STACK=alice WIPE=1`, built in both ways."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.deploy import install
from tests.engine.conftest import Project, project_copy, require_provider


@pytest.fixture(params=["the plan's SQL", "pulumi"])
def built_by(request: pytest.FixtureRequest) -> str:
    """How the databases are built."""
    return str(request.param)


@pytest.fixture
def project(built_by: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A copy of the project with a second stack, whose config is dev's."""
    home = tmp_path
    if built_by == "pulumi":
        home = request.getfixturevalue("pulumi_home")
        require_provider("postgresql", home)
    with project_copy(home) as copy:
        shutil.copy(copy.root / "Pulumi.dev.yaml", copy.root / "Pulumi.alice.yaml")
        try:
            yield copy
        finally:
            stopped = copy.ops("down", "--stack", "alice")
        assert stopped.status == 0, stopped.output


def test_a_second_stack_works_beside_dev(project: Project, built_by: str) -> None:
    environment = {} if built_by == "pulumi" else {install.SWITCH: "off"}
    config = (project.root / "Pulumi.alice.yaml").read_bytes()

    def ok(*words: str) -> str:
        ended = project.ops(*words, environment=environment)
        assert ended.status == 0, ended.output
        return ended.output

    first = ok("up", "--stack", "alice")
    assert "Stack alice is up: " in first
    assert f"built by {built_by}" in first
    assert ".local/alice/env/payload.env" in first
    assert "Stack dev is up: " in ok("up", "--stack", "dev")
    states = [json.loads((project.root / ".local" / stack / "state.json").read_text()) for stack in ("dev", "alice")]
    assert len({state[port] for state in states for port in ("databasePort", "pgbouncerPort")}) == 4
    assert states[0]["passwords"]["payload_user"] != states[1]["passwords"]["payload_user"]
    for stack in ("dev", "alice"):
        assert ", 0 wrong" in ok("verify", "--stack", stack)
        assert f"Stack {stack} is up: no changes." in ok("up", "--stack", stack)
        assert "wrote" in ok("env", "--stack", stack, "--service", "django")
    if built_by == "pulumi":
        ok("preview", "--stack", "alice")

    # Without its config it can still be stopped.
    (project.root / "Pulumi.alice.yaml").rename(project.root / "alice")
    assert "PostgreSQL stopped" in ok("down", "--stack", "alice")
    (project.root / "alice").rename(project.root / "Pulumi.alice.yaml")
    refused = project.ops("down", "--stack", "prod", "--wipe", environment=environment)
    assert refused.status == 2, refused.output
    assert "stack prod is not local" in refused.output

    down = ok("down", "--stack", "alice", "--wipe")
    assert f"removed {project.root}/.local/alice: data, ports, passwords and env files" in down
    assert not (project.root / ".local" / "alice").exists()
    assert (project.root / "Pulumi.alice.yaml").read_bytes() == config
    assert ", 0 wrong" in ok("verify", "--stack", "dev")
    assert "Stack dev is up: no changes." in ok("up", "--stack", "dev")
    gone = project.ops("verify", "--stack", "alice", environment=environment)
    assert gone.status == 2, gone.output
    assert "make up STACK=alice" in gone.output
    assert "nothing of stack alice runs" in ok("down", "--stack", "alice")

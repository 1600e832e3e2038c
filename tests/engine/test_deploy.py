"""`make deploy` and `make drift` with the real command line, on the dev stack of a copy of the project."""

import json
import re
from datetime import UTC, datetime

import yaml

from ops.deploy import file_backend
from tests.engine.conftest import Ended, Project

PROGRAM = """
import sys
from ops.__main__ import print_error
from ops.deploy import commands
from ops.errors import ExitCode
from settings.problems import OperatorError

try:
    sys.exit(commands.{command}("dev", lambda stack: ExitCode.OK))
except OperatorError as error:
    sys.exit(print_error(error))
"""


def run(project: Project, command: str) -> Ended:
    """`make <command>` of the dev stack in the copy, as in a job; verify has tests of its own."""
    return project.python(PROGRAM.format(command=command), environment={"CI": "true"})


def test_a_deploy_then_a_change_by_hand_then_a_lock(project: Project) -> None:
    deployed = run(project, "deploy")
    assert deployed.status == 0, deployed.output
    assert "Previewing update (dev)" in deployed.output
    assert deployed.output.index("Previewing update (dev)") < deployed.output.index("Updating (dev)")
    with project.connect("payload_user") as session:
        session.execute("CREATE TABLE payload.pages (id serial)")

    unchanged = run(project, "drift")
    assert unchanged.status == 0, unchanged.output
    assert "resources  as declared" in unchanged.output

    with project.connect() as session:
        session.execute("REVOKE USAGE ON SCHEMA payload FROM payload_reader")
    drifted = run(project, "drift")
    assert drifted.status == 1, drifted.output
    assert "resources  DIFFER from what is declared" in drifted.output

    locks = file_backend.folder("dev", project.root) / ".pulumi/locks/organization/lightwave/dev"
    locks.mkdir(parents=True, exist_ok=True)
    holder = {"pid": 42, "username": "ann", "hostname": "laptop", "timestamp": datetime.now(UTC).isoformat()}
    (locks / "0000.json").write_text(json.dumps(holder))
    locked = run(project, "deploy")
    assert locked.status == 2, locked.output
    assert "Pulumi was not started: 1 of " in locked.output
    assert "another update of stack dev runs (process 42 on laptop since" in locked.output


def test_removing_a_protected_product_as_the_runbook_says(project: Project) -> None:
    project.configure(protect=True)
    project.update()
    with project.connect("cineos_user") as session:
        session.execute("CREATE TABLE cineos.films (id serial)")
    file = project.root / "Pulumi.yaml"
    document = yaml.safe_load(file.read_text())
    del document["config"]["lightwave:products"]["default"]["cineos"]
    file.write_text(yaml.safe_dump(document))

    refused = run(project, "deploy")
    assert refused.status == 1, refused.output
    assert "Updating (dev)" not in refused.output
    with project.connect() as session:
        assert session.execute("SELECT has_schema_privilege('cineos_user', 'cineos', 'CREATE')").fetchone() == (True,)
        session.execute("BEGIN; DROP SCHEMA cineos CASCADE; CREATE SCHEMA cineos; COMMIT")

    shown = project.pulumi("stack", "--stack", "dev", "--show-urns").output
    urns = re.findall(r"urn:pulumi:dev::\S*::access-cineos-[a-z-]*", shown)
    assert len(urns) == 8, shown
    assert project.pulumi("state", "unprotect", "--stack", "dev", "--yes", *urns).status == 0
    removed = run(project, "deploy")
    assert removed.status == 0, removed.output
    with project.connect() as session:
        assert session.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'cineos%'").fetchall() == []
        assert session.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'cineos'").fetchall() == []

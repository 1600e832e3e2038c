"""The dev stack under the real Pulumi CLI: the two ways to build it, and cycles of up and destroy."""

import json
import os
from pathlib import Path

from ops.deploy import file_backend, install
from tests.engine.conftest import Project, project_copy

CYCLES = int(os.environ.get("ENGINE_CYCLES", "2"))


def test_both_ways_build_the_same_and_are_never_mixed(project: Project) -> None:
    project.read_by_django(on=True)
    without = {install.SWITCH: "off"}

    first = project.make_up()
    assert first.status == 0, first.output
    assert "built by pulumi" in first.output
    project.make_tables()
    by_pulumi = project.catalog()

    again = project.make_up()
    assert again.status == 0, again.output
    assert "Stack dev is up: no changes." in again.output
    for secret in json.loads(project.state_file.read_text())["passwords"].values():
        assert secret not in first.output + again.output
    refused = project.make_up(environment=without)
    assert refused.status == 2, refused.output
    assert "make down WIPE=1" in refused.output
    assert project.catalog() == by_pulumi

    down = project.ops("down", "--wipe")
    assert down.status == 0, down.output
    assert not file_backend.folder("dev", project.root).exists()
    first = project.make_up(environment=without)
    assert first.status == 0, first.output
    assert "no Pulumi CLI (LIGHTWAVE_PULUMI=off)" in first.output
    project.make_tables()
    by_sql = project.catalog()
    assert by_sql.keys() == by_pulumi.keys()
    for name, rows in by_pulumi.items():
        assert rows
        assert by_sql[name] == rows, name

    # Pulumi is there now: the database stays with the SQL.
    again = project.make_up()
    assert again.status == 0, again.output
    assert "Stack dev is up: no changes." in again.output
    assert "built by the plan's SQL" in again.output
    assert project.catalog() == by_sql


def test_up_where_there_is_no_pulumi(tmp_path: Path) -> None:
    with project_copy(tmp_path) as project:
        without = {install.SWITCH: "off"}
        first = project.make_up(environment=without)
        assert first.status == 0, first.output
        assert "Stack dev is up: schemas, roles and grants created." in first.output
        before = project.catalog()
        env_files = {path: path.read_bytes() for path in (project.root / ".local" / "dev" / "env").iterdir()}
        assert {path.name for path in env_files} >= {"payload.env", "django.env"}

        again = project.make_up(environment=without)
        assert again.status == 0, again.output
        assert "Stack dev is up: no changes." in again.output
        assert {path: path.read_bytes() for path in env_files} == env_files

        # What the SQL can not do is refused, and nothing of it is done.
        project.read_by_django(on=True)
        refused = project.make_up(environment=without)
        assert refused.status == 2, refused.output
        assert "make down WIPE=1" in refused.output
        assert project.catalog() == before


def test_plain_pulumi_in_cycles_of_up_and_destroy(project: Project) -> None:
    committed = (project.root / "Pulumi.dev.yaml").read_bytes()
    empty = project.catalog()
    for cycle in range(CYCLES):
        project.update()
        if cycle == 0:
            nothing = project.pulumi("up", "--yes", "--expect-no-changes")
            assert nothing.status == 0, nothing.output
        destroyed = project.pulumi("destroy", "--yes", "--skip-preview")
        assert destroyed.status == 0, destroyed.output
        left = project.catalog()
        # What PUBLIC may do with a database by PostgreSQL's own default stays taken away.
        assert {**left, "databases": []} == {**empty, "databases": []}
    assert (project.root / "Pulumi.dev.yaml").read_bytes() == committed

"""The commands of the runbooks about products and schemas, run as they stand there on a dev stack with tables."""

import json
import re
import textwrap

from ops.deploy import file_backend
from settings import ADMIN, DATABASE, HOST, ROOT
from tests.engine.conftest import Ended, Project


def _commands(runbook: str, **values: str) -> str:
    """The shell blocks of a runbook after the one that asks for values, which are set to `values`."""
    text = (ROOT / "docs/runbooks" / runbook).read_text()
    asks, *blocks = [textwrap.dedent(block) for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.S | re.M)]
    assert {word.partition("=")[0] for word in asks.split()[1:]} == set(values)
    return "\n".join(blocks)


def _run(project: Project, runbook: str, product: str, **values: str) -> Ended:
    state = json.loads(project.state_file.read_text())

    def url(role: str) -> str:
        return f"postgresql://{role}:{state['passwords'][role]}@{HOST}:{state['databasePort']}/{DATABASE}"

    given = {"P": product, "STACK": "dev", **values}
    environment = {
        **file_backend.environment("dev", project.root),
        **given,
        "ADMIN_URL": url(ADMIN),
        "P_URL": url(f"{product}_user"),
    }
    return project.run("bash", "-euxo", "pipefail", "-c", _commands(runbook, **given), environment=environment)


def _up(project: Project, *flags: str) -> str:
    ended = project.ops("up", *flags)
    assert ended.status == 0, ended.output
    return ended.output


def test_a_product_is_removed_by_its_runbook(project: Project) -> None:
    _up(project)
    project.make_tables()
    products = project.products()
    ran = _run(project, "remove-a-product.md", "payload", S="payload")
    assert ran.status == 0, ran.output
    assert "TABLE DATA payload users" in ran.output
    urns = (project.root / "urns").read_text().split()
    assert {urn.rpartition("::access-payload-")[2] for urn in urns} == {
        *("login", "reader", "schema", "own", "reader-usage", "reader-tables", "reader-default", "functions")
    }
    project.configure(products={name: entry for name, entry in products.items() if name != "payload"})
    assert "deletes Schema access-payload-schema" in _up(project, "--remove")
    with project.connect() as admin:
        assert not admin.execute("SELECT FROM pg_namespace WHERE nspname = 'payload'").fetchall()
        assert not admin.execute("SELECT FROM pg_roles WHERE rolname LIKE 'payload%'").fetchall()
    assert "no changes" in _up(project)


def test_a_schema_is_renamed_by_its_runbook(project: Project) -> None:
    _up(project)
    project.make_tables()
    products = project.products()
    project.configure(products={**products, "payload": {**products["payload"], "schema": "cms"}})
    refused = project.make_up()
    assert refused.status == 2, refused.output
    ran = _run(project, "rename-a-schema.md", "payload", OLD="payload", NEW="cms")
    assert ran.status == 0, ran.output
    _up(project)
    assert "no changes" in _up(project)
    with project.connect("payload_user") as payload:
        assert payload.execute("SELECT email FROM users").fetchall() == [("a@example.com",)]
        assert payload.execute("SELECT to_regclass('cms.users') IS NOT NULL").fetchone() == (True,)

"""How a run that fails ends under the real Pulumi CLI: its last lines name the cause and the fix."""

import json
from threading import Event, Thread, Timer

from ops.deploy import file_backend
from tests.engine.conftest import Project

UPDATE = """
import shutil, sys
from pathlib import Path
from ops.__main__ import print_error
from ops.deploy.pulumi_cli import PulumiCli
from settings.problems import OperatorError

cli = PulumiCli(shutil.which("pulumi"), "dev", True, Path.cwd())
try:
    cli.select()
    print(dict(cli.up()))
except OperatorError as error:
    sys.exit(print_error(error))
"""
"""The update alone, without what `make up` checks before it."""


def test_a_resource_that_fails_is_named_last(project: Project) -> None:
    products = project.products()
    project.update()
    project.make_tables()
    del products["payload"]
    project.configure(products=products)
    failed = project.python(UPDATE)
    assert failed.status == 1, failed.output
    *_, cause, fix = failed.output.splitlines()
    assert cause.startswith(
        "pulumi up of stack dev failed: access-payload-schema: error deleting schema: pq: cannot drop schema payload"
    ), failed.output
    assert "make up" in fix
    # Pulumi interrupts the program when a resource fails.
    assert "KeyboardInterrupt" not in failed.output
    assert "Traceback" not in failed.output


def test_an_interrupt_ends_with_one_line_and_the_next_run_goes_on(project: Project) -> None:
    first = project.make_up()
    assert first.status == 0, first.output
    project.configure(products={**project.products(), "audioos": {}})
    release, held = Event(), Event()

    def hold() -> None:
        with project.connect() as admin, admin.transaction():
            # The provider waits for this transaction, and so does the interrupted update.
            admin.execute("CREATE ROLE audioos_user")
            held.set()
            release.wait(60)
            admin.execute("ROLLBACK")

    def under_way(output: str) -> bool:
        if "Role access-audioos-login creating" not in output:
            return False
        Timer(1, release.set).start()
        return True

    holder = Thread(target=hold)
    holder.start()
    assert held.wait(30)
    try:
        interrupted = project.make_up(interrupt_when=under_way)
    finally:
        release.set()
        holder.join()
    assert interrupted.status == 1, interrupted.output
    assert "pulumi up of stack dev was interrupted" in interrupted.output.splitlines()[-2], interrupted.output
    assert interrupted.output.splitlines()[-1] == "      fix: make up: it goes on from where it stopped"
    assert "Traceback" not in interrupted.output
    assert not list(file_backend.folder("dev", project.root).glob(".pulumi/locks/*/*/dev/*.json"))

    again = project.make_up()
    assert again.status == 0, again.output
    assert "audioos_user" in json.loads(project.state_file.read_text())["passwords"]

"""Preview, deploy, drift and verify of a stack on the real platform.

A deploy shows the preview, asks, and then runs an update with a preview of its own: that is what refuses to delete
what is protected.
"""

from collections.abc import Callable

import settings as config
from ops.check import show
from ops.console import in_ci, say
from ops.deploy.admin_login import admin_login
from ops.deploy.checks import Checks
from ops.deploy.pulumi_cli import PulumiCli
from ops.errors import ExitCode, FailedError
from ops.verify import report
from ops.verify.model import Endpoint
from settings import ADMIN, HOST
from settings.problems import OperatorError, Problem

_GUARD = ("--policy-pack", "policies")
_NO_CHANGES_EXPECTED = "no changes were expected"

Verify = Callable[[str], ExitCode]


def preview(stack: str) -> ExitCode:
    """Shows what a deploy of the stack would change; nothing is changed.

    Raises OperatorError where a check failed, FailedError where the preview did.
    """
    _preview(_checked(stack, database=False))
    return ExitCode.OK


def verify(stack: str, *, as_json: bool = False) -> ExitCode:
    """Proves the running platform against the product table; in production it only reads.

    Raises OperatorError where the platform cannot be reached.
    """
    settings = config.of_stack(stack)
    if settings.local is None:
        endpoint, password = admin_login(settings)
        return report.run(settings, direct=endpoint, passwords={ADMIN: password}, as_json=as_json)
    return report.run(
        settings,
        direct=Endpoint(host=HOST, port=settings.local.database_port),
        pooled=Endpoint(host=HOST, port=settings.local.pgbouncer_port),
        passwords=settings.local.passwords,
        as_json=as_json,
    )


def deploy(stack: str, verify: Verify = verify) -> ExitCode:
    """Previews, asks (not in CI), updates, verifies: FAILED where the operator says no or `verify` finds a difference.

    Raises OperatorError where a check failed, FailedError where Pulumi did.
    """
    pulumi = _checked(stack, database=True)
    _preview(pulumi)
    if not _confirmed(stack):
        say(f"stack {stack}: nothing was changed")
        return ExitCode.FAILED
    # Never with --skip-preview: the update's own preview refuses it whole where something protected would go.
    outcome = pulumi.run("up", *_GUARD, "--yes")
    if outcome.status:
        raise outcome.failure("what to do now: docs/runbooks/interrupted-deploy.md")
    return verify(stack)


def drift(stack: str, verify: Verify = verify) -> ExitCode:
    """Looks for what was changed by hand: resources against the program, then the database's catalog against the table.

    The second sees what the first cannot, a grant that nobody declared. Both run, whatever the first finds.
    """
    pulumi = _checked(stack, database=True)
    outcome = pulumi.run("preview", *_GUARD, "--refresh", "--expect-no-changes")
    problems = list[Problem]()
    resources = "as declared"
    if outcome.status and _NO_CHANGES_EXPECTED in outcome.stderr:
        resources = "DIFFER from what is declared"
    elif outcome.status:
        resources = "COULD NOT BE COMPARED"
        problems += outcome.failure("").problems
    try:
        same = verify(stack) is ExitCode.OK
        database = "as the product table says" if same else "DIFFERS from the product table"
    except OperatorError as error:
        same, database = False, "COULD NOT BE VERIFIED"
        problems += error.problems
    say(f"\nDrift of stack {stack}:", f"  resources  {resources}", f"  database   {database}")
    if same and not outcome.status:
        return ExitCode.OK
    say("Details above. What to do: docs/runbooks/drift.md")
    if problems:
        raise FailedError(problems)
    return ExitCode.FAILED


def _preview(pulumi: PulumiCli) -> None:
    outcome = pulumi.run("preview", *_GUARD)
    if outcome.status:
        raise outcome.failure(f"nothing was changed; fix it, then: make preview STACK={pulumi.stack}")


def _checked(stack: str, *, database: bool) -> PulumiCli:
    """The Pulumi CLI where every check is ok. Raises OperatorError with every problem otherwise."""
    say(f"Checks of stack {stack}:")
    checks = Checks(stack, show)
    pulumi = checks.run(database=database)
    if pulumi is None:
        failed = sum(1 for check in checks.done if check.problems)
        say(f"Pulumi was not started: {failed} of {len(checks.done)} checks failed")
        raise OperatorError(checks.problems)
    return pulumi


def _confirmed(stack: str) -> bool:
    if in_ci():
        return True
    try:
        return input(f"\nDeploy this to {stack}? Type {stack} to go on: ").strip() == stack
    except (EOFError, KeyboardInterrupt):
        say("\nno answer; a job, which nobody can ask, sets CI=true")
        return False

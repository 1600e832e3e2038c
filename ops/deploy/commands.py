"""Preview, deploy, drift and verify of a stack on the real platform.

A deploy shows the preview, asks, and then runs an update with a preview of its own: that is what refuses to delete
what is protected.
"""

from collections.abc import Callable, Sequence

import settings as config
from ops.check import Check, show
from ops.console import in_ci, say
from ops.deploy.admin_login import admin_login
from ops.deploy.checks import Checks, declared_local
from ops.deploy.pulumi_cli import PulumiCli
from ops.errors import ExitCode, FailedError
from ops.verify import outside, report
from ops.verify.model import Endpoint
from settings import ADMIN, HOST
from settings.problems import OperatorError, Problem

_GUARD = ("--policy-pack", "policies")
_DRIFT = "docs/runbooks/drift.md"
_NO_CHANGES_EXPECTED = "no changes were expected"

Verify = Callable[[str], ExitCode]


def preview(stack: str) -> ExitCode:
    """Shows what a deploy of the stack would change; nothing is changed.

    Raises OperatorError where a check failed, FailedError where the preview did.
    """
    _preview(_checked(stack, database=False))
    return ExitCode.OK


def verify(stack: str, *, seen: Sequence[Check] = (), as_json: bool = False) -> ExitCode:
    """Proves the database against the product table; on RDS it only reads.

    Raises OperatorError where the database cannot be reached.
    """
    settings = config.of_stack(stack)
    endpoint, password = admin_login(settings)
    local = settings.local
    return report.run(
        settings,
        direct=endpoint,
        pooled=Endpoint(host=HOST, port=local.pgbouncer_port) if local else None,
        passwords=local.passwords if local else {ADMIN: password},
        outside=seen,
        as_json=as_json,
    )


def verify_all(stack: str, *, database: bool = True, as_json: bool = False) -> ExitCode:
    """`verify`, and what visitors of the stack see; without `database` that alone. OK where all is as declared.

    Raises FailedError with every problem otherwise, and what `verify` raises.
    """
    seen = outside.look(config.of_stack(stack))
    problems = [problem for check in seen for problem in check.problems]
    if database:
        if verify(stack, seen=seen, as_json=as_json) is not ExitCode.OK:
            problems.append(_difference(stack))
    elif not seen:
        raise OperatorError(
            f"stack {stack} has neither edge nor media: it cannot be seen from outside", f"make verify STACK={stack}"
        )
    elif as_json:
        say(report.as_document(None, stack, seen))
    else:
        report.show_outside(seen)
    if problems:
        raise FailedError(problems)
    return ExitCode.OK


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
    return as_declared(stack, verify(stack))


def as_declared(stack: str, verified: ExitCode) -> ExitCode:
    """OK. Raises FailedError with the fix where `verify` found a difference."""
    if verified is ExitCode.OK:
        return verified
    problem = _difference(stack)
    raise FailedError(problem)


def _difference(stack: str) -> Problem:
    again = f"make up STACK={stack}: it makes roles and grants again as they are declared"
    return Problem(
        what=f"the database of stack {stack} differs from the product table; every wrong check is above",
        fix=again if declared_local(stack) else _DRIFT,
    )


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
        problems += outcome.failure(_DRIFT).problems
    try:
        same = verify(stack) is ExitCode.OK
        database = "as the product table says" if same else "DIFFERS from the product table"
    except OperatorError as error:
        same, database = False, "COULD NOT BE VERIFIED"
        problems += error.problems
    say(f"\nDrift of stack {stack}:", f"  resources  {resources}", f"  database   {database}")
    if same and not outcome.status:
        return ExitCode.OK
    say(f"Details above. What to do: {_DRIFT}")
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

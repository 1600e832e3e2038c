"""The Pulumi CLI for one stack: its environment, updates, and why one failed; against a stand-in for it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.deploy import file_backend
from ops.deploy.pulumi_cli import PulumiCli
from ops.errors import FailedError
from settings.problems import OperatorError, Problem
from tests.unit.ops.deploy.conftest import StandIn

# --- its environment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["dev", "alice"])
def test_a_local_stack_needs_nothing_of_the_caller_s(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: str
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://production")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
    cli_of(stack).select()
    ((arguments, environment),) = pulumi.asked
    assert arguments == ["stack", "select", "--create", stack]
    assert environment == {
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/.local/{stack}/pulumi-state",
        "PULUMI_CONFIG_PASSPHRASE": "lightwave-dev",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    assert file_backend.folder(stack, tmp_path).stat().st_mode & 0o777 == 0o700


def test_prod_keeps_the_caller_s_backend_and_is_never_created(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://production")
    cli_of("prod").select()
    assert pulumi.asked == [
        (
            ["stack", "select", "prod"],
            {"PULUMI_BACKEND_URL": "s3://production", "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    ]


def test_the_language_host_finds_the_locked_uv_and_this_python_s_version(cli_of: Callable[[str], PulumiCli]) -> None:
    environment = cli_of("prod").environment()
    folder = environment["PATH"].split(os.pathsep)[1]
    assert Path(folder) == Path(sys.executable).parent
    assert shutil.which("uv", path=folder)
    assert environment["UV_PYTHON"] == f"{sys.version_info.major}.{sys.version_info.minor}"


# --- updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "skips"), [("dev", True), ("alice", True), ("prod", False)])
def test_only_a_local_stack_goes_without_a_preview(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], stack: str, skips: bool
) -> None:
    pulumi.answer(**{"up_--stack": {"events": [{"summaryEvent": {"resourceChanges": {"same": 2, "create": 1}}}]}})
    assert cli_of(stack).up() == {"same": 2, "create": 1}
    arguments, _ = pulumi.asked[0]
    assert arguments[:3] == ["up", "--stack", stack]
    assert ("--skip-preview" in arguments) == skips


def test_an_interrupt_is_passed_on_and_pulumi_is_waited_for(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli]
) -> None:
    pulumi.answer(**{"up_--stack": {"seconds": 2, "status": 255}})
    asked_at = list[float]()

    def interrupt() -> None:
        while not pulumi.asked:
            time.sleep(0.05)
        asked_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(OperatorError, match="pulumi up of stack dev was interrupted"):
        cli_of("dev").up()
    assert time.monotonic() - asked_at[0] > 1.5


def test_an_interrupt_while_pulumi_starts_is_passed_on_too(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return start(*arguments, **options)

    pulumi.answer(**{"up_--stack": {"seconds": 60, "status": 255}})
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(FailedError, match="pulumi up of stack dev was interrupted"):
        cli_of("dev").up()


def test_a_failed_update_is_an_error(pulumi: StandIn, cli_of: Callable[[str], PulumiCli]) -> None:
    pulumi.answer(**{"up_--stack": {"status": 255}})
    with pytest.raises(FailedError, match="pulumi up of stack dev failed: exit status 255"):
        cli_of("dev").up()


ROLE, STACK = (
    "urn:pulumi:dev::lightwave::postgresql:index/role:Role::login",
    "urn:pulumi:dev::lightwave::x::lightwave-dev",
)


def error(message: str, urn: str = "") -> dict[str, Any]:
    """An error in Pulumi's event log."""
    return {"diagnosticEvent": {"urn": urn, "prefix": "error: ", "message": message, "severity": "error"}}


def test_the_cause_of_a_failure_is_named_without_what_is_printed_around_it(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli]
) -> None:
    events = [
        error(f"deleting {ROLE}: 1 error occurred:\n\t* could not drop role: pq: it owns objects\n\n", ROLE),
        error("update failed\n"),
        # Pulumi interrupts the program when a resource fails.
        {"diagnosticEvent": {"message": "Traceback (most recent call last):\n", "severity": "info#err"}},
        {"diagnosticEvent": {"message": "KeyboardInterrupt\n", "severity": "info#err"}},
    ]
    pulumi.answer(**{"up_--stack": {"status": 255, "events": events, "stderr": "error: update failed"}})
    with pytest.raises(FailedError) as failed:
        cli_of("dev").up()
    (problem,) = failed.value.problems
    assert problem.what == ("pulumi up of stack dev failed: login: could not drop role: pq: it owns objects")
    assert "make up" in problem.fix


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (
            {
                "events": [
                    error("Program failed:\nTraceback (most recent call last):\n  File x\nValueError: no port\n", STACK)
                ]
            },
            "lightwave-dev: ValueError: no port",
        ),
        ({"events": [error("[ERROR] a\n", ROLE), error("a\n", ROLE), error("b", STACK)]}, "login: a; lightwave-dev: b"),
        ({"stderr": "warning: x\nerror: no stack named 'dev' found"}, "no stack named 'dev' found"),
        ({"events": [error("whole", ROLE), '{"diagnosticEvent": {"urn": "cut o']}, "login: whole"),
    ],
)
def test_every_kind_of_cause_is_found(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli], answer: dict[str, Any], cause: str
) -> None:
    pulumi.answer(**{"preview_--stack": {"status": 255, **answer}})
    failure = cli_of("dev").run("preview").failure("a fix")
    assert failure.problems == (Problem(what=f"pulumi preview of stack dev failed: {cause}", fix="a fix"),)


def test_a_failed_query_passes_on_what_pulumi_printed(pulumi: StandIn, cli_of: Callable[[str], PulumiCli]) -> None:
    pulumi.answer(stack_select={"status": 1, "stderr": "error: incorrect passphrase"})
    with pytest.raises(OperatorError, match="incorrect passphrase"):
        cli_of("dev").select()

"""What `make deploy` does before, around and after Pulumi: real subprocesses, against stand-ins for its tools."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.deploy import commands
from ops.errors import ExitCode, UnreachableError
from settings.problems import OperatorError
from tests.unit.ops.deploy.conftest import ACCOUNT, PREVIEW, REPOSITORY, UP, Bench, Verify, ended


def test_a_deploy_previews_updates_and_verifies_in_that_order(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.OK
    assert bench.long_commands() == [PREVIEW, UP]
    assert verify.stacks == ["prod"]
    shown = capfd.readouterr().out
    for fact in (f"{ACCOUNT}, eu-central-1", "lightwave-prod", "s3://lightwave-state", "127.0.0.1:", "clean"):
        assert fact in shown


def test_no_command_ever_skips_the_preview(bench: Bench) -> None:
    assert ended(commands.preview, "prod") == ExitCode.OK
    for command in (commands.deploy, commands.drift):
        assert ended(command, "prod", Verify()) == ExitCode.OK
    assert len(bench.long_commands()) == 4
    assert not [call for call in bench.calls("pulumi") if "skip-preview" in call or " -f" in call]


def test_a_preview_changes_nothing_and_does_not_ask_for_the_database(bench: Bench) -> None:
    assert ended(commands.preview, "prod") == ExitCode.OK
    assert bench.long_commands() == [PREVIEW]
    assert not [call for call in bench.calls("aws") if call.startswith("rds")]


def test_what_verify_finds_fails_the_deploy(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(commands.deploy, "prod", Verify(ExitCode.FAILED)) == ExitCode.FAILED
    assert bench.long_commands() == [PREVIEW, UP]
    assert capfd.readouterr().err.splitlines()[-2:] == [
        "the database of stack prod differs from the product table; every wrong check is above",
        "      fix: docs/runbooks/drift.md",
    ]


def test_a_failed_preview_is_the_end(bench: Bench) -> None:
    bench.pulumi(preview="exit 255")
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.FAILED
    assert bench.long_commands() == [PREVIEW]
    assert not verify.stacks


def test_a_failed_update_is_not_verified_and_names_the_runbook(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.pulumi(up="exit 255")
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.FAILED
    assert not verify.stacks
    named = "docs/runbooks/interrupted-deploy.md"
    assert named in capfd.readouterr().err
    assert (REPOSITORY / named).exists()


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["", "no\n", "y\n", "yes\n", "dev\n"])
def test_anything_but_the_stacks_name_leaves_all_as_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "false")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.FAILED
    assert bench.long_commands() == [PREVIEW]
    assert not verify.stacks
    assert "nothing was changed" in capfd.readouterr().out


def test_the_stacks_name_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI")
    monkeypatch.setattr(sys, "stdin", io.StringIO("prod\n"))
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK
    assert bench.long_commands() == [PREVIEW, UP]


def test_a_job_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = io.StringIO("no\n")
    monkeypatch.setattr(sys, "stdin", answer)
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK
    assert bench.long_commands() == [PREVIEW, UP]
    assert answer.read() == "no\n", "nobody read it"


# --- Pulumi -----------------------------------------------------------------------------------------------------------

DIY_LOCK = (
    "echo 'error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete"
    " the lock file with `pulumi cancel`.' >&2;"
    "echo '  s3://lightwave-state/.pulumi/locks/organization/lightwave/prod/1.json: created by ann@laptop (pid 42) at"
    " 2026-11-22T10:00:00Z' >&2; exit 255"
)
CLOUD_LOCK = "echo 'error: [409] Conflict: Another update is currently in progress.' >&2; exit 255"


@pytest.mark.parametrize(("lock", "holder"), [(DIY_LOCK, "by ann@laptop (pid 42)"), (CLOUD_LOCK, "another update")])
def test_a_lock_is_reported_with_its_holder(
    bench: Bench, capfd: pytest.CaptureFixture[str], lock: str, holder: str
) -> None:
    bench.pulumi(up=lock)
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.FAILED
    message = capfd.readouterr().err
    assert "stack prod is locked" in message
    assert holder in message
    assert "Nothing was changed" in message
    assert not verify.stacks


def test_another_error_is_not_a_lock(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.pulumi(preview="echo 'error: something else' >&2; exit 255")
    assert ended(commands.preview, "prod") == ExitCode.FAILED
    message = capfd.readouterr().err
    assert "error: something else" in message
    assert message.splitlines()[-2:] == [
        "pulumi preview of stack prod failed: something else",
        "      fix: nothing was changed; fix it, then: make preview STACK=prod",
    ]
    assert "locked" not in message


DIFFERS = "echo 'error: no changes were expected but changes were proposed' >&2; exit 255"


UNREACHABLE = UnreachableError("PostgreSQL does not answer", "make up")


@pytest.mark.parametrize(
    ("preview", "verified", "verdicts"),
    [
        (":", ExitCode.OK, ("as declared", "as the product table says")),
        (DIFFERS, ExitCode.OK, ("DIFFER from what is declared", "as the product table says")),
        ("exit 255", ExitCode.OK, ("COULD NOT BE COMPARED", "as the product table says")),
        (":", ExitCode.FAILED, ("as declared", "DIFFERS from the product table")),
        (":", UNREACHABLE, ("as declared", "COULD NOT BE VERIFIED")),
        ("exit 255", ExitCode.FAILED, ("COULD NOT BE COMPARED", "DIFFERS from the product table")),
        ("exit 255", UNREACHABLE, ("COULD NOT BE COMPARED", "COULD NOT BE VERIFIED")),
    ],
)
def test_drift_looks_at_both_and_reports(
    bench: Bench,
    capfd: pytest.CaptureFixture[str],
    preview: str,
    verified: ExitCode | OperatorError,
    verdicts: tuple[str, str],
) -> None:
    bench.pulumi(preview=preview)
    verify = Verify(verified)
    in_order = verdicts == ("as declared", "as the product table says")
    assert ended(commands.drift, "prod", verify) == (ExitCode.OK if in_order else ExitCode.FAILED)
    assert bench.long_commands() == [f"{PREVIEW} --refresh --expect-no-changes"]
    assert verify.stacks == ["prod"]
    out, err = capfd.readouterr()
    report = out.partition("Drift of stack prod:\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in report[:2]] == [["resources", verdicts[0]], ["database", verdicts[1]]]
    assert ("docs/runbooks/drift.md" in report[-1]) is not in_order
    assert ("pulumi preview of stack prod failed" in err) is (verdicts[0] == "COULD NOT BE COMPARED")
    assert ("PostgreSQL does not answer" in err) is (verdicts[1] == "COULD NOT BE VERIFIED")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deploy_waits_for_pulumi(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    started, finished = tmp_path / "started", tmp_path / "finished"
    # As Pulumi does: interrupted once, it finishes what it is doing.
    bench.pulumi(
        up=f"trap 'sleep 0.5; touch {finished}; exit 255' INT; touch {started}; for i in $(seq 100); do sleep 0.1; done"
    )
    program = (
        "import pathlib, sys, settings\n"
        f"settings.ROOT = settings.files.ROOT = pathlib.Path({str(bench.root)!r})\n"
        "from ops.__main__ import main\n"
        "sys.exit(main(['deploy', '--stack', 'prod']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A background process of a script ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    ) as process:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert finished.exists(), message
    assert process.returncode == ExitCode.FAILED, message
    assert message.splitlines()[-2:] == [
        "pulumi up of stack prod was interrupted",
        "      fix: what to do now: docs/runbooks/interrupted-deploy.md",
    ]
    assert "Traceback" not in message

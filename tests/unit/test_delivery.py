"""How a change is delivered: what is pinned, what each job may do, and that every command that is named exists."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SETUP = "./.github/actions/setup"
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {".venv/.installed"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOSTED = "ubuntu-24.04"
"""GitHub's own machines: a new one for each job."""


def parsed(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def workflow(name: str) -> dict[Any, Any]:
    return parsed(GITHUB / f"workflows/{name}.yml")


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(path)["jobs"].values() for step in job["steps"]]


def setup_steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parsed(GITHUB / "actions/setup/action.yml")["runs"]["steps"]
    return found


def run(*command: str, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False, **options)


# --- workflows --------------------------------------------------------------------------------------------------------


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "deploy", "drift", "preview"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_actions_are_pinned_and_permissions_least(path: Path) -> None:
    document = parsed(path)
    assert document["permissions"] == {}
    assert "concurrency" in document
    assert "pull_request_target" not in path.read_text()
    for step in [*steps(path), *setup_steps()]:
        if "uses" in step:
            assert step["uses"] == SETUP or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    for job in document["jobs"].values():
        assert "timeout-minutes" in job
        if "id-token" in job["permissions"]:
            assert "environment" in job, "what assumes a cloud role stands behind an environment"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_failure_before_a_pipe_is_a_failure(path: Path) -> None:
    """GitHub's default shell has no pipefail, an explicit bash has."""
    assert parsed(path)["defaults"] == {"run": {"shell": "bash"}}
    assert all("shell" not in step for step in steps(path))


def test_the_makefile_s_shell_has_pipefail() -> None:
    probed = run("make", "--file=Makefile", "--file=-", "probe", input="probe:\n\t@false | cat\n")
    assert probed.returncode == 2, probed.stdout + probed.stderr


def test_deploys_wait_for_each_other_and_nothing_else_cancels_one() -> None:
    groups = {path.stem: parsed(path)["concurrency"] for path in WORKFLOWS}
    assert groups["deploy"] == {"group": "deploy", "cancel-in-progress": False}
    assert groups["drift"] == {"group": "drift", "cancel-in-progress": False}
    # A group holds one waiting run, whatever cancel-in-progress says: a second one cancels it.
    assert len({group["group"] for group in groups.values()}) == len(groups)
    assert not any("concurrency" in job for path in WORKFLOWS for job in parsed(path)["jobs"].values())


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_prod_gets_the_commit_that_staging_was_verified_with() -> None:
    """One run, so one commit: no job checks out another one, and each waits for the one before it."""
    jobs = workflow("deploy")["jobs"]
    chain = [(name, job.get("needs"), job["environment"], commands(job)) for name, job in jobs.items()]
    assert chain == [
        ("staging", None, "staging", ["make deploy STACK=staging"]),
        ("staging-verify", "staging", "staging-drift", ["make verify STACK=staging"]),
        ("preview", "staging-verify", "prod-preview", ["make preview STACK=prod"]),
        ("apply", ["staging-verify", "preview"], "prod", ["make deploy STACK=prod"]),
    ]
    # With `if` a job would run after a failure, too.
    assert not any("if" in job or "continue-on-error" in job for job in jobs.values())
    checkouts = [step for job in jobs.values() for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"] for step in checkouts] == [{"persist-credentials": False}] * 4


@pytest.mark.parametrize("name", ["deploy", "drift", "preview"])
def test_a_job_knows_one_stack_and_the_secrets_of_its_environment(name: str) -> None:
    for job in workflow(name)["jobs"].values():
        if "environment" not in job:
            assert "secrets." not in yaml.safe_dump(job)
            continue
        named = set(re.findall(r"(?:STACK=|matrix\.)\"?(\$?\w+)", yaml.safe_dump(job)))
        assert job["environment"].split("-")[0] in named | {"${{ matrix.stack }}"}
        assert len(named & {"staging", "prod"}) == ("strategy" not in job)


@pytest.mark.parametrize("name", ["drift", "preview"])
def test_every_deployed_stack_is_watched(name: str) -> None:
    (job,) = [job for job in workflow(name)["jobs"].values() if "strategy" in job]
    assert job["strategy"] == {"fail-fast": False, "matrix": {"stack": ["staging", "prod"]}}
    assert f'make {"--silent drift" if name == "drift" else "preview"} STACK="$STACK"' in "".join(commands(job))
    assert job["steps"][-1]["env"]["STACK"] == "${{ matrix.stack }}"


def test_the_policies_are_checked_for_every_deployed_stack() -> None:
    (step,) = [s for s in workflow("preview")["jobs"]["plan"]["steps"] if s.get("name") == "policy"]
    assert "for stack in staging prod; do" in step["run"]
    assert 'make --silent policy STACK="$stack"' in step["run"]


def test_a_drift_run_that_a_deploy_overlapped_files_no_issue() -> None:
    report = workflow("drift")["jobs"]["report"]
    (step,) = report["steps"]
    assert report["permissions"] == {"actions": "read", "issues": "write"}
    outputs = workflow("drift")["jobs"]["drift"]["outputs"]
    for stack in ("staging", "prod"):
        for key, output in ((stack.upper(), stack), (f"{stack.upper()}_STARTED", f"{stack}-started")):
            assert step["env"][key] == f"${{{{ needs.drift.outputs.{output} }}}}"
            # An output that both jobs of the matrix set would be that of the one which ends last.
            assert outputs[output] == f"${{{{ steps.look.outputs.{output} }}}}"
    look, file = step["with"]["script"].index("listWorkflowRuns"), step["with"]["script"].index("issues.create")
    assert look < file


def test_code_of_pull_requests_and_reviewed_code_share_no_runner() -> None:
    labels: dict[bool, set[str]] = {True: set(), False: set()}
    for path in WORKFLOWS:
        document = parsed(path)
        of_pull_requests = "pull_request" in document[True]  # YAML reads `on` so
        for job in document["jobs"].values():
            labels[of_pull_requests] |= set(re.findall(r"vars\.\w+|[a-z][\w-]*\d[\w.]*", job["runs-on"]))
    assert labels == {
        True: {HOSTED, "vars.PREVIEW_RUNNER"},
        False: {HOSTED, "vars.DEPLOY_RUNNER", "vars.STAGING_RUNNER"},
    }
    documented = (ROOT / "docs/bootstrap.md").read_text()
    assert all(f"`{label}`" in documented for label in ("PREVIEW_RUNNER", "DEPLOY_RUNNER", "STAGING_RUNNER"))


def test_a_job_that_may_write_runs_no_code_of_the_pull_request() -> None:
    jobs = workflow("preview")["jobs"]
    writers = [job for job in jobs.values() if "write" in job["permissions"].values() and "environment" not in job]
    assert len(writers) == 1
    for job in writers:
        assert not any("run" in step or "checkout" in step.get("uses", "") for step in job["steps"])


# --- the setup that the jobs share ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_every_job_that_runs_a_command_is_set_up_once_and_alike(path: Path) -> None:
    for name, job in parsed(path)["jobs"].items():
        used = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
        if any("run" in step for step in job["steps"]):
            assert used[:2] == ["actions/checkout", SETUP], name
            assert "run" not in job["steps"][0] | job["steps"][1], name
        assert not {"actions/setup-python", "pulumi/actions", "aws-actions/configure-aws-credentials"} & set(used), name


def test_the_pulumi_cli_is_the_sdk_s_release(tmp_path: Path) -> None:
    (pin,) = [step for step in setup_steps() if step.get("id") == "pin"]
    output = tmp_path / "output"
    run("bash", "-eo", "pipefail", "-c", pin["run"], env={"GITHUB_OUTPUT": str(output), "PATH": "/usr/bin:/bin"})
    assert output.read_text() == f"pulumi={version('pulumi')}\n"
    (install,) = [step for step in setup_steps() if step.get("uses", "").startswith("pulumi/actions@")]
    assert install["with"] == {"pulumi-version": "${{ steps.pin.outputs.pulumi }}"}


def test_nothing_is_installed_with_the_login_in_reach() -> None:
    assert setup_steps()[-1]["uses"].startswith("aws-actions/configure-aws-credentials@")
    assert setup_steps()[-1]["if"] == "inputs.role != ''"


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*WORKFLOWS, *DOCS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_make_command_exists(path: Path) -> None:
    if path.suffix == ".md":
        code = re.findall(r"`(make [^`]*)`|^\s*(?:\$ )?(make [a-z].*)$", path.read_text(), re.MULTILINE)
        commands = [left or right for left, right in code]
    else:
        runs = [step.get("run", "") for step in [*steps(path), *setup_steps()]]
        commands = [line for lines in runs for line in lines.splitlines() if "make " in line]
    for command in commands:
        named = re.search(r"make (?:--silent )?([.a-z0-9/-]+)", command)
        if named:
            assert named[1] in TARGETS, command


COMMANDS = {
    "up": ["--stack alice"],
    "down": ["--stack alice", "--wipe"],
    "env": ["--stack alice", '--service "payload"'],
    "verify": ["--stack alice", "--json"],
    "plan": ["--stack alice"],
    "policy": ["--stack alice"],
    "preview": ["--stack alice"],
    "deploy": ["--stack alice"],
    "drift": ["--stack alice"],
    "tunnel": ["--stack alice", '--target "i-1"'],
    "golden": [],
    "diff": ["--base v1", "--json"],
}
"""By target, the options that it passes on of those that are set."""


@pytest.mark.parametrize("target", COMMANDS)
def test_a_target_passes_on_what_its_command_takes(target: str) -> None:
    given = ["STACK=alice", "WIPE=1", "SERVICE=payload", "JSON=1", "TARGET=i-1", "BASE=v1"]
    shown = run("make", "--dry-run", "--old-file=.venv/.installed", target, *given)
    (command,) = [line for line in shown.stdout.splitlines() if " -m ops " in line]
    assert command.split() == [".venv/bin/python", "-m", "ops", target, *" ".join(COMMANDS[target]).split()]


def test_the_command_line_has_no_command_without_a_target() -> None:
    listed = run(sys.executable, "-m", "ops", "--help").stdout
    assert COMMANDS.keys() <= TARGETS
    assert all(re.search(rf"\b{command}\b", listed) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_what_its_target_passes_on(command: str) -> None:
    shown = run(sys.executable, "-m", "ops", command, "--help").stdout
    assert [option for option in COMMANDS[command] if option.split()[0] not in shown] == []


# --- what is pinned ---------------------------------------------------------------------------------------------------


def test_the_lock_is_of_pyproject_and_names_no_mirror() -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    checked = run(uv, "lock", "--check", "--offline")
    assert checked.returncode == 0, checked.stderr
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_the_python_that_ci_runs_is_the_oldest_that_is_supported() -> None:
    pinned = (ROOT / ".python-version").read_text().strip()
    assert PYPROJECT["project"]["requires-python"] == f">={pinned}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == pinned


def test_every_pulumi_project_uses_uv() -> None:
    for path in (ROOT / "Pulumi.yaml", ROOT / "bootstrap/Pulumi.yaml", ROOT / "policies/PulumiPolicy.yaml"):
        assert parsed(path)["runtime"] == {"name": "python", "options": {"toolchain": "uv"}}


def test_renovate_sees_everything_that_is_pinned() -> None:
    config = json.loads((ROOT / "renovate.json").read_text())
    # The recommended preset would leave out tests/ and examples/, where go.mod and package.json files are.
    assert config["ignorePaths"] == ["**/node_modules/**"]
    (images,) = config["customManagers"]
    digest = "sha256:" + "0" * 64
    pattern = images["matchStrings"][0].replace("(?<", "(?P<")
    for line in (f"image: a/b:v1.25.2-p0@{digest}", f'exporterImage: "a/b:v1.25.2-p0@{digest}"'):
        found = re.search(pattern, line)
        assert found
        assert found.groupdict() == {"depName": "a/b", "currentValue": "v1.25.2-p0", "currentDigest": digest}
    (files,) = [re.compile(pattern.strip("/")) for pattern in images["managerFilePatterns"]]
    assert [name for name in ("Pulumi.prod.yaml", "Pulumi.dev.yaml", "Pulumi.yaml") if files.search(name)] == [
        "Pulumi.prod.yaml",
        "Pulumi.dev.yaml",
    ]


def test_commit_hooks_are_the_ruff_of_make_check() -> None:
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split()[:2] for hook in repository["hooks"]] == [
        [".venv/bin/ruff", "format"],
        [".venv/bin/ruff", "check"],
    ]


# --- linters ----------------------------------------------------------------------------------------------------------


def test_zizmor_finds_nothing() -> None:
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    found = run(zizmor, "--offline", "--no-progress", "--quiet", str(GITHUB))
    assert found.returncode == 0, found.stdout + found.stderr


def test_actionlint_finds_nothing() -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("actionlint is built from its Go module, and Go is not on this machine")
    found = run(go, "tool", "actionlint", *map(str, WORKFLOWS), cwd=ROOT / "tests/tools")
    assert found.returncode == 0, found.stdout + found.stderr

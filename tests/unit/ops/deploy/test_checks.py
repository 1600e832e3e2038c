"""What is checked before Pulumi starts: every failure is reported at once, with its fix, and nothing is started."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable

import pytest

import settings
from ops.deploy import checks, commands
from ops.errors import ExitCode
from tests.configs import IMAGES, WITH_CLIENT_TLS
from tests.unit.conftest import local_state
from tests.unit.ops.deploy.conftest import ACCOUNT, BACKEND, KEY, PREVIEW, SENTINEL, UP, Bench, Verify, ended


def wrong_account(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.aws(account="999999999999")


def expired_login(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.tool("aws", "echo 'The SSO session has expired' >&2; exit 255")


def no_aws(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.bin / "aws").unlink()
    (bench.bin / "git").symlink_to("/usr/bin/git")
    (bench.bin / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(bench.bin))


def no_cluster(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.aws(cluster="echo 'ResourceNotFoundException: No cluster found for name: lightwave-prod.' >&2; exit 254")


def silent_cluster(bench: Bench, _: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = {"status": "ACTIVE", "endpoint": f"https://127.0.0.1:{port}", "ca": ""}
    bench.aws(cluster=f"echo '{json.dumps(found)}'")


def cluster_being_created(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.aws(cluster="""echo '{"status": "CREATING", "endpoint": null, "ca": null}'""")


def unreachable_database(bench: Bench, _: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = {"host": "127.0.0.1", "port": port, "sslMode": "verify-ca"}
    bench.config(database={"server": "rds", "adminEndpoint": endpoint})


def no_backend(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_BACKEND_URL")


def local_backend(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{bench.root}/.local/prod/pulumi-state")


def passphrase(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.stack_file(secretsprovider="passphrase")


def no_token(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")


def no_ca_of_rds(bench: Bench, _: pytest.MonkeyPatch) -> None:
    (bench.root / "rds-ca.pem").unlink()


def no_ca_of_the_pooler(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.config(pgbouncer={**IMAGES, **WITH_CLIENT_TLS})


def wrong_config(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.config(protect=False)


def missing_fact(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.config(aws={"region": "eu-central-1"})


def no_stack(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.pulumi(export="echo \"error: no stack named 'prod' found\" >&2; exit 255")


def interrupted_update(bench: Bench, _: pytest.MonkeyPatch) -> None:
    resource = {
        "urn": "urn:pulumi:prod::lightwave::postgresql:index/role:Role::payload",
        "type": "postgresql:index/role:Role",
        "inputs": {"name": "payload_user"},
    }
    pending = {"deployment": {"pending_operations": [{"type": "creating", "resource": resource}]}}
    bench.pulumi(export=f"echo '{json.dumps(pending)}'")


def no_pulumi(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTWAVE_PULUMI", "off")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (wrong_account, ["account 999999999999's, the stack is account 123456789012's", "AWS_PROFILE"]),
        (expired_login, ["The SSO session has expired", "aws sso login"]),
        (no_aws, ["aws is not on PATH", "install the AWS CLI"]),
        (no_cluster, ["No cluster found for name: lightwave-prod"]),
        (silent_cluster, ["lightwave-prod does not answer", "inside the VPC"]),
        (cluster_being_created, ["is CREATING"]),
        (unreachable_database, ["PostgreSQL at 127.0.0.1", "make tunnel STACK=prod"]),
        (no_backend, ["PULUMI_BACKEND_URL is not set", "export PULUMI_BACKEND_URL="]),
        (local_backend, ["cannot be at file://", "export PULUMI_BACKEND_URL="]),
        (passphrase, ["with a passphrase", "change-secrets-provider --stack prod"]),
        (no_token, ["CLOUDFLARE_API_TOKEN is not set"]),
        (no_ca_of_rds, ["rds-ca.pem is missing", "truststore.pki.rds.amazonaws.com"]),
        (no_ca_of_the_pooler, ["pgbouncer-ca.pem is missing", "the CAs that sign it"]),
        (wrong_config, ["lightwave:protect", "pulumi config set --stack prod"]),
        (missing_fact, ["lightwave:aws.accountId"]),
        (no_stack, ["no stack named 'prod' found", "first-deploy.md"]),
        (interrupted_update, ["creating urn:pulumi:prod", "interrupted-deploy.md"]),
        (no_pulumi, ["LIGHTWAVE_PULUMI=off"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_failed_check_is_reported_and_pulumi_not_started(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Bench, pytest.MonkeyPatch], None],
    words: list[str],
) -> None:
    spoil(bench, monkeypatch)
    verify = Verify()
    assert ended(commands.deploy, "prod", verify) == ExitCode.REFUSED
    out, err = capfd.readouterr()
    assert re.search(r"^Pulumi was not started: 1 of \d+ checks failed$", out, re.MULTILINE)
    for word in words:
        assert word in err
    assert ended(commands.drift, "prod", verify) == ExitCode.REFUSED
    assert not bench.long_commands()
    assert not verify.stacks


def test_another_clusters_certificate_is_not_the_right_cluster(
    bench: Bench, api_server: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    bench.aws(cluster=api_server("other"))
    assert ended(commands.preview, "prod") == ExitCode.REFUSED
    assert "certificate" in capfd.readouterr().err.lower()
    assert not bench.long_commands()


def test_every_failed_check_is_reported_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for spoil in (wrong_account, local_backend, passphrase, no_token):
        spoil(bench, monkeypatch)
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.REFUSED
    out, err = capfd.readouterr()
    assert "4 of 10 checks failed" in out
    for words in ("account 999999999999's", "cannot be at file://", "with a passphrase", "CLOUDFLARE_API_TOKEN"):
        assert words in err
    assert not bench.calls("pulumi"), "a wrong backend is never contacted"


@pytest.mark.parametrize(
    ("stack_file", "backend", "refused"),
    [
        ({"secretsprovider": KEY}, BACKEND, False),
        ({"secretsprovider": KEY}, "https://api.pulumi.com", False),
        ({}, "https://api.pulumi.com", False),
        ({"secretsprovider": "default"}, "https://api.pulumi.com", False),
        ({}, BACKEND, True),
        ({"secretsprovider": "passphrase"}, "https://api.pulumi.com", True),
        ({"encryptionsalt": "v1:x"}, "https://api.pulumi.com", True),
        ({"encryptionsalt": "v1:x"}, BACKEND, True),
    ],
)
def test_the_secrets_in_a_shared_state_are_encrypted_by_a_key_service(
    stack_file: dict[str, str], backend: str, refused: bool
) -> None:
    assert checks.secrets("prod", stack_file, backend).ok is not refused


def test_a_first_deploy_has_no_database_yet(bench: Bench, api_server: Callable[[str], str]) -> None:
    missing = "echo 'An error occurred (DBInstanceNotFound) when calling DescribeDBInstances' >&2; exit 254"
    bench.aws(cluster=api_server("own"), instance=missing)
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK


def test_a_tunnels_end_is_checked_in_place_of_the_instance(bench: Bench, database: int) -> None:
    endpoint = {"host": "127.0.0.1", "port": database, "sslMode": "verify-ca"}
    bench.config(database={"server": "rds", "adminEndpoint": endpoint})
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK
    assert not [call for call in bench.calls("aws") if call.startswith("rds")]


@pytest.mark.parametrize("answers", [True, False])
def test_a_kubeconfig_context_is_checked_in_place_of_the_cluster(
    bench: Bench, answers: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    prod = settings.stack_config("prod")
    bench.config(kubernetes={**prod["lightwave:kubernetes"], "context": "kind-lightwave"})
    bench.tool("kubectl", "echo '{}'" if answers else "echo 'context \"kind-lightwave\" does not exist' >&2; exit 1")
    assert ended(commands.deploy, "prod", Verify()) == (ExitCode.OK if answers else ExitCode.REFUSED)
    assert bench.calls("kubectl") == ["--context kind-lightwave get --raw /version --request-timeout=10s"]
    assert ("does not exist" in capfd.readouterr().err) is not answers
    assert len(bench.long_commands()) == (2 if answers else 0)


def test_what_is_not_committed_is_reported(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    (bench.root / "stray.py").write_text("")
    assert ended(commands.preview, "prod") == ExitCode.OK
    shown = capfd.readouterr().out
    assert "NOT COMMITTED: stray.py" in shown
    assert "clean" not in shown


@pytest.mark.usefixtures("bench")
def test_no_credential_is_printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", SENTINEL)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"https://user:{SENTINEL}@state.example.com/?token={SENTINEL}")
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"postgres://user:{SENTINEL}@state.example.com/state")
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.REFUSED
    out, err = capfd.readouterr()
    assert "state.example.com" in out
    assert SENTINEL not in out + err


# --- local stacks -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["dev", "alice"])
def local(request: pytest.FixtureRequest, bench: Bench) -> str:
    """A local stack: dev, and a copy of its file under another name."""
    stack: str = request.param
    if stack != "dev":
        shutil.copy(bench.root / "Pulumi.dev.yaml", bench.root / f"Pulumi.{stack}.yaml")
    bench.tool("pulumi-resource-postgresql", "")
    return stack


def write_state(bench: Bench, stack: str, port: int) -> None:
    folder = bench.root / ".local" / stack
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({**local_state(), "databasePort": port}))


def test_a_local_stack_needs_no_account_and_brings_its_own_backend(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, database: int, local: str
) -> None:
    for name in ("PULUMI_BACKEND_URL", "CLOUDFLARE_API_TOKEN"):
        monkeypatch.delenv(name)
    write_state(bench, local, database)
    bench.tool(
        "pulumi",
        f'echo "env $PULUMI_BACKEND_URL $PULUMI_CONFIG_PASSPHRASE" >> {bench.log}\n'
        "case \"$*\" in *export*) echo '{}' ;; esac",
    )
    assert ended(commands.deploy, local, Verify()) == ExitCode.OK
    assert bench.long_commands() == [call.replace("prod", local) for call in (PREVIEW, UP)]
    assert f"--non-interactive stack select --create {local}" in bench.calls("pulumi")
    assert set(bench.calls("env")) == {f"file://{bench.root}/.local/{local}/pulumi-state lightwave-dev"}
    assert not bench.calls("aws")


def test_a_local_stack_that_is_not_up_says_so(bench: Bench, capfd: pytest.CaptureFixture[str], local: str) -> None:
    assert ended(commands.deploy, local, Verify()) == ExitCode.REFUSED
    out, err = capfd.readouterr()
    assert "make up" in err
    assert re.search(r"^  skipped  Pulumi state +depends on: config$", out, re.MULTILINE)
    assert not bench.calls("pulumi")


def test_a_stopped_local_server_is_reported(bench: Bench, capfd: pytest.CaptureFixture[str], local: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_state(bench, local, port)
    assert ended(commands.deploy, local, Verify()) == ExitCode.REFUSED
    message = capfd.readouterr().err
    assert "the local PostgreSQL does not answer" in message
    assert message.endswith("fix: make up\n" if local == "dev" else "fix: make up STACK=alice\n")
    assert not bench.long_commands()


# --- the checklist ----------------------------------------------------------------------------------------------------


def test_every_check_is_shown(bench: Bench, capfd: pytest.CaptureFixture[str], database: int) -> None:
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.OK
    lines = capfd.readouterr().out.splitlines()
    end = lines.index(next(line for line in lines if "code" in line)) + 1
    assert [line.split(maxsplit=1)[0] for line in lines[1:end]] == ["ok"] * (end - 1)
    shown = [re.split(r"  +", line.strip(), maxsplit=2)[1:] for line in lines[1:end]]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=bench.root, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert shown == [
        ["config", "Pulumi.prod.yaml, 5 products"],
        ["state backend", "s3://lightwave-state"],
        ["state secrets", "encrypted by awskms"],
        ["Cloudflare login", "CLOUDFLARE_API_TOKEN is set"],
        ["CA certificates", "rds-ca.pem"],
        ["AWS account", f"{ACCOUNT}, eu-central-1"],
        ["EKS cluster", "lightwave-prod is ACTIVE and answers"],
        ["database", f"127.0.0.1:{database}"],
        ["Pulumi CLI", str(bench.bin / "pulumi")],
        ["Pulumi state", "s3://lightwave-state, no interrupted update"],
        ["removals", "the state has no roles, schemas or grants yet"],
        ["code", f"commit {commit}, clean"],
    ]


def test_a_check_that_depends_on_a_failed_one_is_skipped(
    bench: Bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_account(bench, monkeypatch)
    assert ended(commands.deploy, "prod", Verify()) == ExitCode.REFUSED
    marks = {line[11:27].strip(): line[2:9].strip() for line in capfd.readouterr().out.splitlines()[1:-1]}
    assert marks["AWS account"] == "FAILED"
    assert {name for name, mark in marks.items() if mark == "skipped"} == {"EKS cluster", "database"}
    assert marks["Pulumi state"] == "ok"
    assert not [call for call in bench.calls("aws") if not call.startswith("sts")]

"""What stands between `make deploy` and the engine: real subprocesses, against fake `pulumi`, `aws` and `kubectl`."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from ops.deploy import commands as deploy
from tests.configs import IMAGES, WITH_CLIENT_TLS
from tests.unit.conftest import FACTS_OF_PROD, local_state

ACCOUNT = FACTS_OF_PROD["aws"]["accountId"]
BACKEND = "s3://lightwave-state?region=eu-central-1"
KEY = "awskms://alias/lightwave-pulumi?region=eu-central-1"
SENTINEL = "s3ntinel-not-to-be-printed"
REPOSITORY = settings.ROOT


@dataclass(frozen=True, slots=True)
class Bench:
    """A checkout of its own, with fake tools that write down how they were called."""

    root: Path
    bin: Path
    log: Path

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    def pulumi(self, *, preview: str = "", up: str = "", export: str = """echo '{"deployment": {}}'""") -> None:
        self.tool(
            "pulumi",
            f'case "$*" in\n*" preview "*) {preview or ":"} ;;\n*" up "*) {up or ":"} ;;\n*export*) {export} ;;\nesac',
        )

    def aws(self, *, account: str = ACCOUNT, cluster: str = "", instance: str = "echo null") -> None:
        self.tool(
            "aws",
            f"""case "$*" in
            sts*) echo '{{"Account": "{account}"}}' ;;
            eks*) {cluster or ":"} ;;
            rds*) {instance} ;;
            esac""",
        )

    def calls(self, tool: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.removeprefix(f"{tool} ") for line in lines if line.startswith(f"{tool} ")]

    def engine(self) -> list[str]:
        """What the engine itself was told to do, in order."""
        return [call for call in self.calls("pulumi") if "preview" in call or " up" in call]

    def config(self, **sections: Any) -> None:
        """Puts top-level keys of prod's config in place of what is there."""
        path = self.root / "Pulumi.prod.yaml"
        content = yaml.safe_load(path.read_text())
        content["config"].update({f"lightwave:{key}": value for key, value in sections.items()})
        path.write_text(yaml.safe_dump(content))

    def stack_file(self, **keys: Any) -> None:
        path = self.root / "Pulumi.prod.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))

    def git(self, *args: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *args], cwd=self.root, check=True)


class Listener:
    """A server on 127.0.0.1 that answers each connection once."""

    def __init__(self, answer: bytes, certificate: Path | None = None) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self._answer, self._tls = answer, None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed
                return
            try:
                with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as spoken:
                    spoken.recv(4096)
                    spoken.sendall(self._answer)
            except OSError:  # a client that does not trust the certificate
                continue


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Key and self-signed certificate in one file each: the API server's, and one that is not."""
    made = {}
    for name in ("own", "other"):
        path = tmp_path_factory.mktemp(name) / "tls.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=kubernetes"
        names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path)
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
        made[name] = path
    return made


@pytest.fixture
def api_server(certificates: dict[str, Path]) -> Iterator[Callable[[str], str]]:
    """A TLS server; gives what the fake `aws eks describe-cluster` says of it, with the CA of that name."""
    server = Listener(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", certificates["own"])

    def described(ca: str) -> str:
        pem = certificates[ca].read_text()
        pem = pem[pem.index("-----BEGIN CERTIFICATE") :]
        told = {
            "status": "ACTIVE",
            "endpoint": f"https://127.0.0.1:{server.port}",
            "ca": base64.b64encode(pem.encode()).decode(),
        }
        return f"echo '{json.dumps(told)}'"

    yield described
    server.socket.close()


@pytest.fixture
def database() -> Iterator[int]:
    """Answers as a PostgreSQL with TLS does, no more."""
    server = Listener(b"S")
    yield server.port
    server.socket.close()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A committed checkout of which prod could be deployed."""
    made = Bench(*(tmp_path_factory.mktemp("template") / name for name in ("checkout", "bin", "calls")))
    made.root.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "Pulumi.dev.yaml"):
        shutil.copy(REPOSITORY / name, made.root)
    prod = settings.stack_config("prod")
    made.config(**{key: {**prod[f"lightwave:{key}"], **facts} for key, facts in FACTS_OF_PROD.items()})
    made.stack_file(secretsprovider=KEY)
    (made.root / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    made.git("init", "--quiet")
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "all")
    return made


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkout: Bench,
    api_server: Callable[[str], str],
    database: int,
) -> Bench:
    """Everything in order for a deploy of prod, in CI."""
    made = Bench(tmp_path / "checkout", tmp_path / "bin", tmp_path / "calls")
    shutil.copytree(checkout.root, made.root)
    made.bin.mkdir()
    made.pulumi()
    made.aws(cluster=api_server("own"), instance=f"""echo '{{"Address": "127.0.0.1", "Port": {database}}}'""")

    for name in (
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
        "PULUMI_CONFIG_PASSPHRASE",
        "LIGHTWAVE_ENGINE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "ROOT", made.root)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PULUMI_BACKEND_URL", BACKEND)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", SENTINEL)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return made


class Verify:
    """Stands in for `make verify`, which has tests of its own."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.stacks = status, list[str]()

    def __call__(self, stack: str) -> int:
        self.stacks.append(stack)
        return self.status


PREVIEW = "--non-interactive preview --stack prod --policy-pack policies"
UP = "--non-interactive up --stack prod --policy-pack policies --yes"


def test_a_deploy_previews_updates_and_verifies_in_that_order(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    verify = Verify()
    assert deploy.deploy("prod", verify) == 0
    assert bench.engine() == [PREVIEW, UP]
    assert verify.stacks == ["prod"]
    shown = capfd.readouterr().out
    for fact in (f"{ACCOUNT}, eu-central-1", "lightwave-prod", "s3://lightwave-state", "127.0.0.1:", "clean"):
        assert fact in shown


def test_no_command_ever_skips_the_preview(bench: Bench) -> None:
    for command in (deploy.preview, deploy.deploy, deploy.drift):
        assert command("prod", *([] if command is deploy.preview else [Verify()])) == 0
    assert len(bench.engine()) == 4
    assert not [call for call in bench.calls("pulumi") if "skip-preview" in call or " -f" in call]


def test_a_preview_changes_nothing_and_does_not_ask_for_the_database(bench: Bench) -> None:
    assert deploy.preview("prod") == 0
    assert bench.engine() == [PREVIEW]
    assert not [call for call in bench.calls("aws") if call.startswith("rds")]


def test_what_verify_finds_fails_the_deploy(bench: Bench) -> None:
    assert deploy.deploy("prod", Verify(1)) == deploy.FAILED
    assert bench.engine() == [PREVIEW, UP]


def test_a_failed_preview_is_the_end(bench: Bench) -> None:
    bench.pulumi(preview="exit 255")
    verify = Verify()
    assert deploy.deploy("prod", verify) == deploy.FAILED
    assert bench.engine() == [PREVIEW]
    assert not verify.stacks


def test_a_failed_update_is_not_verified_and_names_the_runbook(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.pulumi(up="exit 255")
    verify = Verify()
    assert deploy.deploy("prod", verify) == deploy.FAILED
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
    assert deploy.deploy("prod", verify) == deploy.FAILED
    assert bench.engine() == [PREVIEW]
    assert not verify.stacks
    assert "nothing was changed" in capfd.readouterr().out


def test_the_stacks_name_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI")
    monkeypatch.setattr(sys, "stdin", io.StringIO("prod\n"))
    assert deploy.deploy("prod", Verify()) == 0
    assert bench.engine() == [PREVIEW, UP]


def test_a_job_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = io.StringIO("no\n")
    monkeypatch.setattr(sys, "stdin", answer)
    assert deploy.deploy("prod", Verify()) == 0
    assert bench.engine() == [PREVIEW, UP]
    assert answer.read() == "no\n", "nobody read it"


# --- refusing ---------------------------------------------------------------------------------------------------------


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
    told = {"status": "ACTIVE", "endpoint": f"https://127.0.0.1:{port}", "ca": ""}
    bench.aws(cluster=f"echo '{json.dumps(told)}'")


def cluster_in_the_making(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.aws(cluster="""echo '{"status": "CREATING", "endpoint": null, "ca": null}'""")


def unreachable_database(bench: Bench, _: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = {"host": "127.0.0.1", "port": port, "sslMode": "verify-ca"}
    bench.config(database={"server": "rds", "adminEndpoint": endpoint})


def no_backend(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_BACKEND_URL")


def local_backend(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{bench.root}/.local/pulumi-state")


def passphrase(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.stack_file(secretsprovider="passphrase")


def no_token(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")


def no_authorities(bench: Bench, _: pytest.MonkeyPatch) -> None:
    (bench.root / "rds-ca.pem").unlink()


def no_authorities_of_the_pooler(bench: Bench, _: pytest.MonkeyPatch) -> None:
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


def no_engine(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTWAVE_ENGINE", "off")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (wrong_account, ["account 999999999999's, the stack is account 123456789012's", "AWS_PROFILE"]),
        (expired_login, ["The SSO session has expired", "aws sso login"]),
        (no_aws, ["aws is not on PATH", "install it"]),
        (no_cluster, ["No cluster found for name: lightwave-prod"]),
        (silent_cluster, ["lightwave-prod does not answer", "inside the VPC"]),
        (cluster_in_the_making, ["is CREATING"]),
        (unreachable_database, ["PostgreSQL at 127.0.0.1", "make tunnel STACK=prod"]),
        (no_backend, ["PULUMI_BACKEND_URL is not set", "export PULUMI_BACKEND_URL="]),
        (local_backend, ["is not for file://", "export PULUMI_BACKEND_URL="]),
        (passphrase, ["with a passphrase", "change-secrets-provider --stack prod"]),
        (no_token, ["CLOUDFLARE_API_TOKEN is not set"]),
        (no_authorities, ["rds-ca.pem is missing", "truststore.pki.rds.amazonaws.com"]),
        (no_authorities_of_the_pooler, ["pgbouncer-ca.pem is missing", "the CAs that sign it"]),
        (wrong_config, ["lightwave:protect", "pulumi config set --stack prod"]),
        (missing_fact, ["lightwave:aws.accountId"]),
        (no_stack, ["no stack named 'prod' found", "first-deploy.md"]),
        (interrupted_update, ["creating urn:pulumi:prod", "interrupted-deploy.md"]),
        (no_engine, ["there is no engine"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_is_wrong_is_said_and_the_engine_not_started(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Bench, pytest.MonkeyPatch], None],
    words: list[str],
) -> None:
    spoil(bench, monkeypatch)
    verify = Verify()
    assert deploy.deploy("prod", verify) == deploy.REFUSED
    said = capfd.readouterr().err
    assert "The engine was not started: 1 to mend first" in said
    for word in words:
        assert word in said
    assert deploy.drift("prod", verify) == deploy.REFUSED
    assert not bench.engine()
    assert not verify.stacks


def test_another_clusters_certificate_is_not_the_right_cluster(
    bench: Bench, api_server: Callable[[str], str], capfd: pytest.CaptureFixture[str]
) -> None:
    bench.aws(cluster=api_server("other"))
    assert deploy.preview("prod") == deploy.REFUSED
    assert "certificate" in capfd.readouterr().err.lower()
    assert not bench.engine()


def test_everything_wrong_is_said_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for spoil in (wrong_account, local_backend, passphrase, no_token):
        spoil(bench, monkeypatch)
    assert deploy.deploy("prod", Verify()) == deploy.REFUSED
    said = capfd.readouterr().err
    assert "4 to mend first" in said
    for words in ("account 999999999999's", "is not for file://", "with a passphrase", "CLOUDFLARE_API_TOKEN"):
        assert words in said
    assert not bench.calls("pulumi"), "a wrong backend is not asked anything"


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
def test_a_shared_states_secrets_have_a_key_of_their_own(
    stack_file: dict[str, str], backend: str, refused: bool
) -> None:
    assert (deploy.secrets_problem("prod", stack_file, backend) is not None) is refused


def test_a_first_deploy_has_no_database_yet(bench: Bench, api_server: Callable[[str], str]) -> None:
    missing = "echo 'An error occurred (DBInstanceNotFound) when calling DescribeDBInstances' >&2; exit 254"
    bench.aws(cluster=api_server("own"), instance=missing)
    assert deploy.deploy("prod", Verify()) == 0


def test_a_tunnels_end_is_checked_in_place_of_the_instance(bench: Bench, database: int) -> None:
    endpoint = {"host": "127.0.0.1", "port": database, "sslMode": "verify-ca"}
    bench.config(database={"server": "rds", "adminEndpoint": endpoint})
    assert deploy.deploy("prod", Verify()) == 0
    assert not [call for call in bench.calls("aws") if call.startswith("rds")]


@pytest.mark.parametrize("answers", [True, False])
def test_a_kubeconfig_context_stands_for_the_cluster(
    bench: Bench, answers: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    prod = settings.stack_config("prod")
    bench.config(kubernetes={**prod["lightwave:kubernetes"], "context": "kind-lightwave"})
    bench.tool("kubectl", "echo '{}'" if answers else "echo 'context \"kind-lightwave\" does not exist' >&2; exit 1")
    assert deploy.deploy("prod", Verify()) == (0 if answers else deploy.REFUSED)
    assert bench.calls("kubectl") == ["--context kind-lightwave get --raw /version --request-timeout=10s"]
    assert ("does not exist" in capfd.readouterr().err) is not answers
    assert len(bench.engine()) == (2 if answers else 0)


def test_what_is_not_committed_is_said(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    (bench.root / "stray.py").write_text("")
    assert deploy.preview("prod") == 0
    shown = capfd.readouterr().out
    assert "NOT COMMITTED: stray.py" in shown
    assert "clean" not in shown


@pytest.mark.usefixtures("bench")
def test_no_credential_is_printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", SENTINEL)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"https://user:{SENTINEL}@state.example.com/?token={SENTINEL}")
    assert deploy.deploy("prod", Verify()) == 0
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"postgres://user:{SENTINEL}@state.example.com/state")
    assert deploy.deploy("prod", Verify()) == deploy.REFUSED
    out, err = capfd.readouterr()
    assert "state.example.com" in out
    assert SENTINEL not in out + err


# --- the engine -------------------------------------------------------------------------------------------------------

DIY_LOCK = (
    "echo 'error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete"
    " the lock file with `pulumi cancel`.' >&2;"
    "echo '  s3://lightwave-state/.pulumi/locks/organization/lightwave/prod/1.json: created by ann@laptop (pid 42) at"
    " 2026-11-22T10:00:00Z' >&2; exit 255"
)
CLOUD_LOCK = "echo 'error: [409] Conflict: Another update is currently in progress.' >&2; exit 255"


@pytest.mark.parametrize(("lock", "holder"), [(DIY_LOCK, "by ann@laptop (pid 42)"), (CLOUD_LOCK, "another update")])
def test_a_lock_is_said_clearly(bench: Bench, capfd: pytest.CaptureFixture[str], lock: str, holder: str) -> None:
    bench.pulumi(up=lock)
    verify = Verify()
    assert deploy.deploy("prod", verify) == deploy.FAILED
    said = capfd.readouterr().err
    assert "stack prod is locked" in said
    assert holder in said
    assert "Nothing was changed" in said
    assert not verify.stacks


def test_another_error_is_no_lock(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.pulumi(preview="echo 'error: something else' >&2; exit 255")
    assert deploy.preview("prod") == deploy.FAILED
    said = capfd.readouterr().err
    assert "error: something else" in said
    assert "locked" not in said


DIFFERS = "echo 'error: no changes were expected but changes were proposed' >&2; exit 255"


@pytest.mark.parametrize(
    ("engine", "verified", "verdicts"),
    [
        (":", 0, ("as declared", "as the product table says")),
        (DIFFERS, 0, ("DIFFER from what is declared", "as the product table says")),
        ("exit 255", 0, ("COULD NOT BE COMPARED", "as the product table says")),
        (":", 1, ("as declared", "DIFFERS from the product table")),
        (":", 2, ("as declared", "COULD NOT BE VERIFIED")),
        ("exit 255", 1, ("COULD NOT BE COMPARED", "DIFFERS from the product table")),
    ],
)
def test_drift_looks_at_both_and_reports(
    bench: Bench, capfd: pytest.CaptureFixture[str], engine: str, verified: int, verdicts: tuple[str, str]
) -> None:
    bench.pulumi(preview=engine)
    verify = Verify(verified)
    in_order = verdicts == ("as declared", "as the product table says")
    assert deploy.drift("prod", verify) == (0 if in_order else deploy.FAILED)
    assert bench.engine() == [f"{PREVIEW} --refresh --expect-no-changes"]
    assert verify.stacks == ["prod"]
    report = capfd.readouterr().out.partition("Drift of stack prod:\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in report[:2]] == [["resources", verdicts[0]], ["database", verdicts[1]]]
    assert ("docs/runbooks/drift.md" in report[-1]) is not in_order


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_a_deploy_waits_for_the_engine(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    # As the engine does: told once, it finishes what it is doing.
    bench.pulumi(
        up=f"trap 'sleep 0.5; touch {ended}; exit 255' INT; touch {started}; for i in $(seq 100); do sleep 0.1; done"
    )
    program = (
        "import pathlib, sys, settings\n"
        f"settings.ROOT = pathlib.Path({str(bench.root)!r})\n"
        "from ops.deploy import commands as deploy\n"
        "sys.exit(deploy.deploy('prod', lambda stack: 99))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in a script's background ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    ) as process:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert ended.exists(), said
    assert process.returncode == deploy.FAILED, said
    assert "interrupted-deploy.md" in said
    assert "Traceback" not in said


# --- dev --------------------------------------------------------------------------------------------------------------


def test_the_dev_stack_needs_no_account_and_brings_its_own_backend(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, database: int
) -> None:
    for name in ("PULUMI_BACKEND_URL", "CLOUDFLARE_API_TOKEN"):
        monkeypatch.delenv(name)
    (bench.root / ".local").mkdir()
    (bench.root / ".local/state.json").write_text(json.dumps({**local_state(), "databasePort": database}))
    bench.tool("pulumi-resource-postgresql", "")
    bench.tool(
        "pulumi",
        f'echo "env $PULUMI_BACKEND_URL $PULUMI_CONFIG_PASSPHRASE" >> {bench.log}\n'
        "case \"$*\" in *export*) echo '{}' ;; esac",
    )
    assert deploy.deploy("dev", Verify()) == 0
    assert bench.engine() == [call.replace("prod", "dev") for call in (PREVIEW, UP)]
    assert "--non-interactive stack select --create dev" in bench.calls("pulumi")
    assert set(bench.calls("env")) == {f"file://{bench.root}/.local/pulumi-state lightwave-dev"}
    assert not bench.calls("aws")


def test_a_dev_stack_that_is_not_up_says_so(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.tool("pulumi-resource-postgresql", "")
    assert deploy.deploy("dev", Verify()) == deploy.REFUSED
    assert "make up" in capfd.readouterr().err
    assert not bench.engine()


def test_a_stopped_local_server_is_said(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (bench.root / ".local").mkdir()
    (bench.root / ".local/state.json").write_text(json.dumps({**local_state(), "databasePort": port}))
    bench.tool("pulumi-resource-postgresql", "")
    assert deploy.deploy("dev", Verify()) == deploy.REFUSED
    assert "the local PostgreSQL does not answer" in capfd.readouterr().err
    assert not bench.engine()

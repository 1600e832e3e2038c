"""A checkout of which prod could be deployed, with stand-ins for `pulumi`, `aws` and `kubectl` that log their calls."""

import base64
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from ops.__main__ import print_error
from ops.deploy import install
from ops.deploy.pulumi_cli import PulumiCli
from ops.errors import ExitCode
from settings.problems import OperatorError
from tests.unit.conftest import FACTS_OF_PROD

ACCOUNT = FACTS_OF_PROD["aws"]["accountId"]
BACKEND = "s3://lightwave-state?region=eu-central-1"
KEY = "awskms://alias/lightwave-pulumi?region=eu-central-1"
SENTINEL = "s3ntinel-not-to-be-printed"
REPOSITORY = settings.ROOT

PREVIEW = "--non-interactive preview --stack prod --policy-pack policies"
UP = "--non-interactive up --stack prod --policy-pack policies --yes"


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

    def long_commands(self) -> list[str]:
        """The previews and updates that Pulumi was asked for, in order, without their event log."""
        calls = [re.sub(r" --event-log \S+", "", call) for call in self.calls("pulumi")]
        return [call for call in calls if "preview" in call or " up" in call]

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
    """A TLS server; returns the answer of the stand-in `aws eks describe-cluster` about it, with the named CA."""
    server = Listener(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", certificates["own"])

    def described(ca: str) -> str:
        pem = certificates[ca].read_text()
        pem = pem[pem.index("-----BEGIN CERTIFICATE") :]
        found = {
            "status": "ACTIVE",
            "endpoint": f"https://127.0.0.1:{server.port}",
            "ca": base64.b64encode(pem.encode()).decode(),
        }
        return f"echo '{json.dumps(found)}'"

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
        "LIGHTWAVE_PULUMI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "ROOT", made.root)
    monkeypatch.setattr(settings.files, "ROOT", made.root)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("PULUMI_BACKEND_URL", BACKEND)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", SENTINEL)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return made


class Verify:
    """Stands in for `make verify`, which has tests of its own."""

    def __init__(self, result: ExitCode | OperatorError = ExitCode.OK) -> None:
        self.result, self.stacks = result, list[str]()

    def __call__(self, stack: str) -> ExitCode:
        self.stacks.append(stack)
        if isinstance(self.result, OperatorError):
            raise self.result
        return self.result


def ended(command: Callable[..., ExitCode], *arguments: Any) -> ExitCode:
    """How a command ends, its error printed as the command line prints it."""
    try:
        return command(*arguments)
    except OperatorError as error:
        return print_error(error)


# --- the Pulumi CLI alone ---------------------------------------------------------------------------------------------

_PROGRAM = """\
#!{python}
import json, os, signal, sys, time
from pathlib import Path
# As Pulumi does: interrupted once, it finishes what it is doing.
signal.signal(signal.SIGINT, lambda *_: None)
arguments = [a for a in sys.argv[1:] if a != "--non-interactive"]
with Path({log!r}).open("a") as log:
    log.write(json.dumps([arguments, {{k: v for k, v in os.environ.items() if k.startswith("PULUMI")}}]) + "\\n")
answer = json.loads(Path({answers!r}).read_text()).get(" ".join(arguments[:2]), {{}})
end = time.monotonic() + answer.get("seconds", 0)
while time.monotonic() < end:
    time.sleep(0.1)
if "--event-log" in arguments:
    log = Path(arguments[arguments.index("--event-log") + 1])
    events = answer.get("events", [])
    log.write_text("".join((event if isinstance(event, str) else json.dumps(event)) + "\\n" for event in events))
print(answer.get("stdout", ""))
print(answer.get("stderr", ""), file=sys.stderr)
sys.exit(answer.get("status", 0))
"""


class StandIn:
    """A stand-in for `pulumi`: what it was asked, and what it answers to the first two words of a command."""

    def __init__(self, folder: Path) -> None:
        self.command = folder / "bin" / "pulumi"
        self._log, self._answers = folder / "asked", folder / "answers"
        self.command.parent.mkdir()
        self.command.write_text(_PROGRAM.format(python=sys.executable, log=str(self._log), answers=str(self._answers)))
        self.command.chmod(0o755)
        self.answer()

    def answer(self, **answers: dict[str, Any]) -> None:
        """By command, `_` for the blank."""
        self._answers.write_text(json.dumps({command.replace("_", " "): answer for command, answer in answers.items()}))

    @property
    def asked(self) -> list[tuple[list[str], dict[str, str]]]:
        """Every call so far: its arguments and its PULUMI variables."""
        if not self._log.exists():
            return []
        return [
            (arguments, environment) for arguments, environment in map(json.loads, self._log.read_text().splitlines())
        ]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in on PATH, and nothing else there but what the system has in /usr/bin and /bin."""
    stand_in = StandIn(tmp_path)
    for name in list(os.environ):
        if name.startswith("PULUMI") or name == install.SWITCH:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{stand_in.command.parent}:/usr/bin:/bin")
    return stand_in


@pytest.fixture
def cli_of(pulumi: StandIn, tmp_path: Path) -> Callable[[str], PulumiCli]:
    """The stand-in for a stack; only prod is not local."""
    return lambda stack: PulumiCli(str(pulumi.command), stack, stack != "prod", tmp_path)


PENDING: dict[str, Any] = {
    "deployment": {
        "resources": [{"urn": "urn:kept"}],
        "pending_operations": [
            {
                "type": "creating",
                "resource": {
                    "urn": "urn::role::login",
                    "type": "postgresql:index/role:Role",
                    "inputs": {"name": "payload_user"},
                    "parent": "urn::a$b::access",
                    "provider": "urn::postgres::some-id",
                },
            },
            {
                "type": "creating",
                "resource": {
                    "urn": "urn::schema::own",
                    "type": "postgresql:index/schema:Schema",
                    "inputs": {"name": "payload", "database": "lightwave_platform"},
                },
            },
            {
                "type": "deleting",
                "resource": {"urn": "urn:gone", "type": "postgresql:index/role:Role", "inputs": {"name": "old_user"}},
            },
            {
                "type": "creating",
                "resource": {"urn": "urn:grant", "type": "postgresql:index/grant:Grant", "inputs": {}},
            },
        ],
    }
}
"""A state with operations that a killed update left under way, as `pulumi stack export` prints it."""

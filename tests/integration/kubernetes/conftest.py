"""A real kube-apiserver over a real etcd, on loopback, for as long as the tests run. No controllers, no nodes."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.dev import ports
from ops.plan.manifests import manifests
from ops.plan.recorder import Recording, record_stack
from tests.integration.kubernetes.build_servers import API_SERVER, binary
from tests.required import not_here

READY_SECONDS = 90
ADMIN_TOKEN = "admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What kubectl said."""

    ok: bool
    output: str
    """Standard output of a call that went well, standard error of one that did not."""
    warnings: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiServer:
    """kubectl against the API server."""

    directory: Path
    port: int

    def __call__(self, *arguments: str, document: Mapping[str, Any] | str | None = None) -> Answer:
        """Runs kubectl; `document` goes to its standard input."""
        text = document if isinstance(document, str) or document is None else json.dumps(document)
        done = subprocess.run(
            [
                "kubectl",
                f"--server=https://127.0.0.1:{self.port}",
                f"--certificate-authority={self.directory / 'certificates' / 'apiserver.crt'}",
                f"--token={ADMIN_TOKEN}",
                "--request-timeout=30s",
                f"--cache-dir={self.directory / 'kubectl'}",
                *arguments,
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            # Nothing of the developer's own cluster.
            env={**os.environ, "KUBECONFIG": os.devnull},
        )
        ok = done.returncode == 0
        return Answer(ok=ok, output=done.stdout if ok else done.stderr, warnings=done.stderr if ok else "")

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them, as the server holds it."""
        answer = self("get", *arguments, "--output=json")
        assert answer.ok, answer.output
        found: dict[str, Any] = json.loads(answer.output)
        return found

    def apply(self, *documents: str) -> Answer:
        """Server-side apply with the server's strict validation: an unknown or repeated field is an error."""
        return self("apply", "--server-side", "--validate=strict", "--filename=-", document="\n---\n".join(documents))

    def create(self, document: Mapping[str, Any]) -> Answer:
        """Creates the object, with strict validation."""
        return self("create", "--validate=strict", "--filename=-", document=document)

    def open_quota(self, namespace: str) -> None:
        """Writes the quota's status, as the controller manager would: until then the server enforces nothing of it."""
        hard = self.get("resourcequota", "quota", f"--namespace={namespace}")["spec"]["hard"]
        status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
        patched = self(
            "patch",
            "resourcequota",
            "quota",
            f"--namespace={namespace}",
            "--subresource=status",
            "--type=merge",
            f"--patch={json.dumps({'status': status})}",
        )
        assert patched.ok, patched.output


@contextmanager
def quotas_in_force(server: ApiServer) -> Iterator[None]:
    """Plays the controller manager for who waits for a quota: it counts as made once its status is written."""
    done = threading.Event()

    def play() -> None:
        while not done.wait(1):
            found = server("get", "resourcequota", "--all-namespaces", "--output=json")
            for quota in json.loads(found.output)["items"] if found.ok else ():
                if "hard" not in quota.get("status", {}):
                    server.open_quota(quota["metadata"]["namespace"])

    player = threading.Thread(target=play)
    player.start()
    try:
        yield
    finally:
        done.set()
        player.join()


def _missing() -> str | None:
    """What is not on this machine, with what to do about it."""
    absent = [program for program in ("etcd", "kubectl", "openssl") if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not on PATH"
    if not binary(API_SERVER).exists():
        return (
            f"{API_SERVER} is not built; run: python -m tests.integration.kubernetes.build_servers (minutes, needs Go)"
        )
    return None


@contextmanager
def _process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running_api_server() -> Iterator[ApiServer]:
    """An empty API server of its own in a new folder, gone afterwards.

    Skips where something is missing; with REQUIRE_KUBERNETES=1 that is a failure.
    """
    missing = _missing()
    if missing:
        not_here(missing, "REQUIRE_KUBERNETES")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lightwave-kubernetes-")))
        client = ports.free_port()
        peer, port = ports.free_port([client]), ports.free_port([client])
        stack.enter_context(
            _process(
                directory / "etcd.log",
                "etcd",
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            )
        )
        server = stack.enter_context(_api_server(directory, port, client))
        kubectl = ApiServer(directory=directory, port=port)
        _wait_until_ready(kubectl, server)
        yield kubectl


def _api_server(directory: Path, port: int, etcd: int) -> Any:
    key, tokens = directory / "service-accounts.key", directory / "tokens.csv"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key],
        check=True,
        capture_output=True,
        timeout=60,
    )
    tokens.write_text(f"{ADMIN_TOKEN},admin,1,system:masters\n")
    return _process(
        directory / "apiserver.log",
        str(binary(API_SERVER)),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={directory / 'certificates'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={tokens}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
    )


def _wait_until_ready(kubectl: ApiServer, server: subprocess.Popen[bytes]) -> None:
    answer = None
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        answer = kubectl("get", "--raw=/readyz")
        # The built-in priority classes and cluster roles are made after the server listens.
        if answer.ok and kubectl("get", "priorityclass", "system-node-critical").ok:
            return
        time.sleep(0.5)
    log = (kubectl.directory / "apiserver.log").read_text()[-3000:]
    pytest.fail(f"{API_SERVER} is not ready: {answer}\n{log}")


@pytest.fixture(scope="session")
def recording() -> Recording:
    """The whole prod stack, as `make plan` records it."""
    return record_stack("prod")


@pytest.fixture(scope="session")
def applied(recording: Recording) -> Iterator[ApiServer]:
    """An API server that took every manifest of the prod plan, with the namespaces' quotas in force."""
    with running_api_server() as server:
        answer = server.apply(*manifests(recording).values())
        assert answer.ok, answer.output
        for quota in recording.of_type("kubernetes:core/v1:ResourceQuota"):
            server.open_quota(quota.inputs["metadata"]["namespace"])
        yield server

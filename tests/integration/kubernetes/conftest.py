"""A real kube-apiserver over a real etcd, on loopback, for as long as the tests run. No controllers, no nodes."""

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.dev import ports
from ops.plan.manifests import manifests
from ops.plan.recorder import Recording, record_stack
from tests.integration.kubernetes.build_servers import API_SERVER, binary
from tests.integration.kubernetes.kubectl import Kubectl
from tests.required import not_here
from tests.unit.conftest import full_config

READY_SECONDS = 90
ADMIN_TOKEN = "admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiServer(Kubectl):
    """kubectl against an API server of the tests' own."""

    directory: Path
    port: int

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
        options = (
            f"--server=https://127.0.0.1:{port}",
            f"--certificate-authority={directory / 'certificates' / 'apiserver.crt'}",
            f"--token={ADMIN_TOKEN}",
            "--request-timeout=30s",
            f"--cache-dir={directory / 'kubectl'}",
        )
        kubectl = ApiServer(command=("kubectl", *options), directory=directory, port=port)
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
    """The whole prod stack, as `make plan` records it, with the names that an API server checks."""
    config = full_config("prod")
    sections = ("lightwave:kubernetes", "lightwave:valkey", "lightwave:services", "lightwave:edge")
    return record_stack("prod", overrides={key: config[key] for key in sections})


@pytest.fixture(scope="session")
def applied(recording: Recording) -> Iterator[ApiServer]:
    """An API server that took every manifest of the prod plan, with the namespaces' quotas in force."""
    with running_api_server() as server:
        answer = server.apply(*manifests(recording).values())
        assert answer.ok, answer.output
        for quota in recording.of_type("kubernetes:core/v1:ResourceQuota"):
            server.open_quota(quota.inputs["metadata"]["namespace"])
        yield server

"""local/compose.yaml on a real Docker: `make up`, again, killed, stopped, wiped. Stand-ins answer for its images.

Pulumi builds the database where the machine has it, else the plan's SQL.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ops.deploy import install
from tests.checkout import copy_project
from tests.cluster import compose_images, machine
from tests.cluster.engine import Engine, running_engine
from tests.cluster.images import NotBuiltError
from tests.required import not_here

SECONDS = 300
pytestmark = pytest.mark.timeout(3 * SECONDS)
WITH_PULUMI = shutil.which("pulumi") is not None
SERVICES = {"postgres", "pgbouncer", "valkey", "s3"}
CLUSTER_ADDRESS = "10.77.0.1"
"""An address of the engine's machine that the pods of a developer's own cluster would reach."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A copy of the project beside an engine of its own."""

    engine: Engine
    root: Path

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a program in the copy and in the engine's network."""
        given = {
            **os.environ,
            **self.engine.environment,
            "PULUMI_HOME": str(self.root.parent / "pulumi-home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "XDG_STATE_HOME": str(self.root.parent / "state-home"),
            # Pulumi's Python language host runs `uv sync`, which finds nothing to install.
            "UV_OFFLINE": "1",
            # Nor is a CLI to be installed for these tests alone.
            **({} if WITH_PULUMI else {install.SWITCH: "off"}),
        }
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
        return subprocess.Popen(
            self.engine.network.command(*command),
            cwd=self.root,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> str:
        """Its output; a failure fails the test."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output
        return output

    def ops(self, *words: str) -> str:
        """As the Makefile runs it."""
        return self.run(sys.executable, "-m", "ops", *words)

    def env(self, service: str) -> dict[str, str]:
        """The env file of a service."""
        read = dotenv_values(self.root / f".local/dev/env/{service}.env")
        return {name: str(value) for name, value in read.items()}

    def docker(self, *words: str) -> set[str]:
        """The lines that Docker answers."""
        return set(self.engine.docker(*words).splitlines())

    def running(self) -> set[str]:
        """The containers, by identity."""
        return self.docker("ps", "--no-trunc", "--quiet")

    def sql(self, url: str, statement: str) -> str:
        """What a service reads through the pooler."""
        program = "import psycopg, sys; print(*psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
        return self.run(sys.executable, "-c", program, url.partition("?")[0], statement).strip()

    def valkey(self, *words: str) -> str:
        """What Valkey answers a client with production's access rules; errors are answers."""
        user, password = re.findall(r"//(.*?):(.*?)@", self.env("django")["REDIS_URL"])[0]
        (name,) = self.docker("ps", "--filter=name=valkey", "--format={{.Names}}")
        login = ("--no-auth-warning", "--user", user, "--pass", password) if words[0] != "PING" else ()
        return self.engine.docker("exec", name, "valkey-cli", *login, *words).strip()

    def s3(self, path: str, *options: str) -> str:
        """The store's answer and its status; signed with Payload's key where `options` have data to write."""
        env = self.env("payload")
        signed = (
            *("--aws-sigv4", f"aws:amz:{env['S3_REGION']}:s3", "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"),
            *("--user", f"{env['S3_ACCESS_KEY_ID']}:{env['S3_SECRET_ACCESS_KEY']}"),
        )
        url = f"{env['S3_ENDPOINT']}/{env['S3_BUCKET']}/{path}"
        return self.run("curl", "--silent", "--write-out", "%{http_code}", *(signed if options else ()), *options, url)


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """The engine, and a copy with nothing started from it. Skips where there can be none."""
    reason = machine.missing()
    try:
        compose_images.engine_root()
    except NotBuiltError as error:
        reason = str(error)
    if reason:
        not_here(reason, "REQUIRE_CLUSTER")
    with running_engine() as engine:
        root = engine.folder / "project"
        root.mkdir()
        copy_project(root)
        yield Project(engine=engine, root=root)


def test_a_killed_up_can_be_run_again(project: Project) -> None:
    """Killed while the database is being built, with everything that it started on this side of Docker."""
    words = ("postgresql:index:Role", "creating") if WITH_PULUMI else ("the database is built from the plan's SQL",)
    process = project.start(sys.executable, "-m", "ops", "up")
    assert process.stdout
    output = ""
    for line in process.stdout:
        output += line
        if all(word in line for word in words):
            break
    else:
        pytest.fail(f"it ended before it was killed:\n{output}")
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert "1380 checks, 0 wrong" in project.ops("up")
    running = project.engine.docker("ps", '--format={{.Label "com.docker.compose.service"}} {{.Status}}')
    assert {line.split()[0] for line in running.splitlines() if "(healthy)" in line} == SERVICES


def test_a_second_up_changes_nothing(project: Project) -> None:
    before = project.running()
    assert "no changes" in project.ops("up")
    assert project.running() == before


def test_every_port_is_the_loopback_addresss_alone(project: Project) -> None:
    ports = project.engine.docker("ps", "--format={{.Ports}}")
    assert len(re.findall(r"127\.0\.0\.1:\d+->", ports)) == len(SERVICES)
    assert not re.search(r"(0\.0\.0\.0|\[::\]):\d+->", ports)


def test_valkey_has_productions_access_rules(project: Project) -> None:
    assert project.valkey("PING").startswith("NOAUTH")
    assert project.valkey("SET", "kept", "1") == "OK"
    assert project.valkey("CONFIG", "GET", "maxmemory").startswith("NOPERM")
    assert project.valkey("KEYS", "*").startswith("NOPERM")


def test_the_store_takes_payloads_key_and_shows_everybody_what_it_has(project: Project) -> None:
    assert project.s3("a.txt", "--request", "PUT", "--data-binary", "hello") == "200"
    assert project.s3("a.txt") == "hello200"
    env = project.env("payload")
    refused = ("--silent", "--write-out", "%{http_code}", "--output", "/dev/null", "--request", "PUT", "--data", "x")
    assert project.run("curl", *refused, f"{env['S3_ENDPOINT']}/{env['S3_BUCKET']}/b.txt") == "403"


def test_the_pooler_has_descriptors_enough(project: Project) -> None:
    (name,) = project.docker("ps", "--filter=name=pgbouncer", "--format={{.Names}}")
    log = project.run("docker", "logs", name)
    limit, expected = re.findall(r"descriptor limit: (\d+).*max expected fd use: (\d+)", log)[0]
    assert int(limit) >= int(expected)


def test_data_outlive_the_containers(project: Project) -> None:
    url = project.env("django")["DATABASE_URL"]
    program = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
    project.run(sys.executable, "-c", program, url, "CREATE TABLE kept AS SELECT 42 AS answer")
    project.ops("down")
    assert project.running() == set()
    assert "no changes" not in project.ops("up")
    assert project.sql(url, "SELECT answer FROM kept") == "42"
    assert project.valkey("GET", "kept") == "1"
    assert project.s3("a.txt") == "hello200"


def test_a_clusters_address_reaches_the_database_alone(project: Project) -> None:
    """As pods of a developer's own cluster would; the address is one of this machine."""
    project.engine.network.run("ip", "address", "add", f"{CLUSTER_ADDRESS}/32", "dev", "lo")
    program = f"""
import unittest.mock as mock
from ops.dev import model, servers, state
with mock.patch.object(model.LocalStack, "cluster_address", lambda _: "{CLUSTER_ADDRESS}"):
    servers.start(state.prepare("dev"))
"""
    project.run(sys.executable, "-c", program)
    ports = project.engine.docker("ps", "--format={{.Ports}}")
    assert re.findall(rf"{re.escape(CLUSTER_ADDRESS)}:\d+->(\d+)", ports) == ["5432"]


def test_wiping_leaves_nothing_of_it_in_docker(project: Project) -> None:
    state = json.loads((project.root / ".local/dev/state.json").read_text())
    assert state["passwords"]
    project.ops("down", "--wipe")
    assert project.docker("ps", "--all", "--quiet") == set()
    assert project.docker("volume", "ls", "--quiet") == set()
    assert project.docker("network", "ls", "--format={{.Name}}") == {"bridge", "host", "none"}
    assert not (project.root / ".local/dev").exists()

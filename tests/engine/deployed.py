"""A stack on RDS by the real Pulumi CLI: real PostgreSQL over verified TLS, a real Kubernetes API server, real
providers for both and for random; doubles for AWS and Cloudflare (`doubles.py` says what they do not prove).
"""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from ops.dev import servers
from ops.dev import state as local_state
from ops.dev.model import Running
from settings import ADMIN
from tests.configs import IMAGES, VALKEY_IMAGES
from tests.engine.conftest import Ended, Project, project_copy, require_provider
from tests.engine.doubles import Computed, Double, serving
from tests.integration import tls
from tests.integration.conftest import superuser
from tests.integration.kubernetes.conftest import ADMIN_TOKEN, ApiServer, running_api_server

ACCOUNT = "123456789012"
SUBNETS = {"subnet-0a": "10.0.0.0/24", "subnet-0b": "10.0.1.0/24"}
R2_SECRET = "sentinel+R2/secret&key=1"
PASSPHRASE = "of-a-test-stack"


@dataclass
class Deployed:
    """A stack on RDS whose accounts are doubles."""

    stack: str
    project: Project
    aws: Double
    cloudflare: Double
    kubernetes: ApiServer
    environment: dict[str, str]
    seen: list[str] = field(default_factory=list)
    """Everything that was printed, and the process lists taken meanwhile."""

    def pulumi(self, *arguments: str, **options: Any) -> Ended:
        """The CLI on the stack; what it prints and the processes it starts are kept."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                listed = subprocess.run(["ps", "-e", "-ww", "-o", "args="], capture_output=True, text=True, check=False)
                self.seen.append(listed.stdout)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            ended = self.project.run(
                "pulumi",
                *arguments,
                "--stack",
                self.stack,
                "--non-interactive",
                environment=self.environment,
                **options,
            )
        finally:
            done.set()
            watcher.join()
        if "--show-secrets" not in arguments:
            self.seen.append(ended.output)
        return ended

    def up(self) -> Ended:
        return self.pulumi("up", "--yes", "--skip-preview")

    def state(self) -> dict[str, Any]:
        """The stack's state, its secrets encrypted."""
        ended = self.pulumi("stack", "export")
        assert ended.status == 0, ended.output
        document: dict[str, Any] = json.loads(ended.output[ended.output.index("{") :])
        return document

    def inputs(self) -> dict[str, Any]:
        """What the state holds of each resource's inputs, by URN; secrets are encrypted anew at each export."""
        return {
            r["urn"]: json.loads(json.dumps(r.get("inputs", {})), object_hook=_without_ciphertext)
            for r in self.state()["deployment"]["resources"]
        }

    def types(self) -> Counter[str]:
        """How many of each custom resource the state holds."""
        return Counter(r["type"] for r in self.state()["deployment"]["resources"] if r["custom"])

    def configure(self, section: str, **values: Any) -> None:
        path = self.project.root / f"Pulumi.{self.stack}.yaml"
        document = yaml.safe_load(path.read_text())
        document["config"].setdefault(f"lightwave:{section}", {}).update(values)
        path.write_text(yaml.safe_dump(document))


def _without_ciphertext(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "ciphertext"}


def aws_double(running: Running, kubernetes: ApiServer) -> Double:
    """AWS: the instance that it makes is the local server, with the master password that it is given."""

    def instance(inputs: Any) -> dict[str, Any]:
        with superuser(running) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ADMIN), sql.Literal(inputs["password"]))
            )
        return {
            "address": "localhost",
            "port": running.database_port,
            "endpoint": f"localhost:{running.database_port}",
            "resourceId": "db-DOUBLE",
        }

    authority = (kubernetes.directory / "certificates" / "apiserver.crt").read_bytes()
    return Double(
        "7.51.1",
        {"aws:rds/instance:Instance": Computed(("address", "port", "endpoint", "resourceId"), instance)},
        {
            "aws:eks/getCluster:getCluster": lambda args: {
                "name": args["name"],
                "arn": f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/{args['name']}",
                "endpoint": f"https://127.0.0.1:{kubernetes.port}",
                "certificateAuthorities": [{"data": base64.b64encode(authority).decode()}],
                "vpcConfig": {
                    "vpcId": "vpc-0a1b2c3d",
                    "subnetIds": list(SUBNETS),
                    "clusterSecurityGroupId": "sg-0a1b2c3d",
                },
            },
            "aws:ec2/getSubnets:getSubnets": lambda _: {"ids": sorted(SUBNETS, reverse=True)},
            "aws:ec2/getSubnet:getSubnet": lambda args: {"cidrBlock": SUBNETS[args["id"]]},
        },
    )


def cloudflare_double() -> Double:
    return Double("6.23.1", {}, {})


@contextmanager
def deployed(stack: str, pulumi_home: Path) -> Iterator[Deployed]:
    """The stack with the facts that a deploy is given, in a copy of the project; nothing is deployed yet."""
    for provider in ("kubernetes", "random"):
        require_provider(provider, pulumi_home)
    with ExitStack() as opened:
        kubernetes = opened.enter_context(running_api_server())
        project = opened.enter_context(project_copy(pulumi_home))
        running = servers.start(
            local_state.prepare("dev", project.root / ".local" / "dev"),
            project.root / ".local" / "dev",
            kind="native",
        )
        ca = tls.authority(project.root / "tls")
        shutil.copy(ca.certificate, project.root / "rds-ca.pem")
        tls.serve_tls(running, ca.issue("localhost", project.root / "tls", owner=tls.owner_of(running)))
        aws, cloudflare = aws_double(running, kubernetes), cloudflare_double()
        ports = {
            "aws": opened.enter_context(serving(aws)),
            "cloudflare": opened.enter_context(serving(cloudflare)),
        }
        # `aws eks get-token`, which the kubeconfig calls.
        programs = project.root / "programs"
        programs.mkdir()
        token = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": ADMIN_TOKEN},
        }
        (programs / "aws").write_text(f"#!/bin/sh\necho '{json.dumps(token)}'\n")
        (programs / "aws").chmod(0o755)
        states = project.root / "states"
        states.mkdir()
        environment = {
            "PULUMI_BACKEND_URL": f"file://{states}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_DEBUG_PROVIDERS": ",".join(f"{name}:{port}" for name, port in ports.items()),
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        found = Deployed(stack, project, aws, cloudflare, kubernetes, environment)
        created = project.run("pulumi", "stack", "init", stack, "--non-interactive", environment=environment)
        assert created.status == 0, created.output
        found.configure("aws", accountId=ACCOUNT, region="eu-central-1")
        found.configure(
            "media", accountId="a" * 32, zoneId="b" * 32, credentials="given", accessKeyId="sentinel-key-id"
        )
        found.configure("pgbouncer", **IMAGES)
        found.configure("valkey", **VALKEY_IMAGES, storageClass="gp3")
        image = f"cloudflare/cloudflared:2026.11.0@sha256:{'6' * 64}"
        found.configure("edge", image=image, admins=["ana@example.com", "example.org"])
        found.configure("kubernetes", waitForRollout=False, edgeNamespace="traefik")
        # On standard input, as the runbook has it: an argument would stand in the process list.
        subprocess.run(
            ["pulumi", "config", "set", "--stack", stack, "--secret", "--path", "lightwave:media.secretAccessKey"],
            input=R2_SECRET,
            cwd=project.root,
            env=os.environ | environment,
            text=True,
            capture_output=True,
            timeout=60,
            check=True,
        )
        yield found

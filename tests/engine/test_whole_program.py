"""The whole prod program on the real Pulumi CLI: real PostgreSQL over verified TLS, a real Kubernetes API server, real
providers for both and for random; doubles for AWS and Cloudflare (`doubles.py` says what they do not prove).

The tests share one stack and run in the order in which they stand.
"""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from psycopg import sql
from pydantic import SecretStr

import settings
from ops.deploy import file_backend
from ops.dev import servers
from ops.dev import state as local_state
from ops.dev.model import Running
from ops.verify.catalog import read_only
from ops.verify.matrix import matrix
from ops.verify.model import Endpoint
from ops.verify.model import connect as connect_verified
from settings import ADMIN
from tests.configs import IMAGES, SERVICES, VALKEY_IMAGES
from tests.engine.conftest import Ended, Project, project_copy, require_provider
from tests.engine.doubles import Computed, Double, serving
from tests.integration import tls
from tests.integration.conftest import superuser
from tests.integration.kubernetes.conftest import ADMIN_TOKEN, ApiServer, quotas_in_force, running_api_server

pytestmark = [pytest.mark.xdist_group("whole-program"), pytest.mark.timeout(900)]

ACCOUNT = "123456789012"
SUBNETS = {"subnet-0a": "10.0.0.0/24", "subnet-0b": "10.0.1.0/24"}
R2_SECRET = "sentinel+R2/secret&key=1"
PASSPHRASE = "of-a-test-stack"
STACK_FILE = "Pulumi.prod.yaml"


@dataclass
class Prod:
    """A prod stack whose accounts are doubles."""

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
                "pulumi", *arguments, "--stack", "prod", "--non-interactive", environment=self.environment, **options
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
        path = self.project.root / STACK_FILE
        document = yaml.safe_load(path.read_text())
        document["config"].setdefault(f"lightwave:{section}", {}).update(values)
        path.write_text(yaml.safe_dump(document))


def _without_ciphertext(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "ciphertext"}


def aws_double(running: Running, kubernetes: ApiServer) -> Double:
    """AWS: the instance that it makes is the local server, with the master password that it is told."""

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


@pytest.fixture(scope="module")
def prod(pulumi_home: Path) -> Iterator[Prod]:
    for provider in ("kubernetes", "random"):
        require_provider(provider, pulumi_home)
    with ExitStack() as stack:
        kubernetes = stack.enter_context(running_api_server())
        project = stack.enter_context(project_copy(pulumi_home))
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
            "aws": stack.enter_context(serving(aws)),
            "cloudflare": stack.enter_context(serving(cloudflare)),
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
        found = Prod(project, aws, cloudflare, kubernetes, environment)
        created = project.run("pulumi", "stack", "init", "prod", "--non-interactive", environment=environment)
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
            ["pulumi", "config", "set", "--stack", "prod", "--secret", "--path", "lightwave:media.secretAccessKey"],
            input=R2_SECRET,
            cwd=project.root,
            env=os.environ | environment,
            text=True,
            capture_output=True,
            timeout=60,
            check=True,
        )
        yield found


@pytest.fixture(autouse=True)
def quotas(prod: Prod) -> Iterator[None]:
    with quotas_in_force(prod.kubernetes):
        yield


def test_a_preview_needs_nothing_to_exist(prod: Prod) -> None:
    ended = prod.pulumi("preview")
    assert ended.status == 0, ended.output
    assert not prod.aws.log
    assert not prod.cloudflare.log


def test_a_provider_that_fails_half_way_loses_nothing(prod: Prod) -> None:
    prod.cloudflare.fail = {"cloudflare:index/r2CustomDomain:R2CustomDomain"}
    ended = prod.up()
    assert ended.status != 0
    assert "was told to fail" in ended.output
    assert prod.types()["cloudflare:index/r2Bucket:R2Bucket"] == 1


def test_a_killed_update_goes_on(prod: Prod) -> None:
    kind = "cloudflare:index/r2CustomDomain:R2CustomDomain"
    prod.cloudflare.hold[kind] = threading.Event()
    prod.cloudflare.reached.clear()
    ended = prod.pulumi("up", "--yes", "--skip-preview", kill_when=lambda _: prod.cloudflare.reached.is_set())
    prod.cloudflare.hold.pop(kind).set()
    assert prod.cloudflare.reached.is_set(), ended.output
    assert ended.status != 0
    file_backend.drop_cut_attributes(Path(prod.environment["PULUMI_BACKEND_URL"].removeprefix("file://")))
    cancelled = prod.pulumi("cancel", "--yes")
    assert cancelled.status == 0, cancelled.output
    # What a plan of Cloudflare's that refuses the limit on logins stops is nothing that visitors need.
    prod.cloudflare.fail = {"edge-login-limit-ruleset"}
    ended = prod.up()
    assert "was told to fail edge-login-limit-ruleset" in ended.output
    assert prod.types()["cloudflare:index/dnsRecord:DnsRecord"] == 1
    assert prod.kubernetes.get("deployment", "cloudflared", "--namespace=shared")
    ended = prod.up()
    assert ended.status == 0, ended.output


def test_administrators_are_asked_for_before_the_hostname_resolves(prod: Prod) -> None:
    created = [kind.rpartition(":")[2] for verb, kind in prod.cloudflare.log if verb == "create"]
    assert created.count("ZeroTrustAccessApplication") == created.count("ZeroTrustAccessPolicy") == 1
    assert created.index("ZeroTrustAccessApplication") < created.index("DnsRecord")
    inputs = {urn.rpartition("::")[2]: found for urn, found in prod.inputs().items()}
    assert inputs["edge-access-admins"]["includes"] == [
        {"email": {"email": "ana@example.com"}},
        {"emailDomain": {"domain": "example.org"}},
    ]


def test_nothing_changes_afterwards(prod: Prod) -> None:
    for refresh in ((), ("--refresh",)):
        ended = prod.pulumi("preview", "--expect-no-changes", *refresh)
        assert ended.status == 0, ended.output


def test_the_database_is_as_the_table_says(prod: Prod) -> None:
    """Read over TLS that is verified in full, with the generated password."""
    shown = prod.pulumi("stack", "export", "--show-secrets").output
    (secret,) = (
        resource["inputs"]["secretString"]
        for resource in json.loads(shown[shown.index("{") :])["deployment"]["resources"]
        if resource["type"] == "aws:secretsmanager/secretVersion:SecretVersion"
    )
    login = json.loads(json.loads(secret["plaintext"]))
    endpoint = Endpoint(
        host=login["host"],
        port=int(login["port"]),
        sslmode="verify-full",
        sslrootcert=str(prod.project.root / "rds-ca.pem"),
    )
    with settings.offline():
        expected = matrix(settings.load("prod", settings.stack_config("prod")))
    with connect_verified(endpoint, ADMIN, SecretStr(login["password"])) as connection:
        report = read_only(connection, expected)
    assert len(report.checks) > 100
    assert not report.wrong, report.wrong


def test_a_change_touches_what_it_should(prod: Prod) -> None:
    before, calls = prod.inputs(), (len(prod.aws.log), len(prod.cloudflare.log))
    prod.configure("pgbouncer", maxClientConnections=1200)
    ended = prod.up()
    assert ended.status == 0, ended.output
    after = prod.inputs()
    assert before.keys() == after.keys()
    assert {urn.rpartition("::")[2] for urn in before if before[urn] != after[urn]} == {
        "pgbouncer-config",
        "pgbouncer-deployment",
    }
    assert (len(prod.aws.log), len(prod.cloudflare.log)) == calls
    live = prod.kubernetes.get("configmap", "pgbouncer", "--namespace=shared")
    assert "max_client_conn = 1200" in live["data"]["pgbouncer.ini"]
    assert "deletionTimestamp" not in live["metadata"]


def test_a_release_and_its_rollback_touch_their_service_alone(prod: Prod) -> None:
    def images(namespace: str) -> set[str]:
        deployments = prod.kubernetes.get("deployments", f"--namespace={namespace}")["items"]
        return {d["spec"]["template"]["spec"]["containers"][0]["image"] for d in deployments}

    def changed(after: Mapping[str, Any], before: Mapping[str, Any]) -> set[str]:
        return {urn.rpartition("::")[2] for urn in after if before.get(urn) != after[urn]}

    prod.configure("services", **SERVICES)
    ended = prod.up()
    assert ended.status == 0, ended.output
    before = prod.inputs()
    ended = prod.pulumi("preview", "--expect-no-changes")
    assert ended.status == 0, ended.output

    payload, migrate = (f"ghcr.io/example/{name}:1.5.0@sha256:{'9' * 64}" for name in ("payload", "payload-migrate"))
    calls = (len(prod.aws.log), len(prod.cloudflare.log))
    prod.configure("services", payload={"image": payload, "migration": {"image": migrate}})
    ended = prod.up()
    assert ended.status == 0, ended.output
    released = prod.inputs()
    assert changed(released, before) == {"payload-payload-deployment", "payload-migration-job"}
    assert images("payload-cms") == {payload}
    assert images("django-api") == {SERVICES["django"]["image"]}
    assert (len(prod.aws.log), len(prod.cloudflare.log)) == calls

    prod.configure("services", payload=SERVICES["payload"])
    ended = prod.up()
    assert ended.status == 0, ended.output
    assert prod.inputs() == before
    assert images("payload-cms") == {SERVICES["payload"]["image"]}


def test_destroying_is_refused(prod: Prod) -> None:
    before = prod.types()
    ended = prod.pulumi("destroy", "--yes")
    assert ended.status != 0
    assert "protected" in ended.output
    assert prod.types() == before


def test_no_secret_is_anywhere(prod: Prod) -> None:
    shown = prod.pulumi("stack", "export", "--show-secrets")
    resources = json.loads(shown.output[shown.output.index("{") :])["deployment"]["resources"]
    secrets = {
        r["outputs"]["result"]["plaintext"].strip('"')
        for r in resources
        if r["type"] == "random:index/randomPassword:RandomPassword"
    }
    assert len(secrets) == 11
    (tunnel,) = (r["outputs"] for r in resources if r["urn"].endswith("::edge-tunnel-secret"))
    secrets |= {json.loads(tunnel[form]["plaintext"]) for form in ("base64", "hex")}
    (token,) = (r["outputs"]["token"] for r in resources if r["type"] == "lightwave:edge:Tunnel")
    secrets |= {json.loads(token["plaintext"]), R2_SECRET}
    places = {"printed or in a process list": "\n".join(prod.seen)}
    for path in (prod.project.root / "states").rglob("*"):
        if path.is_file():
            places[path.name] = path.read_text(errors="replace")
    logs = (prod.project.root / ".local/dev/servers/postgresql.log", prod.kubernetes.directory / "apiserver.log")
    for log in logs:
        places[log.name] = log.read_text(errors="replace")
        assert places[log.name]
    for secret in secrets:
        forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        for place, text in places.items():
            assert not [form for form in forms if form in text], f"a secret is {place}"
    assert "SCRAM-SHA-256$" not in "".join(places.values())

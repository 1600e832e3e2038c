"""The whole prod program on the real Pulumi CLI, with AWS and Cloudflare as doubles (`deployed.py`).

The tests share one stack and run in the order in which they stand.
"""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

import settings
from ops.deploy import file_backend
from ops.verify.catalog import read_only
from ops.verify.matrix import matrix
from ops.verify.model import Endpoint
from ops.verify.model import connect as connect_verified
from settings import ADMIN
from tests.configs import SERVICES
from tests.engine.deployed import R2_SECRET, Deployed, deployed
from tests.integration.kubernetes.conftest import quotas_in_force

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def prod(pulumi_home: Path) -> Iterator[Deployed]:
    with deployed("prod", pulumi_home) as found:
        yield found


@pytest.fixture(autouse=True)
def quotas(prod: Deployed) -> Iterator[None]:
    with quotas_in_force(prod.kubernetes):
        yield


def test_a_preview_needs_nothing_to_exist(prod: Deployed) -> None:
    ended = prod.pulumi("preview")
    assert ended.status == 0, ended.output
    assert not prod.aws.log
    assert not prod.cloudflare.log


def test_a_provider_that_fails_half_way_loses_nothing(prod: Deployed) -> None:
    prod.cloudflare.fail = {"cloudflare:index/r2CustomDomain:R2CustomDomain"}
    ended = prod.up()
    assert ended.status != 0
    assert "was set to fail" in ended.output
    assert prod.types()["cloudflare:index/r2Bucket:R2Bucket"] == 1


def test_a_killed_update_goes_on(prod: Deployed) -> None:
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
    assert "was set to fail edge-login-limit-ruleset" in ended.output
    assert prod.types()["cloudflare:index/dnsRecord:DnsRecord"] == 1
    assert prod.kubernetes.get("deployment", "cloudflared", "--namespace=shared")
    ended = prod.up()
    assert ended.status == 0, ended.output


def test_nothing_changes_afterwards(prod: Deployed) -> None:
    for refresh in ((), ("--refresh",)):
        ended = prod.pulumi("preview", "--expect-no-changes", *refresh)
        assert ended.status == 0, ended.output


def test_the_database_is_as_the_table_says(prod: Deployed) -> None:
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


def test_a_change_touches_what_it_should(prod: Deployed) -> None:
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


def test_a_release_and_its_rollback_touch_their_service_alone(prod: Deployed) -> None:
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


def test_destroying_is_refused(prod: Deployed) -> None:
    before = prod.types()
    ended = prod.pulumi("destroy", "--yes")
    assert ended.status != 0
    assert "protected" in ended.output
    assert prod.types() == before


def test_no_secret_is_anywhere(prod: Deployed) -> None:
    shown = prod.pulumi("stack", "export", "--show-secrets")
    resources = json.loads(shown.output[shown.output.index("{") :])["deployment"]["resources"]
    secrets = {
        r["outputs"]["result"]["plaintext"].strip('"')
        for r in resources
        if r["type"] == "random:index/randomPassword:RandomPassword"
    }
    assert len(secrets) == 12
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

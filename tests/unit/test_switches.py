"""What stack config can add: a developer's own cluster and bucket, TLS for PgBouncer's clients."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

import settings
from components.services.env import MIGRATION_OPTIONS
from ops.plan import document as plan
from ops.plan import policy
from ops.plan.recorder import Recording, record_stack
from policies.rules.model import Secret, Violation
from settings import files
from tests.configs import ON_KIND, OWN_BUCKET, WITH_CLIENT_TLS
from tests.unit.conftest import FACTS_OF_PROD

CORE = "kubernetes:core/v1:"
MEDIA = {
    **FACTS_OF_PROD["media"],
    "zone": "example.com",
    "domain": "media.dev.example.com",
    **OWN_BUCKET,
}
PORT = 5433


def sections(config: Mapping[str, Any]) -> dict[str, Any]:
    return {f"lightwave:{name}": value for name, value in config.items()}


@pytest.fixture(scope="module")
def on_kind() -> Recording:
    """Dev with a developer's own cluster and bucket, and PostgreSQL on another port than 5432."""
    with pytest.MonkeyPatch.context() as patch:
        usual = files.placeholder_state
        patch.setattr(files, "placeholder_state", lambda products: {**usual(products), "databasePort": PORT})
        return record_stack("dev", overrides=sections(ON_KIND | {"media": MEDIA}))


def without_media() -> Recording:
    return record_stack("dev", overrides=sections(ON_KIND))


def text(value: Any) -> str:
    return str(value.value if isinstance(value, Secret) else value)


def env(recording: Recording, product: str) -> dict[str, str]:
    data = recording.one(f"{CORE}Secret", f"{product}-env").inputs["stringData"]
    return {name: text(value) for name, value in (data.value if isinstance(data, Secret) else data).items()}


def test_everything_is_created_on_the_developers_cluster(on_kind: Recording) -> None:
    provider = on_kind.one("pulumi:providers:kubernetes", "kubernetes").inputs
    assert (provider["context"], provider["clusterIdentifier"]) == ("kind-lightwave", "kind-lightwave")
    assert "kubeconfig" not in provider
    objects = [r for r in on_kind.resources if r.type.startswith("kubernetes:")]
    assert len(objects) > 50
    assert {r.provider for r in objects} == {"urn:pulumi:dev::lightwave::pulumi:providers:kubernetes::kubernetes"}
    assert not [r for r in on_kind.resources if r.type.startswith("aws:")]


def test_its_pgbouncer_uses_the_local_database(on_kind: Recording) -> None:
    ini = on_kind.one(f"{CORE}ConfigMap", "pgbouncer-config").inputs["data"]["pgbouncer.ini"]
    assert f"lightwave_platform = host=172.18.0.1 port={PORT} dbname=lightwave_platform " in ini
    assert "server_tls_sslmode = disable" in ini
    deployment = on_kind.one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment").inputs
    pod = deployment["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["config", "auth", "tmp"]
    assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]] == ["config", "auth", "tmp"]
    assert {r.name for r in on_kind.of_type(f"{CORE}ConfigMap")} == {"pgbouncer-config"}


def test_its_pgbouncer_has_the_local_verifiers(on_kind: Recording) -> None:
    auth = on_kind.one(f"{CORE}Secret", "pgbouncer-auth").inputs["stringData"]
    assert isinstance(auth, Secret)
    logins = [line.split('"')[1] for line in auth.value["userlist.txt"].splitlines() if line.startswith('"')]
    products = ("createos", "cineos", "django", "payload", "photographyos")
    assert sorted(logins) == sorted([settings.STATS_USER, *(f"{product}_user" for product in products)])


def test_its_network_policies_allow_the_local_database(on_kind: Recording) -> None:
    policy = on_kind.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "shared-egress-pgbouncer-to-database")
    assert policy.inputs["spec"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "172.18.0.0/16"}}], "ports": [{"port": PORT, "protocol": "TCP"}]}
    ]


def test_its_services_get_every_address(on_kind: Recording) -> None:
    django, payload = env(on_kind, "django"), env(on_kind, "payload")
    pooled, direct = urlsplit(django["DATABASE_URL"]), urlsplit(django["DATABASE_URL_DIRECT"])
    assert (pooled.hostname, pooled.port, pooled.query) == ("pgbouncer.shared", 6432, "")
    assert (direct.hostname, direct.port) == ("172.18.0.1", PORT)
    assert {direct.query, urlsplit(payload["DATABASE_URI_DIRECT"]).query} == {
        "options=-c%20statement_timeout%3D0%20-c%20lock_timeout%3D5s"
    }
    assert payload["S3_BUCKET"] == "lightwave-media-dev"
    assert payload["CDN_BASE_URL"] == "https://media.dev.example.com"
    assert not {"NODE_EXTRA_CA_CERTS", "DATABASE_SSLROOTCERT", "DATABASE_SSLMODE"} & {*django, *payload}


def test_a_cluster_without_a_bucket_has_no_services() -> None:
    """Payload's pods could not reach a store."""
    recording = without_media()
    assert {r.name for r in recording.of_type(f"{CORE}Secret")} == {"pgbouncer-auth"}
    assert {r.type for r in recording.resources if r.name == "pgbouncer"} == {"lightwave:kubernetes:PgBouncer"}
    assert "pgbouncer" in recording.outputs
    assert "service_env" not in recording.outputs


def test_it_violates_no_policy(on_kind: Recording) -> None:
    assert [verdict for verdict in policy.verdicts(on_kind.resources) if isinstance(verdict.answer, Violation)] == []


def test_its_plan_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings.stack_config("dev") | sections(ON_KIND)
    monkeypatch.setattr(settings, "stack_config", lambda _: config)
    folder = plan.write("dev", tmp_path / "plan")
    # The cluster's PgBouncer: the local one has its file in its own folder once it runs.
    assert "host=172.18.0.1 port=5432" in (folder / "pgbouncer.ini").read_text()
    assert len(list((folder / "manifests").glob("*/*.yaml"))) >= 50


def test_the_runbooks_config_is_accepted() -> None:
    runbook = (settings.ROOT / "docs/runbooks/a-cluster-of-your-own.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", runbook, re.DOTALL)
    config = yaml.safe_load(block.replace("<tag>", "v0.11.0").replace("<digest>", "0" * 64))
    recording = record_stack("dev", overrides=config)
    assert recording.one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment")


# --- TLS for PgBouncer's clients --------------------------------------------------------------------------------------

DATABASE_CA, POOLER_CA = "-----BEGIN CERTIFICATE-----\nrds", "-----BEGIN CERTIFICATE-----\npooler\n"
PATH = "/etc/database-ca/ca.pem"


@pytest.fixture(scope="module")
def client_tls() -> Recording:
    prod = settings.stack_config("prod")["lightwave:pgbouncer"]
    pem_files = {"rds-ca.pem": DATABASE_CA, "pgbouncer-ca.pem": POOLER_CA}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("settings.files.certificates", lambda file, *_: pem_files[file])
        return record_stack("prod", overrides={"lightwave:pgbouncer": prod | WITH_CLIENT_TLS})


def test_services_get_the_ca_certificates_of_both_servers(client_tls: Recording) -> None:
    for product in ("payload", "django"):
        certificates = client_tls.one(f"{CORE}ConfigMap", f"{product}-database-ca").inputs
        assert certificates["metadata"]["name"] == "database-ca"
        assert certificates["data"] == {"ca.pem": f"{DATABASE_CA}\n{POOLER_CA}"}


def test_services_verify_pgbouncer(client_tls: Recording) -> None:
    django, payload = env(client_tls, "django"), env(client_tls, "payload")
    for url, options in (
        (django["DATABASE_URL"], {}),
        (django["DATABASE_URL_DIRECT"], {"options": [MIGRATION_OPTIONS]}),
    ):
        assert parse_qs(urlsplit(url).query) == {"sslmode": ["verify-full"], "sslrootcert": [PATH], **options}
    assert (django["DATABASE_SSLMODE"], django["DATABASE_SSLROOTCERT"]) == ("verify-full", PATH)
    assert parse_qs(urlsplit(payload["DATABASE_URI"]).query) == {"schema": ["payload"], "sslmode": ["verify-full"]}
    assert parse_qs(urlsplit(payload["DATABASE_URI_DIRECT"]).query) == {
        "options": [MIGRATION_OPTIONS],
        "sslmode": ["verify-full"],
    }
    assert payload["NODE_EXTRA_CA_CERTS"] == PATH


def test_pgbouncer_itself_trusts_only_the_databases_ca(client_tls: Recording) -> None:
    assert client_tls.one(f"{CORE}ConfigMap", "pgbouncer-ca").inputs["data"] == {"rds-ca.pem": DATABASE_CA}
    assert json.dumps(client_tls.one(f"{CORE}ConfigMap", "pgbouncer-config").inputs).count("verify-full") == 1


# --- RDS with another cluster -----------------------------------------------------------------------------------------


def test_production_with_a_context_still_knows_the_networks_of_rds() -> None:
    prod = settings.stack_config("prod")["lightwave:kubernetes"]
    recording = record_stack("prod", overrides={"lightwave:kubernetes": {**prod, "context": "by-hand"}})
    policy = recording.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "shared-egress-pgbouncer-to-database")
    (egress,) = policy.inputs["spec"]["egress"]
    assert egress["to"]
    assert recording.one("pulumi:providers:kubernetes", "kubernetes").inputs["context"] == "by-hand"

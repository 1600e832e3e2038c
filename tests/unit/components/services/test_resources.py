"""What a product's service gets in its namespace: exact inputs and options."""

from typing import Any

import pulumi
import pytest

import settings
from components.kubernetes import network_flows as flows
from components.services.resources import ServiceResources, ServiceResourcesArgs
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from settings import Product

CORE = "kubernetes:core/v1:"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:kubernetes:ServiceIdentity::payload"
PAYLOAD = Product(
    name="payload",
    schema="payload",
    framework="payload",
    service="lightwave-media-site/website",
    namespace="payload-cms",
)
DJANGO = Product(
    name="django", schema="django", framework="django", service="lightwave-api-gateway", namespace="django-api"
)


def recording(product: Product, *, payload_namespace: str) -> Recording:
    args = ServiceResourcesArgs(
        product=product,
        env={"PASSWORD": "open sesame", "PLAIN": "plain"},
        ca_pem="the certificates",
        payload_namespace=payload_namespace,
    )
    return recorder.record(lambda: ServiceResources(product.name, args), stack="prod")


def declared(recorded: Recording) -> list[tuple[str, str]]:
    return sorted((r.type.rpartition(":")[2], r.name) for r in recorded.resources if r.custom)


@pytest.fixture(scope="module")
def payload() -> Recording:
    return recording(PAYLOAD, payload_namespace="payload-cms")


@pytest.fixture(scope="module")
def django() -> Recording:
    return recording(DJANGO, payload_namespace="payload-cms")


def test_what_each_service_gets(payload: Recording, django: Recording) -> None:
    assert declared(payload) == [
        ("ConfigMap", "payload-database-ca"),
        ("Secret", "payload-env"),
        ("Service", "payload-service"),
        ("ServiceAccount", "payload-account-migration"),
        ("ServiceAccount", "payload-account-payload"),
    ]
    assert declared(django) == [
        ("ConfigMap", "django-database-ca"),
        ("Secret", "django-env"),
        ("Service", "django-payload-alias"),
        ("Service", "django-service"),
        ("ServiceAccount", "django-account-api"),
        ("ServiceAccount", "django-account-migration"),
        ("ServiceAccount", "django-account-worker"),
    ]
    assert {r.parent for r in payload.resources if r.custom} == {COMPONENT}
    for recorded, namespace in ((payload, "payload-cms"), (django, "django-api")):
        assert {r.inputs["metadata"]["namespace"] for r in recorded.resources if r.custom} == {namespace}


def test_service_accounts_mount_no_token(payload: Recording, django: Recording) -> None:
    accounts = [*payload.of_type(f"{CORE}ServiceAccount"), *django.of_type(f"{CORE}ServiceAccount")]
    assert sorted(r.inputs["metadata"]["name"] for r in accounts) == [
        "api",
        "migration",
        "migration",
        "payload",
        "worker",
    ]
    assert {r.inputs["automountServiceAccountToken"] for r in accounts} == {False}


def test_every_value_of_the_env_is_secret(payload: Recording) -> None:
    secret = payload.one(f"{CORE}Secret", "payload-env")
    assert secret.inputs["metadata"] == {"name": "payload-env", "namespace": "payload-cms"}
    assert secret.inputs["type"] == "Opaque"
    assert secret.inputs["stringData"] == Secret({"PASSWORD": "open sesame", "PLAIN": "plain"})
    assert "stringData" in secret.additional_secret_outputs
    assert "data" not in secret.inputs
    assert "open sesame" not in repr(payload.component_outputs)


def test_the_database_ca(payload: Recording) -> None:
    inputs = payload.one(f"{CORE}ConfigMap", "payload-database-ca").inputs
    assert inputs["metadata"]["name"] == "database-ca"
    assert inputs["data"] == {"ca.pem": "the certificates"}


def service(name: str, port: int) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {"app.kubernetes.io/name": name},
        "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
    }


def test_payload_resolves_where_django_calls_it(payload: Recording, django: Recording) -> None:
    """Django calls http://payload:3000/api."""
    own = payload.one(f"{CORE}Service", "payload-service").inputs
    assert own["metadata"]["name"] == "payload"
    assert own["spec"] == service("payload", 3000)
    alias = django.one(f"{CORE}Service", "django-payload-alias").inputs
    assert (alias["metadata"]["name"], alias["metadata"]["namespace"]) == ("payload", "django-api")
    assert alias["spec"] == {"type": "ExternalName", "externalName": "payload.payload-cms.svc.cluster.local"}
    api = django.one(f"{CORE}Service", "django-service").inputs
    assert api["metadata"]["name"] == "api"
    assert api["spec"] == service("api", 8000)


def test_nothing_waits_for_pods_of_other_repositories(payload: Recording, django: Recording) -> None:
    services = [*payload.of_type(f"{CORE}Service"), *django.of_type(f"{CORE}Service")]
    assert len(services) == 3
    assert [r.inputs["metadata"]["annotations"] for r in services] == [{"pulumi.com/skipAwait": "true"}] * 3


def test_outputs(payload: Recording) -> None:
    assert payload.component_outputs == {
        COMPONENT: {"env_secret": "payload-env", "address": "payload.payload-cms.svc.cluster.local:3000"}
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"product": PAYLOAD.model_copy(update={"namespace": None})}, "no namespace or no framework"),
        ({"product": Product(name="createos", schema="createos", namespace="shared")}, "no namespace or no framework"),
        ({"env": {}}, "without its contract"),
    ],
)
def test_refused_arguments(changes: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {"product": PAYLOAD, "env": {"A": "b"}, "ca_pem": "", "payload_namespace": None}
    with pytest.raises(pulumi.InputPropertyError, match=reason):
        ServiceResourcesArgs(**{**given, **changes})


def test_the_docs_tell_services_what_is_declared(payload: Recording) -> None:
    lines = (settings.ROOT / "docs/services.md").read_text().splitlines()
    table = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|"))
    rows = {key: cells for key, *cells in table}
    ((label, value),) = flows.PAYLOAD.items()
    assert rows["label of the pods"][0] == f"`{label}: {value}`"
    ((label, value),) = flows.API.items()
    assert rows["label of the pods"][1].startswith(f"`{label}: {value}`;")
    assert rows["port"] == [str(settings.PAYLOAD_PORT), str(settings.API_PORT)]
    assert {cell for key, cells in rows.items() if key.startswith("metrics") for cell in cells} == {
        f"port {flows.APPLICATION_METRICS_PORT}"
    }
    accounts = [r.inputs["metadata"]["name"] for r in payload.of_type(f"{CORE}ServiceAccount")]
    assert sorted(rows["service accounts"][0].split(", ")) == sorted(f"`{name}`" for name in accounts)
    assert rows["environment (`envFrom`)"] == ["Secret `payload-env`", "Secret `django-env`"]
    ((label, value),) = flows.MIGRATION.items()
    assert f"Migrations carry `{label}: {value}`" in " ".join(lines)


def test_without_payload_there_is_no_alias() -> None:
    args = ServiceResourcesArgs(product=DJANGO, env={"A": "b"}, ca_pem=None, payload_namespace=None)
    recorded = recorder.record(lambda: ServiceResources("django", args), stack="prod")
    assert [name for kind, name in declared(recorded) if kind == "Service"] == ["django-service"]

"""The prod stack's Kubernetes half with every value real: what a deploy would send to the API server.

The program is recorded, as `make plan` does it. What only a provider knows is given: generated secrets, the database's
address and its CA. Times are shorter, all by the same measure, so that a rollout takes a minute and not a quarter of an
hour.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import yaml

import settings as config
from components.database.connection_budget import Budget, connection_budget
from ops.plan import recorder
from ops.plan.manifests import CLUSTER
from ops.plan.recorder import Recording
from policies.rules.model import Resource, Secret
from settings import Settings
from tests.cluster import images, service_images
from tests.cluster.workloads import EDGE_NAMESPACE
from tests.unit.conftest import FACTS_OF_PROD

DATABASE_HOST = "database.outside.svc.cluster.local"
"""A name that every cluster's DNS can be made to know: a Service without a selector in a namespace of the tests'."""

STORAGE_CLASS = "local"
"""What the tests' clusters call the class of their volumes."""

IDLE_SECONDS = 8
"""In place of 300: when PgBouncer ends an idle client. What else a drain waits for is shortened in the same way."""
PRE_STOP_SECONDS = 5
"""In place of 15. Both nodes' kube-proxy must hear in that time that a pod leaves."""
STATEMENT_SECONDS = 2
_IDLE_IN_TRANSACTION_MS = 2000
_QUERY_WAIT_SECONDS = 10
CLIENT_LIFETIME_SECONDS = IDLE_SECONDS
"""How old the tests' clients let a connection become: as old as docs/services.md allows. A shorter life hides a pod
that is stopped too soon: its clients leave before they notice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """What stands for a provider's answers, the same in every recording of a test run."""

    ca_pem: str
    database_cidr: str
    images: images.Images
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def password(self, inputs: Mapping[str, Any], name: str) -> str:
        """Of a RandomPassword: changes with the counter in its keepers alone, as a real one."""
        text = self._derived(name, inputs).hex()
        return text[: int(inputs["length"])]

    def random_bytes(self, inputs: Mapping[str, Any], name: str) -> str:
        """Of RandomBytes, in base64."""
        return base64.b64encode(self._derived(name, inputs)[: int(inputs["length"])]).decode()

    def _derived(self, name: str, inputs: Mapping[str, Any]) -> bytes:
        return hmac.digest(self.key, f"{name} {sorted(inputs['keepers'].items())}".encode(), hashlib.sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What the stack declares."""

    settings: Settings
    recording: Recording

    @property
    def budget(self) -> Budget:
        """The connection budget that the plan prints."""
        return connection_budget(self.settings)

    def documents(self) -> list[dict[str, Any]]:
        """Every Kubernetes object, each after what it depends on; secrets with their values."""
        order = {"Namespace": 0, "PriorityClass": 0, "NetworkPolicy": 2}
        found = [_document(r) for r in self.recording.resources if r.type.startswith("kubernetes:")]
        return sorted(found, key=lambda document: order.get(document["kind"], 1))

    def after_migrations(self) -> list[dict[str, Any]]:
        """Those of them that wait until a migration has succeeded."""
        by_urn = {r.urn: r for r in self.recording.resources}
        jobs = {r.parent for r in by_urn.values() if r.type == "kubernetes:batch/v1:Job"}
        jobs |= {r.urn for r in by_urn.values() if r.type == "kubernetes:batch/v1:Job"}
        # A component's children wait for what the component waits for.
        waiting = [r for r in by_urn.values() if r.parent and jobs & set(by_urn[r.parent].depends_on)]
        return [_document(r) for r in waiting if r.type.startswith("kubernetes:")]

    def one(self, kind: str, name: str, namespace: str = CLUSTER) -> dict[str, Any]:
        """The object of that kind and name."""
        (found,) = [
            document
            for document in self.documents()
            if (document["kind"], document["metadata"]["name"]) == (kind, name)
            and document["metadata"].get("namespace", CLUSTER) == namespace
        ]
        return found

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The keys and values of a Secret."""
        values: dict[str, str] = self.one("Secret", name, namespace)["stringData"]
        return values

    def verifiers(self) -> dict[str, str]:
        """By login role, its SCRAM verifier as the server is to hold it."""
        roles = self.recording.of_type("postgresql:index/role:Role")
        return {str(r.inputs["name"]): r.inputs["password"].value for r in roles if "password" in r.inputs}


def declared(values: Values, **sections: Mapping[str, Any]) -> Program:
    """The prod stack with the tests' images and facts; `sections` are laid over its config, section by section, and
    products over products."""
    products = sections.pop("products", {})
    # The releases of `sections` alone. No edge: without Cloudflare, cloudflared does not become ready.
    given = config.stack_config("prod") | {"lightwave:services": {}, "lightwave:edge": {}}
    made = {
        **FACTS_OF_PROD,
        "edge": {},
        "pgbouncer": {
            "image": _short(values.images[images.PGBOUNCER]),
            "exporterImage": _short(values.images[images.PGBOUNCER_EXPORTER]),
        },
        "valkey": {
            "image": _short(values.images[images.VALKEY]),
            "exporterImage": _short(values.images[images.REDIS_EXPORTER]),
            "storageGib": 2,
            "storageClass": STORAGE_CLASS,
        },
        "kubernetes": {
            "databaseCidrs": [values.database_cidr],
            "networkPolicyEnforced": True,
            "edgeNamespace": EDGE_NAMESPACE,
        },
        "products": {
            name: {
                **product,
                "statementTimeoutMs": STATEMENT_SECONDS * 1000,
                "idleInTransactionTimeoutMs": _IDLE_IN_TRANSACTION_MS,
                **products.get(name, {}),
            }
            for name, product in given["lightwave:products"].items()
        },
    }
    names = {"services", *made, *sections}
    overrides = {
        f"lightwave:{name}": {**given.get(f"lightwave:{name}", {}), **made.get(name, {}), **sections.get(name, {})}
        for name in names
    }
    with ExitStack() as stack:
        for replaced in _replaced(values):
            stack.enter_context(replaced)
        recording = recorder.record_stack("prod", overrides=overrides)
    with config.offline():
        return Program(settings=config.load("prod", {**given, **overrides}), recording=recording)


def own_monitoring(made: images.Images, webhook: str) -> dict[str, Any]:
    """The section of a Prometheus and Alertmanager of the stack's own, which post to the webhook."""
    return {
        "delivery": "own",
        "webhookUrl": webhook,
        "runbooks": "https://example.com/runbooks",
        "storageClass": STORAGE_CLASS,
        "storageGib": 2,
        "image": _short(made[service_images.PROMETHEUS]),
        "alertmanagerImage": _short(made[service_images.ALERTMANAGER]),
    }


def _replaced(values: Values) -> Iterator[Any]:
    """The places where the program reads what only a provider, or time, would tell."""
    named = "ops.plan.recorder._Mocks.new_resource"
    original = recorder._Mocks.new_resource

    def new_resource(mocks: Any, args: Any) -> tuple[str | None, dict[str, Any]]:
        identifier, outputs = original(mocks, args)
        match args.typ:
            case "random:index/randomPassword:RandomPassword":
                outputs["result"] = recorder.secret(values.password(args.inputs, args.name))
            case "random:index/randomBytes:RandomBytes":
                outputs["base64"] = recorder.secret(values.random_bytes(args.inputs, args.name))
            case "aws:rds/instance:Instance":
                outputs["address"] = DATABASE_HOST
        return identifier, outputs

    yield patch(named, new_resource)
    yield patch("stack.certificates.database_ca_pem", lambda _: values.ca_pem)
    for module in ("ini", "deployment"):
        yield patch(f"components.pgbouncer.{module}.CLIENT_IDLE_TIMEOUT_SECONDS", IDLE_SECONDS)
    yield patch("components.pgbouncer.ini.QUERY_WAIT_TIMEOUT_SECONDS", _QUERY_WAIT_SECONDS)
    yield patch("components.monitoring.prometheus._SCRAPE", "5s")
    for module in ("pgbouncer.deployment", "services.workload"):
        yield patch(f"components.{module}.PRE_STOP_SECONDS", PRE_STOP_SECONDS)


def _short(reference: str) -> str:
    """As people write it; the kubelet adds the registry."""
    return reference.removeprefix("docker.io/")


def _document(resource: Resource) -> dict[str, Any]:
    revealed = _revealed(resource.inputs)
    assert isinstance(revealed, dict)
    return revealed


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return _revealed(value.value)
    if isinstance(value, Mapping):
        return {key: _revealed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revealed(item) for item in value]
    # Every number on the wire is a float.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    """One text of all documents, for kubectl."""
    return yaml.safe_dump_all(documents)

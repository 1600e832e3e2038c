"""What a product's service finds in its namespace: its accounts, its env, its address and those of others."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount

from components.kubernetes.network_flows import API, API_PORT, PAYLOAD, PAYLOAD_PORT
from settings import Product

PAYLOAD_SERVICE = "payload"
"""The host name that the Django client calls: http://payload:3000/api."""

DATABASE_CA = "database-ca"
"""ConfigMap with the CAs that sign the certificates of the database server and of the pooler."""
_DATABASE_CA_KEY = "ca.pem"
DATABASE_CA_PATH = f"/etc/{DATABASE_CA}/{_DATABASE_CA_KEY}"
"""Where the service's pods find them: the ConfigMap is to be mounted on that folder."""

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
"""On Services whose pods another repository rolls out: the provider would wait for endpoints that are not its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Workload:
    service: str
    port: int
    """Of Service and container alike: the VPC CNI matches network policies wrongly where they differ."""
    labels: Mapping[str, str]
    service_accounts: tuple[str, ...]


_WORKLOADS = {
    "payload": _Workload(
        service=PAYLOAD_SERVICE, port=PAYLOAD_PORT, labels=PAYLOAD, service_accounts=("payload", "migration")
    ),
    "django": _Workload(service="api", port=API_PORT, labels=API, service_accounts=("api", "worker", "migration")),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceIdentityArgs:
    """What `ServiceIdentity` needs."""

    product: Product
    env: Mapping[str, pulumi.Input[str]]
    """Its own env contract and nobody else's. Every value is taken as secret."""
    ca_bundle: pulumi.Input[str] | None
    """PEM certificates of the CAs that sign the servers'; None where they speak no TLS."""
    payload_namespace: str | None
    """Where Payload runs, when this is another service that calls it; None otherwise."""

    def __post_init__(self) -> None:
        if self.product.namespace is None or self.product.framework is None:
            raise pulumi.InputPropertyError("product", f"{self.product.name} has no namespace or no framework")
        if not self.env:
            raise pulumi.InputPropertyError("env", "is empty: the service would start without its contract")
        if self.payload_namespace == self.product.namespace:
            raise pulumi.InputPropertyError(
                "payload_namespace", "is the service's own: `payload` resolves there already"
            )


class ServiceIdentity(pulumi.ComponentResource):
    """Service accounts without a token, the env Secret, the Service, and `payload` where Payload is called.

    The pods themselves belong to the service's own repository: they name a service account, take the Secret with
    `envFrom`, and carry the labels of `components.kubernetes.network_flows`.
    """

    env_secret: pulumi.Output[str]
    """Name of the Secret."""
    address: pulumi.Output[str]
    """host:port of the service inside the cluster."""

    def __init__(self, name: str, args: ServiceIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:kubernetes:ServiceIdentity", name, {}, opts)
        product, namespace, workload = (
            args.product,
            str(args.product.namespace),
            _WORKLOADS[str(args.product.framework)],
        )
        own = pulumi.ResourceOptions(parent=self)

        for account in workload.service_accounts:
            ServiceAccount(
                f"{name}-account-{account}",
                metadata={"name": account, "namespace": namespace},
                automount_service_account_token=False,
                opts=own,
            )
        secret = Secret(
            f"{name}-env",
            metadata={"name": f"{product.name}-env", "namespace": namespace},
            type="Opaque",
            # Secret whatever it is given: the SDK marks all of it.
            string_data=dict(args.env),
            opts=own,
        )
        if args.ca_bundle is not None:
            ConfigMap(
                f"{name}-database-ca",
                metadata={"name": DATABASE_CA, "namespace": namespace},
                data={_DATABASE_CA_KEY: args.ca_bundle},
                opts=own,
            )
        Service(
            f"{name}-service",
            metadata={"name": workload.service, "namespace": namespace, "annotations": SKIP_AWAIT},
            spec={
                "type": "ClusterIP",
                "selector": dict(workload.labels),
                "ports": [{"name": "http", "port": workload.port, "target_port": workload.port, "protocol": "TCP"}],
            },
            opts=own,
        )
        if args.payload_namespace is not None:
            Service(
                f"{name}-{PAYLOAD_SERVICE}-alias",
                metadata={"name": PAYLOAD_SERVICE, "namespace": namespace, "annotations": SKIP_AWAIT},
                spec={
                    "type": "ExternalName",
                    "external_name": f"{PAYLOAD_SERVICE}.{args.payload_namespace}.svc.cluster.local",
                },
                opts=own,
            )

        self.env_secret = secret.metadata.apply(lambda metadata: str(metadata.name))
        self.address = pulumi.Output.from_input(f"{workload.service}.{namespace}.svc.cluster.local:{workload.port}")
        self.register_outputs({"env_secret": self.env_secret, "address": self.address})

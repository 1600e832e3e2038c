"""The Kubernetes objects that a product's service needs beside its pods."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount

from components.kubernetes.network_flows import NAME_LABEL
from components.kubernetes.pods import metadata, service
from settings import FRAMEWORKS, PAYLOAD_PORT, Framework, Product

PAYLOAD_SERVICE = "payload"
"""Host name of Payload, in its own namespace and in those of the services that call it."""
PAYLOAD_API_URL = f"http://{PAYLOAD_SERVICE}:{PAYLOAD_PORT}/api"

DATABASE_CA = "database-ca"
"""ConfigMap with the CA certificates that verify PostgreSQL and PgBouncer."""
_DATABASE_CA_KEY = "ca.pem"
DATABASE_CA_PATH = f"/etc/{DATABASE_CA}/{_DATABASE_CA_KEY}"
"""Where the service's pods find them: they must mount the ConfigMap on that folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceResourcesArgs:
    """Arguments of `ServiceResources`."""

    product: Product
    env: Mapping[str, pulumi.Input[str]]
    """The service's own environment and no other's; every value is marked secret."""
    ca_pem: pulumi.Input[str] | None
    """PEM text of the CA certificates that verify the servers; None where they use no TLS."""
    payload_namespace: str | None
    """The namespace that Payload runs in; None where no product is Payload."""

    def __post_init__(self) -> None:
        if self.product.namespace is None or self.product.framework is None:
            raise pulumi.InputPropertyError("product", f"{self.product.name} has no namespace or no framework")
        if not self.env:
            raise pulumi.InputPropertyError("env", "is empty: the service would start without its contract")

    @property
    def framework(self) -> Framework:
        """What the product's service runs as."""
        return FRAMEWORKS[str(self.product.framework)]


class ServiceResources(pulumi.ComponentResource):
    """Service accounts without a token, the env Secret, the Service, and `payload` where Payload is called.

    The pods are `Workload`s where the stack names the service's image, and the service's own repository's where it
    does not: they name a service account, read the Secret with `envFrom`, and carry the labels of
    `components.kubernetes.network_flows`.
    """

    env_secret: pulumi.Output[str]
    """Name of the Secret."""
    address: pulumi.Output[str]
    """host:port of the service inside the cluster."""

    def __init__(self, name: str, args: ServiceResourcesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # The class's former name: the token is part of every child's URN, and a new URN would replace the resource.
        super().__init__("lightwave:kubernetes:ServiceIdentity", name, {}, opts)
        product, framework, namespace = args.product, args.framework, str(args.product.namespace)
        serving = framework.serving
        child = pulumi.ResourceOptions(parent=self)

        for account in framework.accounts:
            ServiceAccount(
                f"{name}-account-{account}",
                metadata=metadata(account, namespace),
                automount_service_account_token=False,
                opts=child,
            )
        secret = Secret(
            f"{name}-env",
            metadata=metadata(f"{product.name}-env", namespace),
            type="Opaque",
            # The SDK marks string_data as secret, whatever its values are.
            string_data=dict(args.env),
            opts=child,
        )
        if args.ca_pem is not None:
            ConfigMap(
                f"{name}-database-ca",
                metadata=metadata(DATABASE_CA, namespace),
                data={_DATABASE_CA_KEY: args.ca_pem},
                opts=child,
            )
        # Its pods come later, or from another repository: waiting for their endpoints would block the update.
        Service(
            f"{name}-service",
            metadata=metadata(serving.name, namespace, wait=False),
            spec=service("http", serving.port, {NAME_LABEL: serving.name}),
            opts=child,
        )
        if framework.calls_payload and args.payload_namespace is not None:
            Service(
                f"{name}-{PAYLOAD_SERVICE}-alias",
                metadata=metadata(PAYLOAD_SERVICE, namespace, wait=False),
                spec={
                    "type": "ExternalName",
                    "external_name": f"{PAYLOAD_SERVICE}.{args.payload_namespace}.svc.cluster.local",
                },
                opts=child,
            )

        self.env_secret = secret.metadata.apply(lambda metadata: str(metadata.name))
        self.address = pulumi.Output.from_input(f"{serving.name}.{namespace}.svc.cluster.local:{serving.port}")
        self.register_outputs({"env_secret": self.env_secret, "address": self.address})

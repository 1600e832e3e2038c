"""A stack's whole settings, and what follows from them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from settings import values
from settings.edge_models import EdgeSettings
from settings.models import (
    AwsSettings,
    DatabaseSettings,
    KubernetesSettings,
    LocalState,
    MediaSettings,
    PgBouncerSettings,
    Product,
    RdsSettings,
    Section,
    ValkeySettings,
)
from settings.monitoring_models import MonitoringSettings
from settings.names import APPLICATION_SECRETS, STATS_USER, VALKEY_SECRETS
from settings.service_models import ServiceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class OnRds:
    """The sections that a stack on RDS always has."""

    rds: RdsSettings
    aws: AwsSettings
    kubernetes: KubernetesSettings
    media: MediaSettings


class Settings(Section):
    """A stack's whole config, checked."""

    stack: str
    """The stack's name."""
    tier: Literal["development", "staging", "production"]
    """What the stack is for. development: a local database. staging: RDS, as cheap as one likes. production: RDS, with
    everything that keeps data safe switched on; always the tier of `prod`."""
    protect: bool = False
    """Whether everything that holds data, and every role, schema and grant, is protected from deletion, an RDS instance
    by RDS too and by a final snapshot; always true in production."""
    products: dict[values.SqlName, Product]
    """The product table, by product. It is the same for all stacks, so it is in Pulumi.yaml."""
    database: DatabaseSettings
    """The PostgreSQL 15 server."""
    pgbouncer: PgBouncerSettings = PgBouncerSettings()
    valkey: ValkeySettings | None = None
    monitoring: MonitoringSettings | None = None
    rotations: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(default_factory=dict)
    """A counter for each secret to rotate, by login role, admin role or env variable; raising it generates that secret
    anew. Nothing rotates in a local stack."""
    aws: AwsSettings | None = None
    media: MediaSettings | None = None
    kubernetes: KubernetesSettings | None = None
    edge: EdgeSettings | None = None
    services: dict[values.SqlName, ServiceSettings] = Field(default_factory=dict)
    """The services that this stack runs, by product: `make release` changes one."""
    local: LocalState | None = None

    @property
    def is_local(self) -> bool:
        """Whether the database is the PostgreSQL that `make up` runs. A stack's name decides nothing."""
        return self.database.server == "local"

    @property
    def on_rds(self) -> OnRds | None:
        """The sections that a stack on RDS always has, none of them optional; None where the stack is local."""
        match (self.database, self.aws, self.kubernetes, self.media):
            case (
                RdsSettings() as rds,
                AwsSettings() as aws,
                KubernetesSettings() as cluster,
                MediaSettings() as media,
            ):
                return OnRds(rds=rds, aws=aws, kubernetes=cluster, media=media)
            case _:
                return None

    @property
    def login_roles(self) -> tuple[str, ...]:
        """Roles that log in with a generated password: one per product, and `STATS_USER` where pods run PgBouncer."""
        roles = tuple(product.login_role for product in self.products.values())
        return (*roles, STATS_USER) if self.kubernetes else roles

    @property
    def application_secrets(self) -> tuple[str, ...]:
        """Names of the secrets that are generated for the services: one per framework, and Valkey's passwords."""
        frameworks = (product.framework for product in self.products.values())
        names = tuple(APPLICATION_SECRETS[framework] for framework in frameworks if framework)
        return (*names, *VALKEY_SECRETS) if self.valkey else names

    @property
    def tested_product(self) -> Product | None:
        """The product whose tests have a database of their own, `TEST_DATABASE`: Django's, on a local stack."""
        django = (product for product in self.products.values() if product.framework == "django")
        return next(django, None) if self.is_local else None

    def readable_by(self, reader: Product) -> tuple[Product, ...]:
        """The other products whose schema `reader` may read, in the table's order."""
        return tuple(product for product in self.products.values() if reader.name in product.readers)

    def warnings(self) -> tuple[str, ...]:
        """What is valid and still deserves a warning at every deploy, one sentence each."""
        found = [
            f"{', '.join(product.readers)} can read every table of {product.schema_name}, users' hashes too"
            for product in self.products.values()
            if product.readers
        ]
        if self.kubernetes and not self.kubernetes.network_policy_enforced:
            found.append(
                "network policies count for nothing until the network plugin enforces them (EKS: the VPC CNI add-on "
                f"with enableNetworkPolicy=true); then: pulumi config set --stack {self.stack} --path "
                "lightwave:kubernetes.networkPolicyEnforced true"
            )
        if self.kubernetes and self.kubernetes.context is None and self.kubernetes.dns_cidrs is None:
            found.append(
                "with network policies enforced, pods may ask only pods labelled k8s-app: kube-dns for names, which "
                "clusters with NodeLocal DNSCache or EKS Auto Mode do not use: they would resolve nothing; set "
                f"kubernetes.dnsCidrs in Pulumi.{self.stack}.yaml as docs/runbooks/first-deploy.md says, [] to keep "
                "the pods alone"
            )
        return tuple(found)

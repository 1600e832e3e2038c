"""Rules between fields and sections, over the typed sections that parsed.

A rule's parameters name the sections that it reads; it runs where all of them are there. A section that failed skips
only its own rules. Four parameters are no sections: `stack`, its name; `server`, the kind of the database, which is
known even where that section failed; `rds`, the database where it is RDS; `declared`, the names of the sections that
the config holds.
"""

import inspect
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from settings import edge_rules, names, service_rules, tier_rules
from settings.models import (
    AwsSettings,
    KubernetesSettings,
    LocalState,
    MediaSettings,
    PgBouncerSettings,
    Product,
    RdsSettings,
    ValkeySettings,
)
from settings.monitoring_models import MonitoringSettings, OwnMonitoringSettings
from settings.problems import Mistake, listed, shown
from settings.values import minutes_of_week

Products = Mapping[str, Product]
Declared = Collection[str]
Mistakes = Iterator[Mistake]

_RULES: list[Callable[..., Mistakes]] = []


def _rule(rule: Callable[..., Mistakes]) -> Callable[..., Mistakes]:
    _RULES.append(rule)
    return rule


def mistakes(sections: Mapping[str, Any]) -> Mistakes:
    """What the rules find; `sections` holds None for a section that is missing or failed."""
    for rule in _RULES:
        read = {name: sections[name] for name in inspect.signature(rule).parameters}
        if None not in read.values():
            yield from rule(**read)


@_rule
def _names(products: Products) -> Mistakes:
    if not products:
        yield Mistake(("products",), "is empty", "one entry per product", "edit")
    reserved, prefixes = names.RESERVED_PRODUCTS, names.RESERVED_PREFIXES
    for name in products:
        if name in reserved or name.startswith(prefixes):
            expected = f"a name other than {listed(reserved)}, not beginning with {listed(prefixes)}"
            yield Mistake(("products", name), "is a reserved name: its roles would clash", expected, "edit")


@_rule
def _schemas(products: Products) -> Mistakes:
    owners: dict[str, str] = {}
    for name, product in products.items():
        schema = product.schema_name
        owner = owners.setdefault(schema, name)
        if owner != name:
            yield Mistake(("products", name, "schema"), f"is {shown(owner)}'s schema", "one of its own")
        elif schema in names.RESERVED_SCHEMAS or (schema != name and schema.startswith(names.RESERVED_PREFIXES)):
            yield Mistake(("products", name, "schema"), f"{shown(schema)} is reserved", "a name of its own")


@_rule
def _readers(products: Products) -> Mistakes:
    for name, product in products.items():
        others = listed([other for other in products if other != name]) or "none: there is no other product"
        for index, reader in enumerate(product.readers):
            if reader == name:
                what = "is the product itself"
            elif reader not in products:
                what = f"{shown(reader)} is not a product"
            elif reader in product.readers[:index]:
                what = "is there twice"
            else:
                continue
            yield Mistake(("products", name, "readers", index), what, others, "remove")


@_rule
def _services(products: Products) -> Mistakes:
    users: dict[tuple[str, str], str] = {}
    for name, product in products.items():
        if (product.framework is None) != (product.service is None):
            yield Mistake(("products", name, "service"), "goes with framework", "both or neither", "edit")
        # A framework decides the name of its application secret, and of its service accounts in the namespace.
        namespace = product.namespace if product.framework else None
        for key, value in (("service", product.service), ("framework", product.framework), ("namespace", namespace)):
            user = users.setdefault((key, value), name) if value else name
            if user != name:
                yield Mistake(("products", name, key), f"is {shown(user)}'s", "one of its own")


@_rule
def _egress(products: Products) -> Mistakes:
    for name, product in products.items():
        given = "egress" in product.model_fields_set and product.egress
        if given and not (product.framework and product.namespace):
            expected = "nothing, or framework and namespace as well"
            yield Mistake(("products", name, "egress"), "has no pods to apply to", expected, "remove")
        ways = [(way.port, bool(way.cidrs)) for way in product.egress]
        for index, way in enumerate(product.egress):
            key = ("products", name, "egress", index)
            if ways[index] in ways[:index]:
                expected = "each port once, and once more with cidrs"
                yield Mistake(key, f"{way.port} is there twice", expected, "remove")
            if "cidrs" in way.model_fields_set and not way.cidrs:
                yield Mistake((*key, "cidrs"), "is empty", "one or more networks, or no cidrs for the internet", "edit")


@_rule
def _needed_sections(server: str, declared: Declared) -> Mistakes:
    needed = {
        "aws": "accountId and region of the RDS instance",
        "kubernetes": "the EKS cluster: only there can the database be reached",
        "media": "the bucket and its CDN domain, which Payload's env names",
    }
    if server == "local":
        needed = {"local": "the local PostgreSQL's state, as make up writes it"}
    for section, expected in needed.items():
        if section not in declared:
            yield Mistake((section,), "is missing", expected, "edit")


@_rule
def _rds(rds: RdsSettings) -> Mistakes:
    least = -(-rds.allocated_storage_gib * 126 // 100)
    if rds.max_allocated_storage_gib < least:
        yield Mistake(("database", "maxAllocatedStorageGib"), "is too small", f"{least} (26 % above) or more")
    if rds.import_id not in (None, rds.identifier):
        what = f"is not database.identifier: the adopted instance would be renamed to {rds.identifier}"
        expected = f"{rds.identifier}, or database.identifier {rds.import_id} too"
        yield Mistake(("database", "importId"), what, expected)
    backup, maintenance = minutes_of_week(rds.backup_window), minutes_of_week(rds.maintenance_window)
    for key, minutes, least in (("backupWindow", backup, 7 * 30), ("maintenanceWindow", maintenance, 30)):
        if len(minutes) < least:
            yield Mistake(("database", key), "is too short", "30 minutes or more")
    if backup & maintenance:
        expected = f"outside {rds.maintenance_window}"
        yield Mistake(("database", "backupWindow"), "overlaps the maintenance window", expected)


@_rule
def _subnets(aws: AwsSettings) -> Mistakes:
    if len(set(aws.private_subnet_ids)) == 1:
        yield Mistake(("aws", "privateSubnetIds"), "is one subnet", "two or more, in different zones", "edit")


@_rule
def _media(media: MediaSettings) -> Mistakes:
    if not media.domain.endswith(f".{media.zone}"):
        yield Mistake(("media", "domain"), "is not in the zone", "a name in media.zone, such as cdn.<zone>")
    for key, value in (("accessKeyId", media.access_key_id), ("secretAccessKey", media.secret_access_key)):
        if media.credentials == "given" and value is None:
            yield Mistake(("media", key), "is missing", "the existing key, with credentials: given")
        if media.credentials != "given" and value is not None:
            yield Mistake(("media", key), "is not used", "nothing, or credentials: given", "remove")


@_rule
def _product_namespaces(products: Products, kubernetes: KubernetesSettings) -> Mistakes:
    known = kubernetes.namespaces
    for name, product in products.items():
        if known and product.namespace and product.namespace not in known:
            yield Mistake(("products", name, "namespace"), "is not declared", listed(sorted(known)))


@_rule
def _cluster(server: str, declared: Declared, kubernetes: KubernetesSettings) -> Mistakes:
    if "shared" not in kubernetes.namespaces:
        yield Mistake(("kubernetes", "namespaces", "shared"), "is missing", "an entry: PgBouncer runs there", "edit")
    if server == "rds" and kubernetes.edge_namespace is None and "edge" not in declared:
        expected = "the namespace of the cluster's ingress controller, such as traefik; or edge"
        yield Mistake(("kubernetes", "edgeNamespace"), "is missing", expected)
    if server == "rds" and kubernetes.database_host is not None:
        yield Mistake(("kubernetes", "databaseHost"), "is not used", "nothing: RDS provides its own", "remove")
    for name, namespace in kubernetes.namespaces.items():
        if kubernetes.context and namespace.deployer_principal:
            key = ("kubernetes", "namespaces", name, "deployerPrincipal")
            yield Mistake(key, "needs the EKS cluster", "nothing with kubernetes.context", "remove")


@_rule
def _local_cluster(server: str, kubernetes: KubernetesSettings) -> Mistakes:
    if server != "local":
        return
    # Any other context, or none, may be production's: the names there are the same, and would be taken over.
    context = kubernetes.context
    if context is None or not context.startswith(("kind-", "k3d-")):
        what = "is missing" if context is None else f"{shown(context)} is not a local cluster"
        yield Mistake(("kubernetes", "context"), what, "a kubeconfig context of kind or k3d, such as kind-kind")
    what = _unreachable_by_pods(kubernetes.database_host, kubernetes.database_cidrs)
    if what:
        expected = "where its pods reach this machine's PostgreSQL, such as host.docker.internal or 172.18.0.1"
        yield Mistake(("kubernetes", "databaseHost"), what, expected)
    # A policy to no network at all would let everything through.
    if not kubernetes.database_cidrs:
        expected = "the networks that databaseHost is in, such as [172.18.0.0/16]"
        yield Mistake(("kubernetes", "databaseCidrs"), "is missing", expected, "edit")


def _unreachable_by_pods(host: str | None, cidrs: Sequence[str]) -> str:
    """What is wrong with kubernetes.databaseHost; empty where nothing is."""
    if host is None:
        return "is missing"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "" if host != "localhost" and re.search("[a-z]", host) else "is not a host that pods reach"
    if address.version != 4 or address.is_unspecified or host == "127.0.0.1":
        return "is not an address that pods reach"
    if cidrs and not any(address in ipaddress.ip_network(cidr) for cidr in cidrs):
        return "is in none of databaseCidrs: network policies would not let pods there"
    return ""


@_rule
def _pooler(declared: Declared, pgbouncer: PgBouncerSettings) -> Mistakes:
    if "kubernetes" in declared:
        yield from _images("pgbouncer", image=pgbouncer.image, exporterImage=pgbouncer.exporter_image)
    elif pgbouncer.client_tls:
        yield _no_cluster("pgbouncer", "clientTls")
    if pgbouncer.client_tls and pgbouncer.client_ca_file is None:
        expected = "a file with the CA certificates that PgBouncer's clients verify it with, with clientTls"
        yield Mistake(("pgbouncer", "clientCaFile"), "is missing", expected)
    if not pgbouncer.client_tls and pgbouncer.client_ca_file is not None:
        yield Mistake(("pgbouncer", "clientCaFile"), "is not used", "nothing, or clientTls: true", "remove")


@_rule
def _valkey(server: str, declared: Declared, valkey: ValkeySettings) -> Mistakes:
    if "kubernetes" not in declared:
        yield _no_cluster("valkey")
    yield from _images("valkey", image=valkey.image, exporterImage=valkey.exporter_image)
    yield from _storage_class("valkey", server, valkey)
    # While the append-only file is rewritten there are its old base, as much again that was written since, and the new.
    if valkey.storage_gib * 1024 < 3 * valkey.max_memory_mib:
        least = -(-3 * valkey.max_memory_mib // 1024)
        yield Mistake(("valkey", "storageGib"), "is too small", f"{least} (3 x maxMemoryMib) or more")


@_rule
def _valkeys_user(declared: Declared, products: Products) -> Mistakes:
    users = [name for name, product in products.items() if product.framework == "django"]
    if "valkey" in declared and not users:
        yield Mistake(("valkey",), "has no user", "nothing, or a product with framework: django", "remove")
    if "valkey" in declared and set(users) & set(names.VALKEY_USERS):
        expected = f"a name other than {listed(names.VALKEY_USERS)}, with valkey"
        yield Mistake(("products", users[0]), "is a user of Valkey's own", expected, "edit")


@_rule
def _monitoring(server: str, declared: Declared, monitoring: MonitoringSettings) -> Mistakes:
    if "kubernetes" not in declared:
        yield _no_cluster("monitoring")
    if isinstance(monitoring, OwnMonitoringSettings):
        yield from _images("monitoring", image=monitoring.image, alertmanagerImage=monitoring.alertmanager_image)
        yield from _storage_class("monitoring", server, monitoring)
        if monitoring.webhook_url is None and monitoring.email is None:
            expected = "a URL that Alertmanager posts alerts to, or monitoring.email"
            yield Mistake(("monitoring", "webhookUrl"), "is missing", expected)


def _storage_class(section: str, server: str, settings: ValkeySettings | OwnMonitoringSettings) -> Mistakes:
    if server == "rds" and settings.storage_class is None:
        expected = "a StorageClass of the cluster, such as gp3: EKS has no default one"
        yield Mistake((section, "storageClass"), "is missing", expected)


def _images(section: str, **images: str | None) -> Mistakes:
    for key, image in images.items():
        if image is None:
            yield Mistake((section, key), "is missing", "an image by tag and digest, for its pods")


def _no_cluster(*key: str) -> Mistake:
    return Mistake(key, "has no cluster to run in", "nothing, or kubernetes as well", "remove")


def _secrets(products: Products) -> tuple[list[str], list[str]]:
    """Names of the login roles and of the services' secrets."""
    frameworks = (product.framework for product in products.values())
    logins = [names.STATS_USER, *(product.login_role for product in products.values())]
    return logins, [names.APPLICATION_SECRETS[framework] for framework in frameworks if framework]


_OF_SERVICES = (service_rules.owners, service_rules.sections, service_rules.entries, service_rules.namespaces)
for _elsewhere in (*tier_rules.RULES, *_OF_SERVICES, edge_rules.sections, edge_rules.hostnames):
    _rule(_elsewhere)


@_rule
def _rotations(server: str, declared: Declared, products: Products, rotations: Mapping[str, int]) -> Mistakes:
    logins, of_services = _secrets(products)
    secrets = [names.ADMIN, *logins, *of_services]
    secrets += names.VALKEY_SECRETS if "valkey" in declared else ()
    secrets += [names.TUNNEL_SECRET] if "edge" in declared else []
    for name in rotations:
        if server == "local":
            what = "rotates nothing: the secrets of a local stack are kept in its state"
            yield Mistake(("rotations", name), what, "none here", "remove")
        elif name not in secrets:
            yield Mistake(("rotations", name), "is not a secret", listed(secrets), "remove")


@_rule
def _local_state(local: LocalState, products: Products) -> Mistakes:
    logins, of_services = _secrets(products)
    needed = {
        "passwords": (local.passwords, [names.ADMIN, *logins]),
        "scramVerifiers": (local.scram_verifiers, logins),
        "secrets": (local.secrets, [*names.VALKEY_SECRETS, *of_services]),
    }
    for part, (values, keys) in needed.items():
        for key in keys:
            if key not in values:
                yield Mistake(("local", part, key), "is missing", "what make up generates")

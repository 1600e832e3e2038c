"""Rules of the tiers: what production demands, and which names a stack other than production may have."""

from collections.abc import Iterator

from settings import names
from settings.edge_models import EdgeSettings
from settings.models import KubernetesSettings, MediaSettings, RdsSettings
from settings.problems import Key, Mistake, shown


def tiers(stack: str, tier: str, server: str) -> Iterator[Mistake]:
    """The tier goes with the kind of the database; `names.PRODUCTION` is never anything but production."""
    if stack == names.PRODUCTION and tier != "production":
        what = f"{shown(tier)} would lift the protection of {stack}"
        yield Mistake(("tier",), what, "production: no other tier may have its names")
    elif (tier == "development") != (server == "local"):
        expected = "development" if server == "local" else "staging or production"
        yield Mistake(("tier",), f"{shown(tier)} contradicts database.server: {server}", expected)


def protection(tier: str, protect: bool) -> Iterator[Mistake]:
    """Production is protected."""
    if tier == "production" and not protect:
        yield Mistake(("protect",), "is off", "true: in production everything that holds data is protected")


def availability(tier: str, rds: RdsSettings) -> Iterator[Mistake]:
    """Production survives the loss of a zone, and damage that is noticed days later."""
    if tier == "production" and not rds.multi_az:
        yield Mistake(("database", "multiAz"), "is off", "true in production")
    if tier == "production" and rds.backup_retention_days < 7:
        yield Mistake(("database", "backupRetentionDays"), "is too short", "7 to 35 in production")


def singletons(tier: str, media: MediaSettings) -> Iterator[Mistake]:
    """A zone has one set of rules, and production's stack owns it."""
    if tier != "production" and media.zone_singletons:
        yield Mistake(("media", "zoneSingletons"), "is on", "false: production's stack owns the zone's rules")


def database_names(stack: str, rds: RdsSettings) -> Iterator[Mistake]:
    """Everything at AWS is named after the instance."""
    yield from _own(stack, ("database", "identifier"), rds.identifier, names.named(names.PROJECT, stack))


def media_names(stack: str, media: MediaSettings) -> Iterator[Mistake]:
    """The bucket and the domain are perhaps beside production's, in the same account and zone."""
    yield from _own(stack, ("media", "bucket"), media.bucket, names.named(names.BUCKET, stack))
    yield from _own(stack, ("media", "domain"), media.domain, _host(media.domain, stack))


def cluster_names(stack: str, server: str, kubernetes: KubernetesSettings) -> Iterator[Mistake]:
    """Inside a cluster the names are the same in every stack, so each stack has a cluster of its own."""
    if server == "rds":  # a local stack's context is one of kind or k3d
        yield from _own(stack, ("kubernetes", "cluster"), kubernetes.cluster, names.named(names.PROJECT, stack))
        if kubernetes.context is not None:
            key = ("kubernetes", "context")
            yield from _own(stack, key, kubernetes.context, names.named(names.PROJECT, stack))


def hostnames(stack: str, edge: EdgeSettings) -> Iterator[Mistake]:
    """A DNS record leads to one tunnel."""
    for product, hostname in edge.hostnames.items():
        yield from _own(stack, ("edge", "hostnames", product), hostname, _host(hostname, stack))


RULES = (tiers, protection, availability, singletons, database_names, media_names, cluster_names, hostnames)


def _own(stack: str, key: Key, name: str, example: str) -> Iterator[Mistake]:
    if not names.is_own(stack, name):
        what = f"{shown(name)} may belong to another stack"
        yield Mistake(key, what, f'a name with "{names.label(stack)}" in it, such as {example}')


def _host(name: str, stack: str) -> str:
    first, _, rest = name.partition(".")
    return f"{names.named(first, stack)}.{rest}"

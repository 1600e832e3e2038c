"""Rules of the services that a stack runs: what each entry may hold, and that its namespace's quota holds its pods."""

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from math import ceil

from settings.frameworks import FRAMEWORKS, Framework, Pods, pods
from settings.models import KubernetesSettings, Product, QuotaSettings, ResourceSettings, ServiceSettings
from settings.names import KNOWN_AT_DEPLOY
from settings.problems import Key, Mistake, listed
from settings.values import amount

Mistakes = Iterator[Mistake]
Services = Mapping[str, ServiceSettings]

_MIB = 1024**2
_QUOTA: Mapping[str, tuple[str, str, Fraction | int]] = {
    "requestsCpu": ("requests_cpu", "m", 1000),
    "requestsMemory": ("requests_memory", "Mi", Fraction(1, _MIB)),
    "limitsCpu": ("limits_cpu", "m", 1000),
    "limitsMemory": ("limits_memory", "Mi", Fraction(1, _MIB)),
}
"""By key of the quota: the field, and the unit that a sum is shown in, as suffix and factor."""


def owners(products: Mapping[str, Product], services: Services) -> Mistakes:
    """Each entry is a product's that has a service."""
    able = [name for name, product in products.items() if product.framework and product.namespace]
    for name in services:
        if name not in able:
            what = "has no framework or no namespace" if name in products else "is not a product"
            expected = listed(able) or "none: no product has framework and namespace"
            yield Mistake(("services", name), what, expected, "remove")


def sections(declared: Collection[str], services: Services) -> Mistakes:
    """What services need: a cluster, and the bucket that their environment names."""
    if services and "kubernetes" not in declared:
        yield Mistake(("services",), "has no cluster to run in", "nothing, or kubernetes as well", "remove")
    if services and "media" not in declared:
        yield Mistake(("services",), "has no bucket for its environment", "nothing, or media as well", "remove")


def entries(declared: Collection[str], products: Mapping[str, Product], services: Services) -> Mistakes:
    """What each entry holds fits its framework and itself."""
    for name, service in services.items():
        framework = _framework(products, name)
        if framework is None:
            continue
        key = ("services", name)
        for role, given in (("worker", service.worker), ("beat", service.beat)):
            if given and getattr(framework, role) is None:
                what = f"does not exist for {products[name].framework}"
                yield Mistake((*key, role), what, "nothing: Celery goes with Django", "remove")
        if framework.worker and service.worker and "valkey" not in declared:
            yield Mistake((*key, "worker"), "has no queue", "nothing, or valkey as well", "remove")
        if framework.beat and service.beat and not service.worker:
            yield Mistake((*key, "beat"), "has no worker for its tasks", "nothing, or worker as well", "remove")
        yield from _migration(key, framework, service)
        for group in pods(framework, service):
            yield from _group((*key, *group.key), group)


def _migration(key: Key, framework: Framework, service: ServiceSettings) -> Mistakes:
    given, key = service.migration, (*key, "migration")
    if not given.enabled:
        for field in sorted(given.model_fields_set - {"enabled"}):
            yield Mistake((*key, field), "is not used", "nothing, or migration.enabled: true", "remove")
    elif given.image is None and framework.migration.own_image and not given.command:
        expected = "the image of the Dockerfile's target `migrate`, by tag and digest; or migration.enabled: false"
        yield Mistake((*key, "image"), "is missing", expected)
    if given.enabled and given.resources:
        yield from _resources((*key, "resources"), given.resources)


def _group(key: Key, group: Pods) -> Mistakes:
    given = group.autoscaling
    if given and group.replicas_given:
        yield Mistake((*key, "replicas"), "is there with autoscaling", "one of the two", "remove")
    if given and given.max < given.min:
        yield Mistake((*key, "autoscaling", "max"), "is less than min", f"{given.min} or more")
    yield from _resources((*key, "resources"), group.resources)


def _resources(key: Key, given: ResourceSettings) -> Mistakes:
    for request, limit in (("requestsCpu", "limitsCpu"), ("requestsMemory", "limitsMemory")):
        least, most = (getattr(given, _QUOTA[name][0]) for name in (request, limit))
        if KNOWN_AT_DEPLOY not in (least, most) and amount(least) > amount(most):
            yield Mistake((*key, request), f"is more than {limit}", f"{most} or less")


def namespaces(products: Mapping[str, Product], kubernetes: KubernetesSettings, services: Services) -> Mistakes:
    """Nobody else deploys the service, and the quota holds all its pods at once.

    Those are the replicas, one more of each kind in a rollout, and a migration.

    A release that never became ready still has its new pod when the next one's migration starts.
    """
    for name, service in services.items():
        framework = _framework(products, name)
        namespace = kubernetes.namespaces.get(products[name].namespace or "") if framework else None
        if framework is None or namespace is None:
            continue
        groups = [(group.kind.name, group.most, group.resources) for group in pods(framework, service)]
        if service.migration.enabled:
            groups.append(("migration", 1, service.migration.resources or framework.migration.resources))
        key = ("kubernetes", "namespaces", str(products[name].namespace), "quota")
        if namespace.deployer_principal:
            what = f"would let another deploy job roll back what services.{name} declares"
            yield Mistake((*key[:-1], "deployerPrincipal"), what, f"nothing, or no services.{name}", "remove")
        what = f"is too small for services.{name}"
        for quota, needed, parts in _exceeded(namespace.quota, groups):
            yield Mistake((*key, quota), what, f"{needed} or more: {parts}")


def _exceeded(quota: QuotaSettings, groups: list[tuple[str, int, ResourceSettings]]) -> Iterator[tuple[str, str, str]]:
    """The quota's key, the sum that it does not hold, and what that consists of."""
    for key, (field, unit, factor) in _QUOTA.items():
        each = [(name, count, getattr(resources, field)) for name, count, resources in groups]
        hard = getattr(quota, field)
        if KNOWN_AT_DEPLOY in (hard, *(quantity for _, _, quantity in each)):
            continue
        total = sum(count * amount(quantity) for _, count, quantity in each)
        if total > amount(hard):
            parts = " + ".join(f"{count} {name} x {quantity}" for name, count, quantity in each)
            yield key, f"{ceil(total * factor)}{unit}", parts
    count = sum(count for _, count, _ in groups)
    if count > quota.pods:
        yield "pods", str(count), " + ".join(f"{count} {name}" for name, count, _ in groups)


def _framework(products: Mapping[str, Product], name: str) -> Framework | None:
    """The framework of the product's service; None where it has none."""
    product = products.get(name)
    return FRAMEWORKS[product.framework] if product and product.framework and product.namespace else None

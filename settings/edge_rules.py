"""Rules of the way in from the internet: what it needs, and which hostnames it may have."""

from collections.abc import Collection, Iterator, Mapping

from settings.edge_models import EdgeSettings
from settings.models import MediaSettings, Product
from settings.problems import Mistake, listed, shown


def sections(server: str, declared: Collection[str], edge: EdgeSettings) -> Iterator[Mistake]:
    """What the edge needs: a stack that is not local, a cluster, and media's account and zone."""
    if server == "local":
        yield Mistake(("edge",), "would publish this machine", "nothing in a local stack", "remove")
        return
    if "kubernetes" not in declared:
        yield Mistake(("edge",), "has no cluster to run in", "nothing, or kubernetes as well", "remove")
    if "media" not in declared:
        yield Mistake(("edge",), "has no Cloudflare account and zone", "nothing, or media as well", "remove")
    if edge.image is None:
        yield Mistake(("edge", "image"), "is missing", "an image by tag and digest, for its pods")


def hostnames(products: Mapping[str, Product], media: MediaSettings, edge: EdgeSettings) -> Iterator[Mistake]:
    """Each hostname is in the zone, is nothing else's, and leads to a product that has a service."""
    able = [name for name, product in products.items() if product.framework and product.namespace]
    if not edge.hostnames:
        yield Mistake(("edge", "hostnames"), "is empty", "a hostname for one or more products", "edit")
    owners: dict[str, str] = {}
    for name, hostname in edge.hostnames.items():
        key = ("edge", "hostnames", name)
        if name not in able:
            what = "has no framework or no namespace" if name in products else "is not a product"
            expected = listed(able) or "none: no product has framework and namespace"
            yield Mistake(key, what, expected, "remove")
        elif hostname == media.domain:
            yield Mistake(key, "is the CDN's: media.domain", "another name in media.zone")
        elif hostname != media.zone and not hostname.endswith(f".{media.zone}"):
            yield Mistake(key, "is not in the zone", "a name in media.zone, such as cms.<zone>")
        elif "." in hostname.removesuffix(media.zone).rstrip("."):
            what = "is more than one label below the zone, which Cloudflare's certificate does not cover"
            yield Mistake(key, what, "a name such as cms.<zone>")
        elif owners.setdefault(hostname, name) != name:
            yield Mistake(key, f"is {shown(owners[hostname])}'s", "one of its own")

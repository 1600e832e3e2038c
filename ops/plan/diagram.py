"""The platform as a Mermaid picture, drawn from the settings and the table of network flows."""

from collections.abc import Iterator

from components.kubernetes.network_flows import (
    CLOUDFLARED,
    NAME_LABEL,
    REDIS,
    SHARED_NAMESPACE,
    Pods,
    platform_flows,
)
from settings import (
    DATABASE,
    FRAMEWORKS,
    PAYLOAD_PORT,
    OperatorMonitoringSettings,
    OwnMonitoringSettings,
    Product,
    RdsSettings,
    Settings,
    pods,
)


def mermaid(settings: Settings) -> str:
    """A flowchart that GitHub draws: products and their namespaces, and all that the stack has beside them."""
    products = settings.products.values()
    rds = isinstance(settings.database, RdsSettings)
    own = isinstance(settings.monitoring, OwnMonitoringSettings)
    lines = ["flowchart LR"]
    without_namespace = []
    for product in products:
        label = "<br/>".join([product.name, product.login_role, *_pods(settings, product)])
        node = f'{product.name}["{label}"]'
        if product.namespace and settings.kubernetes:
            lines += [f'  subgraph ns_{product.name}["namespace {product.namespace}"]', f"    {node}", "  end"]
        else:
            without_namespace.append(f"  {node}")
    lines += without_namespace
    where = f"namespace {SHARED_NAMESPACE}" if settings.kubernetes else "this machine"
    lines += [
        f'  subgraph pooler["{where}"]',
        f'    pgbouncer["PgBouncer x {settings.pgbouncer.replicas}<br/>transaction mode"]',
        *(['    valkey["Valkey<br/>cache and queues"]'] if settings.valkey else []),
        *([f'    cloudflared["cloudflared x {settings.edge.replicas}"]'] if settings.edge else []),
        *(['    prometheus["Prometheus<br/>Alertmanager"]'] if own else []),
        "  end",
        f'  database[("{"RDS " if rds else ""}PostgreSQL 15<br/>{DATABASE}")]',
        "  pgbouncer --> database",
    ]
    for product in products:
        lines.append(f"  {product.name} -->|{product.schema_name}| pgbouncer")
        readable = settings.readable_by(product)
        lines += [f"  {product.name} -.->|reads {other.schema_name}| pgbouncer" for other in readable]
    if settings.edge:
        names = "<br/>".join(settings.edge.hostnames.values())
        lines += [f'  tunnel(["Cloudflare Tunnel<br/>{names}"])', "  cloudflared -->|connects to| tunnel"]
    lines += _service_arrows(settings)
    if isinstance(settings.monitoring, OperatorMonitoringSettings):
        lines.append(f'  prometheus["Prometheus<br/>namespace {settings.monitoring.prometheus_namespace}"]')
    if settings.monitoring:
        lines += ["  prometheus -->|metrics| pooler", "  prometheus -->|alerts| oncall([people on call])"]
    if settings.media:
        lines += [
            f'  bucket[("R2 {settings.media.bucket}")]',
            f'  cdn(["{settings.media.domain}"])',
            "  cdn --> bucket",
        ]
        lines += [f"  {product.name} -->|S3| bucket" for product in products if product.framework == "payload"]
    return "\n".join(lines) + "\n"


def _pods(settings: Settings, product: Product) -> list[str]:
    """What the stack runs of the product's service, such as `api x 2 to 5`; empty where it runs none of it."""
    service = settings.services.get(product.name)
    if service is None:
        return []
    groups = pods(FRAMEWORKS[product.framework or ""], service)
    counts = {g.kind.name: f"{g.autoscaling.min} to {g.replicas}" if g.autoscaling else g.replicas for g in groups}
    return [f"{name} x {count}" for name, count in counts.items()]


def _service_arrows(settings: Settings) -> Iterator[str]:
    """Who calls Valkey and the products' services, as far as the flows allow it."""
    products = settings.products.values()
    tunnelled = settings.edge.hostnames if settings.edge else ()
    # The picture shows neither an ingress controller nor the database's networks.
    flows = platform_flows(products=products, edge_namespace=None, database_cidrs=(), tunnelled=tunnelled)
    calls = [(flow.source, flow.destination, flow.port) for flow in flows if isinstance(flow.destination, Pods)]
    if settings.valkey:
        valkey = Pods(namespace=SHARED_NAMESPACE, labels=REDIS)
        for source, destination, _ in calls:
            if destination == valkey:
                yield from (f"  {caller.name} -->|Redis| valkey" for caller in products if _runs_in(caller, source))
    cloudflared = Pods(namespace=SHARED_NAMESPACE, labels=CLOUDFLARED)
    for source, destination, port in calls:
        for callee in products:
            if source == cloudflared and _runs_in(callee, destination):
                yield f"  cloudflared -->|HTTP :{port}| {callee.name}"
            if port == PAYLOAD_PORT and _runs_in(callee, destination):
                callers = [product for product in products if _runs_in(product, source) and product is not callee]
                yield from (f"  {caller.name} -->|REST :{port}| {callee.name}" for caller in callers)


def _runs_in(product: Product, pods: Pods) -> bool:
    """Whether the product's service is among the pods."""
    framework = FRAMEWORKS.get(product.framework or "")
    labels = {NAME_LABEL: framework.serving.name} if framework else {}
    return product.namespace == pods.namespace and pods.labels.items() <= labels.items()

"""The platform as a Mermaid picture, drawn from the settings."""

import settings
from settings import RdsSettings, Settings


def mermaid(told: Settings) -> str:
    """A flowchart that GitHub draws: products, their namespaces, PgBouncer, Valkey, the database, the media bucket."""
    rds = isinstance(told.database, RdsSettings)
    lines = ["flowchart LR"]
    homeless = []
    for product in told.products.values():
        node = f'{product.name}["{product.name}<br/>{product.login_role}"]'
        if product.namespace and told.kubernetes:
            lines += [f'  subgraph ns_{product.name}["namespace {product.namespace}"]', f"    {node}", "  end"]
        else:
            homeless.append(f"  {node}")
    lines += homeless
    where = "namespace shared" if told.kubernetes else "this machine"
    lines += [
        f'  subgraph pooler["{where}"]',
        f'    pgbouncer["PgBouncer x {told.pgbouncer.replicas}<br/>transaction mode"]',
        *(['    valkey["Valkey<br/>cache and queues"]'] if told.valkey else []),
        "  end",
        f'  database[("{"RDS " if rds else ""}PostgreSQL 15<br/>{settings.DATABASE}")]',
        "  pgbouncer --> database",
    ]
    for product in told.products.values():
        lines.append(f"  {product.name} -->|{product.schema_name}| pgbouncer")
        lines += [f"  {product.name} -.->|reads {other.schema_name}| pgbouncer" for other in told.readable_by(product)]
    names = set(told.products)
    if told.valkey:
        lines += [f"  {p.name} -->|Redis| valkey" for p in told.products.values() if p.framework == "django"]
    if {"django", "payload"} <= names:
        lines.append("  django -->|REST :3000| payload")
    if told.media:
        lines += [
            f'  bucket[("R2 {told.media.bucket}")]',
            f'  cdn(["{told.media.domain}"])',
            "  cdn --> bucket",
        ]
        lines += [f"  {p.name} -->|S3| bucket" for p in told.products.values() if p.framework == "payload"]
    return "\n".join(lines) + "\n"

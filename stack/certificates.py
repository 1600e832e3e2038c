"""The CA certificates that clients verify the platform's servers with."""

from dataclasses import dataclass

from settings import Settings, database_ca_pem, pooler_ca_pem


@dataclass(frozen=True, kw_only=True, slots=True)
class CaCertificates:
    """PEM text per server; None for a server that has no TLS."""

    database: str | None
    pgbouncer: str | None

    @property
    def of_all(self) -> str | None:
        """PEM text for clients of both servers; None where neither has TLS."""
        return "\n".join(pem for pem in (self.database, self.pgbouncer) if pem) or None


def ca_certificates(settings: Settings) -> CaCertificates:
    """Reads the stack's files. Raises SettingsError where one is missing, so call it before anything is declared."""
    return CaCertificates(
        database=database_ca_pem(settings.on_rds.rds) if settings.on_rds else None,
        pgbouncer=pooler_ca_pem(settings.pgbouncer),
    )

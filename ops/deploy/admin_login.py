"""The admin's login: of a local stack from its state, of a deployed one asked of Secrets Manager and never kept."""

import json

from pydantic import SecretStr

from ops import aws
from ops.verify.model import Endpoint
from settings import ADMIN, HOST, ROOT, Settings, admin_secret


def admin_login(settings: Settings) -> tuple[Endpoint, SecretStr]:
    """Where the admin logs in, through the configured tunnel where there is one, and its password.

    Raises OperatorError where Secrets Manager cannot be asked.
    """
    if settings.local:
        return Endpoint(host=HOST, port=settings.local.database_port), settings.local.passwords[ADMIN]
    on_rds = settings.on_rds
    assert on_rds is not None  # noqa: S101 (settings: a stack is local or on RDS)
    login = json.loads(aws.secret(admin_secret(settings.stack), on_rds.aws.region))
    tunnel = on_rds.rds.admin_endpoint
    endpoint = Endpoint(
        host=tunnel.host if tunnel else login["host"],
        port=tunnel.port if tunnel else int(login["port"]),
        sslmode=tunnel.ssl_mode if tunnel else "verify-full",
        sslrootcert=str(ROOT / on_rds.rds.ca_file),
    )
    return endpoint, SecretStr(login["password"])

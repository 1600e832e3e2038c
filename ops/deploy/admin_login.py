"""The admin's login of a deployed database: asked of Secrets Manager, never kept."""

import json

from pydantic import SecretStr

from ops import aws
from ops.verify.model import Endpoint
from settings import ROOT, Settings, admin_secret
from settings.problems import OperatorError


def admin_login(settings: Settings) -> tuple[Endpoint, SecretStr]:
    """Where the admin logs in, through the configured tunnel where there is one, and its password.

    Raises OperatorError where the stack is local, or Secrets Manager cannot be asked.
    """
    on_rds = settings.on_rds
    if on_rds is None:
        raise OperatorError(
            f"stack {settings.stack}: its database is local; its login is in its own state",
            f"make env STACK={settings.stack} SERVICE=<service>",
        )
    login = json.loads(aws.secret(admin_secret(settings.stack), on_rds.aws.region))
    tunnel = on_rds.rds.admin_endpoint
    endpoint = Endpoint(
        host=tunnel.host if tunnel else login["host"],
        port=tunnel.port if tunnel else int(login["port"]),
        sslmode=tunnel.ssl_mode if tunnel else "verify-full",
        sslrootcert=str(ROOT / on_rds.rds.ca_file),
    )
    return endpoint, SecretStr(login["password"])

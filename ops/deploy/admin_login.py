"""The admin's login of a deployed database: asked of Secrets Manager, never kept."""

import json
import subprocess

from pydantic import SecretStr

from ops.verify.model import Endpoint
from settings import ROOT, RdsSettings, Settings, admin_secret
from settings.problems import OperatorError

TIMEOUT_SECONDS = 60


class AdminLoginError(OperatorError):
    """The admin's login cannot be had; the message says what to do."""


def admin_login(told: Settings) -> tuple[Endpoint, SecretStr]:
    """Where the admin logs in, through the configured tunnel where there is one, and its password.

    Raises AdminLoginError when the AWS CLI is missing or refuses.
    """
    if not isinstance(told.database, RdsSettings) or told.aws is None:
        raise AdminLoginError(f"stack {told.stack}: its database is local; its login is in its own state")
    secret = admin_secret(told.stack)
    command = ["aws", "secretsmanager", "get-secret-value", "--region", told.aws.region, "--secret-id", secret]
    try:
        done = subprocess.run(
            [*command, "--query", "SecretString", "--output", "text"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise AdminLoginError("the AWS CLI is missing; install it: https://aws.amazon.com/cli/") from error
    except subprocess.TimeoutExpired:
        # Without its cause, which would hold what was printed so far.
        raise AdminLoginError(f"Secrets Manager did not answer in {TIMEOUT_SECONDS} s; check the network") from None
    if done.returncode:
        raise AdminLoginError(
            f"{secret} cannot be read: {done.stderr.strip()}; log in to the account {told.aws.account_id}"
        )
    login = json.loads(done.stdout)
    tunnel = told.database.admin_endpoint
    endpoint = Endpoint(
        host=tunnel.host if tunnel else login["host"],
        port=tunnel.port if tunnel else int(login["port"]),
        sslmode=tunnel.ssl_mode if tunnel else "verify-full",
        sslrootcert=str(ROOT / told.database.ca_bundle),
    )
    return endpoint, SecretStr(login["password"])

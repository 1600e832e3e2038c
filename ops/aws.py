"""What is asked of AWS, through its command line: the caller's account, the cluster, the database, a secret.

Every function raises OperatorError with what to do where the AWS CLI is missing, refuses or does not answer.
"""

import json
import shutil
from dataclasses import dataclass

from ops import process
from settings.problems import OperatorError

_SECONDS = 60
INSTALL = (
    "install the AWS CLI, version 2: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
)
_LOGIN = "log in to the stack's account (aws sso login, AWS_PROFILE), then check it: aws sts get-caller-identity"


class NotFoundError(OperatorError):
    """There is no such thing in the account."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """An EKS cluster."""

    status: str
    """ACTIVE, CREATING, …"""
    endpoint: str
    """URL of its API server."""
    ca: str
    """Its CA certificate, base64."""


def account() -> str:
    """The account that the credentials belong to: 12 digits."""
    return str(json.loads(_aws("sts", "get-caller-identity", "--output", "json"))["Account"])


def cluster(name: str, region: str) -> Cluster:
    """The EKS cluster of that name."""
    query = "cluster.{status: status, endpoint: endpoint, ca: certificateAuthority.data}"
    found = _aws("eks", "describe-cluster", "--name", name, "--region", region, "--query", query, "--output", "json")
    return Cluster(**json.loads(found))


def database_endpoint(identifier: str, region: str) -> tuple[str, int] | None:
    """Host and port of an RDS instance; None while it is being created. Raises NotFoundError where there is none."""
    command = ("rds", "describe-db-instances", "--region", region, "--db-instance-identifier", identifier)
    try:
        found = json.loads(_aws(*command, "--query", "DBInstances[0].Endpoint", "--output", "json"))
    except process.ProcessError as error:
        if "DBInstanceNotFound" in str(error):
            raise NotFoundError(error.problems) from error
        raise
    return (str(found["Address"]), int(found["Port"])) if found else None


def secret(name: str, region: str) -> str:
    """The current value of a secret in Secrets Manager. It is in no message."""
    command = ("secretsmanager", "get-secret-value", "--region", region, "--secret-id", name)
    try:
        return _aws(*command, "--query", "SecretString", "--output", "text")
    except process.ProcessError as error:
        # AWS's own message does not name the secret.
        (problem,) = error.problems
        raise OperatorError(f"secret {name}: {problem.what}", problem.fix) from error


def _aws(*arguments: str) -> str:
    if shutil.which("aws") is None:
        raise OperatorError("aws is not on PATH", INSTALL)
    return process.output(["aws", *arguments], timeout=_SECONDS, fix=_LOGIN)

"""What is asked of AWS, with a stand-in for its command line that writes down the questions."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import settings
from ops import aws
from ops.deploy.admin_login import admin_login
from ops.process import ProcessError
from settings.problems import OperatorError
from tests.unit.conftest import full_config, local_state

REGION = "eu-central-1"
PASSWORD = "s3cr3t-of-the-admin"


class Aws:
    """The stand-in: what it was asked, and its next answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        program = folder / "aws"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            "folder = pathlib.Path(__file__).parent\n"
            "(folder / 'asked').write_text(json.dumps(sys.argv[1:]))\n"
            "answer, error = json.loads((folder / 'answer').read_text())\n"
            "print(answer)\n"
            "sys.exit(error or 0)\n"
        )
        program.chmod(0o755)

    def answers(self, answer: Any = None, *, error: str = "") -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self._folder / "answer").write_text(json.dumps([text, error]))

    @property
    def asked(self) -> list[str]:
        asked: list[str] = json.loads((self._folder / "asked").read_text())
        return asked


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Aws(tmp_path)


def test_the_account(cli: Aws) -> None:
    cli.answers({"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ann"})
    assert aws.account() == "123456789012"
    assert cli.asked == ["sts", "get-caller-identity", "--output", "json"]


def test_a_cluster(cli: Aws) -> None:
    cli.answers({"status": "ACTIVE", "endpoint": "https://x", "ca": "Q0E="})
    assert aws.cluster("lightwave-prod", REGION) == aws.Cluster("ACTIVE", "https://x", "Q0E=")
    assert cli.asked[:6] == ["eks", "describe-cluster", "--name", "lightwave-prod", "--region", REGION]


def test_a_database(cli: Aws) -> None:
    cli.answers({"Address": "db.example.com", "Port": 5432, "HostedZoneId": "Z"})
    assert aws.database_endpoint("lightwave-platform", REGION) == ("db.example.com", 5432)
    cli.answers(None)
    assert aws.database_endpoint("lightwave-platform", REGION) is None
    cli.answers(error="An error occurred (DBInstanceNotFound) when calling DescribeDBInstances")
    with pytest.raises(aws.NotFoundError, match="DBInstanceNotFound"):
        aws.database_endpoint("lightwave-platform", REGION)
    cli.answers(error="An error occurred (AccessDenied)")
    with pytest.raises(ProcessError, match="AccessDenied"):
        aws.database_endpoint("lightwave-platform", REGION)


def test_a_secret_is_read_and_never_in_a_message(cli: Aws) -> None:
    cli.answers(PASSWORD)
    assert aws.secret("lightwave/prod/database/admin", REGION) == f"{PASSWORD}\n"
    cli.answers(PASSWORD, error="Secrets Manager can't find the specified secret.")
    with pytest.raises(OperatorError) as refused:
        aws.secret("lightwave/prod/database/admin", REGION)
    (problem,) = refused.value.problems
    assert problem.what.startswith("secret lightwave/prod/database/admin: ")
    assert "can't find the specified secret" in problem.what
    assert "aws sts get-caller-identity" in problem.fix
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "ask",
    [
        aws.account,
        lambda: aws.cluster("x", REGION),
        lambda: aws.database_endpoint("x", REGION),
        lambda: aws.secret("x", REGION),
    ],
)
def test_without_its_command_line_the_fix_is_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError) as refused:
        ask()
    (problem,) = refused.value.problems
    assert problem.what == "aws is not on PATH"
    assert problem.fix == aws.INSTALL


# --- the admin's login ------------------------------------------------------------------------------------------------


def test_the_admin_logs_in_at_the_instance_or_through_the_tunnel(cli: Aws) -> None:
    cli.answers({"host": "db.example.com", "port": 5432, "username": "lightwave_admin", "password": PASSWORD})
    config = full_config("prod")
    endpoint, password = admin_login(settings.load("prod", config))
    assert cli.asked[:6] == [
        *("secretsmanager", "get-secret-value", "--region", REGION),
        *("--secret-id", "lightwave/prod/database/admin"),
    ]
    assert (endpoint.host, endpoint.port, endpoint.sslmode) == ("db.example.com", 5432, "verify-full")
    assert password.get_secret_value() == PASSWORD

    tunnel = {"host": "127.0.0.1", "port": 15432, "sslMode": "verify-ca"}
    config["lightwave:database"] = {**config["lightwave:database"], "adminEndpoint": tunnel}
    endpoint, _ = admin_login(settings.load("prod", config))
    assert (endpoint.host, endpoint.port, endpoint.sslmode) == ("127.0.0.1", 15432, "verify-ca")
    assert endpoint.sslrootcert == str(settings.ROOT / "rds-ca.pem")


def test_on_a_local_stack_the_admin_logs_in_as_its_state_says() -> None:
    state = local_state()
    endpoint, password = admin_login(settings.load("dev", full_config("dev"), local=state))
    assert (endpoint.host, endpoint.port) == ("127.0.0.1", state["databasePort"])
    assert password.get_secret_value() == state["passwords"]["lightwave_admin"]

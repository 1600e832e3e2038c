"""The settings' error holds its problems as objects; its text is what a person reads."""

import pulumi
import pytest

import settings
from settings import SettingsError
from settings.problems import OperatorError, Problem
from tests.unit.conftest import full_config
from tests.unit.settings.changes import put


def test_the_error_of_a_config_holds_a_problem_per_key() -> None:
    config = full_config("prod")
    put(config, "aws.region", ...)
    put(config, "database.multiAz", False)
    with pytest.raises(SettingsError) as refused:
        settings.load("prod", config)
    assert refused.value.problems == (
        Problem(
            key="lightwave:aws.region",
            what="is missing",
            expected="an AWS region such as eu-central-1",
            fix="pulumi config set --stack prod --path lightwave:aws.region VALUE",
        ),
        Problem(
            key="lightwave:database.multiAz",
            what="is off",
            expected="true in production",
            fix="pulumi config set --stack prod --path lightwave:database.multiAz VALUE",
        ),
    )
    assert str(refused.value).splitlines() == [
        "stack prod: 2 errors in its config",
        "  lightwave:aws.region: is missing; expected: an AWS region such as eu-central-1",
        "      fix: pulumi config set --stack prod --path lightwave:aws.region VALUE",
        "  lightwave:database.multiAz: is off; expected: true in production",
        "      fix: pulumi config set --stack prod --path lightwave:database.multiAz VALUE",
    ]


def test_commands_and_pulumi_print_the_error_without_a_traceback() -> None:
    error = SettingsError("rds-ca.pem is missing", "curl it")
    assert isinstance(error, OperatorError)
    assert isinstance(error, pulumi.RunError)
    assert str(error) == "rds-ca.pem is missing\n      fix: curl it"

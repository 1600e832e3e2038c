"""The instructions for an operator after a killed update of a protected stack."""

import json
import shlex
from collections.abc import Callable

from ops.deploy.adoption import adoption
from ops.deploy.pulumi_cli import PulumiCli
from tests.unit.ops.deploy.conftest import PENDING, StandIn


def test_an_operator_is_given_the_commands_and_nothing_is_done(
    pulumi: StandIn, cli_of: Callable[[str], PulumiCli]
) -> None:
    pulumi.answer(stack_export={"stdout": json.dumps(PENDING)})
    problem = adoption("prod", cli_of("prod").deployment().pending)
    commands = [shlex.split(line) for line in problem.fix.splitlines() if line.startswith("  pulumi")]
    assert commands[0] == [
        *("pulumi", "import", "postgresql:index/role:Role", "login", "payload_user", "--stack", "prod"),
        *("--parent", "parent=urn::a$b::access", "--provider", "provider=urn::postgres", "--generate-code=false"),
    ]
    assert commands[1][:5] == [
        "pulumi",
        "import",
        "postgresql:index/schema:Schema",
        "own",
        "lightwave_platform.payload",
    ]
    assert commands[2:] == [["pulumi", "refresh", "--stack", "prod", "--run-program", "--clear-pending-creates"]]
    assert "deleting urn:gone" in problem.what
    assert [arguments[:2] for arguments, _ in pulumi.asked] == [["stack", "export"]]

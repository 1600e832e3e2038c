"""The offline plan checked against the policy pack."""

from dataclasses import replace

import pytest

from ops.errors import FailedError
from ops.plan import policy
from policies.rules import RULES
from policies.rules.model import UNKNOWN
from tests.unit.policies.deep_change import changed_at
from tests.unit.policies.resources import INSTANCE


def test_make_policy_passes_dev(capsys: pytest.CaptureFixture[str]) -> None:
    assert policy.run("dev") == 0
    assert f"{len(RULES)} rules, 0 broken, 0 not known before the deploy" in capsys.readouterr().out


def test_make_policy_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    bad = replace(INSTANCE, inputs=changed_at(changed_at(INSTANCE.inputs, "multiAz", False), "username", UNKNOWN))
    assert policy.report("dev", [bad]) == 1
    printed = capsys.readouterr().out
    assert (
        "BROKEN rds-multi-az: aws:rds/instance:Instance instance: multiAz is false; expected true\n  why: " in printed
    )
    assert "not known before the deploy: rds-master-name: aws:rds/instance:Instance instance: username\n" in printed
    assert "1 resources, " in printed
    assert "1 broken, 1 not known before the deploy" in printed


def test_a_broken_rule_ends_the_command_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "report", lambda *_: 1)
    with pytest.raises(FailedError, match=r"breaks the rules above[\s\S]*fix: .*make policy STACK=dev"):
        policy.run("dev")

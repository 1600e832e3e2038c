"""Every rule: what it passes, what it refuses, and what it reports where the plan does not know."""

from dataclasses import replace
from typing import Any

import pytest

from policies import tokens
from policies.rules import RULES
from policies.rules.model import UNKNOWN, NotCheckable, Resource, Secret, Violation
from tests.unit.policies.answers import BY_NAME, answers
from tests.unit.policies.cases import CASES
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import changed_at
from tests.unit.policies.resources import INSTANCE, resource

ALL_CASES = [
    pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)
]


NO_INPUT = ("data-protected", "iam-no-users", "visible")
"""Rules that look at no input; test_stack_rules.py has their tests."""
NOTHING_UNKNOWN = ("secret-marked", "no-open-ingress-together", "cloudflare-token-buckets")
"""Rules to which an unknown is an answer, or another rule's question."""


def test_every_rule_has_its_cases() -> None:
    assert sorted(CASES) == sorted(BY_NAME)
    assert len(BY_NAME) == len(RULES)
    for name, cases in CASES.items():
        if name not in NO_INPUT:
            assert any(case.bad for case in cases), name
        if name not in (*NO_INPUT, *NOTHING_UNKNOWN):
            assert any(case.unknown for case in cases), name


@pytest.mark.parametrize(("name", "case"), ALL_CASES)
def test_passes(name: str, case: Case) -> None:
    assert answers(name, case.good) == []


@pytest.mark.parametrize(
    ("name", "good", "path", "value", "message"),
    [
        pytest.param(name, case.good, path, value, message, id=f"{name}-{path}-{message}")
        for name, cases in CASES.items()
        for case in cases
        for path, value, message in case.bad
    ],
)
def test_refuses(name: str, good: list[Resource], path: str, value: Any, message: str) -> None:
    bad = replace(good[0], inputs=changed_at(good[0].inputs, path, value))
    found = answers(name, [bad, *good[1:]])
    violations = [answer for where, answer in found if isinstance(answer, Violation) and where is bad]
    assert len(violations) == len(found) == len({v.what for v in violations}) >= 1
    output = BY_NAME[name].message(bad, next(v for v in violations if message in v.what))
    assert output.startswith(f"{bad.type} {bad.name}: ")
    assert "\n  why: " in output
    assert "\n  fix: " in output
    assert "hush" not in output


@pytest.mark.parametrize(
    ("name", "good", "path"),
    [
        pytest.param(name, case.good, path, id=f"{name}-{path}")
        for name, cases in CASES.items()
        for case in cases
        for path in case.unknown
    ],
)
def test_reports_what_it_cannot_check(name: str, good: list[Resource], path: str) -> None:
    unknown = replace(good[0], inputs=changed_at(good[0].inputs, path, UNKNOWN))
    found = answers(name, [unknown, *good[1:]])
    assert found
    assert all(isinstance(answer, NotCheckable) and where is unknown for where, answer in found)


def test_an_unknown_hides_no_known_violation() -> None:
    inputs = changed_at(changed_at(INSTANCE.inputs, "skipFinalSnapshot", UNKNOWN), "deleteAutomatedBackups", True)
    found = answers("rds-final-snapshot", [replace(INSTANCE, inputs=inputs)])
    assert [type(answer) for _, answer in found] == [NotCheckable, Violation]


def test_a_secret_is_checked_and_not_shown() -> None:
    good, bad = (replace(INSTANCE, inputs={"username": Secret(name)}) for name in ("lightwave_admin", "postgres"))
    assert answers("rds-master-name", [good]) == []
    [(_, answer)] = answers("rds-master-name", [bad])
    assert answer == Violation("username is wrong (it is secret); expected a name that is not a default")


def test_a_rule_is_about_its_own_types() -> None:
    for name in BY_NAME:
        assert answers(name, [resource(tokens.RANDOM_PASSWORD, {})]) == []


@pytest.mark.parametrize("kind", ["batch/v1:CronJob", "batch/v1:Job", "apps/v1:StatefulSet", "core/v1:Pod"])
def test_pods_are_found_in_every_workload(kind: str) -> None:
    pod = {"containers": [{"name": "app", "image": "app:latest"}]}
    inputs: dict[str, Any] = {"spec": {"template": {"spec": pod}}}
    if kind.endswith("CronJob"):
        inputs = {"spec": {"jobTemplate": inputs}}
    elif kind.endswith("Pod"):
        inputs = {"spec": pod}
    assert len(answers("k8s-no-latest", [resource(f"{tokens.KUBERNETES}{kind}", inputs)])) == 1

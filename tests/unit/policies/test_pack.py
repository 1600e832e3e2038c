"""The rules as the Pulumi CLI runs them."""

import runpy
import subprocess
import sys
from typing import Any

import pulumi_policy
import pytest
from pulumi_policy.policy import PolicyCustomTimeouts, PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from policies import pack
from policies.rules import RESOURCE_RULES, RULES, STACK_RULES
from settings import ROOT
from tests.unit.policies.deep_change import changed_at
from tests.unit.policies.resources import APP, BUCKET, DEPLOYMENT, INSTANCE, POD, SECRET


def reported(name: str, *resources: tuple[str, dict[str, Any], bool]) -> tuple[list[str], str]:
    """What a rule reports in its pulumi-policy form, and the advisory that it raises."""
    [rule] = [p for p in pack.POLICIES if p.name == name]
    messages: list[str] = []
    timeouts = PolicyCustomTimeouts(0, 0, 0)

    def report(message: str, _urn: str | None = None) -> None:
        messages.append(message)

    try:
        if isinstance(rule, pulumi_policy.ResourceValidationPolicy):
            for type_, props, protect in resources:
                opts = PolicyResourceOptions(protect, [], None, [], timeouts, [])
                args = pulumi_policy.ResourceValidationArgs(
                    type_, unknown_checking_proxy(props), "urn:pulumi:prod::p::t::n", "n", opts, None
                )
                rule.validate(args, report)
        elif isinstance(rule, pulumi_policy.StackValidationPolicy):
            seen = [
                pulumi_policy.PolicyResource(
                    type_,
                    unknown_checking_proxy(props),
                    f"urn:pulumi:prod::p::t::{index}",
                    "n",
                    PolicyResourceOptions(protect, [], None, [], timeouts, []),
                    None,
                    None,
                    [],
                    {},
                )
                for index, (type_, props, protect) in enumerate(resources)
            ]
            rule.validate(pulumi_policy.StackValidationArgs(seen), report)
    except UnknownValueError as error:
        return messages, error.message
    return messages, ""


def test_the_pack_holds_every_rule_once() -> None:
    assert [p.name for p in pack.POLICIES] == [rule.name for rule in RULES]
    resource_policies = [p for p in pack.POLICIES if isinstance(p, pulumi_policy.ResourceValidationPolicy)]
    assert len(resource_policies) == len(RESOURCE_RULES)
    assert len(pack.POLICIES) == len(RESOURCE_RULES) + len(STACK_RULES)


def test_a_resource_rule_in_the_pack() -> None:
    good = dict(INSTANCE.inputs)
    assert reported("rds-encrypted", (INSTANCE.type, good, True)) == ([], "")
    [message], advisory = reported("rds-encrypted", (INSTANCE.type, {**good, "storageEncrypted": False}, True))
    assert message.startswith("aws:rds/instance:Instance n: storageEncrypted is false; expected true\n  why: ")
    assert advisory == ""
    assert reported("rds-encrypted", ("other:index:Type", {}, True)) == ([], "")


def test_an_unknown_is_an_advisory_and_hides_nothing() -> None:
    inputs = changed_at(DEPLOYMENT.inputs, f"{APP}.image", UNKNOWN_STRING_VALUE)
    inputs = changed_at(inputs, f"{POD}.initContainers.0.image", "app:latest")
    messages, advisory = reported("k8s-no-latest", (DEPLOYMENT.type, inputs, False))
    assert len(messages) == 1
    assert "initContainers[init].image is 'app:latest'" in messages[0]
    assert "n.spec.template.spec.containers[app].image can't be known during preview" in advisory


def test_a_stack_rule_in_the_pack() -> None:
    bucket = (BUCKET.type, dict(BUCKET.inputs), False)
    [message], advisory = reported("data-protected", bucket)
    assert "is not protected" in message
    assert advisory == ""
    assert reported("data-protected", (bucket[0], bucket[1], True)) == ([], "")


def test_secrecy_is_not_checked_where_it_is_not_known() -> None:
    assert reported("k8s-no-plain-secret", (SECRET.type, {"stringData": {"PASSWORD": "hush"}}, False)) == ([], "")


def test_a_broken_rule_stops_the_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Pulumi CLI starts the pack: advisory rules would only print."""
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(pulumi_policy, "PolicyPack", lambda **given: made.append(given))
    monkeypatch.setattr(sys, "path", [*sys.path])
    runpy.run_path(str(ROOT / "policies" / "__main__.py"))
    [given] = made
    assert given["enforcement_level"].value == "mandatory"
    assert given["name"] == "lightwave"
    assert given["policies"] is pack.POLICIES
    assert [p.name for p in pack.POLICIES if p.enforcement_level not in (None, given["enforcement_level"])] == []


def test_the_pack_needs_nothing_of_the_rest_of_the_repository() -> None:
    """The Pulumi CLI loads it by itself, and it must not cost the platform's SDKs."""
    program = "import sys; import policies.pack; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.split())
    assert "policies" in loaded
    assert not loaded & {"settings", "ops", "components", "stack", "bootstrap", "pulumi_aws", "pulumi_kubernetes"}

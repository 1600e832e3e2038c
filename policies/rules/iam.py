"""IAM: policies name who, what and on what; no AWS-managed administrators, no long-lived keys."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    NotCheckable,
    Resource,
    ResourceRule,
    Violation,
    expect,
    items_at,
    value_at,
)

_IDENTITY_POLICIES = (tokens.IAM_ROLE_POLICY, tokens.IAM_POLICY)
_RESOURCE_POLICIES = (
    tokens.IAM_ROLE,
    tokens.KMS_KEY,
    tokens.KMS_KEY_POLICY,
    tokens.S3_BUCKET,
    tokens.S3_BUCKET_POLICY,
    tokens.AWS_SECRET,
    tokens.AWS_SECRET_POLICY,
    tokens.SNS_TOPIC,
    tokens.SNS_TOPIC_POLICY,
)

_ESCALATING = (
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "iam:CreatePolicyVersion",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
    "sts:AssumeRole",
)
"""Actions that lead to other roles' rights, so that their resource must be named."""

_SERVICE_POLICIES = ":iam::aws:policy/service-role/"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _documents(resource: Resource) -> Iterator[tuple[str, Any]]:
    """Place and text of each policy in the resource."""
    for path in ("policy", "assumeRolePolicy"):
        yield path, value_at(resource.inputs, path)
    inline = items_at(resource.inputs, "inlinePolicies")
    if inline is UNKNOWN:
        yield "inlinePolicies", UNKNOWN
    else:
        yield from ((f"inlinePolicies[{i}]", value_at(item, "policy")) for i, item in enumerate(inline))


def _narrow_policy(resource: Resource) -> Iterator[Answer]:
    for place, text in _documents(resource):
        if text is UNKNOWN:
            yield NotCheckable(place)
        elif text:
            statements = _list(json.loads(text).get("Statement"))
            allowing = [statement for statement in statements if statement.get("Effect") == "Allow"]
            identity = resource.kind in _IDENTITY_POLICIES or place.startswith("inline")
            for index, statement in enumerate(allowing):
                for what in _too_wide(statement, identity=identity):
                    yield Violation(f"{place}, Allow statement {index}: {what}")


def _too_wide(statement: Mapping[str, Any], *, identity: bool) -> Iterator[str]:
    complements = [key for key in ("NotPrincipal", "NotAction", "NotResource") if key in statement]
    if complements:
        yield f"{', '.join(complements)} allows everything that it does not name"
    if not identity:
        yield from _too_many_principals(statement)
        return
    actions = _list(statement.get("Action"))
    if wild := [action for action in actions if "*" in action or "?" in action]:
        yield f"actions {', '.join(wild)}; expected each action by its name"
    if "*" in _list(statement.get("Resource")) and "Condition" not in statement:
        escalating = sorted(set(actions) & set(_ESCALATING))
        if escalating:
            yield f"{', '.join(escalating)} on every resource; expected the roles by name"


def _too_many_principals(statement: Mapping[str, Any]) -> Iterator[str]:
    principal = statement.get("Principal")
    by_kind = principal if isinstance(principal, Mapping) else {"AWS": principal}
    if any("*" in _list(names) for names in by_kind.values()):
        yield "every AWS account is a principal"
    if "Federated" in by_kind:
        exact: Mapping[str, Any] = statement.get("Condition", {}).get("StringEquals", {})
        for claim in ("aud", "sub"):
            if not any(key.endswith(f":{claim}") for key in exact):
                yield f"no StringEquals on the token's {claim}, so tokens of other workflows are accepted"


def _no_managed_administrator(resource: Resource) -> Iterator[Answer]:
    def narrow(arn: Any) -> bool:
        return arn is None or ":iam::aws:policy/" not in arn or _SERVICE_POLICIES in arn

    yield from expect(resource.inputs, "policyArn", narrow, "expected a policy of one service role, or an own one")
    arns = items_at(resource.inputs, "managedPolicyArns")
    if arns is UNKNOWN or UNKNOWN in arns:
        yield NotCheckable("managedPolicyArns")
    else:
        yield from (Violation(f"managedPolicyArns has {arn}") for arn in arns if not narrow(arn))


def _no_user(resource: Resource) -> Iterator[Answer]:
    yield Violation(f"{resource.kind.rpartition(':')[2]} lives until somebody deletes it; expected a role")


RULES = (
    ResourceRule(
        name="iam-narrow-policy",
        description="Every IAM policy names principals, actions, and the resources that lead to other rights.",
        types=(*_IDENTITY_POLICIES, *_RESOURCE_POLICIES),
        check=_narrow_policy,
        why="a wildcard also grants the actions that AWS adds later, and a principal of * is everyone",
        fix="list the actions, resources and principals; match a token's sub and aud with StringEquals",
    ),
    ResourceRule(
        name="iam-no-managed-administrator",
        description="No role has one of AWS's own policies for people.",
        types=(tokens.IAM_ROLE, tokens.IAM_ROLE_ATTACHMENT),
        check=_no_managed_administrator,
        why="AdministratorAccess, PowerUserAccess and their like cover the whole account",
        fix="attach a service-role policy, or write one with the actions that are needed",
    ),
    ResourceRule(
        name="iam-no-users",
        description="No IAM user and no access key is declared.",
        types=(tokens.IAM_USER, tokens.IAM_ACCESS_KEY),
        check=_no_user,
        why="a key in a file or a log works until it is deleted; a role's credentials end by themselves",
        fix="use a role: GitHub's OIDC provider for CI, Pod Identity for pods",
    ),
)

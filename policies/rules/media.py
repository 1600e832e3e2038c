"""R2: public through the CDN only, nothing expires, credentials for one bucket."""

import json
import re
from collections.abc import Iterator, Sequence

from policies import tokens
from policies.rules.model import (
    UNKNOWN,
    Answer,
    Finding,
    NotCheckable,
    Resource,
    ResourceRule,
    StackRule,
    Violation,
    expect,
    is_false,
    items_at,
    value_at,
)

BUCKET_SCOPE = "com.cloudflare.edge.r2.bucket."
_TOKENS = (tokens.ACCOUNT_TOKEN, tokens.API_TOKEN)


def _r2_dev_off(domain: Resource) -> Iterator[Answer]:
    yield from expect(domain.inputs, "enabled", is_false, "expected false")


def _min_tls(domain: Resource) -> Iterator[Answer]:
    yield from expect(domain.inputs, "minTls", lambda version: version in ("1.2", "1.3"), "expected 1.2 or 1.3")


def _nothing_expires(lifecycle: Resource) -> Iterator[Answer]:
    rules = items_at(lifecycle.inputs, "rules")
    if rules is UNKNOWN:
        yield NotCheckable("rules")
        return
    for index, rule in enumerate(rules):
        # A disabled rule counts too: it is one click away from the loss.
        yield from expect(
            rule,
            "deleteObjectsTransition",
            lambda transition: transition is None,
            "expected no rule that deletes objects",
            within=f"rules[{index}]",
        )


def _is_read(method: str) -> bool:
    return method.upper() in ("GET", "HEAD")


def _is_origin(value: str) -> bool:
    """Whether it is one site over TLS, or a developer's own machine; `https://*.example.com` is many sites."""
    return re.fullmatch(r"(https://[A-Za-z0-9.-]+|http://(localhost|127\.0\.0\.1))(:\d+)?", value) is not None


def _cors_reads_only(cors: Resource) -> Iterator[Answer]:
    rules = items_at(cors.inputs, "rules")
    if rules is UNKNOWN:
        yield NotCheckable("rules")
        return
    for index, rule in enumerate(rules):
        for path, what in (("allowed.methods", "methods other than GET and HEAD"), ("allowed.origins", "any origin")):
            values = items_at(rule, path)
            if values is UNKNOWN or UNKNOWN in values:
                yield NotCheckable(f"rules[{index}].{path}")
            elif any(not _is_read(value) if path.endswith("methods") else not _is_origin(value) for value in values):
                yield Violation(f"rules[{index}] allows {what}: {', '.join(values)}")


def _token_scope(token: Resource) -> Iterator[Answer]:
    policies = items_at(token.inputs, "policies")
    if policies is UNKNOWN:
        yield NotCheckable("policies")
        return
    for index, policy in enumerate(policies):
        resources = value_at(policy, "resources")
        if resources is UNKNOWN:
            yield NotCheckable(f"policies[{index}].resources")
            continue
        scopes = json.loads(resources or "{}")
        wide = [scope for scope in scopes if not scope.startswith(BUCKET_SCOPE) or "*" in scope]
        if wide or not scopes:
            yield Violation(f"policies[{index}] reaches {', '.join(wide) or 'nothing that is named'}; expected buckets")


def _token_buckets(resources: Sequence[Resource]) -> Iterator[Finding]:
    buckets = {value_at(r.inputs, "name") for r in resources if r.kind == tokens.R2_BUCKET}
    for token in resources:
        if token.kind not in _TOKENS:
            continue
        policies = items_at(token.inputs, "policies")
        for policy in policies if policies is not UNKNOWN else ():
            scopes = value_at(policy, "resources")
            known = json.loads(scopes or "{}") if scopes is not UNKNOWN else ()
            for scope in known:
                # <account>_<jurisdiction>_<bucket>; no bucket's name has an underscore.
                bucket = scope.removeprefix(BUCKET_SCOPE).rpartition("_")[2]
                if scope.startswith(BUCKET_SCOPE) and "*" not in scope and bucket not in buckets:
                    if UNKNOWN in buckets:
                        yield Finding(token, NotCheckable("policies"))
                    else:
                        yield Finding(token, Violation(f"reaches the bucket {bucket}, which this program does not own"))


def _managed_domain_declared(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Each bucket has its managed domain declared; `r2-dev-off` checks that it is off."""
    named = [value_at(r.inputs, "bucketName") for r in resources if r.kind == tokens.R2_MANAGED_DOMAIN]
    for bucket in resources:
        name = value_at(bucket.inputs, "name")
        if bucket.kind != tokens.R2_BUCKET or (name in named and name is not UNKNOWN):
            continue
        if name is UNKNOWN or UNKNOWN in named:
            yield Finding(bucket, NotCheckable("name"))
        else:
            yield Finding(bucket, Violation("no R2ManagedDomain is declared for it, so nothing keeps r2.dev off"))


_R2_DEV = "the r2.dev address bypasses the CDN, its cache and its rules, and is meant for development"

RULES = (
    ResourceRule(
        name="r2-dev-off",
        description="The bucket's r2.dev address is off.",
        types=(tokens.R2_MANAGED_DOMAIN,),
        check=_r2_dev_off,
        why=_R2_DEV,
        fix="set enabled=False",
    ),
    ResourceRule(
        name="r2-min-tls",
        description="The CDN domain requires TLS 1.2 or newer.",
        types=(tokens.R2_CUSTOM_DOMAIN,),
        check=_min_tls,
        why="the default is TLS 1.0, which is broken; the zone's own setting does not apply here",
        fix="set media.minTls to 1.2 or 1.3",
    ),
    ResourceRule(
        name="r2-no-expiry",
        description="No lifecycle rule deletes media.",
        types=(tokens.R2_LIFECYCLE,),
        check=_nothing_expires,
        why="R2 keeps no versions and media has no backup: what expires is lost",
        fix="remove the rule; only unfinished uploads may be aborted",
    ),
    ResourceRule(
        name="r2-cors-reads-only",
        description="Browsers may read from named origins only.",
        types=(tokens.R2_CORS,),
        check=_cors_reads_only,
        why="uploads go through Payload's server, which checks who uploads",
        fix="list the sites in media.corsOrigins; allow GET and HEAD",
    ),
    ResourceRule(
        name="cloudflare-token-scope",
        description="An API token reaches named buckets only.",
        types=_TOKENS,
        check=_token_scope,
        why="the token is in a service's environment; a wider one gives access to the whole account",
        fix="scope the token's policy to the bucket",
    ),
)
STACK_RULES = (
    StackRule(
        name="r2-dev-declared",
        description="Every bucket's r2.dev address is declared, and so kept off.",
        check=_managed_domain_declared,
        why=_R2_DEV,
        fix="declare an R2ManagedDomain with enabled=False for the bucket",
    ),
    StackRule(
        name="cloudflare-token-buckets",
        description="An API token reaches this program's buckets only.",
        check=_token_buckets,
        why="a service's leaked token must not open another team's bucket",
        fix="name the program's own bucket in the token's policy",
    ),
)

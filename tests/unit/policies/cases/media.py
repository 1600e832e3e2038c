"""Cases of the rules about R2 and Cloudflare's tokens."""

from dataclasses import replace

from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import BUCKET, CORS, CUSTOM_DOMAIN, LIFECYCLE, MANAGED_DOMAIN, TOKEN, resource

SCOPE = "com.cloudflare.edge.r2.bucket."

CASES: dict[str, list[Case]] = {
    "r2-dev-off": [Case([MANAGED_DOMAIN], [("enabled", True, "enabled is true")], ["enabled"])],
    "r2-min-tls": [
        Case(
            [CUSTOM_DOMAIN, replace(CUSTOM_DOMAIN, inputs={"minTls": "1.3"})],
            [("minTls", "1.0", "minTls is '1.0'"), ("minTls", GONE, "minTls is not set")],
            ["minTls"],
        )
    ],
    "r2-no-expiry": [
        Case(
            [LIFECYCLE, resource(LIFECYCLE.type, {})],
            [
                (
                    "rules.0.deleteObjectsTransition",
                    {"condition": {}},
                    "rules[0].deleteObjectsTransition is {'condition'",
                )
            ],
            ["rules", "rules.0"],
        )
    ],
    "r2-cors-reads-only": [
        Case(
            [CORS],
            [
                ("rules.0.allowed.methods", ["GET", "PUT"], "methods other than GET and HEAD: GET, PUT"),
                ("rules.0.allowed.origins", ["*"], "allows any origin: *"),
                ("rules.0.allowed.origins", ["https://*"], "allows any origin: https://*"),
                ("rules.0.allowed.origins", ["https://*.example"], "allows any origin"),
                ("rules.0.allowed.origins", ["https://a.example", "http://a.example"], "allows any origin"),
            ],
            ["rules", "rules.0.allowed.methods", "rules.0.allowed.origins"],
        )
    ],
    "cloudflare-token-scope": [
        Case(
            [TOKEN],
            [
                ("policies.0.resources", '{"com.cloudflare.api.account.a": "*"}', "com.cloudflare.api.account.a"),
                ("policies.0.resources", '{"com.cloudflare.edge.r2.bucket.*": "*"}', "expected buckets"),
                ("policies.0.resources", "{}", "nothing that is named"),
            ],
            ["policies", "policies.0.resources"],
        )
    ],
    "r2-dev-declared": [
        Case([BUCKET, MANAGED_DOMAIN], [("name", "other", "no R2ManagedDomain is declared for it")], ["name"])
    ],
    "cloudflare-token-buckets": [
        Case(
            [resource(TOKEN.type, {"policies": [{"resources": f'{{"{SCOPE}a_default_media": "*"}}'}]}), BUCKET],
            [
                ("policies.0.resources", f'{{"{SCOPE}a_default_other": "*"}}', "reaches the bucket other"),
                ("policies.0.resources", f'{{"{SCOPE}b_eu_media-backup": "*"}}', "reaches the bucket media-backup"),
            ],
            [],
        ),
    ],
}

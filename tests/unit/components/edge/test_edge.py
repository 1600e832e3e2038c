"""The edge: the tunnel's secrecy and routes, who passes Access, the zone's rules, cloudflared's pods."""

from collections.abc import Callable
from typing import Any

import pytest

import settings
from components.edge.login_limit import LoginLimit, LoginLimitArgs
from components.edge.protection import Protection, ProtectionArgs
from components.edge.responses import SECURITY_HEADERS
from components.edge.tunnel import Tunnel, TunnelArgs
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from tests.unit.conftest import PROD_WITH_ADMINS

CMS = "cms.lightwave-media.site"


@pytest.fixture(scope="module")
def recorded(recording_of: Callable[[str], Recording]) -> Recording:
    return recording_of(PROD_WITH_ADMINS)


def only(recorded: Recording, kind: str, name: str) -> dict[str, object]:
    return dict(recorded.one(f"cloudflare:index/{kind[0].lower()}{kind[1:]}:{kind}", name).inputs)


def test_the_hostname_leads_through_the_tunnel_to_the_service(recorded: Recording) -> None:
    config = only(recorded, "ZeroTrustTunnelCloudflaredConfig", "edge-tunnel-config")
    assert config["tunnelId"] == "edge-tunnel-tunnel-id"
    assert config["config"] == {
        "ingresses": [
            {"hostname": CMS, "service": "http://payload.payload-cms:3000"},
            {"service": "http_status:404"},
        ]
    }
    record = only(recorded, "DnsRecord", f"edge-tunnel-{CMS}")
    assert (record["type"], record["name"], record["proxied"]) == ("CNAME", CMS, True)
    assert record["content"] == "edge-tunnel-tunnel-id.cfargotunnel.com"


def test_token_and_secret_are_secret() -> None:
    args = TunnelArgs(account_id="a" * 32, zone_id="b" * 32, tunnel="t", origins={CMS: "http://x:1"}, rotation=3)
    recorded = recorder.record(lambda: Tunnel("t", args), stack="prod")
    assert isinstance(only(recorded, "ZeroTrustTunnelCloudflared", "t-tunnel")["tunnelSecret"], Secret)
    ((outputs),) = recorded.component_outputs.values()
    assert isinstance(outputs["token"], Secret)
    secret = recorded.one("random:index/randomPassword:RandomPassword", "t-secret").inputs
    assert secret == {"length": 43, "special": False, "keepers": {"rotation": "3"}}
    assert not recorded.of_type("random:index/randomBytes:RandomBytes"), "its id is its value, in plain text"


def test_only_the_named_people_pass_access(recorded: Recording) -> None:
    policy = only(recorded, "ZeroTrustAccessPolicy", "edge-access-admins")
    assert policy["decision"] == "allow"
    assert policy["includes"] == [
        {"email": {"email": "ana@example.com"}},
        {"emailDomain": {"domain": "example.org"}},
    ]
    application = only(recorded, "ZeroTrustAccessApplication", f"edge-access-{CMS}")
    assert (application["type"], application["domain"]) == ("self_hosted", f"{CMS}/admin")
    assert application["policies"] == [{"id": "edge-access-admins-id", "precedence": 1}]


def test_the_zones_rules_are_for_the_hostnames_alone() -> None:
    rules = rules_of(free=False)
    ours = f'http.host in {{"{CMS}" "api.x.org"}}'
    assert {phase: rule["expression"] for phase, rule in rules.items()} == {
        "http_request_dynamic_redirect": f"(not ssl and {ours})",
        "http_ratelimit": f'({ours} and starts_with(lower(http.request.uri.path), "/api/users/login"))',
        "http_response_headers_transform": f"({ours})",
    }
    target = rules["http_request_dynamic_redirect"]["actionParameters"]["fromValue"]
    assert (target["statusCode"], target["preserveQueryString"]) == (308, True)
    headers = rules["http_response_headers_transform"]["actionParameters"]["headers"]
    assert headers.keys() == {*SECURITY_HEADERS, "Content-Security-Policy"}


def rules_of(*, free: bool) -> dict[str, Any]:
    """The zone's rules by phase."""

    def declare() -> None:
        hostnames = [CMS, "api.x.org"]
        Protection("p", ProtectionArgs(zone_id="b" * 32, hostnames=hostnames))
        LoginLimit("l", LoginLimitArgs(zone_id="b" * 32, hostnames=hostnames, requests=7, free=free))

    recorded = recorder.record(declare, stack="prod")
    return {r.inputs["phase"]: r.inputs["rules"][0] for r in recorded.of_type("cloudflare:index/ruleset:Ruleset")}


@pytest.mark.parametrize(("free", "seconds"), [(True, 10), (False, 60)])
def test_logins_are_counted_as_the_plan_allows(free: bool, seconds: int) -> None:
    rule = rules_of(free=free)["http_ratelimit"]
    assert rule["ratelimit"] == {
        "characteristics": ["cf.colo.id", "ip.src"],
        "period": seconds,
        "requestsPerPeriod": 7,
        "mitigationTimeout": seconds,
    }
    # In a rate limit the free plan knows the path alone.
    assert ("http.host" in rule["expression"]) is not free


def test_a_limit_that_the_plan_refuses_comes_after_all_that_visitors_need(recorded: Recording) -> None:
    def needs(kind: str, name: str) -> set[str]:
        return {urn.rpartition("::")[2] for urn in recorded.one(kind, name).depends_on}

    last = needs("lightwave:edge:LoginLimit", "edge-login-limit")
    assert {f"edge-tunnel-{CMS}", "edge-cloudflared-deployment"} <= last
    tunnel = needs("lightwave:edge:Tunnel", "edge-tunnel")
    assert {"edge-protection-https", "edge-protection-headers", f"edge-access-{CMS}"} <= tunnel
    assert "edge-login-limit-ruleset" not in tunnel


def test_a_rotation_replaces_the_pods() -> None:
    recorded = recorder.record_stack("prod", overrides={"lightwave:rotations": {settings.TUNNEL_SECRET: 1}})
    pod = recorded.one("kubernetes:apps/v1:Deployment", "edge-cloudflared-deployment").inputs["spec"]["template"]
    assert pod["metadata"]["annotations"]["lightwave.media/rotations"] == "TUNNEL_SECRET=1"

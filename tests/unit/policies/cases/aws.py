"""Cases of the rules about security groups and tags."""

from dataclasses import replace

from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import GROUP, INGRESS, INSTANCE, OLD_INGRESS, resource

CASES: dict[str, list[Case]] = {
    "no-open-ingress": [
        Case(
            [INGRESS],
            [("cidrIpv4", "0.0.0.0/0", "cidrIpv4 is '0.0.0.0/0'"), ("cidrIpv6", "::/0", "cidrIpv6 is '::/0'")],
            ["cidrIpv4"],
        ),
        Case(
            [OLD_INGRESS, replace(OLD_INGRESS, inputs={"type": "egress", "cidrBlocks": ["0.0.0.0/0"]})],
            [("cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0"), ("ipv6CidrBlocks", ["::/0"], "lets in ::/0")],
            ["cidrBlocks", "cidrBlocks.0"],
        ),
        Case([GROUP], [("ingress.0.cidrBlocks", ["0.0.0.0/0"], "lets in 0.0.0.0/0")], ["ingress", "ingress.0"]),
    ],
    "aws-tags": [
        Case(
            [
                INSTANCE,
                resource(
                    INSTANCE.type, {}, provider_inputs={"defaultTags": '{"tags": {"project": "p", "stack": "s"}}'}
                ),
                resource(
                    INSTANCE.type, {"tags": {"stack": "s"}}, provider_inputs={"defaultTags": {"tags": {"project": "p"}}}
                ),
            ],
            [
                ("tags", GONE, "has no tag project, stack"),
                ("tags.stack", GONE, "has no tag stack"),
                ("tags.stack", "", "has no tag stack"),
            ],
            ["tags"],
        )
    ],
}

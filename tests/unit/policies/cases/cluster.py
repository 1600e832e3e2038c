"""Cases of the rules about namespaces and access to the cluster's API."""

from policies import tokens
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import BINDING, DENY, NAMESPACE, NARROW_ROLE, resource

CASES: dict[str, list[Case]] = {
    "k8s-pod-security": [
        Case(
            [NAMESPACE],
            [
                ("metadata.labels", GONE, "is not set; expected baseline or restricted"),
                (
                    "metadata.labels",
                    {"pod-security.kubernetes.io/enforce": "privileged"},
                    "is 'privileged'; expected baseline or restricted",
                ),
            ],
            ["metadata.labels", "metadata"],
        )
    ],
    "k8s-narrow-role": [
        Case(
            [NARROW_ROLE],
            [
                ("rules.0.verbs", ["*"], "rules[0].verbs has *"),
                ("rules.0.resources", ["secrets"], "rules[0].resources has secrets"),
                ("rules.0.resources", ["pods/exec"], "rules[0].resources has pods/exec"),
            ],
            ["rules", "rules.0.verbs", "rules.0.resources.0"],
        )
    ],
    "k8s-no-automount": [
        Case(
            [resource(tokens.SERVICE_ACCOUNT, {"automountServiceAccountToken": False})],
            [
                ("automountServiceAccountToken", True, "automountServiceAccountToken is true"),
                ("automountServiceAccountToken", GONE, "automountServiceAccountToken is not set"),
            ],
            ["automountServiceAccountToken"],
        )
    ],
    "k8s-no-cluster-admin": [
        Case([BINDING], [("roleRef.name", "cluster-admin", "roleRef.name is 'cluster-admin'")], ["roleRef"])
    ],
    "k8s-default-deny": [
        Case(
            [NAMESPACE, DENY],
            [("metadata.name", "other", "no NetworkPolicy denies egress and ingress by default")],
            ["metadata.name"],
        )
    ],
}

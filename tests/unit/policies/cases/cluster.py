"""Cases of the rules about namespaces and access to the cluster's API."""

from policies import tokens
from tests.unit.policies.cases.case import Case
from tests.unit.policies.deep_change import GONE
from tests.unit.policies.resources import (
    ACCESS_ENTRY,
    ACCESS_POLICY,
    ALIAS,
    BINDING,
    DECLARED_ROLE,
    DENY,
    FLOW,
    NAMESPACE,
    NARROW_ROLE,
    QUOTA,
    ROLE_BINDING,
    SERVICE,
    resource,
)

ACCOUNT_USER = {"kind": "User", "name": "system:serviceaccount:shared:prometheus"}

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
                *(
                    ("rules.0.resources", ["configmaps", name], f"rules[0].resources has {name}")
                    for name in (
                        *("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers"),
                        *("services/proxy", "nodes/proxy", "serviceaccounts/token", "*", "pods/*", "*/scale"),
                    )
                ),
                *(
                    ("rules.0.verbs", ["get", verb], f"rules[0].verbs has {verb}")
                    for verb in ("bind", "escalate", "impersonate", "approve", "sign")
                ),
                ("rules.0.apiGroups", ["*"], "rules[0].apiGroups has *"),
                ("rules.0.nonResourceURLs", ["*"], "rules[0].nonResourceURLs has *"),
                ("rules.0.resources", ["rolebindings"], "rules[0] may patch rolebindings"),
                ("rules.0.resources", ["networkpolicies", "jobs"], "rules[0] may patch networkpolicies"),
                ("rules.0.resources", ["namespaces"], "rules[0] may patch namespaces"),
                ("rules.0.resources", ["serviceaccounts"], "rules[0] may patch serviceaccounts"),
                ("aggregationRule", {"clusterRoleSelectors": []}, "aggregationRule is {"),
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
        Case(
            [BINDING],
            [
                ("roleRef.name", role, f"roleRef.name is '{role}'")
                for role in ("cluster-admin", "admin", "edit", "system:node", "system:controller:job-controller")
            ],
            ["roleRef"],
        )
    ],
    "k8s-default-deny": [
        Case(
            [NAMESPACE, DENY],
            [("metadata.name", "other", "no NetworkPolicy denies egress and ingress by default")],
            ["metadata.name"],
        )
    ],
    "k8s-namespace-bounded": [
        Case(
            [NAMESPACE, QUOTA],
            [("metadata.name", "other", "no ResourceQuota bounds its requests.cpu, requests.memory, limits.cpu")],
            ["metadata.name"],
        )
    ],
    "k8s-narrow-network-policy": [
        Case(
            [FLOW, DENY],
            [
                ("spec.ingress", [{}], "spec.ingress[0] names no peer, which means every one"),
                ("spec.ingress.0.from", GONE, "spec.ingress[0] names no peer"),
                ("spec.ingress.0.from", [], "spec.ingress[0] names no peer"),
                ("spec.ingress.0.from.0", {}, "spec.ingress[0] names no peer"),
                ("spec.ingress.0.from.0.namespaceSelector", {}, "does not name its namespaces"),
                ("spec.ingress.0.from.0.namespaceSelector", {"matchLabels": {"team": "a"}}, "does not name"),
                (
                    "spec.ingress.0.from.0.namespaceSelector",
                    {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]},
                    "does not name its namespaces",
                ),
                (
                    "spec.ingress.0.from.0.namespaceSelector",
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["a"]}
                        ]
                    },
                    "does not name its namespaces",
                ),
                ("spec.ingress.0.from", [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "lets the internet in"),
                (
                    "spec.ingress.0.from",
                    [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}],
                    "lets the internet in",
                ),
                ("spec.ingress.0.from", [{"ipBlock": {"cidr": "::/1"}}], "lets the internet in"),
                ("spec.ingress.0.ports", GONE, "spec.ingress[0] opens every port"),
                ("spec.ingress.0.ports", [{"protocol": "TCP"}], "spec.ingress[0] opens every port"),
                ("spec.ingress.0.ports", [{"port": 1.0, "endPort": 65535.0}], "opens more than 16 ports"),
                ("spec.ingress.0.ports", [{"port": 1.0, "endPort": 17.0}], "opens more than 16 ports"),
                ("spec.ingress.0.ports", [{"port": 80.0}, {"port": 1.0, "endPort": 16.0}], "opens more than 16 ports"),
                ("spec.egress.0.to", GONE, "spec.egress[0] names no peer"),
                ("spec.egress.0.to.0.ipBlock.except", GONE, "spec.egress[0] reaches the node's metadata service"),
                (
                    "spec.egress.0.to.0.ipBlock.except",
                    ["169.254.0.0/16"],
                    "reaches the internet and private networks",
                ),
                ("spec.egress.0.to.0.ipBlock.except.0", "10.0.0.0/9", "reaches the internet and private networks"),
                ("spec.egress.1.to.0.ipBlock.cidr", "169.254.169.254/32", "reaches the node's metadata service"),
                ("spec.egress.2.to.0", {"namespaceSelector": {}}, "does not name its namespaces"),
            ],
            [
                *("spec.ingress", "spec.ingress.0.from", "spec.ingress.0.from.0", "spec.ingress.0.ports"),
                *("spec.ingress.0.ports.0.port", "spec.egress.0.to.0.ipBlock.cidr", "spec.egress.0.to.0.ipBlock"),
                "spec.ingress.0.from.0.namespaceSelector.matchLabels",
            ],
        )
    ],
    "k8s-not-exposed": [
        Case(
            [SERVICE, ALIAS],
            [
                ("spec.type", "LoadBalancer", "spec.type is 'LoadBalancer'; expected ClusterIP"),
                ("spec.type", "NodePort", "spec.type is 'NodePort'"),
                ("spec.externalIPs", ["192.0.2.1"], "spec.externalIPs is ['192.0.2.1']"),
            ],
            ["spec.type"],
        ),
        Case(
            [ALIAS],
            [("spec.externalName", "evil.example", "expected a Service of this cluster")],
            ["spec.externalName"],
        ),
    ],
    "k8s-named-subjects": [
        Case(
            [
                ROLE_BINDING,
                resource(tokens.ROLE_BINDING, {"subjects": [ACCOUNT_USER, {"kind": "ServiceAccount", "name": "a"}]}),
            ],
            [
                *(
                    ("subjects.0.name", group, f"subjects[0].name is '{group}'")
                    for group in (
                        "system:authenticated",
                        "system:serviceaccounts:shared",
                        "system:masters",
                        "system:nodes",
                    )
                ),
                ("subjects.0", {"kind": "User", "name": "system:anonymous"}, "'system:anonymous'"),
                ("subjects.0", {"kind": "ServiceAccount", "name": "default"}, "'default'"),
            ],
            ["subjects", "subjects.0", "subjects.0.name"],
        )
    ],
    "k8s-bound-role-declared": [
        Case(
            [ROLE_BINDING, DECLARED_ROLE],
            [
                ("roleRef.name", "other", "binds Role other, which the program does not declare"),
                ("metadata.namespace", "payload-cms", "binds Role deployer"),
                ("roleRef", {"kind": "ClusterRole", "name": "deployer"}, "binds ClusterRole deployer"),
            ],
            ["roleRef", "roleRef.name", "metadata.namespace"],
        ),
    ],
    "eks-no-system-group": [
        Case(
            [ACCESS_ENTRY, resource(tokens.ACCESS_ENTRY, {})],
            [
                ("kubernetesGroups", ["system:masters"], "kubernetesGroups has system:masters"),
                ("kubernetesGroups", ["lightwave:a", "system:nodes"], "kubernetesGroups has system:nodes"),
                ("type", "EC2_LINUX", "type is 'EC2_LINUX'"),
            ],
            ["kubernetesGroups", "type"],
        )
    ],
    "eks-narrow-access-policy": [
        Case(
            [ACCESS_POLICY],
            [
                *(
                    ("policyArn", f"arn:aws:eks::aws:cluster-access-policy/{name}", f"gives {name} over the cluster")
                    for name in (
                        *("AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSEditPolicy"),
                        "AmazonEKSAdminViewPolicy",
                    )
                )
            ],
            ["policyArn", "accessScope"],
        )
    ],
}

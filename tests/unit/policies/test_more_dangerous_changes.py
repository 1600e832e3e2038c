"""More dangerous changes, one per line: forms that a comparison with a literal value lets through."""
# ruff: noqa: E501 (the tables: one change per line)

import json
from typing import Any

import pytest

from policies import tokens
from policies.rules.model import Secret
from tests.unit.policies.changes import (
    INGRESS,
    LOGIN,
    PARAMETERS,
    POD,
    POOLER,
    RDS,
    READER,
    Added,
    C,
    Change,
    after,
    broken,
    prod,
)

DEPLOYER = ("rbac.authorization.k8s.io/v1:Role", "deployer")
BINDING = ("rbac.authorization.k8s.io/v1:RoleBinding", "deployers")
SHARED = {"name": "x", "namespace": "shared"}
SHARED_ROLE = {"kind": "Role", "name": "deployer"}
NAMED = {"matchLabels": {"kubernetes.io/metadata.name": "django-api"}}
POLICY = "k8s-narrow-network-policy"
POOLER_EGRESS = ("NetworkPolicy", "shared-egress-pgbouncer-to-database")
PAYLOAD_EGRESS = ("NetworkPolicy", "egress-payload-to-internet-443")
BUCKET_SCOPE = "com.cloudflare.edge.r2.bucket."


def rules(**rule: Any) -> dict[str, Any]:
    """A deploy job's one rule."""
    return {"apiGroups": [""], "verbs": ["get"], **rule}


def binding(subject: dict[str, Any], role: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": SHARED, "roleRef": role, "subjects": [subject]}


def traffic(**spec: Any) -> dict[str, Any]:
    return {"metadata": SHARED, "spec": {"podSelector": {}, **spec}}


def pod(**spec: Any) -> dict[str, Any]:
    """A pod that keeps every rule but for what is given."""
    context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    amount = {"cpu": "1", "memory": "1Gi"}
    container = {
        "name": "a",
        "image": "a:1",
        "securityContext": context,
        "resources": {"requests": amount, "limits": amount},
    }
    usual = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True},
        "automountServiceAccountToken": False,
    }
    return {"metadata": SHARED, "spec": {**usual, **spec}}


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def ingress(**inputs: Any) -> dict[str, Any]:
    return {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432, **inputs}


EVERYBODY = {"kind": "Group", "name": "system:authenticated"}
OPERATOR = {"kind": "User", "name": "operator"}
TRUST = {
    "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"},
    "Action": "sts:AssumeRoleWithWebIdentity",
}
GITHUB = "token.actions.githubusercontent.com"

# fmt: off
CHANGES: tuple[Change | Added, ...] = (
    # Traffic: policies add up, selectors select sets, blocks are sets of addresses.
    Added("everything may come in, beside the default denial", tokens.NETWORK_POLICY, traffic(ingress=[{}]), POLICY),
    Added("everything may go out, beside the default denial", tokens.NETWORK_POLICY, traffic(egress=[{}], policyTypes=["Egress"]), POLICY),
    Added("every namespace may come in", tokens.NETWORK_POLICY, traffic(ingress=[{"from": [{"namespaceSelector": {}}], "ports": [{"port": 6432}]}]), POLICY),
    Added("every namespace that has a name may come in", tokens.NETWORK_POLICY, traffic(ingress=[{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}}], "ports": [{"port": 6432}]}]), POLICY),
    Added("every namespace but one may come in", tokens.NETWORK_POLICY, traffic(ingress=[{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["x"]}]}}], "ports": [{"port": 6432}]}]), POLICY),
    Added("the internet may come in, in halves", tokens.NETWORK_POLICY, traffic(ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}], "ports": [{"port": 6432}]}]), POLICY),
    Added("a network policy of an old API version allows everything", "kubernetes:extensions/v1beta1:NetworkPolicy", traffic(ingress=[{}]), POLICY),
    Change("every port of the database is open to the pooler", *POOLER_EGRESS, "spec.egress.0.ports.0", {"port": 1, "endPort": 65535}, POLICY),
    Change("a flow without ports", *POOLER_EGRESS, "spec.egress.0.ports", [{"protocol": "TCP"}], POLICY),
    Change("Payload reaches the node's credentials", *PAYLOAD_EGRESS, "spec.egress.0.to.0.ipBlock.except", ["10.0.0.0/8"], POLICY),
    Change("Payload reaches private networks through the internet's rule", *PAYLOAD_EGRESS, "spec.egress.0.to.0.ipBlock.except", ["169.254.0.0/16", "172.16.0.0/12"], POLICY),
    Change("the pooler reaches the node's credentials", *POOLER_EGRESS, "spec.egress.0.to.0.ipBlock.cidr", "169.254.0.0/16", POLICY),
    Added("a load balancer beside the edge", tokens.SERVICE, {"metadata": SHARED, "spec": {"type": "LoadBalancer"}}, "k8s-not-exposed"),
    Added("a port on every node", tokens.SERVICE, {"metadata": SHARED, "spec": {"type": "NodePort"}}, "k8s-not-exposed"),
    Added("a Service that takes over an address", tokens.SERVICE, {"metadata": SHARED, "spec": {"externalIPs": ["10.0.0.1"]}}, "k8s-not-exposed"),
    Change("payload's name leads out of the cluster", "core/v1:Service", "payload-alias", "spec.externalName", "payload.elsewhere.example", "k8s-not-exposed"),
    Change("half of the internet may connect to the database", *INGRESS, "cidrIpv4", "0.0.0.0/1", "no-open-ingress"),
    Change("a provider's whole network may connect", *INGRESS, "cidrIpv4", "52.0.0.0/8", "no-open-ingress"),
    Change("all global IPv6 may connect", *INGRESS, "cidrIpv6", "2000::/3", "no-open-ingress"),
    Change("a prefix list of somebody may connect", *INGRESS, "prefixListId", "pl-3b927c52", "no-open-ingress"),
    Added("the internet may connect, in the older form", tokens.SECURITY_GROUP_RULE, {"type": "ingress", "cidrBlocks": ["10.0.0.0/8", "128.0.0.0/1"]}, "no-open-ingress"),
    Added("the default security group is open", tokens.DEFAULT_SECURITY_GROUP, {"ingress": [{"cidrBlocks": ["0.0.0.0/2"]}]}, "no-open-ingress"),

    # Access to the cluster's API.
    Added("every user of the cluster is its administrator", tokens.CLUSTER_ROLE_BINDING, binding(EVERYBODY, {"kind": "ClusterRole", "name": "cluster-admin"}), "k8s-no-cluster-admin k8s-named-subjects"),
    Added("somebody administers a namespace", tokens.ROLE_BINDING, binding(OPERATOR, {"kind": "ClusterRole", "name": "cluster-admin"}), "k8s-no-cluster-admin"),
    Added("somebody edits a namespace, with its secrets", tokens.ROLE_BINDING, binding(OPERATOR, {"kind": "ClusterRole", "name": "edit"}), "k8s-no-cluster-admin"),
    Added("somebody acts as a controller", tokens.CLUSTER_ROLE_BINDING, binding(OPERATOR, {"kind": "ClusterRole", "name": "system:controller:clusterrole-aggregation-controller"}), "k8s-no-cluster-admin"),
    Added("a role that is declared elsewhere", tokens.CLUSTER_ROLE_BINDING, binding(OPERATOR, {"kind": "ClusterRole", "name": "argocd-server"}), "k8s-bound-role-declared"),
    Added("a binding of an old API version", "kubernetes:rbac.authorization.k8s.io/v1beta1:RoleBinding", binding(OPERATOR, {"kind": "ClusterRole", "name": "admin"}), "k8s-no-cluster-admin"),
    Change("every user deploys", *BINDING, "subjects.0", EVERYBODY, "k8s-named-subjects"),
    Change("every pod of a namespace deploys", *BINDING, "subjects.0", {"kind": "Group", "name": "system:serviceaccounts:django-api"}, "k8s-named-subjects"),
    Change("who did not log in deploys", *BINDING, "subjects.0", {"kind": "User", "name": "system:anonymous"}, "k8s-named-subjects"),
    Change("pods without an account of their own deploy", *BINDING, "subjects.0", {"kind": "ServiceAccount", "name": "default"}, "k8s-named-subjects"),
    Change("a deploy job opens ports into pods", *DEPLOYER, "rules.0", rules(resources=["pods/portforward"]), "k8s-narrow-role"),
    Change("a deploy job makes tokens of every account", *DEPLOYER, "rules.0", rules(resources=["serviceaccounts/token"], verbs=["create"]), "k8s-narrow-role"),
    Change("a deploy job binds any role", *DEPLOYER, "rules.0", rules(resources=["clusterroles"], verbs=["bind"]), "k8s-narrow-role"),
    Change("a deploy job makes role bindings", *DEPLOYER, "rules.0", rules(resources=["rolebindings"], verbs=["create"]), "k8s-narrow-role"),
    Change("a deploy job lifts the network policies", *DEPLOYER, "rules.0", rules(resources=["networkpolicies"], verbs=["delete"]), "k8s-narrow-role"),
    Change("a deploy job lifts Pod Security", *DEPLOYER, "rules.0", rules(resources=["namespaces"], verbs=["patch"]), "k8s-narrow-role"),
    Change("a deploy job lifts the quota", *DEPLOYER, "rules.0", rules(resources=["resourcequotas"], verbs=["update"]), "k8s-narrow-role"),
    Change("a deploy job gives a service account an AWS role", *DEPLOYER, "rules.0", rules(resources=["serviceaccounts"], verbs=["patch"]), "k8s-narrow-role"),
    Change("a deploy job adds a container to running pods", *DEPLOYER, "rules.0", rules(resources=["pods/ephemeralcontainers"], verbs=["patch"]), "k8s-narrow-role"),
    Change("a deploy job speaks through the node's proxy", *DEPLOYER, "rules.0", rules(resources=["nodes/proxy"]), "k8s-narrow-role"),
    Change("a deploy job rewrites what the API server admits", *DEPLOYER, "rules.0", rules(resources=["mutatingwebhookconfigurations"], verbs=["create"]), "k8s-narrow-role"),
    Change("a deploy job has every API group", *DEPLOYER, "rules.0", rules(apiGroups=["*"], resources=["jobs"]), "k8s-narrow-role"),
    Change("a deploy job has every subresource", *DEPLOYER, "rules.0", rules(resources=["pods/*"]), "k8s-narrow-role"),
    Added("a role that collects the rules of others", tokens.CLUSTER_ROLE, {"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": [{}]}}, "k8s-narrow-role"),
    Added("a patch of a role", "kubernetes:rbac.authorization.k8s.io/v1:RolePatch", {"metadata": SHARED, "rules": [rules(resources=["secrets"])]}, "k8s-narrow-role"),
    Added("an AWS role above all roles of the cluster", tokens.ACCESS_ENTRY, {"clusterName": "c", "kubernetesGroups": ["system:masters"]}, "eks-no-system-group"),
    Added("an AWS role that passes for a node", tokens.ACCESS_ENTRY, {"clusterName": "c", "type": "EC2_LINUX"}, "eks-no-system-group"),
    Added("an AWS role edits the cluster, with its secrets", tokens.ACCESS_POLICY, {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy", "accessScope": {"type": "cluster"}}, "eks-narrow-access-policy"),

    # Pods.
    Change("the pooler may administer the node", *POOLER, f"{C}.securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "k8s-no-privilege-escalation"),
    Change("the pooler's system calls are unfiltered", *POOLER, f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "k8s-no-privilege-escalation"),
    Change("the pooler sees the kernel's files", *POOLER, f"{C}.securityContext.procMount", "Unmasked", "k8s-no-privilege-escalation"),
    Change("the pooler is a port of the node", *POOLER, f"{C}.ports.0.hostPort", 6432, "k8s-no-host-access"),
    Change("the pooler mounts a file server", *POOLER, f"{POD}.volumes.0.nfs", {"server": "nfs", "path": "/"}, "k8s-no-host-access"),
    Change("a tag that moves", *POOLER, f"{C}.image", "edoburu/pgbouncer:stable", "k8s-no-latest"),
    Change("the latest of a version", *POOLER, f"{C}.image", "edoburu/pgbouncer:1-latest", "k8s-no-latest"),
    Change("a password among the arguments", *POOLER, f"{C}.args", ["--auth-password=hush"], "k8s-no-plain-secret"),
    Change("a secret value among the arguments", *POOLER, f"{C}.args", ["--x", Secret("hush")], "k8s-no-plain-secret"),
    Change("a URL with a password in the command", *POOLER, f"{C}.command", ["psql", "postgres://u:hush@h/d"], "k8s-no-plain-secret"),
    Change("an API key in the environment", *POOLER, f"{C}.env", [{"name": "SENTRY_APIKEY", "value": "hush"}], "k8s-no-plain-secret"),
    Added("a pod on the node's network, alone", tokens.POD, pod(hostNetwork=True), "k8s-no-host-access"),
    Added("a pod with the default account's token", tokens.POD, pod(automountServiceAccountToken=None), "k8s-no-shared-token"),
    Change("a namespace is unprotected", "core/v1:Namespace", "payload-cms", "@protect", False, "data-protected"),
    Change("a namespace has no quota", "ResourceQuota", "django-api", "@", None, "k8s-namespace-bounded"),
    Change("a quota bounds no memory", "ResourceQuota", "shared", "spec.hard", {"requests.cpu": "1", "limits.cpu": "2"}, "k8s-namespace-bounded"),
    Added("a patch takes Pod Security away", "kubernetes:core/v1:NamespacePatch", {"metadata": {"name": "shared", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}, "k8s-pod-security data-protected"),
    Added("a volume that is lost with the entry", tokens.VOLUME_CLAIM, {"metadata": SHARED}, "data-protected"),

    # The database.
    *(Change(f"a product is a member of {group}", *LOGIN, "roles", ["lightwave_login", group], "role-groups") for group in ("pg_signal_backend", "pg_monitor", "rds_iam", "pg_write_all_data", "pg_read_all_settings", "pg_checkpoint")),
    Change("a reader reads through the admin", *READER, "roles", ["lightwave_admin"], "role-groups-declared"),
    Change("a product is another product", *LOGIN, "roles", ["lightwave_login", "django_user"], "role-groups-declared"),
    Added("a membership beside the role", tokens.GRANT_ROLE, {"role": "payload_user", "grantRole": "django_user"}, "role-groups-declared", protect=True),
    Change("a connection limit that is none", *LOGIN, "connectionLimit", 1_000_000, "role-connection-limit"),
    Change("a product makes schemas", "grant:Grant", "connect|login", "privileges", ["CONNECT", "CREATE"], "narrow-grant"),
    Added("a product may do everything in its schema, whatever comes", tokens.GRANT, {"role": "payload_user", "objectType": "schema", "schema": "payload", "privileges": ["all"]}, "narrow-grant", protect=True),
    Added("a product puts functions into public", tokens.GRANT, {"role": "payload_user", "objectType": "schema", "schema": "public", "privileges": ["CREATE"]}, "narrow-grant", protect=True),
    Added("the database connects to others", tokens.EXTENSION, {"name": "dblink", "schema": "extensions"}, "trusted-extension"),
    Added("the database calls functions of the account", tokens.EXTENSION, {"name": "aws_lambda", "schema": "extensions"}, "trusted-extension"),
    Change("a product's password is readable in the state", *LOGIN, "password", "SCRAM-SHA-256$hush", "secret-marked"),
    Change("the master password is readable in the state", *RDS, "password", "hush", "secret-marked"),
    Change("the admin's secret is readable in the state", "SecretVersion", "", "secretString", "hush", "secret-marked"),
    Change("statements are logged", *PARAMETERS, "parameters.0", {"name": "log_statement", "value": "all"}, "rds-safe-parameters"),
    Change("every statement is logged, by its duration", *PARAMETERS, "parameters.0", {"name": "log_min_duration_statement", "value": "0"}, "rds-safe-parameters"),
    Change("new passwords are MD5", *PARAMETERS, "parameters.8", {"name": "password_encryption", "value": "md5"}, "rds-safe-parameters"),
    Added("a snapshot for every account", tokens.RDS_SNAPSHOT, {"sharedAccounts": ["all"]}, "rds-snapshot-private", protect=True),
    Added("a cluster that is not encrypted", tokens.RDS_CLUSTER, {"storageEncrypted": False, "deletionProtection": True, "skipFinalSnapshot": False, "finalSnapshotIdentifier": "x", "deleteAutomatedBackups": False, "backupRetentionPeriod": 7}, "rds-encrypted", protect=True),
    Change("the admin's secret is deleted at once", "secretsmanager/secret:Secret", "", "recoveryWindowInDays", 0, "recoverable"),
    Added("a key that is gone in a moment", tokens.KMS_KEY, {"deletionWindowInDays": 1}, "recoverable", protect=True),

    # The account.
    Change("RDS's role is trusted to everybody", "iam/role:Role", "monitoring", "assumeRolePolicy", document(Principal={"AWS": "*"}, Action="sts:AssumeRole"), "iam-narrow-policy"),
    Change("RDS's role administers the account", "RolePolicyAttachment", "", "policyArn", "arn:aws:iam::aws:policy/AdministratorAccess", "iam-no-managed-administrator"),
    Change("everybody publishes alarms", "TopicPolicy", "", "policy", document(Principal="*", Action="sns:Publish"), "iam-narrow-policy"),
    Change("everybody but one publishes alarms", "TopicPolicy", "", "policy", document(NotPrincipal={"AWS": "x"}, Action="sns:Publish"), "iam-narrow-policy"),
    Added("a role may do everything", tokens.IAM_ROLE_POLICY, {"policy": document(Action="*", Resource="*")}, "iam-narrow-policy"),
    Added("a role may do everything but one thing", tokens.IAM_ROLE_POLICY, {"policy": document(NotAction="iam:DeleteRole", Resource="*")}, "iam-narrow-policy"),
    Added("a role may do all of a service", tokens.IAM_ROLE_POLICY, {"policy": document(Action=["s3:*"], Resource="*")}, "iam-narrow-policy"),
    Added("a role may become any other", tokens.IAM_ROLE_POLICY, {"policy": document(Action=["sts:AssumeRole"], Resource="*")}, "iam-narrow-policy"),
    Added("every branch of every repository takes a role", tokens.IAM_ROLE, {"assumeRolePolicy": document(**TRUST, Condition={"StringLike": {f"{GITHUB}:sub": "repo:*"}})}, "iam-narrow-policy"),
    Added("a repository's every job takes a role", tokens.IAM_ROLE, {"assumeRolePolicy": document(**TRUST, Condition={"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"}, "StringLike": {f"{GITHUB}:sub": "repo:a/b:*"}})}, "iam-narrow-policy"),
    Added("a user with a password", tokens.IAM_USER, {"name": "deploy"}, "iam-no-users"),
    Added("a key that nobody rotates", tokens.IAM_ACCESS_KEY, {"user": "deploy"}, "iam-no-users"),
    Added("a bucket that goes with its objects", "aws:s3/bucketV2:BucketV2", {"forceDestroy": True}, "recoverable", protect=True),
    Added("a bucket that may be public", tokens.S3_PUBLIC_ACCESS_BLOCK, {"blockPublicAcls": True, "blockPublicPolicy": False, "ignorePublicAcls": True, "restrictPublicBuckets": True}, "s3-closed"),

    # Media.
    Change("any site of a domain may fetch media", "R2BucketCors", "", "rules.0.allowed.origins", ["https://*.site"], "r2-cors-reads-only"),
    Change("a site without TLS may fetch media", "R2BucketCors", "", "rules.0.allowed.origins", ["http://lightwave-media.site"], "r2-cors-reads-only"),
    Change("browsers may delete, in small letters", "R2BucketCors", "", "rules.0.allowed.methods", ["GET", "delete"], "r2-cors-reads-only"),
    Change("Payload's token opens every bucket of a jurisdiction", "AccountToken", "", "policies.0.resources", json.dumps({f"{BUCKET_SCOPE}a_default_*": "*"}), "cloudflare-token-scope"),
    Change("Payload's token opens another team's bucket", "AccountToken", "", "policies.0.resources", json.dumps({f"{BUCKET_SCOPE}a_default_invoices": "*"}), "cloudflare-token-buckets"),

    # What no rule would see.
    Added("a command on the machine that deploys", "command:local:Command", {"create": "curl x | sh"}, "visible"),
    Added("a Helm release", tokens.HELM_RELEASE, {"chart": "x"}, "visible"),
    Added("a list of objects", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBindingList", {"items": []}, "visible"),
    Added("another provider for the same cloud", "aws-native:rds:DbInstance", {"publiclyAccessible": True}, "visible"),
)
# fmt: on


def test_there_are_enough() -> None:
    assert len(CHANGES) >= 100
    assert len({change.what for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_dangerous_change_is_caught_by_its_rules(change: Change | Added) -> None:
    changed, resources = after(change, prod())
    found = broken(resources)
    assert sorted(found) == sorted(change.rule.split())
    assert "hush" not in "".join(found.values())
    if not (isinstance(change, Change) and change.path == "@") and change.rule != "k8s-namespace-bounded":
        assert {f"{changed.type} {changed.name}: " in message for message in found.values()} == {True}


def test_the_internet_in_two_rules_is_caught() -> None:
    halves = [
        Added(f"half {cidr}", tokens.INGRESS_RULE, ingress(cidrIpv4=cidr)) for cidr in ("8.8.8.0/24", "8.8.9.0/24")
    ]
    resources = list(prod())
    for half in halves:
        _, resources = after(half, resources)
    assert list(broken(resources)) == ["no-open-ingress-together"]

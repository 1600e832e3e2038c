"""Changes that look like dangerous ones and are none, one per line: no rule may refuse them."""
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
    Added,
    C,
    Change,
    after,
    broken,
    prod,
)

DEPLOYER = ("rbac.authorization.k8s.io/v1:Role", "deployer")
SHARED = {"name": "x", "namespace": "shared"}
DJANGO = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "django-api"}}}
METRICS = {"name": "prometheus"}
PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]


def rules(**rule: Any) -> dict[str, Any]:
    return {"apiGroups": [""], "verbs": ["get"], **rule}


def flow(**spec: Any) -> dict[str, Any]:
    return {"metadata": SHARED, "spec": {"podSelector": {"matchLabels": {"app": "x"}}, **spec}}


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


# fmt: off
CHANGES: tuple[Change | Added, ...] = (
    Change("an office may connect", *INGRESS, "cidrIpv4", "198.51.100.16/28"),
    Change("a VPC may connect", *INGRESS, "cidrIpv4", "10.0.0.0/8"),
    Change("an IPv6 office may connect", *INGRESS, "cidrIpv6", "2001:db8:1::/48"),
    Added("a group lets out to the internet", tokens.SECURITY_GROUP_RULE, {"type": "egress", "cidrBlocks": ["0.0.0.0/0"]}),
    Added("one namespace by name may come in", tokens.NETWORK_POLICY, flow(ingress=[{"from": [DJANGO], "ports": [{"port": 9464}]}])),
    Added("two namespaces by name may come in", tokens.NETWORK_POLICY, flow(ingress=[{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]}}], "ports": [{"port": 80}]}])),
    Added("pods of one namespace may talk", tokens.NETWORK_POLICY, flow(ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}])),
    Added("a pod sends mail to the internet alone", tokens.NETWORK_POLICY, flow(egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE}}], "ports": [{"port": 587}, {"port": 465}]}])),
    Added("a pod asks Pod Identity", tokens.NETWORK_POLICY, flow(egress=[{"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": [{"port": 80}]}])),
    Added("a pod asks the node's own DNS cache", tokens.NETWORK_POLICY, flow(egress=[{"to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}])),
    Added("a pod reaches the VPC's networks", tokens.NETWORK_POLICY, flow(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/16"}}, {"ipBlock": {"cidr": "100.64.0.0/16"}}], "ports": [{"port": 5432}]}])),
    Added("a few ports as a range", tokens.NETWORK_POLICY, flow(ingress=[{"from": [DJANGO], "ports": [{"port": 8000, "endPort": 8009}]}])),
    Added("a headless Service", tokens.SERVICE, {"metadata": SHARED, "spec": {"clusterIP": "None", "selector": {"a": "b"}}}),
    Added("a Service that names its type", tokens.SERVICE, {"metadata": SHARED, "spec": {"type": "ClusterIP"}}),
    Added("an alias with the root's dot", tokens.SERVICE, {"metadata": SHARED, "spec": {"type": "ExternalName", "externalName": "a.shared.svc.cluster.local."}}),
    Added("somebody views the cluster, without its secrets", tokens.CLUSTER_ROLE_BINDING, {"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "Group", "name": "lightwave:previews"}]}),
    Added("one account by its user name deploys", tokens.ROLE_BINDING, {"metadata": SHARED, "roleRef": {"kind": "Role", "name": "deployer"}, "subjects": [{"kind": "User", "name": "system:serviceaccount:shared:prometheus"}]}),
    Added("a namespace's own role is called admin", tokens.K8S_ROLE, {"metadata": {"name": "admin", "namespace": "shared"}, "rules": [rules(resources=["pods"])]}),
    Added("metrics of nodes and of the API server", tokens.CLUSTER_ROLE, {"metadata": METRICS, "rules": [rules(resources=["nodes", "nodes/metrics", "services", "endpoints", "pods"], verbs=["get", "list", "watch"]), {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}),
    Change("a deploy job reads what lets it in", *DEPLOYER, "rules.0", rules(apiGroups=["rbac.authorization.k8s.io"], resources=["roles", "rolebindings"], verbs=["get", "list"])),
    Change("a deploy job makes ingresses", *DEPLOYER, "rules.0", rules(apiGroups=["networking.k8s.io"], resources=["ingresses"], verbs=["create", "update"])),
    Change("a deploy job evicts pods and scales", *DEPLOYER, "rules.0", rules(resources=["pods/eviction", "deployments/scale"], verbs=["create", "patch"])),
    Change("a deploy job may ask for itself", *DEPLOYER, "rules.0", rules(apiGroups=["authorization.k8s.io"], resources=["selfsubjectaccessreviews"], verbs=["create"])),
    Added("an AWS role in a group of ours", tokens.ACCESS_ENTRY, {"clusterName": "c", "kubernetesGroups": ["lightwave:previews"]}),
    Added("an AWS role views the cluster", tokens.ACCESS_POLICY, {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", "accessScope": {"type": "cluster"}}),
    Added("a service account that says no", "kubernetes:core/v1:ServiceAccount", {"metadata": SHARED, "automountServiceAccountToken": False}),
    Change("the pooler binds a low port", *POOLER, f"{C}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    Change("the pooler names the usual filter", *POOLER, f"{POD}.securityContext.seccompProfile", {"type": "RuntimeDefault"}),
    Change("the pooler keeps its files in memory", *POOLER, f"{POD}.volumes.0", {"name": "config", "emptyDir": {"medium": "Memory"}}),
    Change("the pooler asks for the token of its own account", *POOLER, f"{POD}.automountServiceAccountToken", True),
    Change("an image by digest alone", *POOLER, f"{C}.image", "edoburu/pgbouncer@sha256:" + "0" * 64),
    Change("a version with a word", *POOLER, f"{C}.image", "edoburu/pgbouncer:v1.25.0-alpine"),
    Change("arguments that hold an equals sign", *POOLER, f"{C}.args", ["--log-level=info", "--listen=:6432", "-v"]),
    Change("a URL without a password", *POOLER, f"{C}.env", [{"name": "UPSTREAM", "value": "http://user@payload:3000/api"}]),
    Change("the name of a secret's file", *POOLER, f"{C}.env", [{"name": "AUTH_FILE", "value": "/etc/pgbouncer-auth/userlist.txt"}]),
    Added("a Secret's keys that nobody can read", tokens.K8S_SECRET, {"metadata": SHARED, "stringData": Secret({"PASSWORD": "hush"})}),
    Change("a role is a member of its readers", *LOGIN, "roles", ["lightwave_login", "payload_reader"]),
    Change("a product reads another product", *LOGIN, "roles", ["lightwave_login", "django_reader"]),
    Added("a product's own migrations", tokens.ROLE, {"name": "payload_migration", "login": True, "connectionLimit": 2, "roles": ["payload_user", "lightwave_login"]}, protect=True),
    Added("a product searches by similarity", tokens.EXTENSION, {"name": "pg_trgm", "schema": "payload"}),
    Change("a smaller connection limit", *LOGIN, "connectionLimit", 1),
    Added("everybody is denied", tokens.GRANT, {"role": "public", "objectType": "schema", "schema": "public", "privileges": []}, protect=True),
    Added("a group uses public", tokens.GRANT, {"role": "lightwave_login", "objectType": "schema", "schema": "public", "privileges": ["USAGE"]}, protect=True),
    Change("slow statements only", *PARAMETERS, "parameters.0", {"name": "log_min_duration_statement", "value": "500"}),
    Change("newer TLS only", *PARAMETERS, "parameters.0", {"name": "ssl_min_protocol_version", "value": "TLSv1.3"}),
    Change("backups are kept longer", *RDS, "backupRetentionPeriod", 35),
    Added("a snapshot of our own", tokens.RDS_SNAPSHOT, {"dbInstanceIdentifier": "lightwave-platform"}, protect=True),
    Change("GitHub's main branch takes a role", "iam/role:Role", "monitoring", "assumeRolePolicy", document(Principal={"Federated": "a"}, Action="sts:AssumeRoleWithWebIdentity", Condition={"StringEquals": {"g:aud": "sts.amazonaws.com", "g:sub": ["repo:a/b:environment:prod"], "g:ref": "refs/heads/main"}})),
    Added("a role describes everything", tokens.IAM_ROLE_POLICY, {"policy": document(Action=["rds:DescribeDBInstances"], Resource="*")}),
    Added("a role passes one role", tokens.IAM_ROLE_POLICY, {"policy": document(Action="iam:PassRole", Resource="arn:aws:iam::123456789012:role/lightwave-monitoring")}),
    Added("a bucket refuses plain HTTP to everybody", tokens.S3_BUCKET_POLICY, {"policy": json.dumps({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}]})}),
    Change("two sites fetch media", "R2BucketCors", "", "rules.0.allowed.origins", ["https://lightwave-media.site", "https://admin.lightwave-media.site:8443"]),
    Change("a developer's machine fetches media", "R2BucketCors", "", "rules.0.allowed.origins", ["http://localhost:3000"]),
    Change("unfinished uploads go sooner", "R2BucketLifecycle", "", "rules.0.abortMultipartUploadsTransition", {"condition": {"type": "Age", "maxAge": 3600}}),
    Added("a stack that shows its outputs", "pulumi:pulumi:StackReference", {"name": "organization/lightwave/prod"}),
)
# fmt: on


def test_there_are_enough() -> None:
    assert len(CHANGES) >= 50
    assert len({change.what for change in CHANGES}) == len(CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_harmless_change_is_accepted(change: Change | Added) -> None:
    _, resources = after(change, prod())
    assert broken(resources) == {}

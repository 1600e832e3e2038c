"""Resources that break no rule, for tests to change."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from policies import tokens
from policies.rules.model import Resource, Secret

DIGEST = "sha256:" + "0" * 64


def resource(type_: str, inputs: Mapping[str, Any], **fields: Any) -> Resource:
    name = type_.rpartition(":")[2].lower()
    return Resource(urn=f"urn:pulumi:dev::lightwave::{type_}::{name}", type=type_, name=name, inputs=inputs, **fields)


CONTAINER = {
    "name": "app",
    "image": f"registry.example/app:1.2@{DIGEST}",
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "readinessProbe": {"tcpSocket": {"port": 1}},
    "livenessProbe": {"tcpSocket": {"port": 1}},
    "env": [
        {"name": "LOG_LEVEL", "value": "info"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
}
DEPLOYMENT = resource(
    tokens.DEPLOYMENT,
    {
        "spec": {
            "template": {
                "spec": {
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 70.0},
                    "containers": [CONTAINER],
                    # An init container ends: it has nothing to probe.
                    "initContainers": [{**CONTAINER, "name": "init", "readinessProbe": None, "livenessProbe": None}],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }
            }
        }
    },
)
POD = "spec.template.spec"
APP = f"{POD}.containers.0"
INSTANCE = resource(
    tokens.RDS_INSTANCE,
    {
        "storageEncrypted": True,
        "publiclyAccessible": False,
        "deletionProtection": True,
        "skipFinalSnapshot": False,
        "finalSnapshotIdentifier": "final",
        "deleteAutomatedBackups": False,
        "backupRetentionPeriod": 7.0,
        "multiAz": True,
        "username": "lightwave_admin",
        "parameterGroupName": "lightwave-postgres15",
        "tags": {"project": "lightwave", "stack": "prod"},
    },
    protect=True,
)
PARAMETERS = resource(
    tokens.RDS_PARAMETER_GROUP,
    {"parameters": [{"name": "log_connections", "value": "1"}, {"name": "rds.force_ssl", "value": "1"}]},
)
INGRESS = resource(tokens.INGRESS_RULE, {"referencedSecurityGroupId": "sg-1", "cidrIpv4": "10.0.0.0/16"})
OLD_INGRESS = resource(tokens.SECURITY_GROUP_RULE, {"type": "ingress", "cidrBlocks": ["10.0.0.0/8"]})
GROUP = resource(tokens.SECURITY_GROUP, {"ingress": [{"cidrBlocks": ["10.0.0.0/8"]}]})
ROLE = resource(
    tokens.ROLE,
    {"name": "payload_user", "login": True, "connectionLimit": 40.0, "roles": ["payload_reader"], "superuser": False},
)
GRANT_ROLE = resource(tokens.GRANT_ROLE, {"role": "a", "grantRole": "payload_reader"})
GRANT = resource(tokens.GRANT, {"role": "payload_user", "privileges": ["USAGE"]})
SCHEMA = resource(tokens.SCHEMA, {"name": "payload", "dropCascade": False})
BUCKET = resource(tokens.R2_BUCKET, {"name": "media"})
MANAGED_DOMAIN = resource(tokens.R2_MANAGED_DOMAIN, {"bucketName": "media", "enabled": False})
CUSTOM_DOMAIN = resource(tokens.R2_CUSTOM_DOMAIN, {"minTls": "1.2"})
LIFECYCLE = resource(tokens.R2_LIFECYCLE, {"rules": [{"abortMultipartUploadsTransition": {}}]})
CORS = resource(
    tokens.R2_CORS,
    {"rules": [{"allowed": {"methods": ["GET", "HEAD"], "origins": ["https://a.example"]}}]},
)
TOKEN = resource(
    tokens.ACCOUNT_TOKEN,
    {"policies": [{"resources": '{"com.cloudflare.edge.r2.bucket.a_default_media": "*"}'}]},
)
CONFIG_MAP = resource(tokens.CONFIG_MAP, {"data": {"HOST": "pgbouncer.shared", "URL": "https://a.example/p"}})
SECRET = resource(tokens.K8S_SECRET, {"stringData": {"PASSWORD": Secret("hush")}})
NAMESPACE = resource(
    tokens.NAMESPACE,
    {"metadata": {"name": "shared", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
)
DENY = resource(
    tokens.NETWORK_POLICY,
    {
        "metadata": {"namespace": "shared"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    },
)
NARROW_ROLE = resource(tokens.K8S_ROLE, {"rules": [{"resources": ["deployments"], "verbs": ["get", "patch"]}]})
BINDING = resource(tokens.CLUSTER_ROLE_BINDING, {"roleRef": {"name": "viewer"}})
PROD_BUCKET = replace(BUCKET, protect=True)
QUOTA = resource(
    tokens.RESOURCE_QUOTA,
    {
        "metadata": {"namespace": "shared"},
        "spec": {
            "hard": {
                "requests.cpu": "1",
                "requests.memory": "1Gi",
                "limits.cpu": "2",
                "limits.memory": "2Gi",
                "pods": "9",
            }
        },
    },
)
SHARED = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shared"}}}
FLOW = resource(
    tokens.NETWORK_POLICY,
    {
        "metadata": {"namespace": "shared"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "a"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{**SHARED, "podSelector": {}}], "ports": [{"port": 6432.0, "protocol": "TCP"}]}],
            "egress": [
                {
                    "to": [
                        {
                            "ipBlock": {
                                "cidr": "0.0.0.0/0",
                                "except": [
                                    *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8"),
                                    *("169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
                                ],
                            }
                        }
                    ],
                    "ports": [{"port": 443.0}, {"port": 8000.0, "endPort": 8014.0}],
                },
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/16"}}], "ports": [{"port": 5432.0}]},
                {"to": [{"podSelector": {}}], "ports": [{"port": "http"}]},
            ],
        },
    },
)
SERVICE = resource(tokens.SERVICE, {"spec": {"type": "ClusterIP", "ports": [{"port": 80.0}]}})
ALIAS = resource(tokens.SERVICE, {"spec": {"type": "ExternalName", "externalName": "a.b.svc.cluster.local"}})
DECLARED_ROLE = resource(tokens.K8S_ROLE, {"metadata": {"name": "deployer", "namespace": "shared"}, "rules": []})
ROLE_BINDING = resource(
    tokens.ROLE_BINDING,
    {
        "metadata": {"namespace": "shared"},
        "roleRef": {"kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "Group", "name": "lightwave:shared:deployers"}],
    },
)
ACCESS_ENTRY = resource(tokens.ACCESS_ENTRY, {"kubernetesGroups": ["lightwave:shared:deployers"], "type": "STANDARD"})
_EKS_POLICIES = "arn:aws:eks::aws:cluster-access-policy"
ACCESS_POLICY = resource(
    tokens.ACCESS_POLICY,
    {"policyArn": f"{_EKS_POLICIES}/AmazonEKSViewPolicy", "accessScope": {"type": "cluster"}},
)

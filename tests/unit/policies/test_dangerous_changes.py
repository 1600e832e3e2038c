"""Dangerous changes, one per line: each is caught by the rule, or the settings, that it names."""
# ruff: noqa: E501 (the tables: one change per line)

from typing import Any, NamedTuple

import pytest

import settings
from components.database.connection_budget import connection_budget
from ops.plan import policy
from policies.rules import RESOURCE_RULES
from policies.rules.model import NotCheckable, Secret
from tests.unit.conftest import full_config
from tests.unit.policies.changes import (
    DEFAULTS,
    EXPIRY,
    INGRESS,
    LOGIN,
    OWN,
    PARAMETERS,
    POD,
    POOLER,
    PUBLIC,
    RDS,
    READER,
    ROLE_RULE,
    SCHEMA,
    C,
    Change,
    after,
    broken,
    prod,
)
from tests.unit.policies.deep_change import GONE, changed_at

# fmt: off
CHANGES = (
    Change("storage is not encrypted", *RDS, "storageEncrypted", False, "rds-encrypted"),
    Change("encryption is left to AWS's default", *RDS, "storageEncrypted", GONE, "rds-encrypted"),
    Change("the database gets a public address", *RDS, "publiclyAccessible", True, "rds-not-public"),
    Change("the whole IPv4 internet may connect", *INGRESS, "cidrIpv4", "0.0.0.0/0", "no-open-ingress"),
    Change("the whole IPv6 internet may connect", *INGRESS, "cidrIpv6", "::/0", "no-open-ingress"),
    Change("RDS's own deletion protection is off", *RDS, "deletionProtection", False, "rds-deletion-protection"),
    Change("no final snapshot", *RDS, "skipFinalSnapshot", True, "rds-final-snapshot"),
    Change("a final snapshot without a name", *RDS, "finalSnapshotIdentifier", GONE, "rds-final-snapshot"),
    Change("backups go with the instance", *RDS, "deleteAutomatedBackups", True, "rds-final-snapshot"),
    Change("backups are kept for three days", *RDS, "backupRetentionPeriod", 3, "rds-backups"),
    Change("backups are off", *RDS, "backupRetentionPeriod", 0, "rds-backups"),
    Change("no standby", *RDS, "multiAz", False, "rds-multi-az"),
    Change("the master role is postgres", *RDS, "username", "postgres", "rds-master-name"),
    Change("AWS's parameters", *RDS, "parameterGroupName", "default.postgres15", "rds-own-parameters"),
    Change("connections without TLS", *PARAMETERS, "parameters", [{"name": "rds.force_ssl", "value": "0"}], "rds-force-ssl"),
    Change("TLS is not asked for", *PARAMETERS, "parameters", [], "rds-force-ssl"),
    Change("the instance is unprotected", *RDS, "@protect", False, "data-protected"),
    Change("the admin's secret is unprotected", "secretsmanager/secret:Secret", "", "@protect", False, "data-protected"),
    Change("the AWS provider loses its tags", *RDS, "@provider", {}, "aws-tags"),
    Change("a product logs in as superuser", *LOGIN, "superuser", True, "role-attributes"),
    Change("a product may make databases", *LOGIN, "createDatabase", True, "role-attributes"),
    Change("a product may make roles", *LOGIN, "createRole", True, "role-attributes"),
    Change("a product may replicate everything", *LOGIN, "replication", True, "role-attributes"),
    Change("row security does not hold a product", *LOGIN, "bypassRowLevelSecurity", True, "role-attributes"),
    Change("a product joins RDS's superusers", *LOGIN, "roles", ["rds_superuser"], "role-groups"),
    Change("a reader reads every schema", *READER, "roles", ["pg_read_all_data"], "role-groups"),
    Change("a product may take every connection", *LOGIN, "connectionLimit", -1, "role-connection-limit"),
    Change("a connection limit is left out", *LOGIN, "connectionLimit", GONE, "role-connection-limit"),
    Change("everybody may connect", *PUBLIC, "privileges", ["CONNECT"], "no-grant-to-public"),
    Change("everybody may use payload's schema", *OWN, "role", "public", "no-grant-to-public"),
    Change("everybody reads payload's future tables", *DEFAULTS, "role", "public", "no-grant-to-public"),
    Change("a product may hand its grant on", *OWN, "withGrantOption", True, "no-grant-option"),
    Change("a schema is dropped with its tables", *SCHEMA, "dropCascade", True, "no-drop-cascade"),
    Change("a schema is unprotected", *SCHEMA, "@protect", False, "data-protected"),
    Change("a login role is unprotected", *LOGIN, "@protect", False, "data-protected"),
    Change("a grant is unprotected", *OWN, "@protect", False, "data-protected"),
    Change("default privileges are unprotected", *DEFAULTS, "@protect", False, "data-protected"),
    Change("media is served past the CDN", "R2ManagedDomain", "", "enabled", True, "r2-dev-off"),
    Change("r2.dev is no longer declared", "R2ManagedDomain", "", "@", GONE, "r2-dev-declared"),
    Change("the CDN takes TLS 1.0", "R2CustomDomain", "", "minTls", "1.0", "r2-min-tls"),
    Change("the CDN's TLS is left to the default", "R2CustomDomain", "", "minTls", GONE, "r2-min-tls"),
    Change("media expires after a day", "R2BucketLifecycle", "", "rules.0.deleteObjectsTransition", EXPIRY, "r2-no-expiry"),
    Change("browsers may upload", "R2BucketCors", "", "rules.0.allowed.methods", ["GET", "PUT"], "r2-cors-reads-only"),
    Change("any site may fetch media", "R2BucketCors", "", "rules.0.allowed.origins", ["*"], "r2-cors-reads-only"),
    Change("Payload's token opens the account", "AccountToken", "", "policies.0.resources", '{"com.cloudflare.api.account.a": "*"}', "cloudflare-token-scope"),
    Change("the bucket is unprotected", "R2Bucket", "", "@protect", False, "data-protected"),
    Change("the pooler has no memory limit", *POOLER, f"{C}.resources.limits.memory", GONE, "k8s-resources"),
    Change("the pooler requests nothing", *POOLER, f"{C}.resources.requests", GONE, "k8s-resources"),
    Change("the pooler runs as root", *POOLER, f"{POD}.securityContext.runAsUser", 0, "k8s-non-root"),
    Change("a container may run as root", *POOLER, f"{C}.securityContext.runAsNonRoot", False, "k8s-non-root"),
    Change("a container may gain privileges", *POOLER, f"{C}.securityContext.allowPrivilegeEscalation", True, "k8s-no-privilege-escalation"),
    Change("a container is privileged", *POOLER, f"{C}.securityContext.privileged", True, "k8s-no-privilege-escalation"),
    Change("a container keeps its capabilities", *POOLER, f"{C}.securityContext.capabilities", GONE, "k8s-no-privilege-escalation"),
    Change("an intruder may change the program", *POOLER, f"{C}.securityContext.readOnlyRootFilesystem", False, "k8s-read-only-root"),
    Change("the newest image, whatever it is", *POOLER, f"{C}.image", "edoburu/pgbouncer:latest", "k8s-no-latest"),
    Change("an image without a version", *POOLER, f"{C}.image", "edoburu/pgbouncer", "k8s-no-latest"),
    Change("traffic before the pooler is ready", *POOLER, f"{C}.readinessProbe", GONE, "k8s-probes"),
    Change("a hung pooler is never restarted", *POOLER, f"{C}.livenessProbe", GONE, "k8s-probes"),
    Change("the pooler is on the node's network", *POOLER, f"{POD}.hostNetwork", True, "k8s-no-host-access"),
    Change("the pooler reads the node's files", *POOLER, f"{POD}.volumes.0.hostPath", {"path": "/"}, "k8s-no-host-access"),
    Change("a password in a pod's environment", *POOLER, f"{C}.env", [{"name": "PGPASSWORD", "value": "hush"}], "k8s-no-plain-secret"),
    Change("a password in a ConfigMap", "ConfigMap", "", "data.DATABASE_URI", "postgres://u:hush@h/d", "k8s-no-plain-secret"),
    Change("a secret value in a ConfigMap", "ConfigMap", "", "data.x", Secret("hush"), "k8s-no-plain-secret"),
    Change("a Secret that the plan can read", "core/v1:Secret", "", "stringData", {"x": "hush"}, "k8s-no-plain-secret"),
    Change("a namespace is open both ways", "NetworkPolicy", "django-api.*default-deny", "@", GONE, "k8s-default-deny"),
    Change("a namespace reaches the internet", "NetworkPolicy", "payload-cms.*default-deny", "spec.egress", [{}], "k8s-narrow-network-policy k8s-default-deny"),
    Change("a namespace is reached by everybody", "NetworkPolicy", "shared.*default-deny", "spec.ingress", [{}], "k8s-narrow-network-policy k8s-default-deny"),
    Change("default deny is for some pods only", "NetworkPolicy", "shared.*default-deny", "spec.podSelector", {"matchLabels": {"a": "b"}}, "k8s-default-deny"),
    Change("a namespace takes privileged pods", "core/v1:Namespace", "", "metadata.labels", {"pod-security.kubernetes.io/enforce": "privileged"}, "k8s-pod-security"),
    Change("a namespace takes any pod", "core/v1:Namespace", "", "metadata.labels", GONE, "k8s-pod-security"),
    Change("every pod may speak to the API server", "core/v1:ServiceAccount", "", "automountServiceAccountToken", True, "k8s-no-automount"),
    Change("a deploy job may do everything", "rbac.authorization.k8s.io/v1:Role", "deployer", "rules.0.verbs", ["*"], "k8s-narrow-role"),
    Change("a deploy job reads secrets", "rbac.authorization.k8s.io/v1:Role", "deployer", "rules.0", {**ROLE_RULE, "resources": ["secrets"]}, "k8s-narrow-role"),
    Change("a deploy job opens shells in pods", "rbac.authorization.k8s.io/v1:Role", "deployer", "rules.0", {**ROLE_RULE, "resources": ["pods/exec"]}, "k8s-narrow-role"),
)


class Refused(NamedTuple):
    """A change to prod's config that is refused before anything is declared, and the key that the message names."""

    what: str
    path: str
    value: Any
    key: str


REFUSED = (
    Refused("nothing is protected", "protect", False, "protect"),
    Refused("protection is left out", "protect", GONE, "protect"),
    Refused("no standby", "database.multiAz", False, "database.multiAz"),
    Refused("backups are kept for a day", "database.backupRetentionDays", 1, "database.backupRetentionDays"),
    Refused("backups are off", "database.backupRetentionDays", 0, "database.backupRetentionDays"),
    Refused("a guard is misspelt", "database.mutliAz", True, "database.mutliAz"),
    Refused("the tunnel does not check certificates", "database.adminEndpoint", {"host": "localhost", "port": 5432, "sslMode": "require"}, "database.adminEndpoint.sslMode"),
    Refused("the newest pooler, whatever it is", "pgbouncer.image", "edoburu/pgbouncer:latest", "pgbouncer.image"),
    Refused("no pooler is named", "pgbouncer.image", GONE, "pgbouncer.image"),
    Refused("the CDN takes TLS 1.0", "media.minTls", "1.0", "media.minTls"),
    Refused("any site may fetch media", "media.corsOrigins", ["*"], "media.corsOrigins[0]"),
    Refused("the CDN moves to a zone of somebody else", "media.domain", "cdn.elsewhere.site", "media.domain"),
    Refused("keys in the config that nothing uses", "media.secretAccessKey", "hush", "media.secretAccessKey"),
    Refused("a namespace takes privileged pods", "kubernetes.namespaces.shared.podSecurity", "privileged", "kubernetes.namespaces.shared.podSecurity"),
    Refused("the pooler's namespace goes", "kubernetes.namespaces.shared", GONE, "kubernetes.namespaces.shared"),
    Refused("a product in a namespace without guard rails", "products.django.namespace", "default", "products.django.namespace"),
    Refused("a product may take every connection", "products.payload.connectionLimit", -1, "products.payload.connectionLimit"),
    Refused("statements without a timeout", "products.payload.statementTimeoutMs", 0, "products.payload.statementTimeoutMs"),
    Refused("a product in everybody's schema", "products.createos.schema", "public", "products.createos.schema"),
    Refused("a product in another's schema", "products.createos.schema", "payload", "products.createos.schema"),
    Refused("a reader that is no product", "products.payload.readers", ["everybody"], "products.payload.readers[0]"),
    Refused("a rollout takes every connection", "pgbouncer.maxSurge", 5, "database.instanceClass"),
    Refused("more poolers than the server has connections for", "pgbouncer.replicas", 20, "database.instanceClass"),
    Refused("one product's pool takes every connection", "products.payload.pool.size", 200, "database.instanceClass"),
    Refused("a server too small for its pools", "database.instanceClass", "db.t3.micro", "database.instanceClass"),
    Refused("a limit that the pooler runs into", "products.payload.connectionLimit", 10, "products.payload.connectionLimit"),
    Refused("a quota without bounds", "kubernetes.namespaces.shared.quota", {}, "kubernetes.namespaces.shared.quota.limitsMemory"),
)
# fmt: on


def test_there_are_enough() -> None:
    assert len(CHANGES) + len(REFUSED) >= 40
    assert len({change.what for change in CHANGES}) == len(CHANGES)
    assert len({change.what for change in REFUSED}) == len(REFUSED)


def test_the_unchanged_program_is_clean() -> None:
    """Offline it cannot check certificates, which only a deploy has."""
    found = [(verdict.rule.name, verdict.answer) for verdict in policy.verdicts(prod())]
    assert set(found) == {("k8s-no-plain-secret", NotCheckable(f"data.{file}")) for file in ("rds-ca.pem", "ca.pem")}


def test_the_unchanged_config_is_accepted() -> None:
    connection_budget(settings.load("prod", full_config("prod")))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_dangerous_change_is_caught_by_its_rule(change: Change) -> None:
    changed, resources = after(change, prod())
    found = broken(resources)
    assert list(found) == change.rule.split()
    for rule, message in found.items():
        # A rule about the whole stack may name another resource: the namespace that lacks a policy.
        if change.path == "@protect" or rule in {rule.name for rule in RESOURCE_RULES}:
            assert message.startswith(f"{changed.type} {changed.name}: ")
        assert "hush" not in message


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.what)
def test_a_dangerous_config_is_refused_by_its_key(change: Refused) -> None:
    section, _, path = change.path.partition(".")
    config = full_config("prod")
    config = changed_at(config, f"lightwave:{section}{'.' if path else ''}{path}", change.value)
    with pytest.raises(settings.SettingsError) as refused:
        connection_budget(settings.load("prod", config))
    assert f"\n  lightwave:{change.key}: " in str(refused.value)
    assert "hush" not in str(refused.value)

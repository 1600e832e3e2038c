"""PgBouncer on the cluster: exact inputs and options."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

import settings
from components.database.connection_budget import instances_at_worst
from components.pgbouncer.deployment import PgBouncer, PgBouncerArgs, drain_seconds
from components.pgbouncer.ini import CLIENT_IDLE_TIMEOUT_SECONDS
from components.server import Server
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from settings import Product
from tests.unit.conftest import container_of, workload_pod

CORE = "kubernetes:core/v1:"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:kubernetes:PgBouncer::pgbouncer"
IMAGE = f"edoburu/pgbouncer:v1.25.2-p0@sha256:{'c' * 64}"
EXPORTER = f"prometheuscommunity/pgbouncer-exporter:v0.11.0@sha256:{'d' * 64}"
CA_PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
STATS_PASSWORD = "open-sesame"
PRODUCTS = (
    Product.model_validate({"name": "payload", "schema": "payload"}),
    Product.model_validate(
        {"name": "django", "schema": "django", "statementTimeoutMs": 45_500, "idleInTransactionTimeoutMs": 60_000}
    ),
)
NAME = {"app.kubernetes.io/name": "pgbouncer"}


def given(**changes: Any) -> PgBouncerArgs:
    known = {
        "namespace": "shared",
        "settings": pgbouncer_settings(),
        "products": PRODUCTS,
        "server": Server(host="db.example", port=5432),
        "ca_pem": CA_PEM,
        "verifiers": dict.fromkeys(("payload_user", "django_user", "pgbouncer_stats"), VERIFIER),
        "stats_password": STATS_PASSWORD,
        "rotations": {"django_user": 3},
    }
    return PgBouncerArgs(**{**known, **changes})


def pgbouncer_settings(**changes: Any) -> settings.PgBouncerSettings:
    return settings.PgBouncerSettings.model_validate(
        {"replicas": 2, "maxSurge": 0, "image": IMAGE, "exporterImage": EXPORTER, **changes}
    )


def recording(**changes: Any) -> Recording:
    return recorder.record(lambda: PgBouncer("pgbouncer", given(**changes)), stack="prod")


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def deployment(recorded: Recording) -> Mapping[str, Any]:
    return recorded.one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment").inputs


def pod(recorded: Recording) -> Mapping[str, Any]:
    return workload_pod(recorded, "Deployment")


def container(recorded: Recording, name: str) -> Mapping[str, Any]:
    return container_of(pod(recorded), name)


def ini(recorded: Recording) -> str:
    return str(recorded.one(f"{CORE}ConfigMap", "pgbouncer-config").inputs["data"]["pgbouncer.ini"])


def test_declares_exactly_these(recorded: Recording) -> None:
    assert sorted((r.type.rpartition(":")[2], r.name) for r in recorded.resources if r.custom) == [
        ("ConfigMap", "pgbouncer-ca"),
        ("ConfigMap", "pgbouncer-config"),
        ("Deployment", "pgbouncer-deployment"),
        ("PodDisruptionBudget", "pgbouncer-disruption"),
        ("PriorityClass", "pgbouncer-priority"),
        ("Secret", "pgbouncer-auth"),
        ("Service", "pgbouncer-service"),
        ("ServiceAccount", "pgbouncer-account"),
    ]
    assert {r.parent for r in recorded.resources if r.custom} == {COMPONENT}
    assert recorded.component_outputs == {COMPONENT: {"address": "pgbouncer.shared.svc.cluster.local:6432"}}


def test_the_configuration_is_rendered_for_this_pod(recorded: Recording) -> None:
    lines = ini(recorded).splitlines()
    assert "lightwave_platform = host=db.example port=5432 dbname=lightwave_platform max_db_connections=14" in lines
    for line in (
        "listen_addr = 0.0.0.0",
        "listen_port = 6432",
        "auth_file = /etc/pgbouncer-auth/userlist.txt",
        "auth_type = scram-sha-256",
        "server_tls_sslmode = verify-full",
        "server_tls_ca_file = /etc/pgbouncer-ca/rds-ca.pem",
        "client_tls_sslmode = disable",
        "stats_users = pgbouncer_stats",
        "max_client_conn = 1000",
        # A key of 1.24: rendered for the image's version.
        "client_idle_timeout = 300",
    ):
        assert line in lines, line
    assert not [line for line in lines if line.startswith(("logfile", "pidfile"))]


def test_what_the_configuration_names_is_mounted(recorded: Recording) -> None:
    mounts = {m["mountPath"]: (m["name"], m["readOnly"]) for m in container(recorded, "pgbouncer")["volumeMounts"]}
    assert mounts == {
        "/etc/pgbouncer": ("config", True),
        "/etc/pgbouncer-ca": ("ca", True),
        "/etc/pgbouncer-auth": ("auth", True),
        "/tmp": ("tmp", False),  # noqa: S108
    }
    assert pod(recorded)["volumes"] == [
        {"name": "config", "configMap": {"name": "pgbouncer"}},
        {"name": "ca", "configMap": {"name": "rds-ca"}},
        {
            "name": "auth",
            "secret": {
                "secretName": "pgbouncer-auth",
                # Not the exporter's connection string, which contains a password.
                "items": [{"key": "userlist.txt", "path": "userlist.txt"}],
                "defaultMode": 0o440,
            },
        },
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]
    names = {r.name: r.inputs["metadata"]["name"] for r in recorded.resources if r.custom}
    assert names["pgbouncer-config"] == "pgbouncer"
    assert names["pgbouncer-ca"] == "rds-ca"
    assert names["pgbouncer-auth"] == "pgbouncer-auth"
    assert recorded.one(f"{CORE}ConfigMap", "pgbouncer-ca").inputs["data"] == {"rds-ca.pem": CA_PEM}


def test_the_secret_holds_verifiers_and_the_exporters_login(recorded: Recording) -> None:
    secret = recorded.one(f"{CORE}Secret", "pgbouncer-auth")
    users = "".join(f'"{role}" "{VERIFIER}"\n' for role in ("django_user", "payload_user", "pgbouncer_stats"))
    assert secret.inputs["stringData"] == Secret(
        {
            "userlist.txt": users,
            "exporter-dsn": f"postgres://pgbouncer_stats:{STATS_PASSWORD}@127.0.0.1:6432/pgbouncer?sslmode=disable",
        }
    )
    assert set(secret.additional_secret_outputs) == {"data", "stringData"}


def test_no_secret_anywhere_else(recorded: Recording) -> None:
    others = [r.inputs for r in recorded.resources if r.type != f"{CORE}Secret"]
    assert others
    for inputs in others:
        text = repr(inputs)
        assert STATS_PASSWORD not in text
        assert VERIFIER not in text


def test_the_pod_is_locked_down(recorded: Recording) -> None:
    spec = pod(recorded)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 70,
        "runAsGroup": 70,
        "fsGroup": 70,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    locked = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(recorded, "pgbouncer")["securityContext"] == locked
    assert container(recorded, "exporter")["securityContext"] == {**locked, "runAsUser": 65534, "runAsGroup": 65534}
    assert [c["name"] for c in spec["containers"]] == ["pgbouncer", "exporter"]
    assert "initContainers" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["serviceAccountName"] == "pgbouncer"
    account = recorded.one(f"{CORE}ServiceAccount", "pgbouncer-account").inputs
    assert account["metadata"]["name"] == "pgbouncer"
    assert account["automountServiceAccountToken"] is False


def test_what_runs(recorded: Recording) -> None:
    pgbouncer, exporter = container(recorded, "pgbouncer"), container(recorded, "exporter")
    assert pgbouncer["image"] == IMAGE
    assert pgbouncer["command"] == ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
    assert pgbouncer["ports"] == [{"name": "postgres", "containerPort": 6432, "protocol": "TCP"}]
    assert exporter["image"] == EXPORTER
    assert exporter["args"] == ["--web.listen-address=:9127"]
    assert exporter["ports"] == [{"name": "metrics", "containerPort": 9127, "protocol": "TCP"}]
    assert exporter["env"] == [
        {
            "name": "PGBOUNCER_EXPORTER_CONNECTION_STRING",
            "valueFrom": {"secretKeyRef": {"name": "pgbouncer-auth", "key": "exporter-dsn"}},
        }
    ]


def test_resources(recorded: Recording) -> None:
    assert container(recorded, "pgbouncer")["resources"] == {
        "requests": {"cpu": "250m", "memory": "128Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    }
    assert container(recorded, "exporter")["resources"] == {
        "requests": {"cpu": "20m", "memory": "32Mi"},
        "limits": {"cpu": "100m", "memory": "64Mi"},
    }


def test_probes(recorded: Recording) -> None:
    for name, action in (
        ("pgbouncer", {"tcpSocket": {"port": 6432}}),
        ("exporter", {"httpGet": {"path": "/", "port": 9127}}),
    ):
        probes = {kind: container(recorded, name)[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
        for probe in probes.values():
            assert probe.items() >= action.items()
            assert probe["timeoutSeconds"] == 2
        # A failing pod is removed from the Service long before it is restarted.
        patience = {kind: probe["periodSeconds"] * probe["failureThreshold"] for kind, probe in probes.items()}
        assert patience["readiness"] < patience["liveness"]
        assert patience["startup"] >= 30


def test_it_drains_longer_than_a_client_lives(recorded: Recording) -> None:
    pgbouncer = container(recorded, "pgbouncer")
    # Only a sleep: after a signal here the kubelet's SIGTERM would be the second one, which cuts connections.
    assert pgbouncer["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    # The most patient role: a statement of 45.5 s and a pause of 60 s, rounded up.
    assert pod(recorded)["terminationGracePeriodSeconds"] == 15 + CLIENT_IDLE_TIMEOUT_SECONDS + 106
    assert drain_seconds(PRODUCTS) == 15 + CLIENT_IDLE_TIMEOUT_SECONDS + 106
    assert drain_seconds(PRODUCTS[:1]) == 15 + CLIENT_IDLE_TIMEOUT_SECONDS + 90


def test_the_rollout_waits_for_each_drain(recorded: Recording) -> None:
    spec = deployment(recorded)["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    assert spec["minReadySeconds"] == pod(recorded)["terminationGracePeriodSeconds"]
    # The API server refuses a deadline that is not longer.
    assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]
    surging = deployment(recording(settings=pgbouncer_settings(maxSurge=1)))["spec"]
    assert surging["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("replicas", "surge", "worst"),
    # Two run or start while one drains. With a surge: three run, one drains. With 2 above 4: six run, two drain.
    [(2, 0, 3), (1, 0, 2), (2, 1, 4), (4, 2, 8)],
)
def test_instances_with_connections_in_the_middle_of_a_rollout(replicas: int, surge: int, worst: int) -> None:
    assert instances_at_worst(pgbouncer_settings(replicas=replicas, maxSurge=surge)) == worst


def test_pods_are_spread_and_disrupted_one_at_a_time(recorded: Recording) -> None:
    own = {"maxSkew": 1, "labelSelector": {"matchLabels": NAME}, "matchLabelKeys": ["pod-template-hash"]}
    assert pod(recorded)["topologySpreadConstraints"] == [
        {**own, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
        {**own, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    ]
    budget = recorded.one("kubernetes:policy/v1:PodDisruptionBudget", "pgbouncer-disruption").inputs
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": NAME},
    }
    priority = recorded.one("kubernetes:scheduling.k8s.io/v1:PriorityClass", "pgbouncer-priority").inputs
    assert pod(recorded)["priorityClassName"] == priority["metadata"]["name"] == "lightwave-pooler"
    assert (priority["value"], priority["globalDefault"]) == (1_000_000, False)


def test_the_service_reaches_the_pods(recorded: Recording) -> None:
    service = recorded.one(f"{CORE}Service", "pgbouncer-service").inputs
    assert service["metadata"] == {"name": "pgbouncer", "namespace": "shared", "labels": NAME}
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": NAME,
        "ports": [{"name": "postgres", "port": 6432, "targetPort": 6432, "protocol": "TCP"}],
    }
    spec = deployment(recorded)["spec"]
    assert spec["selector"] == {"matchLabels": NAME}
    assert spec["template"]["metadata"]["labels"] == NAME


def test_a_changed_configuration_or_password_replaces_the_pods(recorded: Recording) -> None:
    def annotations(recorded: Recording) -> Mapping[str, str]:
        found: Mapping[str, str] = deployment(recorded)["spec"]["template"]["metadata"]["annotations"]
        return found

    before = annotations(recorded)
    assert before == {
        "lightwave.media/config-sha256": hashlib.sha256(ini(recorded).encode()).hexdigest(),
        "lightwave.media/rotations": "django_user=3 payload_user=0 pgbouncer_stats=0",
        "kubectl.kubernetes.io/default-container": "pgbouncer",
    }
    moved = annotations(recording(server=Server(host="db2.example", port=5432)))
    assert moved["lightwave.media/config-sha256"] != before["lightwave.media/config-sha256"]
    rotated = annotations(recording(rotations={"django_user": 4}))
    assert rotated["lightwave.media/rotations"] == "django_user=4 payload_user=0 pgbouncer_stats=0"
    # Of a password they hold only its counter.
    other = "SCRAM-SHA-256$4096:b3RoZXI=$c3RvcmVk:c2VydmVy"
    verifiers = dict.fromkeys(("payload_user", "django_user", "pgbouncer_stats"), other)
    assert annotations(recording(verifiers=verifiers, stats_password="another")) == before


def test_clients_use_tls_where_configured() -> None:
    recorded = recording(settings=pgbouncer_settings(clientTls=True))
    assert "client_tls_sslmode = require" in ini(recorded)
    assert "client_tls_cert_file = /etc/pgbouncer-tls/tls.crt" in ini(recorded)
    assert "client_tls_key_file = /etc/pgbouncer-tls/tls.key" in ini(recorded)
    tls = {"name": "tls", "secret": {"secretName": "pgbouncer-tls", "defaultMode": 0o440}}
    assert tls in pod(recorded)["volumes"]
    mounts = container(recorded, "pgbouncer")["volumeMounts"]
    assert {"name": "tls", "mountPath": "/etc/pgbouncer-tls", "readOnly": True} in mounts
    auth = recorded.one(f"{CORE}Secret", "pgbouncer-auth").inputs["stringData"].value
    assert auth["exporter-dsn"].endswith("?sslmode=require")


def test_an_update_waits_for_the_rollout_unless_disabled(recorded: Recording) -> None:
    def annotated(recorded: Recording) -> list[str]:
        return sorted(r.name for r in recorded.resources if "annotations" in r.inputs.get("metadata", {}))

    assert annotated(recorded) == []
    assert annotated(recording(wait_for_rollout=False)) == ["pgbouncer-deployment", "pgbouncer-service"]


def test_the_wait_is_longer_than_the_rollout(recorded: Recording) -> None:
    """With the provider's default of ten minutes, a rollout that drains as it should would count as failed."""
    resource = recorded.one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment")
    seconds = 3 * (drain_seconds(PRODUCTS) + 60)
    assert resource.custom_timeouts == {"create": f"{seconds}s", "update": f"{seconds}s"}


def test_the_pods_wait_for_what_they_mount(recorded: Recording) -> None:
    needed = ("pgbouncer-config", "pgbouncer-ca", "pgbouncer-auth", "pgbouncer-account", "pgbouncer-priority")
    found = set(recorded.one("kubernetes:apps/v1:Deployment", "pgbouncer-deployment").depends_on)
    assert found == {r.urn for r in recorded.resources if r.name in needed}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verifiers": {"payload_user": VERIFIER, "pgbouncer_stats": VERIFIER}}, "no verifier for django_user"),
        ({"verifiers": dict.fromkeys(("payload_user", "django_user"), VERIFIER)}, "no verifier for pgbouncer_stats"),
    ],
)
def test_refused_arguments(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(pulumi.InputPropertyError, match=reason):
        given(**changes)

"""Valkey on the cluster: exact inputs and options."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

import settings
from components.kubernetes.valkey import Valkey, ValkeyArgs
from components.kubernetes.valkey_files import users_acl, valkey_conf
from ops.plan import recorder
from ops.plan.recorder import Recording
from policies.rules.model import Secret
from tests.configs import VALKEY_IMAGES
from tests.unit.conftest import container_of, workload_pod

CORE = "kubernetes:core/v1:"
COMPONENT = "urn:pulumi:prod::lightwave::lightwave:kubernetes:Valkey::valkey"
PASSWORD, METRICS_PASSWORD = "open-sesame", "count-me-in"
METRICS_COMMANDS = (
    "-@all +ping +client|setname +command|info +config|get +info "
    "+latency|histogram +latency|latest +slowlog|get +slowlog|len "
    "%R~celery +llen +memory|usage +select +type"
)
NAME = {"app.kubernetes.io/name": "redis"}


def valkey(**changes: Any) -> settings.ValkeySettings:
    return settings.ValkeySettings.model_validate({"maxMemoryMib": 512, **VALKEY_IMAGES, **changes})


def given(**changes: Any) -> ValkeyArgs:
    known = {
        "namespace": "shared",
        "settings": valkey(),
        "user": "django",
        "password": PASSWORD,
        "metrics_password": METRICS_PASSWORD,
        "rotations": {"VALKEY_PASSWORD": 3, "payload_user": 5},
    }
    return ValkeyArgs(**{**known, **changes})


def recording(**changes: Any) -> Recording:
    return recorder.record(lambda: Valkey("valkey", given(**changes)), stack="prod")


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


def stateful_set(recorded: Recording) -> Mapping[str, Any]:
    return recorded.one("kubernetes:apps/v1:StatefulSet", "valkey-statefulset").inputs


def pod(recorded: Recording) -> Mapping[str, Any]:
    return workload_pod(recorded, "StatefulSet")


def container(recorded: Recording, name: str) -> Mapping[str, Any]:
    return container_of(pod(recorded), name)


def conf(recorded: Recording) -> str:
    return str(recorded.one(f"{CORE}ConfigMap", "valkey-config").inputs["data"]["valkey.conf"])


def directives(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


# --- the files --------------------------------------------------------------------------------------------------------


def test_the_configuration(recorded: Recording) -> None:
    assert directives(conf(recorded)) == [
        "bind 0.0.0.0",
        "port 6379",
        "aclfile /etc/valkey-auth/users.acl",
        "dir /data",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory 512mb",
        "maxmemory-policy volatile-lru",
        "tcp-keepalive 60",
    ]


def test_the_configuration_for_other_paths_and_ports() -> None:
    text = valkey_conf(max_memory_mib=64, bind="127.0.0.1", port=7000, directory="/x", acl_path="/y/users.acl")
    assert set(directives(text)) >= {"bind 127.0.0.1", "port 7000", "dir /x", "aclfile /y/users.acl", "maxmemory 64mb"}


def test_the_users() -> None:
    hashed = {word: hashlib.sha256(word.encode()).hexdigest() for word in (PASSWORD, METRICS_PASSWORD)}
    assert users_acl(user="django", password=PASSWORD, metrics_password=METRICS_PASSWORD).splitlines() == [
        "user default off",
        f"user django on #{hashed[PASSWORD]} ~* &* +@all -@admin -@dangerous +info +flushdb",
        f"user metrics on #{hashed[METRICS_PASSWORD]} {METRICS_COMMANDS}",
    ]


# --- what is declared -------------------------------------------------------------------------------------------------


def test_declares_exactly_these(recorded: Recording) -> None:
    """Without a PodDisruptionBudget: with one replica it could only keep nodes from being drained."""
    assert sorted((r.type.rpartition(":")[2], r.name) for r in recorded.resources if r.custom) == [
        ("ConfigMap", "valkey-config"),
        ("Secret", "valkey-auth"),
        ("Service", "valkey-headless"),
        ("Service", "valkey-service"),
        ("ServiceAccount", "valkey-account"),
        ("StatefulSet", "valkey-statefulset"),
    ]
    assert {r.parent for r in recorded.resources if r.custom} == {COMPONENT}
    names = {r.name: r.inputs["metadata"] for r in recorded.resources if r.custom}
    assert {name: metadata["name"] for name, metadata in names.items()} == {
        "valkey-config": "valkey",
        "valkey-auth": "valkey-auth",
        "valkey-headless": "redis-pods",
        "valkey-service": "redis",
        "valkey-account": "valkey",
        "valkey-statefulset": "valkey",
    }
    assert all((m["namespace"], m["labels"]) == ("shared", NAME) for m in names.values())


def test_outputs(recorded: Recording) -> None:
    assert recorded.component_outputs[COMPONENT] == {
        "address": "redis.shared.svc.cluster.local:6379",
        "url": Secret(f"redis://django:{PASSWORD}@redis.shared:6379/0"),
    }


def test_a_password_cannot_break_out_of_the_url() -> None:
    outputs = recording(user="a b", password="p@ss/w:rd#").component_outputs[COMPONENT]
    assert outputs["url"] == Secret("redis://a%20b:p%40ss%2Fw%3Ard%23@redis.shared:6379/0")


def test_the_secret_holds_hashes_and_the_exporters_password(recorded: Recording) -> None:
    secret = recorded.one(f"{CORE}Secret", "valkey-auth")
    assert secret.inputs["stringData"] == Secret(
        {
            "users.acl": users_acl(user="django", password=PASSWORD, metrics_password=METRICS_PASSWORD),
            "metrics-password": METRICS_PASSWORD,
        }
    )
    assert set(secret.additional_secret_outputs) == {"data", "stringData"}
    assert PASSWORD not in secret.inputs["stringData"].value["users.acl"]
    assert METRICS_PASSWORD not in secret.inputs["stringData"].value["users.acl"]


def test_no_secret_anywhere_else(recorded: Recording) -> None:
    hashed = [hashlib.sha256(word.encode()).hexdigest() for word in (PASSWORD, METRICS_PASSWORD)]
    others = [repr(r.inputs) for r in recorded.resources if r.type != f"{CORE}Secret"]
    others.append(repr(recorded.component_outputs))
    assert len(others) == 7
    for text in others:
        assert not [word for word in (PASSWORD, METRICS_PASSWORD, *hashed) if word in text]


def test_one_replica_whose_data_outlives_it(recorded: Recording) -> None:
    spec = stateful_set(recorded)["spec"]
    assert spec["replicas"] == 1
    assert spec["serviceName"] == "redis-pods"
    assert spec["selector"] == {"matchLabels": NAME}
    assert spec["template"]["metadata"]["labels"] == NAME
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"] == [
        {
            "metadata": {"name": "data", "labels": NAME},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}},
        }
    ]
    (claim,) = stateful_set(recording(settings=valkey(storageGib=20, storageClass="gp3")))["spec"][
        "volumeClaimTemplates"
    ]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": "gp3",
    }


def test_what_the_configuration_names_is_mounted(recorded: Recording) -> None:
    mounts = {m["mountPath"]: (m["name"], m["readOnly"]) for m in container(recorded, "valkey")["volumeMounts"]}
    assert mounts == {
        "/etc/valkey": ("config", True),
        "/etc/valkey-auth": ("auth", True),
        "/data": ("data", False),
    }
    assert pod(recorded)["volumes"] == [
        {"name": "config", "configMap": {"name": "valkey"}},
        {
            "name": "auth",
            "secret": {
                "secretName": "valkey-auth",
                # Not the exporter's password.
                "items": [{"key": "users.acl", "path": "users.acl"}],
                "defaultMode": 0o440,
            },
        },
    ]


def test_the_pod_is_locked_down(recorded: Recording) -> None:
    spec = pod(recorded)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 999,
        "runAsGroup": 999,
        "fsGroup": 999,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    locked = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(recorded, "valkey")["securityContext"] == locked
    assert container(recorded, "exporter")["securityContext"] == {**locked, "runAsUser": 65534, "runAsGroup": 65534}
    assert [c["name"] for c in spec["containers"]] == ["valkey", "exporter"]
    assert "initContainers" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["serviceAccountName"] == "valkey"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert recorded.one(f"{CORE}ServiceAccount", "valkey-account").inputs["automountServiceAccountToken"] is False


def test_what_runs(recorded: Recording) -> None:
    server, exporter = container(recorded, "valkey"), container(recorded, "exporter")
    password = {"secretKeyRef": {"name": "valkey-auth", "key": "metrics-password"}}
    assert server["image"] == VALKEY_IMAGES["image"]
    assert server["command"] == ["valkey-server", "/etc/valkey/valkey.conf"]
    assert server["env"] == [{"name": "REDISCLI_AUTH", "valueFrom": password}]
    assert server["ports"] == [{"name": "redis", "containerPort": 6379, "protocol": "TCP"}]
    assert exporter["image"] == VALKEY_IMAGES["exporterImage"]
    assert exporter["args"] == ["--web.listen-address=:9121"]
    assert exporter["ports"] == [{"name": "metrics", "containerPort": 9121, "protocol": "TCP"}]
    assert exporter["env"] == [
        {"name": "REDIS_ADDR", "value": "redis://127.0.0.1:6379"},
        {"name": "REDIS_USER", "value": "metrics"},
        {"name": "REDIS_PASSWORD", "valueFrom": password},
        {"name": "REDIS_EXPORTER_CHECK_SINGLE_KEYS", "value": "db0=celery"},
    ]


@pytest.mark.parametrize(("mib", "request_", "limit"), [(512, "576Mi", "1088Mi"), (64, "128Mi", "192Mi")])
def test_memory_for_the_data_and_for_a_rewrite_of_it(mib: int, request_: str, limit: str) -> None:
    recorded = recording(settings=valkey(maxMemoryMib=mib))
    assert container(recorded, "valkey")["resources"] == {
        "requests": {"cpu": "100m", "memory": request_},
        "limits": {"cpu": "1", "memory": limit},
    }
    assert f"maxmemory {mib}mb" in directives(conf(recorded))
    assert container(recorded, "exporter")["resources"] == {
        "requests": {"cpu": "20m", "memory": "32Mi"},
        "limits": {"cpu": "100m", "memory": "64Mi"},
    }


def test_probes(recorded: Recording) -> None:
    ping = ["--user", "metrics", "-p", "6379", "ping"]
    probes = {
        name: {kind: container(recorded, name)[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
        for name in ("valkey", "exporter")
    }
    server = probes["valkey"]
    assert server["startup"]["exec"] == server["readiness"]["exec"] == {"command": ["valkey-cli", "-e", *ping]}
    # Any answer counts: a restart would not fix a full volume, which PING reports.
    assert server["liveness"]["exec"] == {"command": ["valkey-cli", *ping]}
    assert [p["httpGet"] for p in probes["exporter"].values()] == [{"path": "/health", "port": 9121}] * 3
    assert {p["timeoutSeconds"] for p in server.values()} == {3}
    assert {p["timeoutSeconds"] for p in probes["exporter"].values()} == {2}
    patience = {
        name: {kind: p["periodSeconds"] * p["failureThreshold"] for kind, p in kinds.items()}
        for name, kinds in probes.items()
    }
    assert patience == {
        "valkey": {"startup": 300, "readiness": 10, "liveness": 60},
        "exporter": {"startup": 60, "readiness": 30, "liveness": 90},
    }


def test_the_service_reaches_the_pod(recorded: Recording) -> None:
    assert recorded.one(f"{CORE}Service", "valkey-service").inputs["spec"] == {
        "type": "ClusterIP",
        "selector": NAME,
        "ports": [{"name": "redis", "port": 6379, "targetPort": 6379, "protocol": "TCP"}],
    }


def test_the_stateful_sets_own_service_is_headless(recorded: Recording) -> None:
    headless = recorded.one(f"{CORE}Service", "valkey-headless").inputs
    assert headless["metadata"]["name"] == stateful_set(recorded)["spec"]["serviceName"]
    assert (headless["spec"]["clusterIP"], headless["spec"]["selector"]) == ("None", NAME)


def test_a_changed_configuration_or_password_replaces_the_pod(recorded: Recording) -> None:
    def annotations(recorded: Recording) -> Mapping[str, str]:
        found: Mapping[str, str] = stateful_set(recorded)["spec"]["template"]["metadata"]["annotations"]
        return found

    before = annotations(recorded)
    assert before == {
        "lightwave.media/config-sha256": hashlib.sha256(conf(recorded).encode()).hexdigest(),
        "lightwave.media/rotations": "VALKEY_METRICS_PASSWORD=0 VALKEY_PASSWORD=3",
        "kubectl.kubernetes.io/default-container": "valkey",
    }
    larger = annotations(recording(settings=valkey(maxMemoryMib=1024)))
    assert larger["lightwave.media/config-sha256"] != before["lightwave.media/config-sha256"]
    rotated = annotations(recording(rotations={"VALKEY_METRICS_PASSWORD": 1}))
    assert rotated["lightwave.media/rotations"] == "VALKEY_METRICS_PASSWORD=1 VALKEY_PASSWORD=0"
    # Of a password they hold only its counter.
    assert annotations(recording(password="another", metrics_password="others")) == before


def test_an_update_waits_for_the_rollout_unless_disabled(recorded: Recording) -> None:
    def annotated(recorded: Recording) -> dict[str, Any]:
        metadata = {r.name: r.inputs.get("metadata", {}) for r in recorded.resources}
        return {name: found["annotations"] for name, found in metadata.items() if "annotations" in found}

    unawaited = {"pulumi.com/skipAwait": "true"}
    assert annotated(recorded) == {"valkey-headless": unawaited}
    assert annotated(recording(wait_for_rollout=False)) == {
        "valkey-headless": unawaited,
        "valkey-service": unawaited,
        "valkey-statefulset": unawaited,
    }


def test_the_pod_waits_for_what_it_mounts_and_the_service_for_the_pod(recorded: Recording) -> None:
    def waits_for(type_: str, name: str) -> set[str]:
        return {urn.rpartition("::")[2] for urn in recorded.one(type_, name).depends_on}

    needed = {"valkey-config", "valkey-auth", "valkey-account", "valkey-headless"}
    assert waits_for("kubernetes:apps/v1:StatefulSet", "valkey-statefulset") == needed
    assert waits_for(f"{CORE}Service", "valkey-service") == {"valkey-statefulset"}

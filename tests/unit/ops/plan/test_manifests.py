"""The plan's manifests: complete, deterministic, and without secret values."""

from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest
import yaml
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

import settings
from ops.plan import manifests, recorder
from ops.plan.recorder import Recording
from tests.unit.conftest import full_config

OPEN_SESAME = "open sesame"


def small() -> Recording:
    def program() -> None:
        Secret("s", metadata={"name": "s", "namespace": "b"}, string_data={"z": OPEN_SESAME, "a": OPEN_SESAME})
        ConfigMap(
            "c", metadata={"name": "c", "namespace": "a"}, data={"k": "v", "s": pulumi.Output.secret(OPEN_SESAME)}
        )
        ConfigMap("d", metadata={"name": "d"}, data={})

    return recorder.record(program, stack="prod")


def test_one_file_per_resource_the_clusters_first_without_secret_values() -> None:
    files = manifests.manifests(small())
    assert list(files) == ["cluster/configmap-d.yaml", "a/configmap-c.yaml", "b/secret-s.yaml"]
    assert yaml.safe_load(files["b/secret-s.yaml"]) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "b"},
        "stringData": {"a": "[secret]", "z": "[secret]"},
    }
    # One secret value makes the whole map secret on the way to the engine, as the SDK sends it.
    assert yaml.safe_load(files["a/configmap-c.yaml"])["data"] == "[secret]"
    assert OPEN_SESAME not in "".join(files.values())


def test_the_same_program_gives_the_same_files(tmp_path: Path) -> None:
    assert manifests.manifests(small()) == manifests.manifests(small())
    manifests.write(small(), tmp_path)
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.yaml")}
    assert written == manifests.manifests(small())


def test_two_resources_for_one_object_are_refused() -> None:
    def program() -> None:
        for name in ("one", "two"):
            ConfigMap(name, metadata={"name": "same", "namespace": "a"}, data={})

    with pytest.raises(ValueError, match="two Kubernetes resources"):
        manifests.manifests(recorder.record(program, stack="prod"))


def test_whole_numbers_stay_whole(recording_of: Callable[[str], Recording]) -> None:
    deployment = yaml.safe_load(manifests.manifests(recording_of("prod"))["shared/deployment-pgbouncer.yaml"])
    assert isinstance(deployment["spec"]["replicas"], int)


def test_pgbouncer_ini_of_both_stacks(recording_of: Callable[[str], Recording]) -> None:
    with settings.offline():
        prod = settings.load("prod", full_config("prod"))
        dev = settings.load("dev", full_config("dev"))
    in_prod = manifests.pgbouncer_ini(recording_of("prod"), prod)
    assert "server_tls_sslmode = verify-full" in in_prod
    config = yaml.safe_load(manifests.manifests(recording_of("prod"))["shared/configmap-pgbouncer.yaml"])
    assert config["data"] == {"pgbouncer.ini": in_prod}
    in_dev = manifests.pgbouncer_ini(recording_of("dev"), dev)
    assert "lightwave_platform = host=127.0.0.1 port=5432" in in_dev
    assert "listen_addr = 127.0.0.1" in in_dev


def test_a_stack_without_kubernetes_has_no_manifests(recording_of: Callable[[str], Recording], tmp_path: Path) -> None:
    manifests.write(recording_of("dev"), tmp_path / "manifests")
    assert not (tmp_path / "manifests").exists()

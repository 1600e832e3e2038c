"""Dev with a developer's own cluster switched on, by `make up`: the real Pulumi CLI, a real Kubernetes API server."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.deploy import file_backend, install
from tests.configs import ON_KIND
from tests.engine.conftest import Project, project_copy, require_provider
from tests.integration.kubernetes.conftest import ADMIN_TOKEN, ApiServer, quotas_in_force, running_api_server

ADDRESS = "127.0.0.2"
"""Stands for this machine's address in the cluster's network."""


@pytest.fixture
def kubernetes() -> Iterator[ApiServer]:
    with running_api_server() as server, quotas_in_force(server):
        yield server


def kubeconfig(project: Project, server: ApiServer) -> dict[str, str]:
    """The environment of a developer whose kubectl is at another cluster; the context is kind's."""
    authority = str(server.directory / "certificates" / "apiserver.crt")
    there = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": authority}
    nowhere = {"server": "https://127.0.0.1:9", "certificate-authority": authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kind", "cluster": there}, {"name": "production", "cluster": nowhere}],
        "users": [{"name": "me", "user": {"token": ADMIN_TOKEN}}],
        "contexts": [
            {"name": "kind-lightwave", "context": {"cluster": "kind", "user": "me"}},
            {"name": "production", "context": {"cluster": "production", "user": "me"}},
        ],
        "current-context": "production",
    }
    path = project.root / "kubeconfig.json"
    path.write_text(json.dumps(document))
    return {"KUBECONFIG": str(path)}


def test_make_up_brings_up_the_cluster_too(pulumi_home: Path, project: Project, kubernetes: ApiServer) -> None:
    require_provider("kubernetes", pulumi_home)
    # There are no nodes: nothing becomes ready.
    cluster = {
        **ON_KIND["kubernetes"],
        "databaseHost": ADDRESS,
        "databaseCidrs": ["127.0.0.0/8"],
        "waitForRollout": False,
    }
    project.configure(**(ON_KIND | {"kubernetes": cluster}))
    unknown = project.make_up(environment={"KUBECONFIG": os.devnull})
    assert unknown.status == 2, unknown.output
    assert 'context "kind-lightwave" does not exist' in unknown.output
    assert not file_backend.folder("dev", project.root).exists()

    environment = kubeconfig(project, kubernetes)
    first = project.make_up(environment=environment)
    assert first.status == 0, first.output
    state = json.loads(project.state_file.read_text())
    assert "built by pulumi" in first.output
    for secret in state["passwords"].values():
        assert secret not in first.output

    ini = kubernetes.get("configmap", "pgbouncer", "--namespace=shared")["data"]["pgbouncer.ini"]
    assert f"host={ADDRESS} port={state['databasePort']} " in ini
    pods = kubernetes.get("deployment", "pgbouncer", "--namespace=shared")["spec"]["template"]["spec"]
    assert pods["containers"][0]["image"] == ON_KIND["pgbouncer"]["image"]
    for namespace in ON_KIND["kubernetes"]["namespaces"]:
        policies = kubernetes.get("networkpolicy", f"--namespace={namespace}")["items"]
        assert "default-deny" in {policy["metadata"]["name"] for policy in policies}

    again = project.make_up(environment=environment)
    assert again.status == 0, again.output
    assert "Stack dev is up: no changes." in again.output


def test_a_database_built_from_sql_has_no_cluster(tmp_path: Path) -> None:
    """What Pulumi alone can do is refused where there is none, before anything is built."""
    with project_copy(tmp_path) as project:
        project.configure(
            **(ON_KIND | {"kubernetes": {**ON_KIND["kubernetes"], "databaseHost": "host.docker.internal"}})
        )
        without = {install.SWITCH: "off"}
        refused = project.make_up(environment=without)
        assert refused.status == 2, refused.output
        assert "the stack declares kubernetes, which takes the Pulumi CLI; LIGHTWAVE_PULUMI=off" in refused.output
        with project.connect() as admin:
            assert admin.execute("SELECT FROM pg_roles WHERE rolname = 'payload_user'").fetchone() is None

        project.configure(kubernetes={})
        assert project.make_up(environment=without).status == 0
        project.configure(kubernetes={**ON_KIND["kubernetes"], "databaseHost": "host.docker.internal"})
        refused = project.make_up(environment=without)
        assert refused.status == 2, refused.output
        assert "takes the Pulumi CLI; this database was built from SQL" in refused.output
        assert "make down WIPE=1" in refused.output

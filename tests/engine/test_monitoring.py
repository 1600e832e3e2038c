"""Monitoring by the real Pulumi CLI on a real Kubernetes API server, in both deliveries."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.deploy import file_backend
from tests.configs import EMAIL, FULL_MONITORING, MONITORING, ON_KIND, OPERATOR_MONITORING
from tests.engine.conftest import Ended, Project, require_provider
from tests.engine.test_local_cluster import ADDRESS, kubeconfig
from tests.integration.kubernetes.conftest import ApiServer, quotas_in_force, running_api_server
from tests.integration.monitoring.operator_kinds import DEFINITIONS

pytestmark = pytest.mark.timeout(600)

SECRETS = (EMAIL["password"], MONITORING["webhookUrl"])


def up(project: Project, server: ApiServer, monitoring: Mapping[str, Any]) -> Ended:
    """Dev on a cluster without nodes: nothing becomes ready."""
    cluster = {
        **ON_KIND["kubernetes"],
        "databaseHost": ADDRESS,
        "databaseCidrs": ["127.0.0.0/8"],
        "waitForRollout": False,
    }
    project.configure(**(ON_KIND | {"kubernetes": cluster, "monitoring": monitoring}))
    ended = project.make_up(environment=kubeconfig(project, server))
    assert ended.status == 0, ended.output
    return ended


def test_of_the_stacks_own_with_its_secrets_encrypted_in_the_state(pulumi_home: Path, project: Project) -> None:
    require_provider("kubernetes", pulumi_home)
    with running_api_server() as server, quotas_in_force(server):
        ended = up(project, server, FULL_MONITORING)
        held = server.get("secret", "alertmanager-email", "--namespace=shared")["data"]
        assert base64.b64decode(held["password"]).decode() == EMAIL["password"]
        server.get("statefulset", "prometheus", "--namespace=shared")
        server.get("role", "kube-state-metrics", "--namespace=payload-cms")
    assert [secret for secret in SECRETS if secret in ended.output] == []
    states = list((file_backend.folder("dev", project.root) / ".pulumi" / "stacks").rglob("*.json"))
    assert states
    for state in states:
        assert "alertmanager-email" in state.read_text()
        assert [secret for secret in SECRETS if secret in state.read_text()] == [], state


def test_by_the_operator_whose_kinds_the_cluster_knows(pulumi_home: Path, project: Project) -> None:
    require_provider("kubernetes", pulumi_home)
    with running_api_server() as server, quotas_in_force(server):
        for definition in DEFINITIONS:
            server.do("apply", "--server-side", "--filename=-", document=definition)
            server.do("wait", "--for=condition=Established", f"crd/{definition['metadata']['name']}", "--timeout=60s")
        up(project, server, OPERATOR_MONITORING)
        rules = server.get("prometheusrule", "lightwave", "--namespace=shared")["spec"]["groups"][0]["rules"]
        assert {"PgBouncerClientsWait", "ContainerRestarts"} <= {rule["alert"] for rule in rules}
        server.get("podmonitor", "pgbouncer", "--namespace=shared")
        dashboards = server.get("configmap", "--namespace=shared", "--selector=grafana_dashboard=1")["items"]
        assert "lightwave-pods.json" in {name for each in dashboards for name in each["data"]}
        assert "Stack dev is up: no changes." in up(project, server, OPERATOR_MONITORING).output

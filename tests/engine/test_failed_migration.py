"""A migration that fails, on the real Pulumi CLI and a real Kubernetes API server: nothing is rolled out after it.

There is no controller and no kubelet: the test writes the status of the Job and its pod as they would, and lets a
deleted Job go.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.deploy import file_backend
from tests.engine.conftest import Ended, Project, require_provider
from tests.engine.test_local_cluster import kubeconfig
from tests.integration.kubernetes.conftest import ApiServer, running_api_server

LOG = "django.db.utils.OperationalError: canceling statement due to lock timeout"
IMAGE = f"ghcr.io/example/django:2.0.1@sha256:{'3' * 64}"
JOB = f"migration-{'3' * 12}"
NAMESPACE = "django-api"
NOW = "2026-01-01T00:00:00Z"

PROGRAM = f"""
import pulumi, pulumi_kubernetes as kubernetes
from components.services.migration import Migration, MigrationArgs
from components.services.workload import Workload, WorkloadArgs
from settings import FRAMEWORKS, MigrationSettings, Product, Pods

provider = kubernetes.Provider("kubernetes", context="kind-lightwave", cluster_identifier="kind-lightwave")
product = Product(name="django", schema="django", framework="django", service="api", namespace="{NAMESPACE}")
framework = FRAMEWORKS["django"]
migration = Migration("django-migration", MigrationArgs(
    product=product, kind=framework.migration, settings=MigrationSettings(), image="{IMAGE}",
    env_secret="django-env", ca=False,
), pulumi.ResourceOptions(provider=provider))
kind = framework.serving
group = Pods(kind=kind, key=(), replicas=2, replicas_given=True, autoscaling=None, resources=kind.resources, command=())
Workload("django-api", WorkloadArgs(
    product=product, pods=group, image="{IMAGE}", env_secret="django-env", checksum="x", ca=False,
    wait_for_rollout=False,
), pulumi.ResourceOptions(provider=provider, depends_on=[migration]))
"""


@pytest.fixture
def kubernetes() -> Iterator[ApiServer]:
    with running_api_server() as server:
        for document in (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migration", "namespace": NAMESPACE}},
        ):
            assert server.create(document).ok
        yield server


def patch(server: ApiServer, kind: str, name: str, status: dict[str, Any]) -> None:
    answer = server(
        *("patch", kind, name, f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge"),
        f"--patch={json.dumps({'status': status})}",
    )
    assert answer.ok, answer.output


def fail(server: ApiServer, job: dict[str, Any]) -> None:
    """The Job's pod prints LOG and ends with status 1; its retries are used up."""
    name = f"{JOB}-abcde"
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": JOB, "uid": job["metadata"]["uid"], "controller": True}
    template = job["spec"]["template"]
    labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": JOB}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
    made = server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    assert made.ok, made.output
    ended = {"exitCode": 1, "reason": "Error", "message": LOG, "startedAt": NOW, "finishedAt": NOW}
    container = {
        "name": "migration",
        "image": IMAGE,
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    unready = {
        "status": "False",
        "reason": "ContainersNotReady",
        "lastTransitionTime": NOW,
        "message": "containers with unready status: [migration]",
    }
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW},
        {"type": "Initialized", "status": "True", "lastTransitionTime": NOW},
        *({"type": kind, **unready} for kind in ("Ready", "ContainersReady")),
    ]
    patch(server, "pod", name, {"phase": "Failed", "conditions": conditions, "containerStatuses": [container]})
    threading.Event().wait(3)  # until the provider has seen the pod
    reason = {
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }
    patch(
        server,
        "job",
        JOB,
        {
            "startTime": NOW,
            "failed": 3,
            "conditions": [{"type": kind, "lastTransitionTime": NOW, **reason} for kind in ("FailureTarget", "Failed")],
        },
    )


def succeed(server: ApiServer, _: dict[str, Any]) -> None:
    done = {"status": "True", "lastTransitionTime": NOW}
    patch(
        server,
        "job",
        JOB,
        {
            "startTime": NOW,
            "completionTime": NOW,
            "succeeded": 1,
            "conditions": [{"type": kind, **done} for kind in ("SuccessCriteriaMet", "Complete")],
        },
    )


@contextmanager
def played(server: ApiServer, end: Any) -> Iterator[list[str]]:
    """Ends each new Job as the function does; gives the uids of those that it ended."""
    seen: list[str] = []
    over = threading.Event()

    def play() -> None:
        while not over.wait(0.5):
            answer = server("get", "job", JOB, f"--namespace={NAMESPACE}", "--output=json")
            job = json.loads(answer.output) if answer.ok else None
            if job and "deletionTimestamp" in job["metadata"]:
                without = '--patch={"metadata": {"finalizers": null}}'
                server("patch", "job", JOB, f"--namespace={NAMESPACE}", "--type=merge", without)
            elif job and job["metadata"]["uid"] not in seen and not job.get("status", {}).get("conditions"):
                seen.append(job["metadata"]["uid"])
                end(server, job)

    player = threading.Thread(target=play)
    player.start()
    try:
        yield seen
    finally:
        over.set()
        player.join()


def test_a_failed_migration_stops_the_rollout_and_the_next_update_runs_it_again(
    pulumi_home: Path, project: Project, kubernetes: ApiServer
) -> None:
    require_provider("kubernetes", pulumi_home)
    (project.root / "__main__.py").write_text(PROGRAM)
    file_backend.folder("dev", project.root).mkdir(parents=True, exist_ok=True)
    environment = {**file_backend.environment("dev", project.root), **kubeconfig(project, kubernetes)}

    def up() -> Ended:
        return project.pulumi("up", "--yes", "--skip-preview", "--stack", "dev", environment=environment)

    selected = project.pulumi("stack", "select", "--create", "dev", environment=environment)
    assert selected.status == 0, selected.output
    with played(kubernetes, fail) as failed:
        ended = up()
    assert ended.status != 0
    assert LOG in ended.output
    assert not kubernetes("get", "deployment", "api", f"--namespace={NAMESPACE}").ok, "it was rolled out all the same"

    with played(kubernetes, succeed) as done:
        ended = up()
    assert ended.status == 0, ended.output
    assert len(failed) == len(done) == 1
    assert failed != done, "the failed Job was not run again"
    assert kubernetes.get("deployment", "api", f"--namespace={NAMESPACE}")["spec"]["replicas"] == 2

    preview = project.pulumi("preview", "--expect-no-changes", "--stack", "dev", environment=environment)
    assert preview.status == 0, preview.output

"""The program's Kubernetes half on a cluster, with its database, and pods that stand for the services."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.database import Database, running_database
from tests.cluster.program import STORAGE_CLASS, Program, Values, as_yaml, declared
from tests.cluster.workloads import CONTAINER, EDGE_NAMESPACE, SCRIPTS, STRANGE_NAMESPACE
from tests.integration.kubernetes.kubectl import Kubectl

POOLER = "deployment/pgbouncer"
VALKEY = "statefulset/valkey"
SHARED = "--namespace=shared"


@dataclass(kw_only=True, slots=True, repr=False)
class Platform:
    """What runs. `program` is what was applied last."""

    cluster: Cluster
    database: Database
    values: Values
    program: Program

    @property
    def kubectl(self) -> Kubectl:
        return self.cluster.kubectl

    @property
    def client_image(self) -> str:
        return self.values.images[images.CLIENT]

    def declare(self, **sections: Mapping[str, Any]) -> Program:
        """The program with another config."""
        return declared(self.values, **sections)

    def apply(self, program: Program) -> None:
        """Makes the cluster what the program says, in the order of its dependencies.

        What waits for a migration is applied once that has succeeded; what is no longer declared goes last.
        """
        later = program.after_migrations()
        documents = [document for document in program.documents() if document not in later]
        apply(self.kubectl, documents)
        for job in (document for document in documents if document["kind"] == "Job"):
            self._succeeds(job["metadata"]["name"], job["metadata"]["namespace"])
        if later:
            apply(self.kubectl, later)
        kept = {identity(document) for document in program.documents()}
        gone = [document for document in self.program.documents() if identity(document) not in kept]
        if gone:
            options = ("--cascade=foreground", "--ignore-not-found", "--wait=true", "--filename=-")
            self.kubectl.do("delete", *options, document=as_yaml(gone), seconds=180)
        self.program = program

    def _succeeds(self, job: str, namespace: str) -> None:
        """Waits for the Job. A failure shows what it printed."""
        wait = ("wait", f"job/{job}", f"--namespace={namespace}", "--for=condition=Complete", "--timeout=240s")
        answer = self.kubectl(*wait, seconds=270)
        assert answer.ok, answer.output + self.kubectl("logs", f"job/{job}", f"--namespace={namespace}").output

    def rollout(self, workload: str, seconds: int = 240, *, namespace: str = "shared") -> None:
        """Waits for a rollout, as the provider does."""
        options = (f"--namespace={namespace}", f"--timeout={seconds}s")
        self.kubectl.do("rollout", "status", workload, *options, seconds=seconds + 30)

    def run(self, pod: str, namespace: str, script: str, *arguments: str, given: str = "", seconds: float = 60) -> str:
        """Runs a script of pods/ in a pod's `CONTAINER`, for its output."""
        text = (SCRIPTS / f"{script}.py").read_text()
        return self.kubectl.do(
            *("exec", f"--namespace={namespace}", pod, f"--container={CONTAINER}", "--stdin", "--"),
            *("python3", "-c", text, *arguments),
            document=given,
            seconds=seconds,
        )

    def pods(self, name: str, namespace: str = "shared") -> list[dict[str, Any]]:
        """The pods with that name label that are not on their way out."""
        selector = f"--selector=app.kubernetes.io/name={name}"
        found = self.kubectl.get("pods", f"--namespace={namespace}", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def identity(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """What makes two documents the same object."""
    metadata = document["metadata"]
    return document["kind"], metadata["name"], metadata.get("namespace", "")


def apply(kubectl: Kubectl, documents: Sequence[Mapping[str, Any]]) -> None:
    """Server-side, with strict validation. A failure fails the test."""
    answer = kubectl.apply(as_yaml(documents))
    assert answer.ok, answer.output


def wait_for_pods(kubectl: Kubectl, namespace: str, *names: str, seconds: int = 240) -> None:
    """Until the pods are ready: those of the names, or all of the namespace."""
    which = [f"pod/{name}" for name in names] or ["pod", "--all"]
    options = ("--for=condition=Ready", f"--namespace={namespace}", f"--timeout={seconds}s")
    kubectl.do("wait", *which, *options, seconds=seconds + 30)


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = 60, every: float = 0.2) -> None:
    """Asks until it is so; fails the test where it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)


@contextmanager
def running_platform(cluster: Cluster) -> Iterator[Platform]:
    """Everything that the program declares, applied and rolled out."""
    made = images.images()
    placeholder = Values(ca_pem="-----BEGIN CERTIFICATE-----", database_cidr=f"{cluster.outside}/32", images=made)
    budget = declared(placeholder).budget
    with running_database(cluster, max_connections=budget.max_connections) as database:
        values = Values(ca_pem=database.ca_pem, database_cidr=f"{cluster.outside}/32", images=made)
        program = declared(values)
        database.build(program)
        apply(cluster.kubectl, _surroundings(cluster))
        platform = Platform(cluster=cluster, database=database, values=values, program=program)
        platform.apply(program)
        platform.rollout(VALKEY)
        platform.rollout(POOLER)
        yield platform


def _surroundings(cluster: Cluster) -> list[dict[str, Any]]:
    """What the cluster brings along: the edge's namespace, another one, storage."""
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (EDGE_NAMESPACE, STRANGE_NAMESPACE)
    ]
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    volumes = []
    for node in cluster.nodes:
        node.inside.run("mkdir", "-p", "/var/lib/volumes/1")
        volumes.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{node.name}-1"},
                "spec": {
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": STORAGE_CLASS,
                    # Not hostPath: that one ignores fsGroup.
                    "local": {"path": "/var/lib/volumes/1"},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
                                    ]
                                }
                            ]
                        }
                    },
                },
            }
        )
    return [*namespaces, *([storage, *volumes] if volumes else [])]

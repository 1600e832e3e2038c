"""The platform is taken off the cluster, as `make down` of a stack with a cluster does, and its namespaces go."""

import time

from tests.cluster.platform import Platform

SECONDS = 180


def test_everything_that_the_program_declared_is_removed(platform: Platform) -> None:
    """In the reverse order of its dependencies. Nothing is left that waits for something else."""
    documents = platform.program.documents()
    namespaces = [document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"]
    assert namespaces
    began = time.monotonic()
    for document in reversed(documents):
        metadata = document["metadata"]
        where = [f"--namespace={metadata['namespace']}"] if "namespace" in metadata else []
        # The services' pods, which other repositories own, go with their namespaces.
        platform.kubectl.do("delete", document["kind"], metadata["name"], *where, "--wait=false")
    for namespace in namespaces:
        waited = ("wait", "--for=delete", f"namespace/{namespace}", f"--timeout={SECONDS}s")
        platform.kubectl.do(*waited, seconds=SECONDS + 30)
    assert time.monotonic() - began < SECONDS
    volumes = platform.kubectl.get("persistentvolumes")["items"]
    assert [volume for volume in volumes if volume["status"]["phase"] == "Bound"] == []

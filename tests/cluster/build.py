"""Builds everything that the cluster is made of: `python -m tests.cluster.build`. Minutes once, seconds afterwards.

`--where-possible` says why and does nothing on a machine that cannot run the cluster.
"""

import sys

from tests.cluster import compose_images, images, machine, service_images
from tests.integration.kubernetes import build_servers


def main(arguments: list[str]) -> None:
    """Builds what is not built; images are built anew where Debian has newer packages."""
    reason = machine.not_buildable()
    if reason and "--where-possible" in arguments:
        sys.stderr.write(f"cluster: {reason}; its tests will be skipped\n")
        return
    for step, make in (
        ("Kubernetes, policy agent, CoreDNS", lambda: build_servers.build(*build_servers.CLUSTER)),
        ("the nodes' root file system", images.build_node_root),
        ("images", images.build_images),
        ("the services' images", service_images.build_images),
        ("Docker and the images of local/compose.yaml", compose_images.build_engine),
    ):
        sys.stderr.write(f"cluster: {step}\n")
        make()


if __name__ == "__main__":
    main(sys.argv[1:])

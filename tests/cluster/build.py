"""Builds everything that the cluster is made of: `python -m tests.cluster.build`. Minutes once, seconds afterwards."""

import sys

from tests.cluster import images
from tests.integration.kubernetes import build_servers


def main() -> None:
    """Builds what is not built; images are built anew where Debian has newer packages."""
    for step, make in (
        ("Kubernetes, policy agent, CoreDNS", lambda: build_servers.build(*build_servers.CLUSTER)),
        ("the nodes' root file system", images.build_node_root),
        ("images", images.build_images),
    ):
        sys.stderr.write(f"cluster: {step}\n")
        make()


if __name__ == "__main__":
    main()

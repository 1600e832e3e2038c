"""Docker on this machine in a place of its own: nothing of it is left when its process has ended."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.compose_images import STAND_INS, engine_root
from tests.cluster.debian import FOLDER
from tests.cluster.node import FILES, Node, make_node, name_of
from tests.cluster.platform import wait_until
from tests.cluster.site import Namespaces, site

_SOCKET = "run/docker.sock"
_PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One that runs. Ports that it publishes are those of its own network's loopback."""

    node: Node
    folder: Path
    """A folder that containers see under the same path, for the project's files."""
    environment: dict[str, str]
    """For a client: its program on PATH, and the server."""

    @property
    def network(self) -> Namespaces:
        """This machine's programs and files in the engine's network."""
        return Namespaces(pid=self.node.inside.pid, kinds=("net",))

    def docker(self, *words: str) -> str:
        """Runs the client, for its output."""
        return self.network.run("env", *(f"{k}={v}" for k, v in self.environment.items()), "docker", *words)


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Docker with the images that local/compose.yaml names. Raises NotBuiltError."""
    root = engine_root()
    with site(root, [name_of(1)]) as place:
        node = make_node(place, 1, 1, node_root=root, binaries=FOLDER / "compose", pause_image="")
        folder = node.folder / "shared"
        folder.mkdir()
        node.inside.run("mkdir", "--parents", folder)
        node.inside.run("mount", "--bind", FILES / "shared", folder)
        node.start(
            "dockerd",
            *("dockerd", f"--data-root={FILES}/docker", f"--host=unix:///{_SOCKET}"),
            f"--cgroup-parent=/{node.cgroup}",
        )
        socket = Path(f"/proc/{node.inside.pid}/root/{_SOCKET}")
        client = node.folder / "client"
        (client / "cli-plugins").mkdir(parents=True)
        (client / "docker").symlink_to(root / "usr/bin/docker")
        (client / "cli-plugins/docker-compose").symlink_to(root / _PLUGIN)
        environment = {
            "PATH": f"{client}{os.pathsep}{os.environ['PATH']}",
            "DOCKER_CONFIG": str(client),
            "DOCKER_HOST": f"unix://{socket}",
        }
        engine = Engine(node=node, folder=folder, environment=environment)
        log = node.folder / "dockerd.log"
        wait_until(lambda: _answers(engine), f"Docker answers; see {log}", seconds=60)
        for image in STAND_INS:
            changes = [f"--change={change}" for change in image.changes]
            engine.docker("import", *changes, str(image.archive), image.name)
        yield engine


def _answers(engine: Engine) -> bool:
    try:
        engine.docker("info")
    except RuntimeError:
        return False
    return True

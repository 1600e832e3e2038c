"""The images of the cluster's pods, and the root file system of its nodes, from Debian's packages.

Built by `python -m tests.cluster.build`, found here afterwards. README.md says for which real image each stands and
what it does not prove.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import oci
from tests.cluster.debian import FOLDER, Apt, digest, merge_usr
from tests.integration.kubernetes.build_servers import COREDNS, binary

NODE_SUITE = "bookworm"
"""For what the nodes run: a release, so that its packages stay what they are."""
NEWEST_SUITE = "sid"
"""For what stands in for images that prod names: the newest versions that Debian has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a folder of files is made."""

    packages: tuple[str, ...] = ()
    suite: str = NEWEST_SUITE
    programs: tuple[str, ...] = ()
    """These and the libraries that they load are kept, and nothing else; everything where there are none."""
    users: Mapping[str, int] = field(default_factory=dict)
    """By name, the uid and gid of each user beside root."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links, by path."""
    name: str = ""
    """The image's name and tag."""
    entrypoint: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Changes whenever the recipe does."""
        return digest([json.dumps(asdict(self), sort_keys=True)])


NODE = Recipe(
    suite=NODE_SUITE,
    packages=(
        *("containerd", "runc", "containernetworking-plugins", "etcd-server"),
        *("ipset", "conntrack", "iptables", "iproute2", "mount", "util-linux", "bash", "coreutils", "catatonit"),
    ),
    # update-alternatives would make them. The legacy ones need no nft_compat in the kernel.
    links={
        f"usr/sbin/{name}": "xtables-legacy-multi"
        for name in (
            "iptables",
            "iptables-save",
            "iptables-restore",
            "ip6tables",
            "ip6tables-save",
            "ip6tables-restore",
        )
    },
)

PAUSE = Recipe(
    name="registry.test/pause:1",
    packages=("catatonit",),
    programs=("usr/bin/catatonit",),
    entrypoint=("/usr/bin/catatonit", "-P"),
)
DNS = Recipe(name="registry.test/coredns:1", entrypoint=("/coredns",))
CLIENT = Recipe(
    name="registry.test/client:1",
    packages=("python3-psycopg-c", "python3-celery", "python3-redis", "coreutils", "dash"),
    users={"app": 1000},
    environment=("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"),
)
"""The services' pods, and the pod that tries the network."""
PGBOUNCER = Recipe(
    name="docker.io/edoburu/pgbouncer:v1.26.1-p0",
    packages=("pgbouncer",),
    programs=("usr/sbin/pgbouncer",),
    users={"postgres": 70},
    links={"usr/bin/pgbouncer": "../sbin/pgbouncer"},
)
PGBOUNCER_EXPORTER = Recipe(
    name="docker.io/prometheuscommunity/pgbouncer-exporter:v0.12.0",
    packages=("prometheus-pgbouncer-exporter",),
    programs=("usr/bin/prometheus-pgbouncer-exporter",),
    users={"nobody": 65534},
    links={"bin/pgbouncer_exporter": "prometheus-pgbouncer-exporter"},
    entrypoint=("/bin/pgbouncer_exporter",),
)
VALKEY = Recipe(
    name="docker.io/valkey/valkey:9.1.2",
    packages=("valkey-server", "valkey-tools"),
    programs=("usr/bin/valkey-server", "usr/bin/valkey-cli"),
    users={"valkey": 999},
)
REDIS_EXPORTER = Recipe(
    name="docker.io/oliver006/redis_exporter:v1.86.0",
    packages=("prometheus-redis-exporter",),
    programs=("usr/bin/prometheus-redis-exporter",),
    users={"nobody": 65534},
    links={"redis_exporter": "usr/bin/prometheus-redis-exporter"},
    entrypoint=("/redis_exporter",),
)
IMAGES = (PAUSE, DNS, CLIENT, PGBOUNCER, PGBOUNCER_EXPORTER, VALKEY, REDIS_EXPORTER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """All of them in one archive."""

    archive: Path
    references: Mapping[str, str]
    """By recipe's name, the reference by tag and digest."""
    versions: Mapping[str, Mapping[str, str]]
    """By recipe's name, the versions of its Debian packages."""

    def __getitem__(self, recipe: Recipe) -> str:
        return self.references[recipe.name]


class NotBuiltError(Exception):
    """Something must be built first; the message says how."""


def images() -> Images:
    """What `build_images` made last. Raises NotBuiltError."""
    return built_archive("images", _images_key())


def built_archive(kind: str, key: str) -> Images:
    """What `build_archive` made last. Raises NotBuiltError."""
    record = _read(kind, key)
    return Images(archive=FOLDER / kind / record["file"], references=record["references"], versions=record["versions"])


def node_root() -> Path:
    """The folder that `build_node_root` made last. Raises NotBuiltError."""
    return FOLDER / "node" / str(_read("node", NODE.key)["file"])


def build_images() -> None:
    """Builds the images that the cluster and the platform's pods run."""

    def build(recipe: Recipe) -> oci.Built:
        with scratch() as root:
            make_root(recipe, root)
            return oci.build(recipe.name, root, entrypoint=recipe.entrypoint, environment=recipe.environment)

    build_archive("images", _images_key(), IMAGES, build)


def build_archive(kind: str, key: str, recipes: Sequence[Recipe], build: Callable[[Recipe], oci.Built]) -> None:
    """Builds every image from the newest packages; where those are the ones that it was built from, nothing is done."""
    suites = {recipe.suite: Apt(suite=recipe.suite) for recipe in recipes}
    for apt in suites.values():
        apt.update()
    versions = {
        recipe.name: suites[recipe.suite].versions(recipe.packages) if recipe.packages else {} for recipe in recipes
    }
    file = f"{digest([key, json.dumps(versions, sort_keys=True)])}.tar"
    if _is_built(kind, key, file):
        return
    built = [build(recipe) for recipe in recipes]
    (FOLDER / kind).mkdir(exist_ok=True)
    oci.write_archive(built, FOLDER / kind / file)
    references = {image.name: image.reference for image in built}
    _write(kind, key, {"file": file, "references": references, "versions": versions})


def build_node_root() -> None:
    """Unpacks the nodes' root file system, unless there is one of these packages' versions."""
    apt = Apt(suite=NODE.suite)
    apt.update()
    versions = apt.versions(NODE.packages)
    name = digest([NODE.key, json.dumps(versions, sort_keys=True)])
    if _is_built("node", NODE.key, name):
        return
    with scratch() as root:
        make_root(NODE, root)
        (FOLDER / "node").mkdir(exist_ok=True)
        root.rename(FOLDER / "node" / name)
    _write("node", NODE.key, {"file": name, "versions": versions})


def _images_key() -> str:
    return digest([*(recipe.key for recipe in IMAGES), str(binary(COREDNS))])


def _record(kind: str, key: str) -> Path:
    return FOLDER / f"{kind}-{key}.json"


def _read(kind: str, key: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_record(kind, key).read_text())
    except FileNotFoundError:
        raise NotBuiltError(f"the cluster's {kind} is not built; run: python -m tests.cluster.build") from None
    return found


def _is_built(kind: str, key: str, file: str) -> bool:
    try:
        return str(_read(kind, key)["file"]) == file and (FOLDER / kind / file).exists()
    except NotBuiltError:
        return False


def _write(kind: str, key: str, record: Mapping[str, Any]) -> None:
    _record(kind, key).write_text(json.dumps(record, indent=2, sort_keys=True))


@contextmanager
def scratch() -> Iterator[Path]:
    """A path beside what is kept, with nothing there yet; what is left there is removed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="unfinished-") as folder:
        yield Path(folder) / "root"


def make_root(recipe: Recipe, root: Path) -> None:
    if not recipe.packages:
        root.mkdir()
    elif not recipe.programs:
        Apt(suite=recipe.suite).unpack(recipe.packages, root)
    else:
        with scratch() as whole:
            Apt(suite=recipe.suite).unpack(recipe.packages, whole)
            merge_usr(root)
            for path in {path for program in recipe.programs for path in (program, *_libraries(whole, program))}:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(whole / path, root / path)
    if recipe is DNS:
        shutil.copy(binary(COREDNS), root / "coredns")
    users = {"root": 0, **recipe.users}
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text("".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in users.items()))
    (root / "etc/group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid in users.items()))
    for link, target in recipe.links.items():
        (root / link).symlink_to(target)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _libraries(root: Path, program: str) -> list[str]:
    """What the program loads when it starts, relative to the root; nothing for a static one."""
    done = subprocess.run(
        ["chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{program}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [path.lstrip("/") for path in re.findall(r"(/\S+) \(0x", done.stdout)]

"""The images that a release and monitoring add: the example services as tests/clients builds them, and Prometheus.

What the examples' Dockerfiles say of command and environment holds here too; README.md says what stands in for what.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.clients import builds
from tests.cluster import oci
from tests.cluster.debian import Apt, digest
from tests.cluster.images import NODE_SUITE, Images, Recipe, build_archive, built_archive, make_root, scratch

_USER = {"app": 1000}
_WORKDIR = "app"
_SECONDS = 300
_NODE = ("nodejs", "coreutils", "dash")

PAYLOAD = Recipe(name="registry.test/payload:1", suite="trixie", packages=_NODE, users=_USER)
PAYLOAD_MIGRATION = Recipe(name="registry.test/payload-migrate:1", suite="trixie", packages=_NODE, users=_USER)
DJANGO = Recipe(
    name="registry.test/django:1",
    # Python 3.11, as the Dockerfile has it.
    suite=NODE_SUITE,
    packages=("python3", "tzdata", "coreutils", "dash", "findutils", "grep"),
    users=_USER,
    links={"usr/bin/python": "python3"},
)
PROMETHEUS = Recipe(
    name="docker.io/prom/prometheus:v3.5.3",
    packages=("prometheus",),
    programs=("usr/bin/prometheus",),
    users={"nobody": 65534},
    entrypoint=("/usr/bin/prometheus",),
)
ALERTMANAGER = Recipe(
    name="docker.io/prom/alertmanager:v0.33.1",
    packages=("prometheus-alertmanager",),
    # Upstream's program has the templates in itself.
    programs=(
        "usr/bin/prometheus-alertmanager",
        *(f"usr/share/prometheus/alertmanager/{name}.tmpl" for name in ("default", "email")),
    ),
    users={"nobody": 65534},
    entrypoint=("/usr/bin/prometheus-alertmanager",),
)
IMAGES = (PAYLOAD, PAYLOAD_MIGRATION, DJANGO, PROMETHEUS, ALERTMANAGER)
_STAGES = {
    PAYLOAD.name: ("payload", "server"),
    PAYLOAD_MIGRATION.name: ("payload", "migrate"),
    DJANGO.name: ("django", ""),
}
"""By image, the example and the stage of its Dockerfile that it stands for."""

_NOT_FOR_MIGRATIONS = (
    ".next",
    *(f"node_modules/{name}" for name in ("next", "@next/swc-*", "monaco-editor", "react-datepicker", "happy-dom")),
    *("node_modules/**/*.map", "node_modules/**/*.d.ts"),
)
"""What `payload migrate` opens no file of: four fifths of the bytes, which every node would unpack."""


def images() -> Images:
    """What `build_images` made last. Raises NotBuiltError."""
    return built_archive("services", _key())


def build_images() -> None:
    """Builds the examples, and the images with them."""
    builds.payload()
    builds.django()
    build_archive("services", _key(), IMAGES, _build)


def _key() -> str:
    folders = (builds.folder(example).name for example in ("payload", "django"))
    return digest([*(recipe.key for recipe in IMAGES), *folders, Path(__file__).read_text()])


def _build(recipe: Recipe) -> oci.Built:
    with scratch() as root:
        make_root(recipe, root)
        if recipe.name not in _STAGES:
            return oci.build(recipe.name, root, entrypoint=recipe.entrypoint)
        example, stage = _STAGES[recipe.name]
        _add(recipe, builds.folder(example), root)
        command, environment = _declared(example, stage)
        return oci.build(recipe.name, root, entrypoint=command, environment=environment, workdir=f"/{_WORKDIR}")


def _declared(example: str, stage: str) -> tuple[list[str], list[str]]:
    """The command and the variables of the stage of the example's Dockerfile."""
    text = (builds.EXAMPLES / example / "Dockerfile").read_text()
    (found,) = [
        part for part in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:] if part.split("\n")[0].endswith(stage)
    ]
    (command,) = re.findall(r"^CMD (.*)$", found, re.MULTILINE)
    variables = " ".join(re.findall(r"^ENV (.*)$", found, re.MULTILINE))
    return json.loads(command), variables.split()


def _add(recipe: Recipe, built: Path, root: Path) -> None:
    """Adds the example at the Dockerfile's WORKDIR."""
    if recipe is DJANGO:
        shutil.copytree(built, root / _WORKDIR, ignore=shutil.ignore_patterns(".venv"))
        _install(built / "requirements.txt", root)
        return
    whole = recipe is PAYLOAD_MIGRATION
    # Links: the layer is made of them at once, and nothing writes to them.
    source = built if whole else built / ".next/standalone"
    subprocess.run(["cp", "--archive", "--link", source, root / _WORKDIR], check=True, timeout=_SECONDS)
    for pattern in _NOT_FOR_MIGRATIONS if whole else ():
        for path in list((root / _WORKDIR).glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _install(requirements: Path, root: Path) -> None:
    """Installs the packages for the root's own Python: another patch version than the tests', so from the lock anew."""
    python = Apt(suite=DJANGO.suite).versions(("python3",))["python3"].partition("-")[0]
    packages = root / f"usr/local/lib/python{python.rpartition('.')[0]}/dist-packages"
    options = ("--quiet", f"--target={packages}", f"--python={sys.executable}", f"--python-version={python}")
    locked = ("--only-binary=:all:", "--require-hashes", f"--requirements={requirements}")
    subprocess.run([sys.executable, "-m", "uv", "pip", "install", *options, *locked], check=True, timeout=_SECONDS)
    programs = root / "usr/local/bin"
    (packages / "bin").rename(programs)
    for script in programs.iterdir():
        _, _, body = script.read_text().partition("\n")
        script.write_text(f"#!/usr/bin/python3\n{body}")

"""Stand-ins for the images of local/compose.yaml, and the root file system with Docker that runs them, from Debian.

README.md says what they do not prove.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.dev import packages
from tests.cluster.debian import FOLDER, Apt, digest
from tests.cluster.images import (
    NODE,
    NODE_SUITE,
    PGBOUNCER,
    VALKEY,
    NotBuiltError,
    Recipe,
    make_root,
    scratch,
)

ENGINE = Recipe(
    packages=(
        *("docker.io", "docker-cli", "docker-compose", "containerd", "runc", "iptables", "iproute2", "procps"),
        *("mount", "util-linux", "bash", "coreutils", "catatonit"),
    ),
    links=NODE.links,
)
"""The newest Docker that Debian has, with its compose plugin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """An image by the name that compose.yaml pulls."""

    name: str
    recipe: Recipe
    files: Mapping[str, str] = field(default_factory=dict)
    """Programs of the tests' own, by path."""
    changes: tuple[str, ...] = ()
    """Instructions of a Dockerfile."""

    @property
    def archive(self) -> Path:
        """Where it is kept: one tar of its files."""
        key = digest([self.recipe.key, json.dumps(dict(self.files))])
        return FOLDER / "compose" / f"{self.name.replace('/', '-').replace(':', '-')}-{key}.tar"


_POSTGRES = """\
#!/bin/sh
# What the official image's entrypoint does with the variables that compose.yaml sets.
set -eu
PGDATA=/var/lib/postgresql/data
PATH=/usr/lib/postgresql/15/bin:$PATH
mkdir -p /var/run/postgresql "$PGDATA"
chown postgres:postgres /var/run/postgresql "$PGDATA"
as() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # shellcheck disable=SC2086
  as initdb --pgdata="$PGDATA" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
  printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
  as pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait start
  psql() { as psql "$@"; }
  psql --username=postgres --dbname=postgres --command="CREATE DATABASE \"$POSTGRES_DB\""
  for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
  as pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
shift
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -D "$PGDATA" -c listen_addresses='*' "$@"
"""
_VALKEY = """\
#!/bin/sh
# As the official image's: not as root.
set -eu
chown valkey .
# By its path: the shell has a setpriv of its own.
exec /usr/bin/setpriv --reuid=valkey --regid=valkey --clear-groups "$@"
"""
_BUSYBOX = "usr/bin/busybox"


def _with_busybox(recipe: Recipe, *links: str) -> Recipe:
    """The recipe with the shell and the tools that the real image has from Alpine."""
    return Recipe(
        packages=(*recipe.packages, "busybox-static"),
        programs=(*recipe.programs, _BUSYBOX),
        users=recipe.users,
        links={**recipe.links, **{f"usr/bin/{link}": "busybox" for link in ("sh", *links)}},
    )


POSTGRES_15 = StandIn(
    name="postgres:15",
    recipe=Recipe(
        suite=NODE_SUITE,
        packages=("postgresql-15", "util-linux", "coreutils", "dash", "libc-bin"),
        users={"postgres": 999},
    ),
    files={"usr/local/bin/entrypoint": _POSTGRES},
    changes=('ENTRYPOINT ["/usr/local/bin/entrypoint"]', "VOLUME /var/lib/postgresql/data"),
)
_POOLER = Recipe(
    # BusyBox's nc as Debian builds it knows no -z, which Alpine's has.
    packages=(*PGBOUNCER.packages, "netcat-openbsd"),
    programs=(*PGBOUNCER.programs, "usr/bin/nc.openbsd"),
    users=PGBOUNCER.users,
    links={**PGBOUNCER.links, "usr/bin/nc": "nc.openbsd"},
)
POOLER = StandIn(name="edoburu/pgbouncer:v1.25.2-p0", recipe=_POOLER, changes=("USER postgres",))
CACHE = StandIn(
    name="valkey/valkey:8.1",
    recipe=_with_busybox(
        Recipe(
            packages=(*VALKEY.packages, "util-linux"),
            programs=(*VALKEY.programs, "usr/bin/setpriv"),
            users=VALKEY.users,
        ),
        *("grep", "chown"),
    ),
    files={"usr/local/bin/entrypoint": _VALKEY},
    changes=('ENTRYPOINT ["/usr/local/bin/entrypoint"]', "WORKDIR /data", "VOLUME /data"),
)
STORE = StandIn(
    name="versity/versitygw:v1.8.0",
    # Without `programs` all of libc is kept: versitygw may be linked with it.
    recipe=Recipe(
        packages=("busybox-static", "libc6"),
        links={f"usr/bin/{link}": "busybox" for link in ("sh", "mkdir", "sleep", "wget", "kill")},
    ),
    changes=('ENTRYPOINT ["/usr/local/bin/versitygw"]',),
)
STAND_INS = (POSTGRES_15, POOLER, CACHE, STORE)


def engine_root() -> Path:
    """The folder with Docker. Raises NotBuiltError."""
    root = FOLDER / "engine" / ENGINE.key
    unbuilt = [stand_in.name for stand_in in STAND_INS if not stand_in.archive.exists()]
    if not root.exists() or unbuilt:
        raise NotBuiltError("Docker and compose.yaml's images are not built; run: python -m tests.cluster.build")
    return root


def build_engine() -> None:
    """Builds Docker's folder and the images, each once."""
    root = FOLDER / "engine" / ENGINE.key
    if not root.exists():
        Apt(suite=ENGINE.suite).update()
        root.parent.mkdir(parents=True, exist_ok=True)
        with scratch() as unfinished:
            make_root(ENGINE, unfinished)
            unfinished.rename(root)
    for stand_in in STAND_INS:
        if not stand_in.archive.exists():
            stand_in.archive.parent.mkdir(parents=True, exist_ok=True)
            _build(stand_in)


def _build(stand_in: StandIn) -> None:
    Apt(suite=stand_in.recipe.suite).update()
    with scratch() as root:
        make_root(stand_in.recipe, root)
        for path, content in stand_in.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
            (root / path).chmod(0o755)
        if stand_in is STORE:
            program = packages.versitygw(print)
            if program is None:
                raise NotBuiltError("versitygw is neither on this machine nor can it be built")
            (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
            (root / "usr/local/bin/versitygw").write_bytes(Path(program).read_bytes())
            (root / "usr/local/bin/versitygw").chmod(0o755)
        unfinished = stand_in.archive.with_suffix(".unfinished")
        tar = ["tar", f"--directory={root}", "--numeric-owner", "--create", f"--file={unfinished}", "."]
        subprocess.run(tar, check=True, timeout=300)
        unfinished.rename(stand_in.archive)

"""The real Pulumi CLI with the real postgresql provider, on copies of the project: the checkout's own dev stack and
the home folder's Pulumi settings are never touched.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from ops.deploy import file_backend, install
from ops.dev import ports
from ops.dev.files import write_private
from settings import ADMIN, DATABASE, HOST, ROOT
from tests.checkout import copy_project
from tests.engine.catalog import Catalog, snapshot
from tests.integration.conftest import require_binaries
from tests.required import not_here

SECONDS = 120
"""No command of these tests may take longer."""

_PAYLOAD_TABLES = (ROOT / "tests/payload_tables.sql").read_bytes()
"""The seed's appendix."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended, or was killed."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Project:
    """A copy of the project, with servers of its own."""

    root: Path
    home: Path
    """Pulumi's home: the machine's plugins, and nothing else of it."""

    def run(
        self,
        *command: str | Path,
        kill_when: Callable[[str], bool] = lambda _: False,
        interrupt_when: Callable[[str], bool] = lambda _: False,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Runs a command in the copy, in a session of its own.

        The whole session is killed (SIGKILL) when `kill_when` says so of the output so far, or when time is up. The
        command's process group is interrupted, as by Ctrl-C, the first time that `interrupt_when` says so.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PULUMI") and k != install.SWITCH}
        ours = {"PULUMI_HOME": str(self.home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.root,
            env=kept | ours | dict(environment or {}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # A background process of a script ignores it, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (nothing else is done)
        )
        assert process.stdout is not None
        too_late = threading.Timer(SECONDS, _kill_session, [process.pid])
        too_late.start()
        output, interrupted = "", False
        try:
            for line in process.stdout:
                output += line
                if not interrupted and interrupt_when(output):
                    interrupted = True
                    os.killpg(process.pid, signal.SIGINT)
                if kill_when(output):
                    break
            else:
                return Ended(process.wait(), output)
        finally:
            too_late.cancel()
            _kill_session(process.pid)
            process.stdout.close()
        return Ended(process.wait(), output)

    def python(self, program: str, **options: Any) -> Ended:
        """Runs a program with the copy's modules."""
        return self.run(sys.executable, "-c", program, **options)

    def ops(self, *words: str, **options: Any) -> Ended:
        """Runs a command as the Makefile does."""
        return self.run(sys.executable, "-m", "ops", *words, **options)

    def make_up(self, **options: Any) -> Ended:
        """What `make up` runs."""
        return self.ops("up", **options)

    def pulumi(self, *arguments: str, **options: Any) -> Ended:
        """Plain pulumi, with the two variables that the README names and no others."""
        options.setdefault("environment", file_backend.environment("dev", self.root))
        return self.run("pulumi", "--non-interactive", *arguments, **options)

    def update(self, *, expect: int = 0) -> str:
        """An update of the dev stack by plain pulumi; its output."""
        file_backend.folder("dev", self.root).mkdir(parents=True, exist_ok=True)
        selected = self.pulumi("stack", "select", "--create", "dev")
        assert selected.status == 0, selected.output
        ended = self.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
        assert ended.status == expect, ended.output
        return ended.output

    def configure(self, **values: Any) -> None:
        """Sets whole values of the dev stack's config, by their key without the namespace."""
        path = self.root / "Pulumi.dev.yaml"
        document = yaml.safe_load(path.read_text())
        document["config"] |= {f"lightwave:{key}": value for key, value in values.items()}
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def products(self) -> dict[str, Any]:
        """The product table as Pulumi.yaml has it."""
        table: dict[str, Any] = yaml.safe_load((self.root / "Pulumi.yaml").read_text())["config"]["lightwave:products"]
        return dict(table["default"])

    def read_by_django(self, *, on: bool) -> None:
        """Switches Django's read on Payload's schema on or off in the product table."""
        products = self.products()
        if on:
            products["payload"]["readers"] = ["django"]
        self.configure(products=products)

    def make_tables(self) -> None:
        """What the services' migrations make, with a row and a function."""
        with self.connect("payload_user") as payload, self.connect("django_user") as django:
            payload.execute(_PAYLOAD_TABLES)
            payload.execute("INSERT INTO users VALUES (gen_random_uuid(), 'a', 'a@example.com', 'x')")
            payload.execute("CREATE FUNCTION payload.secret() RETURNS integer LANGUAGE sql RETURN 1")
            django.execute("CREATE TABLE auth_user (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text)")

    def catalog(self) -> Catalog:
        """What the database's catalogs say of roles and rights."""
        with self.connect() as admin:
            return snapshot(admin)

    @property
    def state_file(self) -> Path:
        """The dev stack's ports and passwords."""
        return self.root / ".local" / "dev" / "state.json"

    @contextmanager
    def connect(self, role: str = ADMIN) -> Iterator[psycopg.Connection[Any]]:
        """A session of a role in the copy's database."""
        state = json.loads(self.state_file.read_text())
        with psycopg.connect(
            host=HOST,
            port=state["databasePort"],
            dbname=DATABASE,
            user=role,
            password=state["passwords"][role],
            autocommit=True,
            connect_timeout=10,
        ) as connection:
            yield connection


def _kill_session(leader: int) -> None:
    """Kills a session and all its process groups: Pulumi gives each of its plugins one."""
    shown = subprocess.run(["ps", "-e", "-o", "pid=,sess="], capture_output=True, text=True, check=True).stdout
    for line in shown.splitlines():
        pid, session = line.split()
        if session == str(leader):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextmanager
def project_copy(pulumi_home: Path) -> Iterator[Project]:
    """A copy of the project with an empty database running; all of it gone afterwards."""
    require_binaries()
    root = Path(tempfile.mkdtemp(prefix="lightwave-engine-")).resolve()
    # The servers' user passes through.
    root.chmod(0o711)
    project = Project(root, pulumi_home)
    try:
        copy_project(root)
        # The usual ports belong to the developer's own dev stack.
        port = ports.free_port()
        chosen = {"databasePort": port, "pgbouncerPort": ports.free_port([port])}
        write_private(project.state_file, json.dumps(chosen))
        started = project.python(
            "from ops.dev import servers, state; servers.start(state.prepare('dev'), kind='native')"
        )
        assert started.status == 0, started.output
        yield project
    finally:
        stopped = project.python("from ops.dev import servers, state; servers.stop(state.folder('dev'), wipe=True)")
        shutil.rmtree(root)
        assert stopped.status == 0, stopped.output


@pytest.fixture(scope="session", autouse=True)
def _uv() -> Iterator[None]:
    """Pulumi's Python language host runs `uv sync`: it finds this environment's uv, and nothing to install."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("UV_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for Pulumi with the machine's plugins; skips without a Pulumi CLI (REQUIRE_ENGINE=1: fails)."""
    if shutil.which("pulumi") is None:
        not_here("pulumi is not on PATH", "REQUIRE_ENGINE")
    home = tmp_path_factory.mktemp("pulumi-home")
    plugins = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi")) / "plugins"
    if plugins.exists():
        (home / "plugins").symlink_to(plugins)
    return home


def require_provider(name: str, pulumi_home: Path) -> None:
    """Skips where the provider's plugin is not on this machine; with REQUIRE_ENGINE=1 that is a failure."""
    if shutil.which(f"pulumi-resource-{name}") is None and not list(pulumi_home.glob(f"plugins/resource-{name}-*")):
        not_here(f"the {name} provider's plugin is not on this machine", "REQUIRE_ENGINE")


@pytest.fixture
def project(pulumi_home: Path) -> Iterator[Project]:
    """A copy of the project with an empty database."""
    with project_copy(pulumi_home) as copy:
        yield copy


@pytest.fixture
def projects(pulumi_home: Path) -> Iterator[Callable[[], Project]]:
    """Makes such copies, as many as a test asks for."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(project_copy(pulumi_home))

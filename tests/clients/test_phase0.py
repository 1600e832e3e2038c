"""Phase 0 rehearsed: a site on SQLite moves to the real platform, each criterion turns red once, and the way back."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

import settings
from ops import __main__ as commands
from ops.dev import env as env_files
from ops.dev import servers
from ops.phase0 import commands as phase0
from ops.phase0.media import Bucket
from ops.verify.model import Connection
from tests.clients.conftest import Service
from tests.clients.old_site import OldSite, fill, move_content, shown
from tests.clients.test_payload import image
from tests.integration.conftest import Platform
from tests.required import not_here

PAYLOAD, DJANGO = "lightwave-media-site/website", "lightwave-api-gateway"
POST = "Bridges"


class Rehearsal:
    """A workspace with both services' checkouts, and the platform that they move to."""

    def __init__(self, folder: Path, platform: Platform, payload_url: str) -> None:
        self.workspace, self.platform, self.payload_url = folder, platform, payload_url
        self.payload, self.django = folder / PAYLOAD, folder / DJANGO
        self.old = OldSite(self.payload, folder / "site.db")

    def measured(self) -> dict[str, bool]:
        """Every criterion and whether it is met, as `make phase0` writes it."""
        status = commands.main(
            ["phase0", "--workspace", str(self.workspace), "--payload-url", f"{self.payload_url}/api"]
        )
        report = json.loads((self.workspace / "build" / "dev" / "phase0.json").read_text())
        found = {entry["name"]: entry["ok"] for entry in report["criteria"]}
        assert status == (0 if all(found.values()) else 1)
        return found

    @contextmanager
    def login(self, product: str) -> Iterator[Connection]:
        with self.platform.connect(f"{product}_user") as connection:
            yield connection


@pytest.fixture(scope="module")
def rehearsal(
    tmp_path_factory: pytest.TempPathFactory, platform: Platform, payload: Service, django: Service, payload_url: str
) -> Iterator[Rehearsal]:
    if shutil.which("rclone") is None:
        not_here("rclone is not on this machine", "REQUIRE_CLIENTS")
    found = Rehearsal(tmp_path_factory.mktemp("workspace"), platform, payload_url)
    for checkout, service, names in (
        (found.payload, payload, ("package-lock.json", "src")),
        (found.django, django, ("manage.py", "lightwave", "orders", ".venv")),
    ):
        checkout.mkdir(parents=True, exist_ok=True)
        for name in names:
            (checkout / name).symlink_to(service.folder / name)
    with found.old.served() as site:
        fill(site, image(640, 480))
    required = {PAYLOAD: ["DATABASE_URI", "S3_BUCKET"], DJANGO: ["DATABASE_URL", "PAYLOAD_API_URL"]}
    contract = {"services": {key: {"description": "", "required_variables": names} for key, names in required.items()}}
    (found.workspace / env_files.CONTRACT).write_text(json.dumps(contract))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "of_stack", lambda _: platform.settings)
        patch.setattr(servers, "extras_of", lambda _: platform.running.extras)
        patch.setattr(phase0, "ROOT", found.workspace)
        yield found


def test_before_the_move_the_open_points_are_named(rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    found = rehearsal.measured()
    assert not found["Environment variables distributed across workspace"]
    assert not found["No MongoDB dependencies remaining"]
    output = capsys.readouterr()
    assert f"{rehearsal.payload}/.env has a MongoDB URL" in output.err
    assert "not written by make env" in output.err


def test_the_move_ends_in_a_green_checklist(rehearsal: Rehearsal, editor: httpx.Client, public: httpx.Client) -> None:
    with rehearsal.old.served() as old:
        # The user's own file is moved away by the user; it is the way back.
        rehearsal.old.env_file.rename(rehearsal.workspace / "env.of-before")
        assert commands.main(["env", "--all", "--workspace", str(rehearsal.workspace)]) == 0
        move_content(old, editor)
        assert commands.main(["media-sync", "--from", str(rehearsal.old.media)]) == 0
        assert shown(public, POST) == shown(old, POST)
    found = rehearsal.measured()
    assert all(found.values()), found
    assert len(found) == 8


def test_the_handoff_says_what_runs(rehearsal: Rehearsal) -> None:
    assert commands.main(["handoff"]) == 0
    text = (rehearsal.workspace / "build" / "dev" / "handoff.md").read_text()
    assert "criteria met: 8 of 8" in text
    assert f"| {DJANGO} | `django` | `django_user` |" in text
    assert rehearsal.platform.state.passwords["payload_user"].get_secret_value() not in text


@contextmanager
def a_grant_by_hand(rehearsal: Rehearsal) -> Iterator[None]:
    with rehearsal.login("payload") as connection:
        connection.execute("GRANT SELECT ON payload.pages TO createos_user")
        yield
        connection.execute("REVOKE SELECT ON payload.pages FROM createos_user")


@contextmanager
def a_migration_that_was_not_applied(rehearsal: Rehearsal) -> Iterator[None]:
    with rehearsal.login("payload") as connection:
        (name,) = connection.execute("SELECT max(name) FROM payload.payload_migrations").fetchall()
        connection.execute("UPDATE payload.payload_migrations SET name = name || '-old' WHERE name = %s", name)
        yield
        connection.execute("UPDATE payload.payload_migrations SET name = %s WHERE name = %s || '-old'", name * 2)


@contextmanager
def a_file_that_is_not_in_the_bucket(rehearsal: Rehearsal) -> Iterator[None]:
    product = rehearsal.platform.settings.products["payload"]
    bucket = Bucket(env_files.values_of(rehearsal.platform.settings, product))
    key = next(name for name in sorted(bucket.object_keys()) if name.startswith("brücke"))

    def move(old: str, new: str) -> None:
        command = ["rclone", "--config=", "moveto", f"{bucket.name}/{old}", f"{bucket.name}/{new}"]
        subprocess.run(command, env=bucket.environment, check=True, timeout=60)

    move(key, "elsewhere")
    yield
    move("elsewhere", key)


@contextmanager
def a_missing_table(product: str, table: str, rehearsal: Rehearsal) -> Iterator[None]:
    with rehearsal.login(product) as connection:
        connection.execute(f"ALTER TABLE {product}.{table} RENAME TO {table}_of_before")
        yield
        connection.execute(f"ALTER TABLE {product}.{table}_of_before RENAME TO {table}")


@contextmanager
def django_that_does_not_start(rehearsal: Rehearsal) -> Iterator[None]:
    (rehearsal.django / "manage.py").rename(rehearsal.django / "manage.old")
    yield
    (rehearsal.django / "manage.old").rename(rehearsal.django / "manage.py")


@contextmanager
def an_old_env_file(rehearsal: Rehearsal) -> Iterator[None]:
    path = rehearsal.django / ".env"
    before = path.read_text()
    path.write_text(before.replace("DATABASE_PORT=", "DATABASE_PORT=1"))
    yield
    path.write_text(before)


@contextmanager
def a_mongodb_url(rehearsal: Rehearsal) -> Iterator[None]:
    (rehearsal.payload / ".env.local").write_text(rehearsal.old.env)
    yield
    (rehearsal.payload / ".env.local").unlink()


BROKEN: dict[str, Callable[[Rehearsal], AbstractContextManager[None]]] = {
    "Shared PostgreSQL database configured with schemas": a_grant_by_hand,
    "Payload migrated to PostgreSQL": a_migration_that_was_not_applied,
    "Media storage migrated to S3/R2 with CDN": a_file_that_is_not_in_the_bucket,
    "All Payload collections working on PostgreSQL": partial(a_missing_table, "payload", "header"),
    "Django connects to PostgreSQL": partial(a_missing_table, "django", "django_migrations"),
    "Django can query the Payload API": django_that_does_not_start,
    "Environment variables distributed across workspace": an_old_env_file,
    "No MongoDB dependencies remaining": a_mongodb_url,
}


@pytest.mark.parametrize("criterion", BROKEN)
def test_exactly_the_broken_criterion_is_red(rehearsal: Rehearsal, criterion: str) -> None:
    with BROKEN[criterion](rehearsal):
        found = rehearsal.measured()
    assert [name for name, ok in found.items() if not ok] == [criterion]
    assert set(BROKEN) == set(found)


def test_the_way_back(rehearsal: Rehearsal, public: httpx.Client) -> None:
    """The old env file again: nothing of the platform overwrites it, and the old site is as it was."""
    moved = shown(public, POST)
    rehearsal.old.env_file.unlink()
    (rehearsal.workspace / "env.of-before").rename(rehearsal.old.env_file)
    assert commands.main(["env", "--all", "--workspace", str(rehearsal.workspace)]) == 1
    assert rehearsal.old.env_file.read_text() == rehearsal.old.env
    with rehearsal.old.served() as old:
        assert shown(old, POST) == moved

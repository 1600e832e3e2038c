"""The env files, read by the programs that read env files. All of them must see the same values."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dotenv
import pytest

import settings
from ops.dev import env as env_files
from settings import Settings
from tests.unit.conftest import full_config, local_state

ALLOWED = "-_./:@%+,=?!^*{}[]" + "aZ09" + "üé"
"""What values may hold; letters and digits stand for all of theirs."""

Read = Callable[[Path], dict[str, str]]


def ran(*command: str | Path, **options: Any) -> str:
    """What a program prints; it gets nothing of this process's environment but PATH."""
    given = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, env=given, capture_output=True, text=True, check=False, timeout=60, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on PATH")
    return found


# --- the readers ------------------------------------------------------------------------------------------------------


def sh(path: Path) -> dict[str, str]:
    shown = ran("sh", "-c", 'set -a; . "$1"; env -0', "sh", path)
    return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)


def bash(path: Path) -> dict[str, str]:
    shown = ran(needed("bash"), "-c", 'set -a; . "$1"; env -0', "bash", path)
    return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)


def python_dotenv(path: Path) -> dict[str, str]:
    return {name: str(value) for name, value in dotenv.dotenv_values(path).items()}


def django_environ(path: Path) -> dict[str, str]:
    program = (
        "import environ, json, os, sys; os.environ.clear(); env = environ.Env(); env.read_env(sys.argv[1]);"
        "print(json.dumps({name: env.str(name) for name in os.environ}))"
    )
    found: dict[str, str] = json.loads(ran(sys.executable, "-c", program, path))
    return found


def node(path: Path) -> dict[str, str]:
    version = ran(needed("node"), "--version").removeprefix("v").split(".")
    if (int(version[0]), int(version[1])) < (20, 6):
        pytest.skip("node knows no --env-file")
    shown = ran("node", f"--env-file={path}", "--eval", "console.log(JSON.stringify(process.env))")
    found: dict[str, str] = json.loads(shown)
    return found


def npm_dotenv(path: Path) -> dict[str, str]:
    folder = path.parent / "npm"
    folder.mkdir()
    done = subprocess.run(
        [needed("npm"), "install", "--silent", "--no-audit", "--no-fund", "dotenv@18.0.10"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        pytest.skip(f"dotenv cannot be had from npm: {done.stderr.strip()[-200:]}")
    program = "console.log(JSON.stringify(require('dotenv').parse(require('fs').readFileSync(process.argv[1]))))"
    found: dict[str, str] = json.loads(ran("node", "--eval", program, path, cwd=folder))
    return found


def kubectl(path: Path) -> dict[str, str]:
    command = ("create", "secret", "generic", "env", f"--from-env-file={path}", "--dry-run=client", "--output=json")
    data = json.loads(ran(needed("kubectl"), *command))["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def docker(path: Path) -> dict[str, str]:
    """The client reads the file; a stand-in for the daemon writes down what it is asked to create."""
    program = needed("docker")
    with stand_in_for_dockerd() as (address, created):
        ran(program, "--host", address, "create", "--env-file", path, "image")
    (container,) = created
    return dict(entry.split("=", 1) for entry in container["Env"])


@contextmanager
def stand_in_for_dockerd() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    created: list[dict[str, Any]] = []

    class Daemon(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null")
            if self.path.partition("?")[0].endswith("/containers/create"):
                created.append(body)
            text = json.dumps({"Id": "1", "Warnings": []}).encode()
            self.send_response(200)
            self.send_header("Api-Version", "1.44")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_HEAD = do_GET = do_POST = answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer((settings.HOST, 0), Daemon) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://{settings.HOST}:{server.server_port}", created
        server.shutdown()


SHELLS: tuple[Read, ...] = (sh, bash)
OTHERS: tuple[Read, ...] = (docker, kubectl, python_dotenv, django_environ, node, npm_dotenv)


# --- what they read ---------------------------------------------------------------------------------------------------


@pytest.fixture
def dev() -> Settings:
    return settings.load("dev", full_config("dev"), local=local_state())


def plain(path: Path) -> dict[str, str]:
    """The values as they stand in the file, nothing interpreted."""
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("reader", [*SHELLS, *OTHERS], ids=lambda reader: reader.__name__)
def test_every_reader_sees_what_was_written(dev: Settings, tmp_path: Path, reader: Read) -> None:
    awkward = {
        f"{position}_{number}": template.format(character)
        for number, character in enumerate(ALLOWED)
        for position, template in (("FIRST", "{}b"), ("INNER", "a{}b"), ("LAST", "a{}"), ("ALONE", "{}"))
    } | {"NOTHING": "", "URL": "postgresql://user:p%40ss@[::1]:5432/database?schema=payload"}
    files = [
        env_files.write(dev.products["payload"], "dev", awkward, tmp_path / "awkward"),
        *env_files.write_local(dev, tmp_path / "dev").files[:-1],
    ]
    for path in files:
        found = reader(path)
        wanted = plain(path)
        assert len(wanted) > 8
        assert {name: found.get(name) for name in wanted} == wanted
        shutil.rmtree(path.parent / "npm", ignore_errors=True)


@pytest.mark.parametrize("reader", OTHERS, ids=lambda reader: reader.__name__)
def test_two_parameters_of_a_url_are_read_by_all_but_a_shell(dev: Settings, tmp_path: Path, reader: Read) -> None:
    url = "postgresql://user:secret@db.example.com:5432/database?sslmode=verify-full&sslrootcert=/ca.pem"
    path = env_files.write(dev.products["django"], "prod", {"DATABASE_URL": url, "LAST": "x"}, tmp_path)
    assert {name: value for name, value in reader(path).items() if name in ("DATABASE_URL", "LAST")} == plain(path)
    assert "# A shell cannot read this file: there is an & in DATABASE_URL." in path.read_text()

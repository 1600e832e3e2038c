"""The example services, installed and built once per content: in the user's cache, never in the checkout.

A set-up step, because it takes minutes: `python -m tests.clients.builds`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from settings import ROOT

EXAMPLES = ROOT / "examples"
OLD_SITE = Path(__file__).with_name("old-site")
NPM = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
PAYLOAD_COMMAND = ("env", "NODE_ENV=production", "node", "--conditions=production", "node_modules/payload/bin.js")
"""Payload's command line; the example's migrate.mjs says what the condition and the variable are for."""
_SECONDS = 1200


def payload() -> Path:
    """The built Payload example: `.next/standalone/server.js` serves it, the whole tree runs migrations."""
    return _cached("payload", _sources("payload"), _build_payload)


def django() -> Path:
    """The Django example with a virtual environment of its own in `.venv`."""
    return _cached("django", _sources("django"), _build_django)


def old_site() -> Path:
    """The Payload example as a site before Phase 0: on SQLite, media in a folder, without the admin's pages.

    `site.db` is its empty database; `payload run server.ts` serves its API.
    """
    return _cached("payload", [*_sources("payload"), *sorted(OLD_SITE.iterdir())], _build_old_site, name="old-site")


def folder(example: str) -> Path:
    """Where the build of `payload` or `django` is, or will be."""
    return _target(example, _sources(example))


def _sources(example: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", f"examples/{example}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    # A changed README is no reason to build for minutes.
    return sorted(path for path in paths if path.is_file() and path.suffix != ".md")


def _target(name: str, sources: list[Path]) -> Path:
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightwave" / "clients"
    return cache / f"{name}-{digest.hexdigest()[:16]}"


def _cached(example: str, sources: list[Path], build: Callable[[Path], None], name: str = "") -> Path:
    target = _target(name or example, sources)
    if not target.exists():
        unfinished = target.with_suffix(f".{os.getpid()}")
        for path in sources:
            if not path.is_relative_to(EXAMPLES):
                continue
            copy = unfinished / path.relative_to(EXAMPLES / example)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        build(unfinished)
        try:
            unfinished.rename(target)  # whole or not at all
        except OSError:  # another run was faster
            shutil.rmtree(unfinished)
    return target


def _build_payload(folder: Path) -> None:
    _run(["npm", "ci", *NPM], folder)
    _run(["npm", "run", "build"], folder)
    shutil.copytree(folder / ".next" / "static", folder / ".next" / "standalone" / ".next" / "static")


def _build_old_site(folder: Path) -> None:
    """With the adapter of Payload's own version, whose dependencies have exact versions."""
    version = json.loads((folder / "package.json").read_text())["dependencies"]["payload"]
    added = (f"@payloadcms/db-sqlite@{version}", "@remix-run/node-fetch-server@0.14.2")
    _run(["npm", "install", *NPM, "--no-save", *added], folder)
    shutil.copyfile(OLD_SITE / "payload.config.ts", folder / "src" / "payload.config.ts")
    shutil.copyfile(OLD_SITE / "server.ts", folder / "server.ts")
    shutil.rmtree(folder / "src" / "migrations")
    for arguments in (["migrate:create", "initial"], ["migrate"]):
        _run([*PAYLOAD_COMMAND, *arguments], folder, PAYLOAD_SECRET="build", SQLITE_URL="file:site.db")


def _build_django(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", ".venv"], folder)
    # By the name that the folder gets, for scripts name their interpreter by its path: run them as modules.
    _run([".venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.txt"], folder)


def _run(command: list[str], folder: Path, **variables: str) -> None:
    # The build reads no secret: what this process has in its environment is not for it.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    configured = {name: value for name, value in os.environ.items() if name.lower().startswith(("npm_config_", "pip_"))}
    subprocess.run(
        command,
        cwd=folder,
        env={**configured, **kept, **variables, "NEXT_TELEMETRY_DISABLED": "1"},
        timeout=_SECONDS,
        check=True,
    )


if __name__ == "__main__":
    # Minutes without the cache: before the tests, whose time is limited.
    print(payload(), old_site(), django(), sep="\n")

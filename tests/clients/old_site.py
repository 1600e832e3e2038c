"""A site as it is before Phase 0, and the move of its content as docs/runbooks/phase-0.md has it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ops.dev import env as env_files
from tests.clients import builds
from tests.clients.conftest import Service, created, first_user, served_payload

OWN = {"id", "createdAt", "updatedAt", "populatedAuthors", "sizes", "url", "thumbnailURL"}
"""Fields that the new site fills in."""


class OldSite:
    """Payload on SQLite, with its media in `public/media` of a checkout; its env file names a MongoDB besides."""

    def __init__(self, checkout: Path, database: Path) -> None:
        self.env_file, self.media, self.database = checkout / ".env", checkout / "public" / "media", database
        self.media.mkdir(parents=True)
        shutil.copyfile(builds.old_site() / "site.db", database)
        self.env = f"""\
DATABASE_URI=mongodb://127.0.0.1/website
PAYLOAD_SECRET=of-the-old-site
SQLITE_URL=file:{database}
MEDIA_FOLDER={self.media}
"""
        self.env_file.write_text(self.env)

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """A client of the site, which runs with what its env file says now."""
        service = Service(folder=builds.old_site(), env=env_files.read(self.env_file))
        command = (*builds.PAYLOAD_COMMAND, "run", "server.ts")
        with (
            served_payload(service, self.database.with_suffix(".log"), command) as (url, _),
            httpx.Client(base_url=f"{url}/api", timeout=60) as client,
        ):
            yield client


def fill(site: httpx.Client, image: bytes) -> None:
    """A page, and a post with its relations."""
    with first_user(str(site.base_url).removesuffix("/api/")) as editor:
        data = {"_payload": json.dumps({"alt": "A bridge"})}
        media = created(editor, "/media", files={"file": ("brücke im Herbst.jpg", image, "image/jpeg")}, data=data)
        category = created(editor, "/categories", json={"title": "Engineering"})
        me = editor.get("/users/me").json()["user"]
        post = {"title": "Bridges", "heroImage": media["id"], "categories": [category["id"]], "authors": [me["id"]]}
        created(editor, "/posts", json=post | {"_status": "published", "publishedAt": "2026-01-01T00:00:00.000Z"})
        created(editor, "/pages", json={"title": "Imprint", "_status": "published"})


def documents(site: httpx.Client, collection: str) -> list[dict[str, Any]]:
    answer = site.get(f"/{collection}", params={"limit": 0, "depth": 0, "sort": "createdAt"}).raise_for_status()
    found: list[dict[str, Any]] = answer.json()["docs"]
    return found


def move_content(old: httpx.Client, new: httpx.Client) -> None:
    """Copies every document, categories and media before posts. Ids change; `authors` become who moves them."""
    ids: dict[Any, str] = {}

    def rest(document: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in document.items() if name not in OWN}

    for category in documents(old, "categories"):
        ids["categories", category["id"]] = created(new, "/categories", json=rest(category))["id"]
    for media in documents(old, "media"):
        content = old.get(f"/media/file/{media['filename']}").raise_for_status().content
        files = {"file": (media["filename"], content, media["mimeType"])}
        data = {"_payload": json.dumps({"alt": media["alt"]})}
        ids["media", media["id"]] = created(new, "/media", files=files, data=data)["id"]
    for page in documents(old, "pages"):
        created(new, "/pages", json=rest(page))
    me = new.get("/users/me").json()["user"]["id"]
    for post in documents(old, "posts"):
        relations = {
            "heroImage": ids["media", post["heroImage"]],
            "categories": [ids["categories", category] for category in post["categories"]],
            "authors": [me],
        }
        created(new, "/posts", json=rest(post) | relations)


def shown(site: httpx.Client, title: str) -> dict[str, Any]:
    """What a visitor sees of a post: its relations by name, and the bytes of its image."""
    query: dict[str, str | int] = {"where[title][equals]": title, "depth": 1}
    (post,) = site.get("/posts", params=query).raise_for_status().json()["docs"]
    return {
        "slug": post["slug"],
        "published": post["publishedAt"],
        "alt": post["heroImage"]["alt"],
        "image": site.get(post["heroImage"]["url"].removeprefix("/api")).raise_for_status().content,
        "categories": [category["title"] for category in post["categories"]],
        "authors": [author["name"] for author in post["populatedAuthors"]],
    }

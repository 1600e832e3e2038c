"""The real Payload on the platform: content through the pooler, media in the bucket, drafts hidden from the public."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image

from settings import FRAMEWORKS
from tests.clients.conftest import Service, created, payload_command
from tests.integration.conftest import Platform

SIZES = {
    "thumbnail": (300, None),
    "square": (500, 500),
    "small": (600, None),
    "medium": (900, None),
    "large": (1400, None),
    "xlarge": (1920, None),
    "og": (1200, 630),
}
"""Width and height of the Phase 0 report's image sizes; None: as the image's proportions give it."""


def image(width: int = 2400, height: int = 1350) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (20, 90, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


def upload(editor: httpx.Client, name: str = "hero image ü.jpg") -> dict[str, Any]:
    files = {"file": (name, image(), "image/jpeg")}
    return created(editor, "/media", files=files, data={"_payload": '{"alt": "A hero"}'})


def test_migrations_leave_nothing_in_public(payload: Service, platform: Platform) -> None:
    assert "initial" in payload_command(payload, "migrate:status")
    with platform.connect() as admin:
        tables = admin.execute(
            "SELECT n.nspname, r.rolname, count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " JOIN pg_roles r ON r.oid = relowner WHERE relkind = 'r' AND nspname IN ('payload', 'public')"
            " GROUP BY 1, 2"
        ).fetchall()
    ((schema, owner, count),) = tables
    assert (schema, owner) == ("payload", "payload_user")
    assert count > 20


def test_the_pods_probes_get_an_answer(public: httpx.Client) -> None:
    serving = FRAMEWORKS["payload"].serving
    for path in (serving.start_path, serving.health_path):
        assert httpx.get(str(public.base_url.copy_with(path=path)), timeout=60).status_code == 200, path


def test_a_draft_is_hidden_until_it_is_published(editor: httpx.Client, public: httpx.Client) -> None:
    draft = created(editor, "/pages", json={"title": "Über uns", "_status": "draft"})
    assert draft["slug"] == "uber-uns"
    assert len(draft["id"]) == 36, "ids are UUIDs"
    by_slug = {"where[slug][equals]": "uber-uns"}
    assert public.get("/pages", params=by_slug).json()["totalDocs"] == 0
    assert editor.get("/pages", params=by_slug).json()["totalDocs"] == 1
    blocks = [
        {"blockType": "cta", "heading": "Join", "links": [{"label": "Now", "url": "/join"}]},
        {"blockType": "banner", "style": "info", "message": "New"},
    ]
    editor.patch(f"/pages/{draft['id']}", json={"_status": "published", "layout": blocks}).raise_for_status()
    (page,) = public.get("/pages", params={**by_slug, "depth": 2}).json()["docs"]
    assert [block["blockType"] for block in page["layout"]] == ["cta", "banner"]


def test_an_upload_has_every_size_behind_the_cdns_address(editor: httpx.Client, payload: Service) -> None:
    media = upload(editor)
    assert media["url"].startswith(payload.env["CDN_BASE_URL"] + "/")
    assert set(media["sizes"]) == set(SIZES)
    assert media["thumbnailURL"] == media["sizes"]["thumbnail"]["url"]
    for url, expected in [
        (media["url"], (2400, 1350)),
        *((media["sizes"][name]["url"], size) for name, size in SIZES.items()),
    ]:
        assert url.startswith(payload.env["CDN_BASE_URL"] + "/")
        response = httpx.get(url).raise_for_status()
        width, height = Image.open(io.BytesIO(response.content)).size
        assert response.headers["content-type"] == "image/jpeg"
        assert width == expected[0]
        assert expected[1] in (None, height)


def test_a_post_with_its_relations(editor: httpx.Client, public: httpx.Client) -> None:
    me = editor.get("/users/me").json()["user"]
    category = created(editor, "/categories", json={"title": "Science"})
    media = upload(editor, "post.jpg")
    for number in range(3):
        created(
            editor,
            "/posts",
            json={
                "title": f"Post {number}",
                "heroImage": media["id"],
                "categories": [category["id"]],
                "authors": [me["id"]],
                "publishedAt": f"2026-01-0{number + 1}T00:00:00.000Z",
                "_status": "published",
            },
        )
    found = public.get(
        "/posts",
        params={
            "where[categories][in][]": category["id"],
            "where[_status][equals]": "published",
            "sort": "-publishedAt",
            "limit": 2,
            "depth": 2,
        },
    ).json()
    assert (found["totalDocs"], found["totalPages"]) == (3, 2)
    assert [post["title"] for post in found["docs"]] == ["Post 2", "Post 1"]
    first = found["docs"][0]
    assert first["heroImage"]["url"] == media["url"]
    assert first["categories"][0]["title"] == "Science"
    # Users are not public: names come in populatedAuthors, and nothing else of a user.
    assert [author["name"] for author in first["populatedAuthors"]] == ["Ada Editor"]
    assert "editor@example.com" not in str(found)


def test_globals(editor: httpx.Client, public: httpx.Client) -> None:
    link = {"link": {"type": "custom", "url": "/pricing", "label": "Pricing"}}
    editor.post("/globals/header", json={"navItems": [link]}).raise_for_status()
    header = public.get("/globals/header").json()
    assert [item["link"]["label"] for item in header["navItems"]] == ["Pricing"]
    assert public.post("/globals/header", json={"navItems": []}).status_code == 403


@pytest.mark.parametrize(
    "request_of",
    [
        lambda c: c.post("/pages", json={"title": "x"}),
        lambda c: c.get("/users"),
        lambda c: c.post("/users", json={"email": "x@example.com", "password": "x"}),
        lambda c: c.post("/users/login", json={"email": "editor@example.com", "password": "wrong"}),
    ],
    ids=["create a page", "list users", "create a user", "log in with a wrong password"],
)
@pytest.mark.usefixtures("editor")
def test_the_public_may_not(request_of: Callable[[httpx.Client], httpx.Response], public: httpx.Client) -> None:
    assert request_of(public).status_code in (401, 403)


def test_payloads_login_reaches_no_other_schema(payload: Service, django: Service) -> None:
    assert django.env["DATABASE_USER"] == "django_user"
    # libpq refuses the `schema` parameter that Payload's contract has.
    with (
        psycopg.connect(payload.env["DATABASE_URI"].partition("?")[0], prepare_threshold=None) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM django.orders_order")

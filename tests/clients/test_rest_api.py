"""docs/rest-api.md, held against the real Payload: every request in it is sent."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from settings import ROOT
from tests.clients.conftest import created
from tests.clients.test_payload import upload

PAGE = (ROOT / "docs" / "rest-api.md").read_text()
EXAMPLES = re.findall(r"```http\n(\w+) (\S+)\n(?:\n(.+)\n)?```\n\n```json\n(.+?)```", PAGE, re.DOTALL)
REFUSED = re.findall(r"^\| `(\w+) (\S.*?)` \| (\d+) \|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def ids(editor: httpx.Client) -> dict[str, str]:
    """What the page's examples are about; the placeholders in it and their ids."""
    me = editor.get("/users/me").json()["user"]
    category = created(editor, "/categories", json={"title": "Tech"})
    media = upload(editor, "rest.jpg")
    created(editor, "/pages", json={"title": "About", "_status": "published"})
    created(editor, "/pages", json={"title": "Draft of a page", "_status": "draft"})
    post = {"title": "News", "heroImage": media["id"], "categories": [category["id"]], "authors": [me["id"]]}
    # Later than any other test's.
    published = {"publishedAt": "2030-01-01T00:00:00.000Z", "_status": "published"}
    created(editor, "/posts", json=post | published)
    for name, label in (("header", "Pricing"), ("footer", "Imprint")):
        link = {"link": {"type": "custom", "url": f"/{label.lower()}", "label": label}}
        editor.post(f"/globals/{name}", json={"navItems": [link]}).raise_for_status()
    return {"<category id>": category["id"], "<media id>": media["id"]}


def address(path: str, ids: dict[str, str]) -> str:
    for placeholder, value in ids.items():
        path = path.replace(placeholder, value)
    return quote(path.removeprefix("/api"), safe="/?&=")


def differences(shown: Any, answer: Any, place: str = "") -> Iterator[str]:
    """Where the answer lacks what is shown, or has another type there."""
    if isinstance(shown, dict) and isinstance(answer, dict):
        for key in shown:
            if key in answer:
                yield from differences(shown[key], answer[key], f"{place}.{key}")
            else:
                yield f"{place}.{key} is not in the answer"
    elif isinstance(shown, list) and isinstance(answer, list):
        if bool(shown) != bool(answer):
            yield f"{place} has {len(answer)} items"
        elif shown:
            yield from differences(shown[0], answer[0], f"{place}[0]")
    elif type(shown) is not type(answer):
        yield f"{place} is {answer!r}"


@pytest.mark.parametrize("example", EXAMPLES, ids=[path for _, path, _, _ in EXAMPLES])
def test_the_answer_is_as_shown(payload_url: str, ids: dict[str, str], example: tuple[str, str, str, str]) -> None:
    method, path, body, shown = example
    # Without a client, which would keep the cookie of a login.
    url = f"{payload_url}/api{address(path, ids)}"
    response = httpx.request(method, url, json=json.loads(body) if body else None, timeout=60)
    assert response.status_code == 200, response.text
    assert list(differences(json.loads(shown), response.json())) == []


@pytest.mark.parametrize(("method", "path", "status"), REFUSED)
def test_the_public_may_not(payload_url: str, ids: dict[str, str], method: str, path: str, status: str) -> None:
    json_body = None if method in ("GET", "DELETE") else dict[str, str]()
    response = httpx.request(method, f"{payload_url}/api{address(path, ids)}", json=json_body, timeout=60)
    assert response.status_code == int(status)


def test_the_page_has_every_endpoint_of_the_report() -> None:
    shown = {re.sub(r"\?.*|/<.*", "", path) for _, path, _, _ in EXAMPLES}
    assert shown == {
        "/api/pages",
        "/api/posts",
        "/api/media",
        "/api/categories",
        "/api/globals/header",
        "/api/globals/footer",
        "/api/users/login",
    }
    assert len(REFUSED) == 6


def test_a_difference_is_seen() -> None:
    shown = {"docs": [{"id": "x", "n": 1}], "none": None}
    assert list(differences(shown, {"docs": [{"id": "y", "n": 2, "more": 3}], "none": None})) == []
    assert list(differences(shown, {"docs": [{"id": 1}], "none": 0})) == [
        ".docs[0].id is 1",
        ".docs[0].n is not in the answer",
        ".none is 0",
    ]
    assert list(differences(shown, {"docs": [], "none": None})) == [".docs has 0 items"]

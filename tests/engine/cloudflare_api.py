# ruff: noqa: N815 (the names are of http.server)
"""Cloudflare's API, as far as the platform uses it: an HTTP server on loopback with its objects in memory.

What it proves: that the provider accepts the program's inputs, which requests it makes of them, and what it keeps in
the state. What it does not: what Cloudflare's plans permit, what an expression of a rule means, and how long DNS and
certificates take. Every request and answer has the shape that Cloudflare's own SDK has for it (`cloudflare_models.py`).
"""

import json
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]

NOW = "2026-01-01T00:00:00Z"
ITEM_WRITE = {
    "id": "2efd5506f9c8494dacb1fa10a3e7d5b6",
    "name": "Workers R2 Storage Bucket Item Write",
    "scopes": ["com.cloudflare.edge.r2.bucket"],
}
LONGER_NAME = {**ITEM_WRITE, "id": "0" * 32, "name": "Workers R2 Storage Bucket Item Write (Old)"}


class Request(NamedTuple):
    """A request that changes something."""

    method: str
    path: str
    body: Object


class Kind(NamedTuple):
    """A collection of objects, or one object that is always there."""

    path: str
    """Pattern of the collection's path, or of the object's."""
    complete: Callable[[Object, Mapping[str, str]], Object]
    """What Cloudflare answers with, from the body and the parts of the path; `id` is the object's own."""
    key: str = ""
    """The attribute that names an object in its path; empty: the object that is always there."""
    private: tuple[str, ...] = ()
    """Attributes that only the answer to the creation has."""


def _bucket(body: Object, _: Mapping[str, str]) -> Object:
    location = body.get("locationHint", body.get("location", "weur"))
    known = {"jurisdiction": "default", "creation_date": NOW}
    return {"name": body["name"], "location": location, "storage_class": body.get("storageClass", "Standard"), **known}


def _domain(body: Object, _: Mapping[str, str]) -> Object:
    return {**body, "zoneName": "lightwave-media.site", "status": {"ownership": "active", "ssl": "active"}}


def _ruleset(body: Object, path: Mapping[str, str]) -> Object:
    rules = [
        {"enabled": True, **rule, "id": uuid.uuid4().hex, "version": "1", "last_updated": NOW}
        for rule in body.get("rules", [])
    ]
    return {"description": "", **body, "id": path["id"], "version": "1", "last_updated": NOW, "rules": rules}


def _token(body: Object, path: Mapping[str, str]) -> Object:
    policies = [{"id": uuid.uuid4().hex, **policy} for policy in body["policies"]]
    known = {"id": path["id"], "status": "active", "issued_on": NOW, "modified_on": NOW}
    return {**body, **known, "policies": policies, "value": secrets.token_hex(20)}


def _tunnel(body: Object, path: Mapping[str, str]) -> Object:
    known = {"account_tag": path["account"], "created_at": NOW, "status": "inactive", "tun_type": "cfd_tunnel"}
    kept = {"name": body["name"], "config_src": body.get("config_src", "local")}
    return {**kept, **known, "id": str(uuid.UUID(path["id"])), "connections": [], "remote_config": True}


def _configuration(body: Object, path: Mapping[str, str]) -> Object:
    known = {"account_id": path["account"], "tunnel_id": path["tunnel"], "created_at": NOW, "source": "cloudflare"}
    return {**body, **known, "version": 1}


def _record(body: Object, path: Mapping[str, str]) -> Object:
    known = {"id": path["id"], "created_on": NOW, "modified_on": NOW, "proxiable": True, "meta": {}}
    return {"comment": None, "settings": {}, "tags": [], **body, **known}


def _policy(body: Object, path: Mapping[str, str]) -> Object:
    known = {"id": str(uuid.UUID(path["id"])), "created_at": NOW, "updated_at": NOW, "reusable": True, "app_count": 0}
    return {"include": [], "exclude": [], "require": [], "session_duration": "24h", **body, **known}


def _application(body: Object, path: Mapping[str, str]) -> Object:
    policies = [{"decision": "allow", "include": [], **policy} for policy in body.get("policies", [])]
    known = {"id": str(uuid.UUID(path["id"])), "aud": uuid.uuid4().hex * 2, "created_at": NOW, "updated_at": NOW}
    return {**body, **known, "policies": policies, "self_hosted_domains": [body["domain"]]}


def _setting(name: str) -> Callable[[Object, Mapping[str, str]], Object]:
    return lambda body, _: {"value": "off", **body, "id": name, "editable": True, "modified_on": NOW}


_ACCOUNT, _ZONE = r"/accounts/(?P<account>\w+)", r"/zones/(?P<zone>\w+)"
_BUCKET = rf"{_ACCOUNT}/r2/buckets/(?P<bucket>[\w-]+)"

KINDS = {
    "bucket": Kind(rf"{_ACCOUNT}/r2/buckets", _bucket, key="name"),
    "domain": Kind(rf"{_BUCKET}/domains/custom", _domain, key="domain"),
    "managed domain": Kind(
        rf"{_BUCKET}/domains/managed", lambda body, _: {"enabled": True, **body, "bucketId": "b", "domain": "b.r2.dev"}
    ),
    "cors": Kind(rf"{_BUCKET}/cors", lambda body, _: {"rules": [], **body}),
    "lifecycle": Kind(rf"{_BUCKET}/lifecycle", lambda body, _: {"rules": [], **body}),
    "ruleset": Kind(rf"{_ZONE}/rulesets", _ruleset, key="id"),
    "tiered caching": Kind(rf"{_ZONE}/argo/tiered_caching", _setting("tiered_caching")),
    "tiered cache": Kind(
        rf"{_ZONE}/cache/tiered_cache_smart_topology_enable", _setting("tiered_cache_smart_topology_enable")
    ),
    "token": Kind(rf"{_ACCOUNT}/tokens", _token, key="id", private=("value",)),
    "tunnel": Kind(rf"{_ACCOUNT}/cfd_tunnel", _tunnel, key="id"),
    "configuration": Kind(rf"{_ACCOUNT}/cfd_tunnel/(?P<tunnel>[\w-]+)/configurations", _configuration),
    "record": Kind(rf"{_ZONE}/dns_records", _record, key="id"),
    "policy": Kind(rf"{_ACCOUNT}/access/policies", _policy, key="id"),
    "application": Kind(rf"{_ACCOUNT}/access/apps", _application, key="id"),
}
"""Everything on Cloudflare that the platform declares."""


def kind_of(path: str, *, collection: bool = False) -> tuple[str, dict[str, str]]:
    """The name in `KINDS` of what is at a path, and the parts of the path. Raises LookupError for another path."""
    for name, kind in KINDS.items():
        pattern = kind.path + (r"/(?P<id>[^/]+)" if kind.key and not collection else "")
        if (kind.key or not collection) and (match := re.fullmatch(pattern, path)):
            return name, match.groupdict()
    raise LookupError(path)


class RefusedError(Exception):
    """An error of the API: status, Cloudflare's code, message."""


class Api:
    """The account and zone of one test."""

    def __init__(self, token: str) -> None:
        """`token` is the one API token that is accepted."""
        self.token = token
        self.objects: dict[str, Object] = {}
        """By path, as the API answers with them."""
        self.requests: list[Request] = []
        """Every one that asked for a change."""
        self.refused: dict[str, str] = {}
        """By kind, the message with which changes to it are refused."""
        self._lock = threading.Lock()

    def of_kind(self, name: str) -> list[Object]:
        """The objects of one of `KINDS`."""
        return [found for path, found in self.objects.items() if kind_of(path)[0] == name]

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Object) -> Object | list[Object]:
        """The result of a request. Raises RefusedError with an error of the API."""
        if path.endswith("/tokens/permission_groups"):
            wanted = unquote(query.get("name", [""])[0])
            return [group for group in (LONGER_NAME, ITEM_WRITE) if wanted in str(group["name"])]
        with self._lock:
            if method == "GET":
                return self._existing(path)
            self.requests.append(Request(method, path, body))
            if method == "DELETE":
                return self._delete(path)
            return self._post(path, body) if method == "POST" else self._put(path, body, merge=method == "PATCH")

    def _kind(self, path: str, *, collection: bool = False) -> tuple[Kind, dict[str, str]]:
        try:
            name, parts = kind_of(path, collection=collection)
        except LookupError:
            raise RefusedError(404, 7003, f"Could not route to {path}") from None
        if name in self.refused:
            raise RefusedError(400, 20120, self.refused[name])
        return KINDS[name], parts

    def _existing(self, path: str) -> Object:
        if path in self.objects:
            return self.objects[path]
        kind, parts = self._kind(path)
        if kind.key:
            raise RefusedError(404, 10006, f"There is no {path}")
        return kind.complete({}, parts)

    def _post(self, path: str, body: Object) -> Object:
        kind, parts = self._kind(path, collection=True)
        made = kind.complete(body, {**parts, "id": uuid.uuid4().hex})
        if f"{path}/{made[kind.key]}" in self.objects or self._phase_is_taken(path, made):
            raise RefusedError(409, 10004, "There is one already")
        self.objects[f"{path}/{made[kind.key]}"] = {k: v for k, v in made.items() if k not in kind.private}
        return made

    def _phase_is_taken(self, path: str, made: Object) -> bool:
        """A zone has one ruleset per phase."""
        siblings = (found for at, found in self.objects.items() if at.startswith(f"{path}/"))
        return "phase" in made and any(found.get("phase") == made["phase"] for found in siblings)

    def _put(self, path: str, body: Object, *, merge: bool) -> Object:
        kind, parts = self._kind(path)
        before = self._existing(path)
        made = kind.complete({**before, **body} if merge or kind.key == "domain" else body, parts)
        if kind.key:
            made[kind.key] = before[kind.key]
        self.objects[path] = {k: v for k, v in made.items() if k not in kind.private}
        return self.objects[path]

    def _delete(self, path: str) -> Object:
        found = self._existing(path)
        for below in [at for at in self.objects if at == path or at.startswith(f"{path}/")]:
            del self.objects[below]
        return found


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                if self.headers.get("authorization") != f"Bearer {api.token}":
                    raise RefusedError(403, 10000, "Authentication error")
                body = json.loads(text) if text else {}
                result = api.answer(self.command, unquote(url.path), parse_qs(url.query), body)
            except RefusedError as error:
                status, code, message = error.args
                self._send(status, {"success": False, "errors": [{"code": code, "message": message}], "result": None})
            else:
                pages = {"page": 1, "per_page": 50, "count": 1, "total_count": 1, "total_pages": 1}
                self._send(200, {"success": True, "errors": [], "messages": [], "result": result, "result_info": pages})

        def _send(self, status: int, document: Object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            """Nothing: the requests are in `api.requests`."""

    return Handler


@contextmanager
def serving(api: Api) -> Iterator[str]:
    """Serves the API on a free loopback port; yields its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

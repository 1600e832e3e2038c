"""What visitors see, checked against a server that answers as production would, and with each property removed."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.edge.responses import FRAMES, SECURITY_HEADERS
from ops import __main__ as command_line
from ops.check import Check
from ops.errors import ExitCode
from ops.verify import outside
from settings import Settings
from tests.cluster.pki import Pair, authority
from tests.unit.conftest import full_config
from tests.unit.settings.changes import load, put

CMS, CDN = "cms.lightwave-media.site", "cdn.lightwave-media.site"
OBJECT = f"https://{CDN}/hero.jpg"
BOUND_MS, SLOW_SECONDS = 1000, 1.1
"""Wider than production's, which a busy machine may exceed."""
ALL = [
    *(f"{check} {CMS}" for check in ("DNS", "TLS", "certificate", "redirect", "headers", "admin", "REST", "media")),
    *(f"{check} {CDN}" for check in ("DNS", "TLS", "certificate", "cache", "first byte")),
]


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0


def documents(*found: dict[str, Any]) -> Answer:
    return Answer(headers={"Content-Type": "application/json"}, body=json.dumps({"docs": found}).encode())


class Site:
    """Cloudflare with the stack behind it: one server for http, one for https, by any name in `names`."""

    def __init__(self, certificate: Pair) -> None:
        self.names = {CMS, CDN}
        self.headers = {**SECURITY_HEADERS, FRAMES[0]: f"default-src 'self', {FRAMES[1]}"}
        self.redirect = Answer(308, {"Location": f"https://{CMS}/any/path?and=query"})
        self.https = {
            f"{CMS}/": Answer(),
            f"{CMS}/admin": Answer(302, {"Location": f"https://team.cloudflareaccess.com/cdn-cgi/access/login/{CMS}"}),
            f"{CMS}/api/pages?limit=1": documents({"id": 1}),
            f"{CMS}/api/media?limit=1": documents({"url": OBJECT}),
            f"{CDN}/hero.jpg": Answer(headers={"cf-cache-status": "HIT"}, body=b"an image"),
        }
        self._servers = [self._serve(lambda _: self.redirect), self._serve(self._visible)]
        self._wrap(certificate)

    def _visible(self, address: str) -> Answer:
        answer = self.https.get(address, Answer(404))
        return Answer(answer.status, {**self.headers, **answer.headers}, answer.body, answer.seconds)

    def _serve(self, answer_to: Callable[[str], Answer]) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                answer = answer_to(f"{self.headers['host']}{self.path}")
                time.sleep(answer.seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None: ...

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def _wrap(self, certificate: Pair) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        # The handshake is the thread's that answers, so that a client that breaks it off stops nothing.
        self._servers[1].socket = context.wrap_socket(
            self._servers[1].socket, server_side=True, do_handshake_on_connect=False
        )
        self._servers[1].handle_error = lambda *_: None  # type: ignore[method-assign] # it would print a traceback

    def __enter__(self) -> "Site":
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def address(self, host: str | None, port: int | str | None, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """In place of the resolver: the site's names lead to its two servers, others nowhere."""
        if host not in self.names or port not in (80, 443):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        here = self._servers[port == 443].server_address
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", here)]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | Pair]:
    folder = tmp_path_factory.mktemp("pki")
    known, unknown = authority(folder / "known", "Known CA"), authority(folder / "unknown", "Unknown CA")
    asked = {"subject": f"/CN={CMS}", "names": f"DNS:{CMS},DNS:{CDN}"}
    return {
        "ca": known.pair.certificate,
        "good": known.issue("good", days=60, **asked),
        "ending": known.issue("ending", days=13, **asked),
        "unknown": unknown.issue("unknown", days=60, **asked),
        "other name": known.issue("other", days=60, subject="/CN=x", names=f"DNS:{CDN}"),
    }


Start = Callable[[str], Site]


@pytest.fixture
def start(certificates: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the site with the named certificate; from here on its names resolve, and no others."""
    started: list[Site] = []

    def site(certificate: str) -> Site:
        started.append(Site(certificates[certificate]).__enter__())
        monkeypatch.setattr(socket, "getaddrinfo", started[0].address)
        return started[0]

    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["ca"]))
    monkeypatch.setattr(outside, "FIRST_BYTE_MS", BOUND_MS)
    monkeypatch.setattr(outside, "REQUESTS", 5)
    monkeypatch.setattr(outside, "TIMEOUT_SECONDS", 30)
    yield site
    for each in started:
        each.__exit__()


def prod(**changes: Any) -> Settings:
    config = full_config("prod")
    for path, value in {"edge.admins": ["ana@example.com"], **changes}.items():
        put(config, path, value)
    return load("prod", config)


def failed(made: list[Check]) -> dict[str, list[str]]:
    return {check.name: [str(problem) for problem in check.problems] for check in made if check.problems}


def test_a_site_as_declared_passes_every_check(start: Start) -> None:
    start("good")
    made = outside.look(prod())
    assert [check.name for check in made if check.ok] == ALL
    seen = {check.name: check.detail for check in made}
    assert seen[f"DNS {CMS}"] == "127.0.0.1"
    assert seen[f"TLS {CMS}"] == "issued by Known CA"
    assert seen[f"certificate {CMS}"] == "59 days left"
    assert seen[f"redirect {CMS}"] == f"308 to https://{CMS}/any/path?and=query"
    assert seen[f"headers {CMS}"] == "all 5 security headers"
    assert seen[f"admin {CMS}"] == "302 to team.cloudflareaccess.com"
    assert seen[f"media {CMS}"] == OBJECT
    assert seen[f"cache {CDN}"] == "200, cf-cache-status HIT"
    assert seen[f"first byte {CDN}"].startswith("p95 of 5 requests from the cache is ")


def change(address: str, answer: Answer) -> Callable[[Site], None]:
    return lambda site: site.https.update({address: answer})


def redirect(status: int, location: str) -> Callable[[Site], None]:
    return lambda site: setattr(site, "redirect", Answer(status, {"Location": location} if location else {}))


HIT = {"cf-cache-status": "HIT"}
PAGES, MEDIA, HERO = f"{CMS}/api/pages?limit=1", f"{CMS}/api/media?limit=1", f"{CDN}/hero.jpg"
BROKEN: dict[str, tuple[Callable[[Site], None], str, str]] = {
    "a name that does not resolve": (
        lambda site: site.names.remove(CDN), f"DNS {CDN}", "does not resolve (Name or service not known)",
    ),
    "no redirect": (redirect(200, ""), f"redirect {CMS}", "answers 200 to nowhere; expected: 308 to https://"),
    "a redirect to http": (redirect(308, f"http://{CMS}/"), f"redirect {CMS}", f"answers 308 to http://{CMS}/;"),
    "a redirect that loses the query": (redirect(308, f"https://{CMS}/any/path"), f"redirect {CMS}", "308 to https"),
    "a redirect that changes the method": (
        redirect(301, f"https://{CMS}/any/path?and=query"), f"redirect {CMS}", "answers 301 to",
    ),
    "an open admin": (change(f"{CMS}/admin", Answer()), f"admin {CMS}", "answers 200; expected: a redirect to *.cloud"),
    "Payload's own login": (
        change(f"{CMS}/admin", Answer(302, {"Location": "/admin/login"})), f"admin {CMS}", "302 to /admin/login;",
    ),
    "a name that only ends like Access": (
        change(f"{CMS}/admin", Answer(302, {"Location": "https://cloudflareaccess.com.evil.org/"})),
        f"admin {CMS}", "expected: a redirect to *.cloudflareaccess.com",
    ),
    "a cache that misses": (
        change(HERO, Answer(headers={"cf-cache-status": "MISS"})), f"cache {CDN}", "200, cf-cache-status MISS after 3",
    ),
    "no cache": (change(HERO, Answer()), f"cache {CDN}", "200, cf-cache-status missing after 3 requests"),
    "an object that is gone": (change(HERO, Answer(404, HIT)), f"cache {CDN}", "answers 404, cf-cache-status HIT"),
    "slow answers": (
        change(HERO, Answer(headers=HIT, seconds=SLOW_SECONDS)), f"first byte {CDN}", "ms; expected: below 1000 ms",
    ),
    "REST with an error": (change(PAGES, Answer(500)), f"REST {CMS}", "answers 500; expected: 200 with JSON and docs"),
    "REST without JSON": (
        change(PAGES, Answer(headers={"Content-Type": "text/html"}, body=b"<p>hello")),
        f"REST {CMS}", "answers 200 with text/html without docs; expected: 200 with JSON and docs",
    ),
    "REST without docs": (change(PAGES, Answer(body=b"[]")), f"REST {CMS}", "answers 200 with no content type without"),
    "media that Payload serves": (
        change(MEDIA, documents({"url": "/api/media/file/hero.jpg"})), f"media {CMS}",
        f"names https://{CMS}/api/media/file/hero.jpg as a media object's URL; expected: one of https://{CDN}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_exactly_the_check_of_what_is_missing_fails(broken: str, start: Start) -> None:
    breaking, name, what = BROKEN[broken]
    breaking(start("good"))
    made = outside.look(prod())
    ((problem,),) = failed(made).values()
    assert list(failed(made)) == [name]
    assert what in problem
    assert "; expected: " in problem
    assert "\n      fix: " in problem
    # What needs the failed check is named after it, and everything else was made.
    unmade = {check.name: check.detail for check in made if check.skipped}
    assert set(unmade.values()) <= {f"depends on: {needed}" for needed in {name, *unmade}}
    assert [check.name for check in made] == ALL


@pytest.mark.parametrize("header", [*SECURITY_HEADERS, FRAMES[0]])
@pytest.mark.parametrize("value", [None, "something else"])
def test_a_header_that_is_missing_or_other_is_named(header: str, value: str | None, start: Start) -> None:
    site = start("good")
    site.headers.pop(header)
    if value:
        site.headers[header] = value
    ((problem,),) = failed(outside.look(prod())).values()
    expected = {**SECURITY_HEADERS, FRAMES[0]: FRAMES[1]}[header]
    assert problem.startswith(f"{header} of https://{CMS}/ is {value or 'missing'}; expected: {expected}\n")


@pytest.mark.parametrize(
    ("certificate", "names", "what"),
    [
        ("ending", [f"certificate {CMS}", f"certificate {CDN}"], "ends in 12 days, on 2"),
        ("unknown", [f"TLS {CMS}", f"TLS {CDN}"], "is not trusted: "),
        ("other name", [f"TLS {CMS}"], f"is not trusted: Hostname mismatch, certificate is not valid for '{CMS}'"),
    ],
)
def test_a_certificate_that_does_not_do(certificate: str, names: list[str], what: str, start: Start) -> None:
    start(certificate)
    made = outside.look(prod())
    assert list(failed(made)) == names
    assert all(what in problem for problems in failed(made).values() for problem in problems)
    skipped = {check.name for check in made if check.skipped}
    assert (f"headers {CMS}" in skipped) == (certificate != "ending")


def test_a_port_that_does_not_answer(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("good")
    free = socket.create_server(("127.0.0.1", 0))
    nobody = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", free.getsockname())]
    free.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: nobody)
    found = failed(outside.look(prod()))
    assert list(found) == [f"TLS {CMS}", f"redirect {CMS}", f"TLS {CDN}"]
    assert "does not answer on port 443: " in found[f"TLS {CMS}"][0]
    assert f"http://{CMS}/any/path?and=query does not answer: " in found[f"redirect {CMS}"][0]


def test_without_a_media_object_the_rest_is_checked(start: Start) -> None:
    start("good").https[MEDIA] = documents()
    made = {check.name: check for check in outside.look(prod())}
    assert made[f"media {CMS}"].ok
    assert made[f"media {CMS}"].detail == "Payload has no media: cache and time to first byte are not checked"
    assert list(made) == ALL[:-2]


def test_only_what_the_stack_declares_is_checked(start: Start) -> None:
    site = start("good")
    site.redirect, site.headers = Answer(), {}
    site.https[f"{CMS}/admin"] = site.https[HERO] = Answer()
    made = outside.look(prod(**{"edge.admins": [], "media.zoneSingletons": False}))
    assert [check.name for check in made if check.ok] == [
        name for name in ALL if name.split()[0] not in ("redirect", "headers", "admin", "cache", "first")
    ]
    made = outside.look(prod(**{"edge.hostnames": {"django": CMS}, "edge.admins": []}))
    assert [check.name for check in made][5:] == [f"{check} {CDN}" for check in ("DNS", "TLS", "certificate", "cache")]
    assert made[-1].detail == "depends on: a hostname of Payload's, which names a media object"
    assert outside.look(load("dev", full_config("dev"))) == []


def test_production_is_held_to_the_seeds_figures() -> None:
    assert (outside.FIRST_BYTE_MS, outside.REQUESTS, outside.CERTIFICATE_DAYS) == (100, 20, 14)
    assert outside.percentile([float(value) for value in range(20, 0, -1)], 95) == 19
    assert outside.percentile([7.0], 95) == 7


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`ops verify` of prod with the facts of a deploy."""
    monkeypatch.setattr(
        "settings.of_stack", lambda stack: prod() if stack == "prod" else load("dev", full_config("dev"))
    )
    return lambda *arguments: command_line.main(["verify", *arguments])


def test_the_command_prints_a_line_for_each_check(
    start: Start, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    site = start("good")
    assert command("--stack=prod", "--outside") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["", "From outside:"]
    width = max(map(len, ALL))
    assert [line[: 11 + width] for line in lines[2:]] == [f"  ok       {name:<{width}}" for name in ALL]
    site.redirect = Answer()
    assert command("--stack=prod", "--outside") == ExitCode.FAILED
    printed = capsys.readouterr()
    assert f"  FAILED   redirect {CMS}" in printed.out
    assert printed.err.splitlines()[-1].startswith("      fix: make drift STACK=prod")


def test_the_command_as_json(start: Start, command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    start("good").https[PAGES] = Answer(500)
    assert command("--stack=prod", "--outside", "--json") == ExitCode.FAILED
    document = json.loads(capsys.readouterr().out)
    assert (document["stack"], document["ok"], "checked" in document) == ("prod", False, False)
    (wrong,) = [check for check in document["outside"] if check["problems"]]
    assert (wrong["name"], wrong["ok"]) == (f"REST {CMS}", False)
    assert wrong["problems"][0]["expected"] == "200 with JSON and docs"


def test_a_stack_that_nobody_sees_is_refused(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--stack=dev", "--outside") == ExitCode.REFUSED
    assert "has neither edge nor media" in capsys.readouterr().err

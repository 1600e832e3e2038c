"""The rendered valkey.conf and users.acl before a real server.

Debian 12 has Redis 7.0, whose configuration and access rules Valkey took over; where Valkey is on PATH, it is that.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.kubernetes.valkey_files import users_acl, valkey_conf
from ops.dev import ports
from settings import HOST, VALKEY_METRICS_USER
from tests.required import not_here

# The same in every test process: they are part of the names of tests.
PASSWORD, METRICS_PASSWORD = "of-the-services-0123456789", "of-the-exporter-0123456789"
MAX_MEMORY_MIB = 64


@dataclass
class Server:
    """A server in the foreground, on loopback, and the CLI that belongs to it."""

    cli: str
    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    def run(
        self, *command: str, user: str | None = "django", password: str | None = PASSWORD, flags: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """The CLI with the password in its environment, as the probes run it."""
        login = ["--user", user] if user else []
        environment = {key: value for key, value in os.environ.items() if not key.endswith("CLI_AUTH")}
        if password is not None:
            environment["REDISCLI_AUTH"] = password
        return subprocess.run(
            [self.cli, "-p", str(self.port), *flags, *login, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def say(self, *command: str, user: str | None = "django", password: str | None = PASSWORD) -> str:
        """What is answered, an error too."""
        ran = self.run(*command, user=user, password=password)
        return (ran.stdout + ran.stderr).strip()

    def measured(self, section: str, key: str) -> int:
        """A figure of INFO."""
        lines = self.say("INFO", section).splitlines()
        return int(next(line.partition(":")[2] for line in lines if line.startswith(f"{key}:")))


def binaries() -> tuple[str, str]:
    """Server and CLI. Skips where there are none; with REQUIRE_SERVERS=1 that is a failure."""
    for name in ("valkey", "redis"):
        server, cli = shutil.which(f"{name}-server"), shutil.which(f"{name}-cli")
        if server and cli:
            return server, cli
    return not_here("neither Valkey nor Redis is on this machine", "REQUIRE_SERVERS")


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """A server on what is in the directory; whatever is running is killed afterwards."""
    program, cli = binaries()
    port = ports.free_port()
    (directory / "users.acl").write_text(users_acl(user="django", password=PASSWORD, metrics_password=METRICS_PASSWORD))
    (directory / "valkey.conf").write_text(
        valkey_conf(
            max_memory_mib=MAX_MEMORY_MIB,
            bind=HOST,
            port=port,
            directory=str(directory),
            acl_path=str(directory / "users.acl"),
        )
    )
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([program, str(directory / "valkey.conf")], stdout=log, stderr=log)
    server = Server(cli, port, directory, process)
    try:
        deadline = time.monotonic() + 20
        while server.say("PING") != "PONG":
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("valkey")) as started:
        yield started


# --- who may do what --------------------------------------------------------------------------------------------------


def test_what_the_services_may(server: Server) -> None:
    for command, answer in (
        ("SET key value EX 60", "OK"),
        ("GET key", "value"),
        ("LPUSH queue task", "1"),
        ("BRPOP queue 1", "queue\ntask"),
        ("PUBLISH channel message", "0"),
        ("EVAL return(redis.call('GET',KEYS[1])) 1 key", "value"),
        ("SCAN 0", "0\nkey"),
        ("SELECT 1", "OK"),
        ("FLUSHDB", "OK"),
    ):
        assert server.say(*command.split()) == answer, command


def test_the_services_may_ask_for_the_version(server: Server) -> None:
    assert "redis_version:" in server.say("INFO", "server")


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG SET maxmemory 0",
        "CONFIG GET *",
        "KEYS *",
        "SHUTDOWN NOSAVE",
        "DEBUG SLEEP 0",
        "ACL LIST",
        "ACL SETUSER intruder on nopass ~* &* +@all",
        "SAVE",
        "BGREWRITEAOF",
        "FLUSHALL",
        "SWAPDB 0 1",
        "REPLICAOF 127.0.0.1 1",
        "MIGRATE 127.0.0.1 1 key 0 1",
        "MODULE LIST",
        "CLIENT LIST",
        "EVAL return(redis.call('FLUSHALL')) 0",
    ],
)
def test_what_the_services_may_not(server: Server, command: str) -> None:
    said = server.say(*command.split())
    # In a script the refusal has other words, of Redis and of Valkey; DEBUG is switched off besides.
    refusals = ("NOPERM", "can't run this command", "ACL failure in script", "DEBUG command not allowed")
    assert any(words in said for words in refusals), said
    assert server.say("PING") == "PONG"


@pytest.mark.parametrize(
    "command",
    [
        "PING",
        "INFO ALL",
        "CONFIG GET *",
        "CLIENT SETNAME redis_exporter",
        "COMMAND INFO GET",
        "SLOWLOG LEN",
        "SLOWLOG GET 1",
        "LATENCY LATEST",
        "LATENCY HISTOGRAM",
        "SELECT 0",
        "TYPE celery",
        "LLEN celery",
        "MEMORY USAGE celery",
    ],
)
def test_the_exporter_is_answered(server: Server, command: str) -> None:
    """Every command that it sends of itself: a denied one would stand in the ACL log at every scrape."""
    ran = server.run(*command.split(), user=VALKEY_METRICS_USER, password=METRICS_PASSWORD, flags=("-e",))
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "command",
    [
        "GET key",
        "SET key value",
        "SCAN 0",
        "CONFIG SET maxmemory 0",
        "FLUSHDB",
        "PUBLISH channel x",
        "ACL LIST",
        "LRANGE celery 0 -1",
        "LPOP celery",
        "LLEN queue",
        "TYPE key",
    ],
)
def test_the_exporter_sees_no_data(server: Server, command: str) -> None:
    assert "NOPERM" in server.say(*command.split(), user=VALKEY_METRICS_USER, password=METRICS_PASSWORD)


@pytest.mark.parametrize(
    ("user", "password", "refusal"),
    [
        (None, None, "NOAUTH"),
        ("django", None, "NOAUTH"),
        ("default", "", "NOAUTH"),
        ("default", PASSWORD, "WRONGPASS"),
        (None, PASSWORD, "WRONGPASS"),
        ("django", METRICS_PASSWORD, "WRONGPASS"),
        (VALKEY_METRICS_USER, PASSWORD, "WRONGPASS"),
        ("nobody", PASSWORD, "WRONGPASS"),
    ],
)
def test_who_is_refused(server: Server, user: str | None, password: str | None, refusal: str) -> None:
    said = server.say("GET", "key", user=user, password=password)
    assert refusal in said
    assert "NOAUTH" in said


def test_the_probes_tell_an_error_from_an_answer(server: Server) -> None:
    """`-e` is what makes a refused PING a failure; without it any answer is a success, and no answer is none."""

    def status(*flags: str, password: str = METRICS_PASSWORD) -> int:
        return server.run("ping", user=VALKEY_METRICS_USER, password=password, flags=flags).returncode

    assert (status("-e"), status()) == (0, 0)
    assert (status("-e", password="wrong"), status(password="wrong")) == (1, 0)
    silent = Server(server.cli, ports.free_port(), server.directory, server.process)
    assert silent.run("ping").returncode == 1


def test_no_password_is_to_be_read(server: Server) -> None:
    server.say("SET", "key", "value")
    listed = subprocess.run(["ps", "-e", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    files = [path for path in server.directory.rglob("*") if path.is_file()]
    places = {"the process list": listed} | {str(path): path.read_text(errors="replace") for path in files}
    assert {path.name for path in files} >= {"users.acl", "valkey.conf", "log"}
    assert "valkey.conf" in listed or "127.0.0.1" in listed
    for place, text in places.items():
        assert PASSWORD not in text, place
        assert METRICS_PASSWORD not in text, place


# --- what happens to the data -----------------------------------------------------------------------------------------


def test_a_second_later_data_survives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.say("LPUSH", "queue", "task") == "1"
        time.sleep(2)  # appendfsync everysec
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(timeout=10)
    with running(tmp_path) as server:
        assert server.say("LRANGE", "queue", "0", "-1") == "task"
    assert not list(tmp_path.glob("*.rdb"))


def test_the_cache_makes_room_and_queues_stay(tmp_path: Path) -> None:
    fill = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', KEYS[1] .. i, ARGV[2]{}) end return 'filled'"
    value = "x" * 100_000
    with running(tmp_path) as server:
        assert server.say("LPUSH", "queue", "task") == "1"
        count = 3 * MAX_MEMORY_MIB * 1024 * 1024 // len(value) // 100
        for part in range(100):
            assert server.say("EVAL", fill.format(", 'EX', 3600"), "1", f"cache-{part}-", str(count), value) == "filled"
        assert server.measured("stats", "evicted_keys") > 0
        assert server.measured("memory", "used_memory") <= 1.1 * MAX_MEMORY_MIB * 1024 * 1024
        assert server.say("LRANGE", "queue", "0", "-1") == "task"
        # What has no time to live is never given up: in the end writes are refused, loudly.
        said = ""
        for part in range(100):
            said = server.say("EVAL", fill.format(""), "1", f"kept-{part}-", str(count), value)
            if said != "filled":
                break
        assert "OOM" in said
        assert server.say("LRANGE", "queue", "0", "-1") == "task"
        assert server.say("GET", "kept-0-1") == value

"""`make tunnel` with stand-ins for AWS's tools, and the check against real loopback listeners."""

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import settings
from ops.deploy import tunnel
from ops.errors import ExitCode, FailedError, UnreachableError
from settings.problems import OperatorError

TARGET = "i-0123456789abcdef0"
HOST = "lightwave-platform.abc.eu-central-1.rds.amazonaws.com"
CONFIG = {"lightwave:aws": {"accountId": "123456789012", "region": "eu-central-1"}}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The AWS CLI and the plugin, as programs on PATH that write down their arguments. Each answer is a file."""
    (tmp_path / "answer").write_text(json.dumps({"Address": HOST, "Port": 5432}))
    (tmp_path / "session").write_text("7")
    aws = tmp_path / "aws"
    aws.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        "folder = pathlib.Path(__file__).parent\n"
        "with (folder / 'calls').open('a') as calls:\n"
        "    print(json.dumps(sys.argv[1:]), file=calls)\n"
        "if sys.argv[1] == 'ssm':\n"
        "    sys.exit(int((folder / 'session').read_text()))\n"
        "if (folder / 'error').exists():\n"
        "    sys.exit((folder / 'error').read_text())\n"
        "print((folder / 'answer').read_text())\n"
    )
    plugin = tmp_path / "session-manager-plugin"
    plugin.write_text("#!/bin/sh\n")
    for program in (aws, plugin):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings.stack_config("prod")
    monkeypatch.setattr(settings, "stack_config", lambda _: {**config, **CONFIG})


@pytest.fixture(autouse=True)
def _free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the real one: a developer may have a tunnel open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(tunnel, "LOCAL_PORT", free.getsockname()[1])


def calls(tools: Path) -> list[list[str]]:
    path = tools / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# --- the tunnel -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("prod")
def test_it_asks_for_the_endpoint_and_holds_the_session(tools: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FailedError, match=f"the session through {TARGET} ended with exit status 7"):
        tunnel.open_tunnel("prod", TARGET)
    describe, session = calls(tools)
    assert describe == [
        *("rds", "describe-db-instances", "--region", "eu-central-1"),
        *("--db-instance-identifier", "lightwave-platform"),
        *("--query", "DBInstances[0].Endpoint", "--output", "json"),
    ]
    assert session[:-1] == [
        *("ssm", "start-session", "--region", "eu-central-1", "--target", TARGET),
        *("--document-name", "AWS-StartPortForwardingSessionToRemoteHost", "--parameters"),
    ]
    assert json.loads(session[-1]) == {
        "host": [HOST],
        "portNumber": ["5432"],
        "localPortNumber": [str(tunnel.LOCAL_PORT)],
    }
    printed = capfd.readouterr().out.splitlines()
    assert [line.strip() for line in printed if "pulumi" in line] == [
        *tunnel.config_commands("prod"),
        tunnel.removal_command("prod"),
    ]


@pytest.mark.usefixtures("prod")
def test_a_session_that_ends_in_order_is_ok(tools: Path) -> None:
    (tools / "session").write_text("0")
    assert tunnel.open_tunnel("prod", TARGET) == ExitCode.OK


def test_the_config_commands_give_a_config_that_settings_take() -> None:
    commands = [command.split() for command in tunnel.config_commands("prod")]
    assert {tuple(command[:6]) for command in commands} == {
        ("pulumi", "config", "set", "--stack", "prod", "--path"),
    }
    endpoint = {command[6].rpartition(".")[2]: command[7] for command in commands}
    assert {command[6].rpartition(".")[0] for command in commands} == {"lightwave:database.adminEndpoint"}
    assert endpoint == {"host": "127.0.0.1", "port": str(tunnel.LOCAL_PORT), "sslMode": "verify-ca"}
    parsed = settings.AdminEndpointSettings.model_validate({**endpoint, "port": int(endpoint["port"])})
    assert parsed.ssl_mode == "verify-ca"  # a port forward has another host name than the certificate


@pytest.mark.usefixtures("prod")
def test_everything_that_is_missing_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", tunnel.LOCAL_PORT)), pytest.raises(OperatorError) as refused:
        tunnel.open_tunnel("prod", "")
    problems = refused.value.problems
    assert [problem.what for problem in problems] == [
        "aws is not on PATH",
        "session-manager-plugin is not on PATH",
        "TARGET is missing",
        f"port {tunnel.LOCAL_PORT} is taken",
    ]
    assert all(problem.fix for problem in problems)
    assert "make tunnel STACK=prod TARGET=i-" in problems[2].fix


@pytest.mark.parametrize("target", ["i-123", "mi-0123456789abcdef0", "i-0123456789ABCDEF0", f"{TARGET};true", "node"])
def test_a_target_that_is_not_an_instance_is_refused(tools: Path, target: str) -> None:
    (problem,) = tunnel.missing("prod", "eu-central-1", target)
    assert "not an instance id" in problem.what
    assert "describe-instance-information --region eu-central-1" in problem.fix
    assert calls(tools) == []


@pytest.mark.parametrize("target", [TARGET, "i-0123abcd"])
def test_nothing_is_missing(tools: Path, target: str) -> None:
    assert list(tunnel.missing("prod", "eu-central-1", target)) == []
    assert calls(tools) == []


def test_without_a_region_it_says_how_to_set_one(tools: Path) -> None:
    # The repository's own config has no account: the placeholder must not reach AWS.
    with pytest.raises(OperatorError, match=r"config set --stack prod --path lightwave:aws\.region <region>"):
        tunnel.open_tunnel("prod", TARGET)
    assert calls(tools) == []


def test_dev_has_nothing_to_tunnel_to(tools: Path) -> None:
    with pytest.raises(OperatorError, match="its database is local"):
        tunnel.open_tunnel("dev", TARGET)
    assert calls(tools) == []


@pytest.mark.usefixtures("prod")
def test_what_aws_answers_is_passed_on(tools: Path) -> None:
    (tools / "error").write_text("DBInstanceNotFound: lightwave-platform not found")
    with pytest.raises(OperatorError, match=r"DBInstanceNotFound(.|\n)*get-caller-identity"):
        tunnel.open_tunnel("prod", TARGET)
    assert [call[0] for call in calls(tools)] == ["rds"]


@pytest.mark.usefixtures("prod")
def test_an_instance_that_is_being_created_has_no_endpoint(tools: Path) -> None:
    (tools / "answer").write_text("null")
    with pytest.raises(OperatorError, match="no endpoint yet"):
        tunnel.open_tunnel("prod", TARGET)
    assert [call[0] for call in calls(tools)] == ["rds"]


# --- the check --------------------------------------------------------------------------------------------------------


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A loopback port that gives one client the answer and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(20)
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(20)
            assert not thread.is_alive()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def check(port: int, timeout_s: float = 5, environment: dict[str, str] | None = None) -> None:
    tunnel.check_reachable("127.0.0.1", port, timeout_s, stack="prod", environment=environment or {})


def answering(reply: bytes, heard: list[bytes]) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        heard.append(client.recv(64))
        client.sendall(reply)

    return answer


def test_a_postgresql_with_tls_is_reachable() -> None:
    heard: list[bytes] = []
    with listener(answering(b"S", heard)) as port:
        check(port)
    assert heard == [struct.pack("!ii", 8, 80877103)]  # PostgreSQL's SSLRequest, and no login


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"N", "a server without TLS"),
        (b"", "closed without an answer: a tunnel with nothing behind it"),
        (b"HTTP/1.1 400 Bad Request\r\n", "something other than PostgreSQL answers"),
    ],
)
def test_another_answer_is_refused(reply: bytes, why: str) -> None:
    with listener(answering(reply, [])) as port, pytest.raises(UnreachableError, match=why):
        check(port)


def test_nobody_listens() -> None:
    port = closed_port()
    with pytest.raises(UnreachableError) as refused:
        check(port)
    message = str(refused.value)
    assert message.startswith(f"PostgreSQL at 127.0.0.1:{port}: Connection refused\n")
    assert "inside its VPC" in message
    assert "make tunnel STACK=prod TARGET=i-" in message
    assert tunnel.removal_command("prod") in message


def waiting(until: threading.Event) -> None:
    assert until.wait(20)


def test_silence_ends_at_the_timeout() -> None:
    done = threading.Event()
    with listener(lambda _: waiting(done)) as port:
        try:
            with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
                check(port, timeout_s=0.2)
        finally:
            done.set()


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(UnreachableError, match=r"PostgreSQL at no-such-host\.invalid:5432: .+"):
        tunnel.check_reachable("no-such-host.invalid", 5432, 5, stack="prod", environment={})


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy"])
def test_through_a_proxy_the_proxy_is_what_must_listen(variable: str) -> None:
    with listener(lambda _: None) as port:
        check(closed_port(), environment={variable: f"socks5://127.0.0.1:{port}"})
    gone = closed_port()
    with pytest.raises(UnreachableError, match=f"the proxy of ALL_PROXY at 127.0.0.1:{gone}: Connection refused"):
        check(closed_port(), environment={variable: f"socks5h://127.0.0.1:{gone}"})


def test_a_proxy_that_the_provider_does_not_use_is_ignored() -> None:
    port = closed_port()
    with listener(lambda _: None) as proxy:
        with pytest.raises(UnreachableError, match=f"PostgreSQL at 127.0.0.1:{port}"):
            check(port, environment={"ALL_PROXY": f"http://127.0.0.1:{proxy}"})
        socket.create_connection(("127.0.0.1", proxy)).close()  # nobody had come


def test_the_environment_is_the_process_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = closed_port()
    monkeypatch.setitem(os.environ, "ALL_PROXY", f"socks5://127.0.0.1:{gone}")
    with pytest.raises(UnreachableError, match="the proxy of ALL_PROXY"):
        tunnel.check_reachable("127.0.0.1", closed_port(), 5, stack="prod")

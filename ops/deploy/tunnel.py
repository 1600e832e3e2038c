"""Reaching a private RDS from outside its VPC: `make tunnel STACK=prod TARGET=i-…`, and the check that it answers.

The tunnel is a port forward of AWS Systems Manager through an instance that may reach the database: a node of the
cluster, with the SSM agent. Its end is a local port, so the server's certificate names another host: verify-ca. A
SOCKS5 proxy in ALL_PROXY, which the postgresql provider honours, keeps the name: verify-full.
"""

import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import settings as config
from ops import aws
from ops.console import say
from ops.errors import ExitCode, FailedError, UnreachableError
from settings.problems import OperatorError, Problem

LOCAL_PORT = 15432
"""The tunnel's end, away from the port of a PostgreSQL of one's own."""

DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"

_TOOLS = {
    "aws": aws.INSTALL,
    "session-manager-plugin": "install the Session Manager plugin: "
    "docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
}

# PostgreSQL's protocol: length 8, then the code of an SSLRequest. The answer is one byte: S for a server with TLS.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


# --- the tunnel -------------------------------------------------------------------------------------------------------


def open_tunnel(stack: str, target: str) -> ExitCode:
    """Forwards `LOCAL_PORT` to the stack's RDS through the instance `target` until it is interrupted.

    Prints the config commands that point the program to it. Raises OperatorError when something is missing or the
    config is wrong, FailedError when the session fails.
    """
    with config.offline():  # what only a deploy needs may be missing
        settings = config.load(stack, config.stack_config(stack))
    on_rds = settings.on_rds
    if on_rds is None:
        raise OperatorError(
            f"stack {stack}: its database is local, there is nothing to tunnel to",
            "name a stack on RDS, such as STACK=prod",
        )
    region = on_rds.aws.region
    if problems := list(missing(stack, region, target)):
        raise OperatorError(problems)

    host, port = _endpoint(on_rds.rds.identifier, region)
    say(f"{target} forwards 127.0.0.1:{LOCAL_PORT} to {host}:{port}; Ctrl-C ends it. In another terminal:")
    say(*(f"  {command}" for command in config_commands(stack)))
    say(f"and when you are done:\n  {removal_command(stack)}")
    try:
        status = subprocess.run(session_command(target, region, host, port), check=False).returncode
    except KeyboardInterrupt:  # the session got it too, and has ended
        return ExitCode.INTERRUPTED
    if status:
        raise FailedError(
            f"the session through {target} ended with exit status {status}",
            "see the messages above; does the instance run, with the SSM agent? "
            f"aws ssm describe-instance-information --region {region}",
        )
    return ExitCode.OK


def missing(stack: str, region: str, target: str) -> Iterator[Problem]:
    """What stands in the way of a tunnel; nothing when it can be opened."""
    for tool, fix in _TOOLS.items():
        if shutil.which(tool) is None:
            yield Problem(what=f"{tool} is not on PATH", fix=fix)
    if region == config.KNOWN_AT_DEPLOY:
        command = f"pulumi config set --stack {shlex.quote(stack)} --path lightwave:aws.region <region>"
        yield Problem(what="lightwave:aws.region is not set", fix=command)
        region = "<region>"
    if not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", target):
        yield Problem(
            what=f"TARGET is {'missing' if not target else f'{target!r}, not an instance id'}",
            fix=f"make tunnel STACK={shlex.quote(stack)} TARGET=i-…, a node of the cluster with the SSM agent: "
            f"aws ssm describe-instance-information --region {region} "
            "--query 'InstanceInformationList[].[InstanceId,ComputerName]' --output table",
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", LOCAL_PORT))
        except OSError:
            fix = f"end the program that listens there, perhaps another tunnel: ss -ltnp | grep {LOCAL_PORT}"
            yield Problem(what=f"port {LOCAL_PORT} is taken", fix=fix)


def session_command(target: str, region: str, host: str, port: int) -> list[str]:
    """The command that holds the tunnel open."""
    parameters = {"host": [host], "portNumber": [str(port)], "localPortNumber": [str(LOCAL_PORT)]}
    return [
        *("aws", "ssm", "start-session", "--region", region, "--target", target),
        *("--document-name", DOCUMENT, "--parameters", json.dumps(parameters)),
    ]


def config_commands(stack: str) -> list[str]:
    """The commands that point the stack's postgresql provider to the tunnel."""
    values = {"host": "127.0.0.1", "port": str(LOCAL_PORT), "sslMode": "verify-ca"}
    return [
        f"pulumi config set --stack {shlex.quote(stack)} --path lightwave:database.adminEndpoint.{key} {value}"
        for key, value in values.items()
    ]


def removal_command(stack: str) -> str:
    """The command that takes the tunnel out of the stack's config again."""
    return f"pulumi config rm --stack {shlex.quote(stack)} --path lightwave:database.adminEndpoint"


def _endpoint(identifier: str, region: str) -> tuple[str, int]:
    """Asked of AWS, not of the stack's outputs: a first deploy that stopped half way has an instance and no outputs."""
    endpoint = aws.database_endpoint(identifier, region)
    if endpoint is None:
        raise OperatorError(f"{identifier} has no endpoint yet: it is being created", "try again in some minutes")
    return endpoint


# --- the check --------------------------------------------------------------------------------------------------------


def check_reachable(
    host: str, port: int, timeout_s: float, *, stack: str, environment: Mapping[str, str] = os.environ
) -> None:
    """Returns when a PostgreSQL that speaks TLS answers at `host`:`port`; waits `timeout_s` for each step of it.

    A connection alone would not tell: the near end of a tunnel accepts whatever is behind it. Where ALL_PROXY names a
    SOCKS5 proxy, the provider goes through it, and what is checked is that the proxy listens. No login is tried. Raises
    UnreachableError with what to do.
    """
    proxy = urlsplit(environment.get("ALL_PROXY") or environment.get("all_proxy") or "")
    what = f"PostgreSQL at {host}:{port}"
    through_proxy = proxy.scheme.startswith("socks5") and proxy.hostname is not None
    if through_proxy:
        host, port = proxy.hostname or host, proxy.port or 1080
        what = f"the proxy of ALL_PROXY at {host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            if through_proxy:
                return
            connection.sendall(_SSL_REQUEST)
            answer = connection.recv(1)
    except TimeoutError as error:
        raise _unreachable(what, f"no answer within {timeout_s:g} s", stack) from error
    except OSError as error:  # refused, reset, no route, a name that does not resolve
        raise _unreachable(what, error.strerror or str(error), stack) from error
    if answer != b"S":
        reasons = {b"": "closed without an answer: a tunnel with nothing behind it", b"N": "a server without TLS"}
        raise _unreachable(what, reasons.get(answer, "something other than PostgreSQL answers"), stack)


def _unreachable(what: str, why: str, stack: str) -> UnreachableError:
    return UnreachableError(
        f"{what}: {why}",
        "the database is private. Run this inside its VPC (a runner on the cluster), or through a tunnel:\n"
        f"make tunnel STACK={shlex.quote(stack)} TARGET=i-…    in another terminal; it prints the config for it\n"
        f"Once a tunnel is closed for good, remove it from the config: {removal_command(stack)}",
    )

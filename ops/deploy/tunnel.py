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
from collections.abc import Mapping
from urllib.parse import urlsplit

import settings
from settings.problems import OperatorError

LOCAL_PORT = 15432
"""The tunnel's end, away from the port of a PostgreSQL of one's own."""

DOCUMENT = "AWS-StartPortForwardingSessionToRemoteHost"

_TOOLS = {
    "aws": "install the AWS CLI, version 2: docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "session-manager-plugin": "install the Session Manager plugin: "
    "docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html",
}
_AWS_TIMEOUT_S = 60

# PostgreSQL's protocol: length 8, then the code of an SSLRequest. The answer is one byte: S for a server with TLS.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class TunnelError(OperatorError):
    """The tunnel cannot be opened; the message says what is missing and how to mend it."""


class UnreachableError(OperatorError):
    """Nothing that is PostgreSQL answers; the message says what to do."""


# --- the tunnel -------------------------------------------------------------------------------------------------------


def open_tunnel(stack: str, target: str) -> int:
    """Forwards `LOCAL_PORT` to the stack's RDS through the instance `target` until it is interrupted.

    Prints the config commands that point the program to it. Returns the session's exit status. Raises TunnelError when
    something is missing, SettingsError when the config is wrong.
    """
    with settings.offline():  # what only a deploy needs may be missing
        told = settings.load(stack, settings.stack_config(stack))
    if not isinstance(told.database, settings.RdsSettings) or told.aws is None:
        raise TunnelError(f"stack {stack}: its database is local, there is nothing to tunnel to")
    region = told.aws.region
    problems = missing(stack, region, target)
    if problems:
        raise TunnelError("\n".join((f"stack {stack}: no tunnel", *(f"  {problem}" for problem in problems))))

    host, port = _endpoint(told.database.identifier, region)
    print(f"{target} forwards 127.0.0.1:{LOCAL_PORT} to {host}:{port}; Ctrl-C ends it. In another terminal:")
    for command in config_commands(stack):
        print(f"  {command}")
    print(f"and when you are done:\n  {removal_command(stack)}", flush=True)
    try:
        return subprocess.run(session_command(target, region, host, port), check=False).returncode
    except KeyboardInterrupt:  # the session got it too, and has ended
        return 130


def missing(stack: str, region: str, target: str) -> list[str]:
    """What stands in the way of a tunnel, each with its cure; empty when nothing does."""
    problems = [f"{tool} is not on PATH; {cure}" for tool, cure in _TOOLS.items() if shutil.which(tool) is None]
    if region == settings.KNOWN_AT_DEPLOY:
        problems.append(
            "lightwave:aws.region is not set; "
            f"pulumi config set --stack {shlex.quote(stack)} --path lightwave:aws.region <region>"
        )
        region = "<region>"
    if not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", target):
        problems.append(
            f"TARGET is {'missing' if not target else f'{target!r}, no instance id'}; "
            f"make tunnel STACK={shlex.quote(stack)} TARGET=i-…, a node of the cluster with the SSM agent: "
            f"aws ssm describe-instance-information --region {region} "
            "--query 'InstanceInformationList[].[InstanceId,ComputerName]' --output table"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", LOCAL_PORT))
        except OSError:
            problems.append(
                f"port {LOCAL_PORT} is taken, by another tunnel perhaps; end it: ss -ltnp | grep {LOCAL_PORT}"
            )
    return problems


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
    command = [
        *("aws", "rds", "describe-db-instances", "--region", region, "--db-instance-identifier", identifier),
        *("--query", "DBInstances[0].Endpoint", "--output", "json"),
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_AWS_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise TunnelError(f"AWS did not answer within {_AWS_TIMEOUT_S} s: {shlex.join(command)}") from error
    if answer.returncode != 0:
        raise TunnelError(
            f"AWS does not tell where {identifier} is: {answer.stderr.strip()}\n"
            f"  is it the right account? aws sts get-caller-identity"
        )
    endpoint = json.loads(answer.stdout or "null")
    if not endpoint:
        raise TunnelError(f"{identifier} has no endpoint yet: it is being made; try again in some minutes")
    return str(endpoint["Address"]), int(endpoint["Port"])


# --- the check --------------------------------------------------------------------------------------------------------


def check_reachable(
    host: str, port: int, timeout_s: float, *, stack: str = "prod", environment: Mapping[str, str] = os.environ
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
    quoted = shlex.quote(stack)
    return UnreachableError(
        f"{what}: {why}.\n"
        "  The database is private. Run this inside its VPC (a runner on the cluster), or through a tunnel:\n"
        f"    make tunnel STACK={quoted} TARGET=i-…    in another terminal; it prints the config that goes with it\n"
        f"  A tunnel that is closed for good must go from the config too: {removal_command(stack)}"
    )

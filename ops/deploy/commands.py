"""Preview, deploy and drift on the real engine, with checks before it starts.

Whatever can be known to be wrong is said at once and before the engine runs: the config, the account, the cluster, the
state's place and its secrets, an interrupted update, the database. A deploy shows the preview, asks, and then runs an
update with a preview of its own: that is what refuses to delete what is protected.
"""

import base64
import binascii
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

import settings
from ops.deploy import pulumi_cli as engines
from ops.deploy import tunnel
from settings import RdsSettings, Settings, SettingsError

FAILED = 1
"""Exit status: the engine failed, somebody said no, or what runs is not what is declared."""
REFUSED = 2
"""Exit status: a check failed, the engine was not started."""

_QUERY_SECONDS = 60
_CONNECT_SECONDS = 10
_KEPT_LINES = 200

_REMOTE_STATE = ("https", "s3")
_KEY_SERVICES = ("awskms", "azurekeyvault", "gcpkms", "hashivault")

# What the engine says on a stack that another update holds: a bucket's or file's lock, Pulumi Cloud's.
_LOCKED = ("the stack is currently locked by", "Another update is currently in progress")
_GUARD = ("--policy-pack", "policies")
_NO_CHANGES_EXPECTED = "no changes were expected"


class Problem(NamedTuple):
    """What stands in the way of a deploy, and what to do about it."""

    what: str
    cure: str


@dataclass(slots=True)
class Findings:
    """What the checks found: with no problem the engine may start."""

    problems: list[Problem] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    """What the engine would work on, for the operator to read."""
    engine: engines.Engine | None = None


# --- the commands -----------------------------------------------------------------------------------------------------


def preview(stack: str) -> int:
    """Shows what a deploy of the stack would change; nothing is changed. 0, `FAILED` or `REFUSED`."""
    engine = _checked(stack, database=False)
    if engine is None:
        return REFUSED
    status, said = _run(engine, "preview")
    _said_if_locked(stack, said)
    return FAILED if status else 0


def verify(stack: str) -> int:
    """Runs `make verify`'s command: in production it only reads. Returns its exit status."""
    command = [sys.executable, "-m", "ops", "verify", "--stack", stack]
    return subprocess.run(command, cwd=settings.ROOT, check=False).returncode


def deploy(stack: str, verify: Callable[[str], int] = verify) -> int:
    """Previews, asks (not in CI), updates, verifies. 0, `FAILED` (which includes a no) or `REFUSED`."""
    engine = _checked(stack, database=True)
    if engine is None:
        return REFUSED
    status, said = _run(engine, "preview")
    if status:
        _said_if_locked(stack, said)
        return FAILED
    if not _confirmed(stack):
        print(f"stack {stack}: nothing was changed", flush=True)
        return FAILED
    # Never with --skip-preview: the update's own preview refuses it whole where something protected would go.
    status, said = _run(engine, "up", "--yes")
    if status:
        if not _said_if_locked(stack, said):
            print("What to do now: docs/runbooks/interrupted-deploy.md", file=sys.stderr)
        return FAILED
    return FAILED if verify(stack) else 0


def drift(stack: str, verify: Callable[[str], int] = verify) -> int:
    """Looks for what was changed by hand: resources against the program, then the database's catalog against the table.

    The second sees what the first can not, a grant that nobody declared. Both run, whatever the first finds.
    """
    engine = _checked(stack, database=True)
    if engine is None:
        return REFUSED
    status, said = _run(engine, "preview", "--refresh", "--expect-no-changes")
    _said_if_locked(stack, said)
    verified = verify(stack)
    if not status:
        resources = "as declared"
    elif _NO_CHANGES_EXPECTED in said:
        resources = "DIFFER from what is declared"
    else:
        resources = "COULD NOT BE COMPARED"
    cells = {0: "as the product table says", 1: "DIFFERS from the product table"}.get(verified, "COULD NOT BE VERIFIED")
    print(f"\nDrift of stack {stack}:")
    print(f"  resources  {resources}\n  database   {cells}")
    if not status and not verified:
        return 0
    print("Details above. What to do: docs/runbooks/drift.md", flush=True)
    return FAILED


def _checked(stack: str, *, database: bool) -> engines.Engine | None:
    """The engine where every check holds; otherwise every problem is printed."""
    found = check(stack, database=database)
    print(f"stack {stack}")
    for name, value in found.facts:
        print(f"  {name:<9} {value}")
    sys.stdout.flush()
    if not found.problems:
        return found.engine
    print(f"\nThe engine was not started: {len(found.problems)} to mend first", file=sys.stderr)
    for problem in found.problems:
        print(f"- {problem.what}\n  {problem.cure}", file=sys.stderr)
    return None


def _confirmed(stack: str) -> bool:
    if os.environ.get("CI", "").lower() == "true":
        return True
    try:
        return input(f"\nDeploy this to {stack}? Type {stack} to go on: ").strip() == stack
    except (EOFError, KeyboardInterrupt):
        print("\nno answer; a job, which nobody can ask, sets CI=true")
        return False


# --- the checks -------------------------------------------------------------------------------------------------------


def check(stack: str, *, database: bool) -> Findings:
    """Every check that can be made; what depends on one that failed is left out.

    `database`: whether the database must answer; a preview never logs in to it.
    """
    found = Findings()
    # The dev stack's backend and passphrase are its engine's; the local server is what tells whether it is there.
    backend = None if stack == "dev" else backend_problem(stack, os.environ)
    if stack != "dev":
        _add(found, backend, secrets_problem(stack, _stack_file(stack), os.environ.get("PULUMI_BACKEND_URL", "")))
    providers: tuple[str, ...] = ()
    try:
        told = settings.of_stack(stack)
        providers = engines.providers(told)
    except SettingsError as error:
        _add(
            found,
            Problem(str(error), "what each key means: Pulumi.yaml"),
        )
    else:
        _cloud(found, told, database=database)
    if backend is None:
        _state(found, stack, providers)
    found.facts.append(("code", code()))
    return found


def _add(found: Findings, *problems: Problem | None) -> bool:
    """Whether none of them is a problem."""
    real = [problem for problem in problems if problem is not None]
    found.problems += real
    return not real


def _cloud(found: Findings, told: Settings, *, database: bool) -> None:
    _add(found, cloudflare_problem(told, os.environ), *authorities_problems(told))
    if told.local is not None:
        _add(found, local_database_problem(told.local.database_port))
    account = True
    if told.aws is not None:
        found.facts.append(("account", f"{told.aws.account_id}, {told.aws.region}"))
        account = _add(found, account_problem(told.aws.account_id))
    if told.kubernetes is not None:
        if told.kubernetes.context is not None:
            found.facts.append(("cluster", f"context {told.kubernetes.context}"))
            _add(found, context_problem(told.kubernetes.context))
        elif account and told.aws is not None:
            found.facts.append(("cluster", told.kubernetes.cluster))
            _add(found, cluster_problem(told.kubernetes.cluster, told.aws.region))
    if database and account and isinstance(told.database, RdsSettings) and told.aws is not None:
        problem, where = database_problem(told.stack, told.database, told.aws.region)
        found.facts.append(("database", where))
        _add(found, problem)


def _state(found: Findings, stack: str, providers: Sequence[str]) -> None:
    try:
        engine = engines.find(stack, settings.ROOT, providers=providers)
        found.facts.append(("state", _shown(engine.environment().get("PULUMI_BACKEND_URL", ""))))
        if engine.local:
            engine.select()
        unfinished = engines.adoption(engine)
    except engines.NoEngineError as error:
        _add(
            found,
            Problem(f"there is no engine: {error}", "install it: https://www.pulumi.com/docs/iac/download-install/"),
        )
        return
    except engines.EngineError as error:
        cure = "make up" if stack == "dev" else "docs/runbooks/first-deploy.md, if the stack was never made"
        _add(found, Problem(f"the state cannot be worked on: {error}", cure))
        return
    if unfinished is not None:
        cure = "make up" if engine.local else "docs/runbooks/interrupted-deploy.md"
        _add(found, Problem(unfinished, cure))
    found.engine = engine


def _shown(url: str) -> str:
    """A backend's URL without what may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _stack_file(stack: str) -> Mapping[str, Any]:
    """The stack's file where it can be read; where it can not, the settings say so."""
    try:
        content = yaml.safe_load((settings.ROOT / f"Pulumi.{stack}.yaml").read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def backend_problem(stack: str, environment: Mapping[str, str]) -> Problem | None:
    """The state of a stack in the cloud lies where the team shares it, named on purpose."""
    url = environment.get("PULUMI_BACKEND_URL", "")
    cure = "export PULUMI_BACKEND_URL=https://api.pulumi.com, or s3://<state bucket>?region=<region>"
    if not url:
        return Problem("PULUMI_BACKEND_URL is not set: the engine would take whatever this machine used last", cure)
    if urlsplit(url).scheme not in _REMOTE_STATE:
        return Problem(f"the state of {stack} is not for {_shown(url)}: nobody else would see it, or its lock", cure)
    return None


def secrets_problem(stack: str, stack_file: Mapping[str, Any], backend: str) -> Problem | None:
    """What encrypts the secrets in a shared state is a key service, never a passphrase that people hand around."""
    provider = str(stack_file.get("secretsprovider") or "")
    if urlsplit(provider).scheme in _KEY_SERVICES:
        return None
    by_passphrase = "encryptionsalt" in stack_file or provider == "passphrase"
    # Pulumi Cloud has a key for each stack; a bucket has none, and the engine falls back to a passphrase.
    if not by_passphrase and urlsplit(backend).scheme != "s3":
        return None
    return Problem(
        f"the secrets of {stack} would be encrypted with a passphrase (Pulumi.{stack}.yaml: secretsprovider)",
        f"pulumi stack change-secrets-provider --stack {stack} 'awskms://alias/lightwave-state?region=<region>'",
    )


def cloudflare_problem(told: Settings, environment: Mapping[str, str]) -> Problem | None:
    """Half a deploy would be done by the time that Cloudflare refuses it."""
    given = "CLOUDFLARE_API_TOKEN" in environment or {"CLOUDFLARE_API_KEY", "CLOUDFLARE_EMAIL"} <= set(environment)
    if told.media is None or given:
        return None
    return Problem("CLOUDFLARE_API_TOKEN is not set", "the token's scopes: docs/bootstrap.md")


def authorities_problems(told: Settings) -> Iterator[Problem]:
    """The certificates that servers are verified with are files beside the program."""
    files: list[Callable[[], object]] = [partial(settings.client_ca_bundle, told.pgbouncer)]
    if isinstance(told.database, RdsSettings):
        files.append(partial(settings.ca_bundle, told.database))
    for read in files:
        try:
            read()
        except SettingsError as missing:
            what, _, cure = str(missing).partition(settings.MEND)
            yield Problem(what, cure)


def account_problem(account_id: str) -> Problem | None:
    """The credentials at hand are the stack's account's."""
    answer = _query("aws", "sts", "get-caller-identity", "--output", "json")
    if isinstance(answer, Problem):
        return answer
    actual = json.loads(answer).get("Account")
    if actual == account_id:
        return None
    return Problem(
        f"the AWS credentials are account {actual}'s, the stack is account {account_id}'s",
        "export AWS_PROFILE=<profile of that account>, then: aws sts get-caller-identity",
    )


def cluster_problem(cluster: str, region: str) -> Problem | None:
    """The EKS cluster of that name runs, and what answers at its endpoint has its certificate."""
    query = "cluster.{status: status, endpoint: endpoint, ca: certificateAuthority.data}"
    answer = _query(
        *("aws", "eks", "describe-cluster", "--name", cluster, "--region", region, "--query", query, "--output", "json")
    )
    if isinstance(answer, Problem):
        return answer
    told = json.loads(answer)
    if told["status"] not in ("ACTIVE", "UPDATING"):
        return Problem(f"EKS cluster {cluster} is {told['status']}", "wait until it is ACTIVE, then try again")
    try:
        trust = ssl.create_default_context(cadata=base64.b64decode(told["ca"]).decode("ascii"))
        with urllib.request.urlopen(f"{told['endpoint']}/version", timeout=_CONNECT_SECONDS, context=trust):  # noqa: S310
            return None
    except urllib.error.HTTPError:
        return None  # it answers; who may do what is the engine's to find out
    except (OSError, ValueError, binascii.Error) as error:
        return Problem(
            f"EKS cluster {cluster} does not answer at {told['endpoint']} ({getattr(error, 'reason', error)})",
            "a private endpoint answers inside the VPC only: run this there, or set HTTPS_PROXY",
        )


def context_problem(context: str) -> Problem | None:
    """The kubeconfig has that context, and its API server answers."""
    answer = _query("kubectl", "--context", context, "get", "--raw", "/version", "--request-timeout=10s")
    return answer if isinstance(answer, Problem) else None


def local_database_problem(port: int) -> Problem | None:
    """The local PostgreSQL listens."""
    try:
        socket.create_connection((settings.HOST, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return Problem(f"the local PostgreSQL does not answer ({error.strerror or error})", "make up")
    return None


def database_problem(stack: str, database: RdsSettings, region: str) -> tuple[Problem | None, str]:
    """The database can be reached from here, as the postgresql provider will; and where it is, in words."""
    if database.admin_endpoint is not None:
        host, port = database.admin_endpoint.host, database.admin_endpoint.port
    else:
        name = database.identifier
        answer = _query(
            *("aws", "rds", "describe-db-instances", "--region", region, "--db-instance-identifier", name),
            *("--query", "DBInstances[0].Endpoint", "--output", "json"),
        )
        if isinstance(answer, Problem):
            if "DBInstanceNotFound" in answer.what:
                return None, f"{name} is not there yet: this deploy makes it"
            return answer, name
        endpoint = json.loads(answer)
        if endpoint is None:
            return None, f"{name} is still being made"
        host, port = str(endpoint["Address"]), int(endpoint["Port"])
    try:
        tunnel.check_reachable(host, port, _CONNECT_SECONDS, stack=stack)
    except tunnel.UnreachableError as error:
        what, _, cure = str(error).partition("\n")
        return Problem(what, cure.strip()), f"{host}:{port}"
    return None, f"{host}:{port}"


def code() -> str:
    """The commit that would be deployed, and whether the working tree is that commit."""
    try:
        commit = _git("rev-parse", "--short", "HEAD").strip()
        changed = _git("status", "--porcelain").splitlines()
    except (OSError, subprocess.SubprocessError):
        return "UNKNOWN: this is no git checkout"
    if not changed:
        return f"commit {commit}, clean"
    files = ", ".join(line[3:] for line in changed[:5]) + (", …" if len(changed) > 5 else "")
    return f"commit {commit} and {len(changed)} files NOT COMMITTED: {files}"


def _git(*args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=settings.ROOT, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True
    ).stdout


def _query(tool: str, *args: str) -> str | Problem:
    """What a short command says, or why it could not."""
    shown = f"{tool} {' '.join(args[:2])}"
    try:
        done = subprocess.run(
            [tool, *args], capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return Problem(f"{tool} is not on PATH", f"install it: {_TOOLS[tool]}")
    except subprocess.TimeoutExpired:
        return Problem(f"{shown} gave no answer within {_QUERY_SECONDS} s", "look at the network, then try again")
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        return Problem(f"{shown}: {said}", _LOGINS[tool])
    return done.stdout


_TOOLS = {
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
}
_LOGINS = {
    "aws": "log in to the stack's account (aws sso login, AWS_PROFILE), then: aws sts get-caller-identity",
    "kubectl": "the contexts there are: kubectl config get-contexts",
}


# --- the engine -------------------------------------------------------------------------------------------------------


def _run(engine: engines.Engine, command: str, *flags: str) -> tuple[int, str]:
    """Runs the engine, its output shown as it comes; gives its exit status and the end of what it said on stderr."""
    with subprocess.Popen(
        [engine.command, "--non-interactive", command, "--stack", engine.stack, *_GUARD, *flags],
        cwd=settings.ROOT,
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Its own group: a Ctrl-C reaches it once, from here. A second one would make it drop what it is doing.
        process_group=0,
    ) as process:
        said: deque[str] = deque(maxlen=_KEPT_LINES)
        with _interrupts(process):
            for line in process.stderr or ():
                sys.stderr.write(line)
                sys.stderr.flush()
                said.append(line)
            return process.wait(), "".join(said)


@contextlib.contextmanager
def _interrupts(process: subprocess.Popen[str]) -> Iterator[None]:
    """Within it, what would end this process asks the engine to end in order, and this process waits for it.

    Killed in the middle the engine would leave a lock and resources that nothing has recorded.
    """

    def ask(_number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said_if_locked(stack: str, said: str) -> bool:
    """Whether another update holds the stack, which is then said in the operator's words."""
    if not any(words in said for words in _LOCKED):
        return False
    holders = re.findall(r"created by (.+)", said)
    print(
        f"\nstack {stack} is locked: another update of it runs{', by ' + '; '.join(holders) if holders else ''}.\n"
        "Nothing was changed. Wait for it to end. If it is dead for sure: docs/runbooks/interrupted-deploy.md",
        file=sys.stderr,
    )
    return True

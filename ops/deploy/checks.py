"""What is checked before the Pulumi CLI starts. Each check is a small function that returns a `Check`.

Whatever can be known to be wrong is found here and reported together: the config, the account, the cluster, the
state's place and its secrets, an interrupted update, the database.
"""

import base64
import binascii
import contextlib
import functools
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import yaml

import settings as config
from ops import aws, process
from ops.check import Check, check
from ops.deploy import install, tunnel
from ops.deploy.adoption import adoption
from ops.deploy.pulumi_cli import PulumiCli, make_up
from ops.plan import recorder
from ops.plan.removals import production_problems
from policies.tokens import POSTGRESQL
from settings import HOST, RdsSettings, Settings
from settings.problems import OperatorError, Problem

_QUERY_SECONDS = 60
_CONNECT_SECONDS = 10

_REMOTE_STATE = ("https", "s3")
_KEY_SERVICES = ("awskms", "azurekeyvault", "gcpkms", "hashivault")

# --- all of them, in order --------------------------------------------------------------------------------------------


class Checks:
    """The checks of one stack, in order; one that depends on a failed one is skipped."""

    def __init__(self, stack: str, show: Callable[[Check], None]) -> None:
        """`show` is called with each result as soon as there is one."""
        self.stack = stack
        self.done: list[Check] = []
        self._show = show

    def run(self, *, database: bool) -> PulumiCli | None:
        """Makes every check that can be made; returns the Pulumi CLI, None where there is a problem.

        `database`: whether the database must answer; a preview never logs in to it.
        """
        settings = self._settings()
        local = settings.is_local if settings else declared_local(self.stack)
        backend_ok = local or self._shared_state()
        if settings:
            self._accounts_and_servers(settings, database=database)
        pulumi = None
        if not backend_ok:
            self._skip("Pulumi state", "state backend")
        elif local and settings is None:
            self._skip("Pulumi state", "config")
        else:
            pulumi = self._state(local, install.providers(settings) if settings else ())
            if pulumi and settings and not local and not self.problems:
                self._add(removals(pulumi))
        self._add(code())
        return None if self.problems else pulumi

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that must be fixed before Pulumi starts."""
        return tuple(problem for check in self.done for problem in check.problems)

    def _add(self, check: Check) -> bool:
        self.done.append(check)
        self._show(check)
        return check.ok

    def _skip(self, name: str, failed: str) -> None:
        self._add(Check(name=name, detail=f"depends on: {failed}", skipped=True))

    def _settings(self) -> Settings | None:
        try:
            settings = config.of_stack(self.stack)
        except OperatorError as error:
            self._add(Check(name="config", problems=error.problems))
            return None
        self._add(Check(name="config", detail=f"Pulumi.{self.stack}.yaml, {len(settings.products)} products"))
        return settings

    def _shared_state(self) -> bool:
        backend_ok = self._add(backend(self.stack, os.environ))
        self._add(secrets(self.stack, _stack_file(self.stack), os.environ.get("PULUMI_BACKEND_URL", "")))
        return backend_ok

    def _accounts_and_servers(self, settings: Settings, *, database: bool) -> None:
        if settings.media:
            self._add(cloudflare(settings, os.environ))
        if not settings.is_local or settings.pgbouncer.client_ca_file:
            self._add(ca_certificates(settings))
        if settings.local:
            self._add(local_database(settings.stack, settings.local.database_port))
        on_rds = settings.on_rds
        account_ok = on_rds is None or self._add(account(on_rds.aws.account_id, on_rds.aws.region))
        if settings.kubernetes and settings.kubernetes.context:
            self._add(context(settings.kubernetes.context))
        elif on_rds and account_ok:
            self._add(cluster(on_rds.kubernetes.cluster, on_rds.aws.region))
        elif on_rds:
            self._skip("EKS cluster", "AWS account")
        if on_rds and database:
            if account_ok:
                self._add(rds(settings.stack, on_rds.rds, on_rds.aws.region))
            else:
                self._skip("database", "AWS account")

    def _state(self, local: bool, providers: Sequence[str]) -> PulumiCli | None:
        try:
            pulumi = install.find(self.stack, local=local, providers=providers, root=config.ROOT)
        except install.NoPulumiError as error:
            self._add(Check(name="Pulumi CLI", problems=error.problems))
            self._skip("Pulumi state", "Pulumi CLI")
            return None
        self._add(Check(name="Pulumi CLI", detail=pulumi.command))
        self._add(state(pulumi))
        return pulumi


# --- one by one -------------------------------------------------------------------------------------------------------


@check("state backend")
def backend(stack: str, environment: Mapping[str, str]) -> str:
    """The state of a stack in the cloud is where the team shares it, named on purpose."""
    url = environment.get("PULUMI_BACKEND_URL", "")
    fix = "export PULUMI_BACKEND_URL=https://api.pulumi.com, or s3://<state bucket>?region=<region>"
    if not url:
        raise OperatorError(
            "PULUMI_BACKEND_URL is not set: Pulumi would use the backend of this machine's last login", fix
        )
    if urlsplit(url).scheme not in _REMOTE_STATE:
        raise OperatorError(
            f"the state of {stack} cannot be at {_shown(url)}: nobody else would see it, or its lock", fix
        )
    return _shown(url)


@check("state secrets")
def secrets(stack: str, stack_file: Mapping[str, Any], backend: str) -> str:
    """What encrypts the secrets in a shared state is a key service, never a passphrase that people hand around."""
    provider = str(stack_file.get("secretsprovider") or "")
    scheme = urlsplit(provider).scheme
    if scheme in _KEY_SERVICES:
        return f"encrypted by {scheme}"
    by_passphrase = "encryptionsalt" in stack_file or provider == "passphrase"
    # Pulumi Cloud has a key for each stack; a bucket has none, and Pulumi falls back to a passphrase.
    if not by_passphrase and urlsplit(backend).scheme != "s3":
        return "encrypted by Pulumi Cloud"
    raise OperatorError(
        f"the secrets of {stack} would be encrypted with a passphrase (Pulumi.{stack}.yaml: secretsprovider)",
        f"pulumi stack change-secrets-provider --stack {stack} "
        f"'awskms://alias/{config.named('lightwave-state', stack)}?region=<region>'",
    )


@check("Cloudflare login")
def cloudflare(settings: Settings, environment: Mapping[str, str]) -> str:
    """There are credentials: half a deploy would be done by the time that Cloudflare refuses it."""
    if settings.media is None:
        return "not needed: the stack has no media"
    if "CLOUDFLARE_API_TOKEN" in environment:
        return "CLOUDFLARE_API_TOKEN is set"
    if {"CLOUDFLARE_API_KEY", "CLOUDFLARE_EMAIL"} <= set(environment):
        return "CLOUDFLARE_API_KEY and CLOUDFLARE_EMAIL are set"
    raise OperatorError("CLOUDFLARE_API_TOKEN is not set", "create a token with the scopes of docs/bootstrap.md")


@check("CA certificates")
def ca_certificates(settings: Settings) -> str:
    """The certificates that servers are verified with are files beside the program."""
    files, problems = [], list[Problem]()
    readers: list[tuple[str | None, Callable[[], object]]] = [
        (settings.pgbouncer.client_ca_file, functools.partial(config.pooler_ca_pem, settings.pgbouncer))
    ]
    if isinstance(settings.database, RdsSettings):
        readers.append((settings.database.ca_file, functools.partial(config.database_ca_pem, settings.database)))
    for file, read in readers:
        try:
            read()
        except OperatorError as error:
            problems += error.problems
        files += [file] if file else []
    if problems:
        raise OperatorError(problems)
    return ", ".join(files)


@check("AWS account")
def account(account_id: str, region: str) -> str:
    """The credentials at hand belong to the stack's account."""
    actual = aws.account()
    if actual == account_id:
        return f"{account_id}, {region}"
    raise OperatorError(
        f"the AWS credentials are account {actual}'s, the stack is account {account_id}'s",
        "export AWS_PROFILE=<profile of that account>, then: aws sts get-caller-identity",
    )


@check("EKS cluster")
def cluster(name: str, region: str) -> str:
    """The EKS cluster of that name runs, and the server at its endpoint has its certificate."""
    found = aws.cluster(name, region)
    if found.status not in ("ACTIVE", "UPDATING"):
        raise OperatorError(f"EKS cluster {name} is {found.status}", "wait until it is ACTIVE, then try again")
    try:
        trust = ssl.create_default_context(cadata=base64.b64decode(found.ca).decode("ascii"))
        with urllib.request.urlopen(f"{found.endpoint}/version", timeout=_CONNECT_SECONDS, context=trust):  # noqa: S310
            pass
    except urllib.error.HTTPError:
        pass  # it answers; who may do what is for Pulumi to find out
    except (OSError, ValueError, binascii.Error) as error:
        raise OperatorError(
            f"EKS cluster {name} does not answer at {found.endpoint} ({getattr(error, 'reason', error)})",
            "a private endpoint answers inside the VPC only: run this there, or set HTTPS_PROXY",
        ) from error
    return f"{name} is {found.status} and answers"


@check("cluster")
def context(name: str) -> str:
    """The kubeconfig has that context, and its API server answers."""
    command = ["kubectl", "--context", name, "get", "--raw", "/version", "--request-timeout=10s"]
    fix = "install it (https://kubernetes.io/docs/tasks/tools/); its contexts: kubectl config get-contexts"
    process.output(command, timeout=_QUERY_SECONDS, fix=fix)
    return f"context {name} answers"


@check("local PostgreSQL")
def local_database(stack: str, port: int) -> str:
    """The local PostgreSQL listens."""
    try:
        socket.create_connection((HOST, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise OperatorError(
            f"the local PostgreSQL does not answer ({error.strerror or error})", make_up(stack)
        ) from error
    return f"{HOST}:{port}"


@check("database")
def rds(stack: str, database: RdsSettings, region: str) -> str:
    """The database can be reached from here, as the postgresql provider will."""
    endpoint: tuple[str, int] | None
    if database.admin_endpoint is not None:
        endpoint = database.admin_endpoint.host, database.admin_endpoint.port
    else:
        try:
            endpoint = aws.database_endpoint(database.identifier, region)
        except aws.NotFoundError:
            return f"{database.identifier} does not exist yet: this deploy creates it"
        if endpoint is None:
            return f"{database.identifier} is still being created"
    tunnel.check_reachable(*endpoint, _CONNECT_SECONDS, stack=stack)
    return f"{endpoint[0]}:{endpoint[1]}"


@check("Pulumi state")
def state(pulumi: PulumiCli) -> str:
    """The state can be read, and no killed update has left operations under way."""
    url = _shown(pulumi.environment().get("PULUMI_BACKEND_URL", ""))
    try:
        if pulumi.local:
            pulumi.select()
        pending = pulumi.deployment().pending
    except OperatorError as error:
        fix = make_up(pulumi.stack) if pulumi.local else "docs/runbooks/first-deploy.md, if the stack was never created"
        raise OperatorError(
            f"the state at {url} cannot be used: {error.problems[0].what}", error.problems[0].fix or fix
        ) from error
    if not pending:
        return f"{url}, no interrupted update"
    problem = adoption(pulumi.stack, pending)
    raise OperatorError(problem.what, make_up(pulumi.stack) if pulumi.local else problem.fix)


@check("removals")
def removals(pulumi: PulumiCli) -> str:
    """It deletes no role, schema or grant that is still protected, and renames no schema under its grants."""
    recorded = [r for r in pulumi.deployment().resources if r["type"].startswith(POSTGRESQL)]
    if not recorded:
        return "the state has no roles, schemas or grants yet"
    if problems := production_problems(recorded, recorder.record_stack(pulumi.stack)):
        raise OperatorError(problems)
    return "none that is protected"


def code() -> Check:
    """The commit that would be deployed, and whether the working tree is that commit. Never a problem."""
    try:
        commit = _git("rev-parse", "--short", "HEAD").strip()
        changed = _git("status", "--porcelain").splitlines()
    except process.ProcessError:
        return Check(name="code", detail="UNKNOWN: this is no git checkout")
    if not changed:
        return Check(name="code", detail=f"commit {commit}, clean")
    files = ", ".join(line[3:] for line in changed[:5]) + (", …" if len(changed) > 5 else "")
    return Check(name="code", detail=f"commit {commit} and {len(changed)} files NOT COMMITTED: {files}")


def _git(*arguments: str) -> str:
    return process.output(["git", *arguments], timeout=_QUERY_SECONDS, cwd=config.ROOT)


def _shown(url: str) -> str:
    """A backend's URL without what may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _stack_file(stack: str) -> Mapping[str, Any]:
    """The stack's file where it can be read; where it cannot, the check of the config reports it."""
    try:
        content = yaml.safe_load((config.ROOT / f"Pulumi.{stack}.yaml").read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def declared_local(stack: str) -> bool:
    """Whether a stack's files say that its database is local, even where its config is otherwise wrong."""
    with contextlib.suppress(OperatorError):
        database = config.stack_config(stack).get(f"{config.PROJECT}:database")
        return isinstance(database, dict) and database.get("server") == "local"
    return False

"""The files that settings come from: Pulumi.yaml, the stack's own file, CA certificates, a local stack's state."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from settings.models import PgBouncerSettings, RdsSettings
from settings.names import ADMIN, APPLICATION_SECRETS, KNOWN_AT_DEPLOY, RDS_CA_URL, STATS_USER, VALKEY_SECRETS
from settings.problems import Problem, SettingsError, shown
from settings.values import facts_required

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""


def stack_config(stack: str) -> dict[str, Any]:
    """The stack's config as Pulumi would pass it: Pulumi.yaml's defaults under Pulumi.<stack>.yaml's values.

    A value that is encrypted in the file reads as `KNOWN_AT_DEPLOY`. Raises SettingsError when the stack has no file,
    or when one of the two files is not a YAML mapping.
    """
    known = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
    if stack not in known:
        problem = Problem(
            key=f"stack {shown(stack)}",
            what="it has no config file",
            expected=", ".join(known),
            fix=f"pulumi stack init --copy-config-from {known[0] if known else 'dev'} NAME",
        )
        raise SettingsError(problem)
    config = {**project_defaults(), **_file_config(f"Pulumi.{stack}.yaml")}
    # `pulumi config set` writes a top-level true as "true".
    return {key: decoded(value) for key, value in config.items()}


def decoded(value: Any) -> Any:
    """The value behind a text in JSON; any other value as it is."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def project_defaults() -> dict[str, Any]:
    """By key, the default values in Pulumi.yaml."""
    entries = _file_config("Pulumi.yaml").items()
    return {key: entry["default"] for key, entry in entries if isinstance(entry, dict) and "default" in entry}


def own_config(stack: str) -> dict[str, Any]:
    """By key, the values in the stack's own file; empty where there is none."""
    file = f"Pulumi.{stack}.yaml"
    return _file_config(file) if (ROOT / file).exists() else {}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, as Pulumi does; PyYAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ValueError(f"{key} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _file_config(name: str) -> dict[str, Any]:
    try:
        document = yaml.load((ROOT / name).read_text(), _Loader)  # noqa: S506 (a SafeLoader)
        config = {} if document is None else document.get("config") or {}
        return {str(key): _without_ciphertext(value) for key, value in config.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        # PyYAML's whole message quotes the line, which may hold a secret.
        why = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            why = f"{error.problem}, line {error.problem_mark.line + 1}"
        raise SettingsError(
            Problem(
                key=name,
                what=f"it cannot be read ({why})",
                expected="YAML with a mapping under config",
                fix=f"${{EDITOR:-vi}} {name}",
            )
        ) from error


def _without_ciphertext(value: Any) -> Any:
    if isinstance(value, dict):
        if list(value) == ["secure"]:
            return KNOWN_AT_DEPLOY
        return {key: _without_ciphertext(item) for key, item in value.items()}
    return [_without_ciphertext(item) for item in value] if isinstance(value, list) else value


def database_ca_pem(database: RdsSettings) -> str:
    """The PEM certificates that the database server is verified with; offline, `KNOWN_AT_DEPLOY` where there are none.

    Raises SettingsError when a deploy has no such file, or when there are no certificates in it.
    """
    fix = f"curl --fail --output {database.ca_file} {RDS_CA_URL}; commit it, it is public"
    return certificates(database.ca_file, "the database's certificate", fix)


def pooler_ca_pem(pgbouncer: PgBouncerSettings) -> str | None:
    """The PEM certificates that PgBouncer's clients verify it with, as `database_ca_pem`; None without TLS."""
    file = pgbouncer.client_ca_file
    fix = f"copy the certificates of the CAs that sign it to {file}; commit it, they are public"
    return None if file is None else certificates(file, "PgBouncer's certificate", fix)


def certificates(file: str, verified: str, fix: str) -> str:
    """The PEM certificates in a file of the project's folder. Raises SettingsError as `database_ca_pem`."""
    path = ROOT / file
    if not path.is_file():
        if facts_required():
            raise SettingsError(f"{file} is missing: nothing could verify {verified}", fix)
        return KNOWN_AT_DEPLOY
    pem = path.read_text(errors="replace")
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise SettingsError(f"{file} holds no PEM certificate: nothing could verify {verified}", fix)
    return pem


def state_file(stack: str) -> Path:
    """The file with the ports and passwords of a local stack; its folder holds all local data of the stack."""
    return ROOT / ".local" / stack / "state.json"


def local_state(stack: str) -> Any:
    """What is in `state_file`: None where there is none, not a mapping where it is unreadable (`load` reports it)."""
    path = state_file(stack)
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError, RecursionError):
        return "unreadable"


def placeholder_state(products: Iterable[str]) -> dict[str, Any]:
    """Stands for a local stack's state in the offline plan: PostgreSQL's and PgBouncer's usual ports, no secrets."""
    roles = [STATS_USER, *(f"{name}_user" for name in products)]
    return {
        "databasePort": 5432,
        "pgbouncerPort": 6432,
        "passwords": dict.fromkeys([ADMIN, *roles], KNOWN_AT_DEPLOY),
        "scramVerifiers": dict.fromkeys(roles, f"SCRAM-SHA-256${KNOWN_AT_DEPLOY}"),
        "secrets": dict.fromkeys([*APPLICATION_SECRETS.values(), *VALKEY_SECRETS], KNOWN_AT_DEPLOY),
    }

"""The one config boundary: the stack config, parsed whole into frozen, typed values.

Nothing else in the program reads stack config, and everything that can be wrong with it is reported here, at once,
before any resource is touched (`SettingsError`). docs/configuration.md has every key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pulumi.runtime.config import CONFIG, get_config_env, get_config_secret_keys_env
from pydantic import TypeAdapter, ValidationError

from settings import files, rules, words
from settings.edge_models import EdgeSettings
from settings.files import ROOT, database_ca_pem, pooler_ca_pem, stack_config, state_file
from settings.frameworks import FRAMEWORKS, Framework, MigrationKind, PodKind, Pods, pods
from settings.models import (
    AdminEndpointSettings,
    AwsSettings,
    KubernetesSettings,
    LocalDatabaseSettings,
    LocalState,
    MediaSettings,
    NamespaceSettings,
    PgBouncerSettings,
    PoolSettings,
    Product,
    QuotaSettings,
    RdsSettings,
    ValkeySettings,
)
from settings.monitoring_models import (
    EmailSettings,
    KubeStateMetricsSettings,
    MonitoringSettings,
    OperatorMonitoringSettings,
    OwnMonitoringSettings,
)
from settings.names import (
    ADMIN,
    API_PORT,
    APPLICATION_SECRETS,
    BUCKET,
    DATABASE,
    EDGE_NAMESPACE,
    EKS_FACTS,
    FACTS,
    HOST,
    KNOWN_AT_DEPLOY,
    PAYLOAD_PORT,
    PLAIN_NAMES,
    PRODUCT_EXTENSIONS_SCHEMA,
    PROJECT,
    RESERVED_PRODUCTS,
    STATS_USER,
    TEST_DATABASE,
    TUNNEL_SECRET,
    VALKEY_METRICS_PASSWORD,
    VALKEY_METRICS_USER,
    VALKEY_PASSWORD,
    VALKEY_SECRETS,
    admin_secret,
    named,
)
from settings.problems import Key, Mistake, SettingsError
from settings.report import refusal
from settings.service_models import (
    AutoscalingSettings,
    MigrationSettings,
    ResourceSettings,
    ServiceSettings,
)
from settings.settings import OnRds, Settings
from settings.values import facts_required, offline, pgbouncer_version


def from_pulumi(stack: str) -> Settings:
    """Settings from the config that Pulumi (or the recorder) passes to this run: strings, an object as JSON.

    Raises SettingsError with every error at once.
    """
    config = {key: files.decoded(value) for key, value in {**get_config_env(), **CONFIG.get()}.items()}
    return load(stack, config, local=files.local_state(stack), secret_keys=get_config_secret_keys_env())


def of_stack(stack: str) -> Settings:
    """Settings of a stack from its files, for a command outside Pulumi. Raises SettingsError with every error."""
    return load(stack, stack_config(stack), local=files.local_state(stack))


def load(stack: str, config: Mapping[str, Any], local: Any = None, secret_keys: Sequence[str] = ()) -> Settings:
    """Settings of a stack from its config (`lightwave:` keys; other namespaces belong to providers).

    `local` is a local stack's state as `make up` wrote it; `secret_keys` are the keys whose values no message may
    repeat. Raises SettingsError with every error at once.
    """
    raw: dict[str, Any] = {}
    for key, value in config.items():
        namespace, _, name = str(key).rpartition(":")
        if namespace in ("", PROJECT):
            raw[_plain(name)] = _plain(value)
    mistakes = [words.unknown_key(key) for key in _reserved_keys(raw)]
    server = _completed(raw, local)

    parsed: dict[str, Any] = {}
    for name, section in _sections().items():
        field = Settings.model_fields[name]
        try:
            if name in raw:
                parsed[name] = section.validate_json(json.dumps(raw[name]), strict=True)
            elif field.is_required():
                mistakes.append(words.missing((name,)))
            else:
                parsed[name] = field.get_default(call_default_factory=True)
        except ValidationError as error:
            mistakes += words.form_mistakes(name, error, secret=f"{PROJECT}:{name}" in secret_keys)
    mistakes += rules.mistakes(
        {
            **dict.fromkeys(_sections()),
            **parsed,
            "stack": stack,
            "server": server if server in ("local", "rds") else None,
            "rds": parsed.get("database") if server == "rds" else None,
            "declared": {name for name in raw if raw[name] is not None},
        }
    )
    if mistakes:
        raise refusal(stack, mistakes)
    return Settings.model_construct(stack=stack, **parsed)


def _reserved_keys(raw: Mapping[str, Any]) -> Iterator[Key]:
    """Keys that the config must not have: unknown sections, and names that the program itself fills in."""
    yield from ((name,) for name in raw if name not in _sections() or name == "local")
    for name, entry in _mapping(raw, "products").items():
        if isinstance(entry, dict) and "name" in entry:
            yield ("products", name, "name")


def _completed(raw: dict[str, Any], local: Any) -> Any:
    """Fills in what the config does not hold, and gives the kind of the database server, whatever is there."""
    server = _mapping(raw, "database").get("server")
    for name in ("media", "kubernetes", "valkey", "monitoring", "edge", *(() if server == "rds" else ("aws",))):
        if raw.get(name) == {}:  # Pulumi.yaml's default: the stack has none
            del raw[name]
    products = _mapping(raw, "products")
    for name, entry in products.items():
        if isinstance(entry, dict):
            entry["name"] = name
    required = facts_required()
    # The tunnel is a way in already.
    needless = (*(() if server == "rds" else EKS_FACTS), *([EDGE_NAMESPACE] if "edge" in raw else []))
    facts = [fact for fact in FACTS if fact not in needless]
    for section, key in () if required else facts:
        given = raw.get(section)
        # Only PgBouncer on Kubernetes has images, and only monitoring of the stack's own.
        imageless = (section == "pgbouncer" and "kubernetes" not in raw) or (
            section == "monitoring" and _mapping(raw, section).get("delivery") == "operator"
        )
        if isinstance(given, dict) and not imageless:
            raw[section] = {key: KNOWN_AT_DEPLOY, **given}
    raw["local"] = None
    if server == "local":
        raw["local"] = _plain(local) if required else files.placeholder_state(products)
    return server


def _mapping(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


@cache
def _sections() -> dict[str, TypeAdapter[Any]]:
    """By name, what parses a section of the config."""
    return {name: TypeAdapter(type_) for name, type_ in Settings.__annotations__.items() if name != "stack"}


def _plain(value: Any, depth: int = 40) -> Any:
    """The value as JSON can hold it and UTF-8 can print it; nesting that is too deep for any key is cut off."""
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item, depth - 1) for key, item in value.items()} if depth else {}
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value] if depth else []
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**64):
        return value
    return (hex(value) if isinstance(value, int) else str(value)).encode(errors="replace").decode()

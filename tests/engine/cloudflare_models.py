"""The shapes that Cloudflare's own SDK has for what the provider sends and the double answers."""

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Required, Union, get_args, get_origin, get_type_hints

from cloudflare import Cloudflare
from cloudflare._utils import PropertyInfo
from cloudflare.types import rulesets
from cloudflare.types.accounts import token_create_params
from cloudflare.types.argo import tiered_caching_edit_params
from cloudflare.types.cache import smart_tiered_cache_edit_params
from cloudflare.types.dns import record_create_params
from cloudflare.types.r2 import bucket_create_params
from cloudflare.types.r2.buckets import cors_update_params, lifecycle_update_params
from cloudflare.types.r2.buckets.domains import custom_create_params, custom_update_params, managed_update_params
from cloudflare.types.zero_trust.access import application_create_params, policy_create_params
from cloudflare.types.zero_trust.tunnels import cloudflared_create_params
from cloudflare.types.zero_trust.tunnels.cloudflared import configuration_update_params
from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from tests.engine.cloudflare_api import Object, Request, kind_of

REQUESTS: Mapping[str, tuple[object, object]] = {
    "bucket": (bucket_create_params.BucketCreateParams,) * 2,
    "domain": (custom_create_params.CustomCreateParams, custom_update_params.CustomUpdateParams),
    "managed domain": (managed_update_params.ManagedUpdateParams,) * 2,
    "cors": (cors_update_params.CORSUpdateParams,) * 2,
    "lifecycle": (lifecycle_update_params.LifecycleUpdateParams,) * 2,
    "ruleset": (rulesets.RulesetCreateParams, rulesets.RulesetUpdateParams),
    "tiered caching": (tiered_caching_edit_params.TieredCachingEditParams,) * 2,
    "tiered cache": (smart_tiered_cache_edit_params.SmartTieredCacheEditParams,) * 2,
    "token": (token_create_params.TokenCreateParams,) * 2,
    "tunnel": (cloudflared_create_params.CloudflaredCreateParams,) * 2,
    "configuration": (configuration_update_params.ConfigurationUpdateParams,) * 2,
    "record": (record_create_params.CNAMERecord,) * 2,
    "policy": (policy_create_params.PolicyCreateParams,) * 2,
    "application": (application_create_params.SelfHostedApplication,) * 2,
}
"""By kind, the parameters of the SDK's methods that create and update it."""

READS: Mapping[str, Callable[[Cloudflare, Mapping[str, str]], object]] = {
    "bucket": lambda c, at: c.r2.buckets.get(at["id"], account_id=at["account"]),
    "domain": lambda c, at: c.r2.buckets.domains.custom.get(
        at["id"], account_id=at["account"], bucket_name=at["bucket"]
    ),
    "managed domain": lambda c, at: c.r2.buckets.domains.managed.list(at["bucket"], account_id=at["account"]),
    "cors": lambda c, at: c.r2.buckets.cors.get(at["bucket"], account_id=at["account"]),
    "lifecycle": lambda c, at: c.r2.buckets.lifecycle.get(at["bucket"], account_id=at["account"]),
    "ruleset": lambda c, at: c.rulesets.get(at["id"], zone_id=at["zone"]),
    "tiered caching": lambda c, at: c.argo.tiered_caching.get(zone_id=at["zone"]),
    "tiered cache": lambda c, at: c.cache.smart_tiered_cache.get(zone_id=at["zone"]),
    "token": lambda c, at: c.accounts.tokens.get(at["id"], account_id=at["account"]),
    "tunnel": lambda c, at: c.zero_trust.tunnels.cloudflared.get(at["id"], account_id=at["account"]),
    "configuration": lambda c, at: c.zero_trust.tunnels.cloudflared.configurations.get(
        at["tunnel"], account_id=at["account"]
    ),
    "record": lambda c, at: c.dns.records.get(at["id"], zone_id=at["zone"]),
    "policy": lambda c, at: c.zero_trust.access.policies.get(at["id"], account_id=at["account"]),
    "application": lambda c, at: c.zero_trust.access.applications.get(at["id"], account_id=at["account"]),
}
"""By kind, the SDK's method that reads it: with strict validation it refuses an answer of another shape."""


def unexpected(request: Request) -> list[str]:
    """What the SDK's parameters do not have in the request, or have otherwise; empty: nothing."""
    if request.method == "DELETE":
        return []
    creates = request.method == "POST"
    name, _ = kind_of(request.path, collection=creates)
    create, update = REQUESTS[name]
    # The SDK's methods take them as arguments, the API in the path.
    in_path = {"account_id": "a", "zone_id": "z"}
    return list(_problems({**in_path, **request.body}, create if creates else update, name))


def _problems(value: Any, kind: Any, at: str) -> Iterator[str]:
    """Where the value is not of the kind, by its path."""
    origin = get_origin(kind)
    if origin in (Annotated, Required):
        yield from _problems(value, get_args(kind)[0], at)
    elif origin in (Union, types.UnionType):
        each = [list(_problems(value, option, at)) for option in get_args(kind)]
        yield from min(each, key=len)
    elif is_typeddict(kind):
        yield from _problems_of_object(value, kind, at)
    elif origin is not None and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _problems(item, get_args(kind)[0], f"{at}[{number}]")
    else:
        try:
            TypeAdapter(kind).validate_python(value, strict=not isinstance(value, float))
        except ValidationError as error:
            yield f"{at}: {error.errors()[0]['msg']}"


def _problems_of_object(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: is no object"
        return
    hints = get_type_hints(kind, include_extras=True)
    fields = {_wire_name(name, hint): (name, hint) for name, hint in hints.items()}
    for key, item in value.items():
        if key in fields:
            yield from _problems(item, fields[key][1], f"{at}.{key}")
        elif key not in ("account_id", "zone_id"):
            yield f"{at}.{key}: is unknown"
    for key, (_, hint) in fields.items():
        if get_origin(hint) is Required and key not in value:
            yield f"{at}.{key}: is missing"


def _wire_name(name: str, hint: Any) -> str:
    """The attribute's name in JSON."""
    for part in (hint, *get_args(hint)):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, PropertyInfo) and note.alias:
                return note.alias
    return name


def read(client: Cloudflare, path: str) -> Object | object:
    """The object at the path, by the SDK. Raises APIResponseValidationError where the answer has another shape."""
    name, parts = kind_of(path)
    return READS[name](client, parts)

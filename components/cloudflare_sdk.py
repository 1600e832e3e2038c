"""Cloudflare's SDK without the modules that the program never uses: all of it takes three times the CPU to import.

`from components.cloudflare_sdk import cloudflare` in place of `import pulumi_cloudflare as cloudflare`. A name of
another module imports the whole package after all, and the test of this file says which module to add.
"""

import sys
from importlib import import_module, util
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pulumi_cloudflare as cloudflare

__all__ = ["cloudflare"]

PACKAGE = "pulumi_cloudflare"
MODULES = (
    "_inputs",
    "account_token",
    "argo_tiered_caching",
    "dns_record",
    "get_account_api_token_permission_groups_list",
    "r2_bucket",
    "r2_bucket_cors",
    "r2_bucket_lifecycle",
    "r2_custom_domain",
    "r2_managed_domain",
    "ruleset",
    "tiered_cache",
    "zero_trust_access_application",
    "zero_trust_access_policy",
    "zero_trust_tunnel_cloudflared",
    "zero_trust_tunnel_cloudflared_config",
)
"""The package's modules that define what components use."""


def _package() -> ModuleType:
    """The package with the names of `MODULES`; any other name runs its own `__init__`, which imports everything.

    That also registers the classes that resource references in a provider's answers become. Nothing here receives one:
    only remote components and provider methods return them.
    """
    if PACKAGE in sys.modules:
        return sys.modules[PACKAGE]
    spec = util.find_spec(PACKAGE)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
    package, loader = util.module_from_spec(spec), spec.loader

    def other_name(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if util.find_spec(f"{PACKAGE}.{name}"):
            return import_module(f"{PACKAGE}.{name}")
        del vars(package)["__getattr__"]
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["__getattr__"] = other_name
    sys.modules[PACKAGE] = package
    for name in MODULES:
        module = import_module(f"{PACKAGE}.{name}")
        vars(package).update({exported: getattr(module, exported) for exported in module.__all__})
    return package


if not TYPE_CHECKING:
    cloudflare = _package()

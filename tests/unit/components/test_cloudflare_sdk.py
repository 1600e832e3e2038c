"""The modules of Cloudflare's SDK that are imported, against the layout of the installed one.

Each test needs a process in which nothing has imported the SDK.
"""

import ast
from importlib import import_module, metadata

import settings
from components.cloudflare_sdk import MODULES
from tests.unit.fresh import lines_of
from tests.unit.syntax import tree_of


def used() -> set[str]:
    return {
        node.attr
        for file in (settings.ROOT / "components").rglob("*.py")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cloudflare"
    }


def test_each_name_that_components_use_is_in_one_of_the_modules_and_each_module_is_used() -> None:
    exported = {name: set(import_module(f"pulumi_cloudflare.{name}").__all__) for name in MODULES}
    missing = used() - set().union(*exported.values())
    assert not missing, f"name their modules in components/cloudflare_sdk.py: {sorted(missing)}"
    assert [name for name, names in exported.items() if not names & used()] == []
    assert {"R2Bucket", "AccountTokenPolicyArgs", "get_account_api_token_permission_groups_list_output"} <= used()


def test_nothing_but_that_module_imports_the_sdk() -> None:
    found = {
        str(file.relative_to(settings.ROOT))
        for folder in ("components", "stack", "ops", "settings", "policies")
        for file in (settings.ROOT / folder).rglob("*.py")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Import | ast.ImportFrom) and "pulumi_cloudflare" in ast.unparse(node)
    }
    assert found == {"components/cloudflare_sdk.py"}


def test_prod_imports_only_those_modules_and_gets_no_resource_reference() -> None:
    """A reference would need the registration in the package's own `__init__`."""
    lines = lines_of(
        "import sys; from pulumi.runtime import rpc; from ops.plan.recorder import record_stack;"
        "rpc.get_resource_module = rpc.get_resource_package = lambda *given: sys.exit(f'a reference: {given}');"
        "assert record_stack('prod').of_type('cloudflare:index/r2Bucket:R2Bucket');"
        "print(*(name.partition('.')[2] for name in sys.modules if name.startswith('pulumi_cloudflare.')), sep='\\n')"
    )
    assert set(lines) == {*MODULES, "_utilities", "outputs"}


def test_another_name_imports_the_whole_package_with_the_same_classes() -> None:
    lines = lines_of(
        "from components.cloudflare_sdk import cloudflare; bucket = cloudflare.R2Bucket;"
        "rule = cloudflare.RulesetRuleArgs;"
        "import pulumi_cloudflare; assert pulumi_cloudflare is cloudflare;"
        "from pulumi_cloudflare import Zone; from pulumi_cloudflare.zone import Zone as ZoneOfItsModule;"
        "assert Zone is ZoneOfItsModule; assert pulumi_cloudflare.R2Bucket is bucket;"
        "assert pulumi_cloudflare.RulesetRuleArgs is rule;"
        "from pulumi.runtime.rpc import get_resource_module; from pulumi_cloudflare import _utilities;"
        "print(bucket.pulumi_type, _utilities.get_version());"
        "made = get_resource_module('cloudflare', 'index/r2Bucket', '');"
        "print(made.mod_info['classes'], pulumi_cloudflare.config.__name__)"
    )
    assert lines == [
        f"cloudflare:index/r2Bucket:R2Bucket {metadata.version('pulumi-cloudflare')}",
        "{'cloudflare:index/r2Bucket:R2Bucket': 'R2Bucket'} pulumi_cloudflare.config",
    ]


def test_it_is_the_whole_package_where_that_is_imported_already() -> None:
    assert lines_of(
        "import pulumi_cloudflare as whole; from components.cloudflare_sdk import cloudflare;"
        "print(cloudflare is whole, hasattr(cloudflare, 'Zone'), hasattr(cloudflare, '__getattr__'))"
    ) == ["True True False"]

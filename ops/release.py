"""`make release`: names a service's image in the stack's file, and shows what that changes."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

import settings
from ops.errors import ExitCode
from ops.plan import document, review
from settings import FRAMEWORKS, Product, Settings
from settings.problems import OperatorError, Problem
from settings.values import ImageDigest

SECTION = f"{settings.PROJECT}:services"
_IMAGE = TypeAdapter(ImageDigest)
_STEP = "  "


def release(stack: str, service: str, image: str, migration_image: str = "") -> ExitCode:
    """Writes the release into the stack's file and its golden plan, and prints what changes.

    Nothing is written where something is wrong: raises OperatorError, or SettingsError for what the settings refuse.
    """
    with settings.offline():
        before = settings.load(stack, settings.stack_config(stack))
    product = _product(before, service)
    for option, value in (("IMAGE", image), ("MIGRATION_IMAGE", migration_image)):
        _check(option, value)
    _check_migration(before, product, migration_image)
    values = [(("image",), image), *([(("migration", "image"), migration_image)] if migration_image else [])]

    path = settings.ROOT / f"Pulumi.{stack}.yaml"
    old = path.read_text()
    new = old
    for key, value in values:
        new = with_value(new, ("config", SECTION, product.name, *key), value)
    if new == old:
        print(f"{path.name} names this release of {product.name} already: nothing to do")
        return ExitCode.OK
    plan = document.document(stack)
    path.write_text(new)
    try:
        changed = document.document(stack)
    except BaseException:
        path.write_text(old)
        raise
    found = review.compare(plan, changed)
    print(*[f"# Release of {product.name} in {stack}", *review.resources(found)], sep="\n\n")
    written = [path, *_golden(stack, plan, changed)]
    names = " ".join(str(file.relative_to(settings.ROOT)) for file in written)
    print(f"\nwrote {names}\nnext: git commit {names}, pull request; in a hurry: make deploy STACK={stack}")
    return ExitCode.OK


def _product(found: Settings, service: str) -> Product:
    able = {name: product for name, product in found.products.items() if product.framework and product.namespace}
    for name, product in able.items():
        if service in (name, product.service):
            return product
    fix = "make release SERVICE=<one of them> IMAGE=<name>@sha256:<digest>"
    raise OperatorError(Problem(key=f"SERVICE={service}", what="no such service", expected=", ".join(able), fix=fix))


def _check(option: str, image: str) -> None:
    try:
        if image or option == "IMAGE":
            _IMAGE.validate_python(image)
    except ValidationError as error:
        raise OperatorError(
            Problem(
                key=f"{option}={image}",
                what="names no digest: a tag can move, and a rollback could not name what ran before",
                expected="name:tag@sha256:<64 hex digits>",
                fix=f"docker buildx imagetools inspect {image.partition('@')[0] or 'name:tag'}  # prints the digest",
            )
        ) from error


def _check_migration(found: Settings, product: Product, given: str) -> None:
    """The migrations of a release are in an image of their own where the stack or the framework says so."""
    service = found.services.get(product.name)
    migration = service.migration if service else None
    if given or (migration and not migration.enabled):
        return
    if (migration and migration.image) or FRAMEWORKS[str(product.framework)].migration.own_image:
        raise OperatorError(
            Problem(
                key="MIGRATION_IMAGE",
                what=f"is missing: the migrations of {product.name} are in an image of their own",
                expected="the image that was built with this release, or the same as before, by tag and digest",
                fix="make release … MIGRATION_IMAGE=name:tag@sha256:<digest>",
            )
        )


def _golden(stack: str, before: dict[str, Any], after: dict[str, Any]) -> list[Path]:
    """Writes the golden plan again where there is one that was up to date."""
    file = settings.ROOT / review.GOLDEN / f"{stack}.json"
    if not file.exists() or json.loads(file.read_text()) != before:
        return []
    file.write_text(document.text(after))
    return [file]


def with_value(text: str, path: tuple[str, ...], value: str) -> str:
    """The YAML text with a text at a path of mappings; everything else, comments too, stays as it is.

    Raises OperatorError where that cannot be done.
    """
    node = yaml.compose(text)
    changed = text
    for depth, key in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            break
        found = next((there for name, there in node.value if name.value == key), None)
        if found is None:
            changed = _with_entry(text, node, path[depth:], value)
            break
        node = found
    else:
        assert node is not None  # noqa: S101 (the loop found it)
        changed = text[: node.start_mark.index] + value + text[node.end_mark.index :]
    if yaml.safe_load(changed) != _merged(yaml.safe_load(text), path, value):
        raise OperatorError(f"the stack's file cannot be changed at {'.'.join(path)}", f"write it by hand: {value}")
    return changed


def _with_entry(text: str, mapping: yaml.MappingNode, path: tuple[str, ...], value: str) -> str:
    """The text with a new entry in a mapping that is there: the last one of a block, the first one between braces."""
    if mapping.flow_style:
        inner = "".join(f"{{{key}: " for key in path[1:]) + value + "}" * (len(path) - 1)
        at = mapping.start_mark.index + 1
        return f"{text[:at]}{path[0]}: {inner}{', ' if mapping.value else ''}{text[at:]}"
    indent = " " * mapping.start_mark.column
    lines = [f"{indent}{_STEP * depth}{key}:" for depth, key in enumerate(path)]
    end = _end(mapping)
    line_end = text.find("\n", end)
    at = len(text) if line_end < 0 else line_end
    return f"{text[:at]}\n" + "\n".join(lines) + f" {value}{text[at:]}"


def _end(node: yaml.Node) -> int:
    """Where the node's last scalar ends; a block's own end is behind the comments that follow it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _merged(tree: Any, path: tuple[str, ...], value: str) -> Any:
    """What the changed text has to mean."""
    if not path:
        return value
    first, *rest = path
    inner = tree if isinstance(tree, dict) else {}
    return {**inner, first: _merged(inner.get(first), tuple(rest), value)}

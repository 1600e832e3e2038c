"""The offline plan: what a stack declares, written to build/<stack>/ with no engine and no credentials.

No secret value is in any of its files, and the same program gives the same bytes.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import settings
from components.database.connection_budget import connection_budget
from ops.dev import env as env_files
from ops.plan import diagram as picture
from ops.plan import manifests, sql
from ops.plan.recorder import Recording, Resource, Secret, masked, record_stack
from ops.verify import matrix as access_matrix


def document(stack: str) -> dict[str, Any]:
    """The stack's plan as plan.json and the golden plans hold it. Raises SettingsError when the config is wrong."""
    return _document(record_stack(stack), _settings(stack))


def _settings(stack: str) -> settings.Settings:
    with settings.offline():
        return settings.load(stack, settings.stack_config(stack))


def _document(recording: Recording, told: settings.Settings) -> dict[str, Any]:
    return {
        "stack": recording.stack,
        "access": access_matrix.table(told),
        "budget": list(connection_budget(told).lines()),
        "picture": picture.mermaid(told).splitlines(),
        "resources": {resource.urn: _resource(resource) for resource in recording.resources},
        "outputs": masked(recording.outputs),
        "warnings": list(recording.warnings),
    }


def _resource(resource: Resource) -> dict[str, Any]:
    options = {
        "protect": resource.protect,
        "dependsOn": [_short(urn) for urn in resource.depends_on],
        "provider": _short(resource.provider),
        "deleteBeforeReplace": resource.delete_before_replace,
        "retainOnDelete": resource.retain_on_delete,
        "ignoreChanges": list(resource.ignore_changes),
        "replaceOnChanges": list(resource.replace_on_changes),
        "additionalSecretOutputs": list(resource.additional_secret_outputs),
        "aliases": list(resource.aliases),
        "import": resource.import_id,
        "deletedWith": _short(resource.deleted_with),
    }
    return {
        "type": resource.type,
        "name": resource.name,
        "parent": _short(resource.parent),
        "inputs": masked(resource.inputs),
        "options": {key: value for key, value in options.items() if value},
    }


def _short(urn: str) -> str:
    """type::name of a URN: enough to find it, and short enough to review."""
    return "::".join(urn.split("::")[2:]).rpartition("$")[2]


def text(document: Mapping[str, Any]) -> str:
    """A document as the plan's files hold it."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(stack: str, directory: Path | None = None) -> Path:
    """Writes the plan of a stack and returns its folder. Raises SettingsError when the config is wrong."""
    recording, told = record_stack(stack), _settings(stack)
    folder = directory or settings.ROOT / "build" / stack
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)

    files = {
        "plan.json": text(_document(recording, told)),
        "plan.md": markdown(recording, told),
        "access-matrix.md": access_matrix.markdown(told),
        "architecture.mmd": picture.mermaid(told),
        "database.sql": sql.script(recording),
        "pgbouncer.ini": manifests.pgbouncer_ini(recording, told),
        "env-keys.json": text(_env_keys(recording, told)),
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    manifests.write(recording, folder / "manifests")
    return folder


def _env_keys(recording: Recording, told: settings.Settings) -> dict[str, list[str]]:
    """By service key: the variables that its environment has. Values are no business of a plan."""
    envs = recording.outputs.get("service_env")
    services = [product for product in told.products.values() if product.service]
    if isinstance(envs, Secret):
        return {str(p.service): sorted(envs.value[p.name]) for p in services if p.name in envs.value}
    return {str(p.service): sorted(entry.name for entry in env_files.for_local(told, p)) for p in services}


def markdown(recording: Recording, told: settings.Settings) -> str:
    """What a reviewer reads: counts, what is still unknown, warnings, budget, matrix, picture, every resource."""
    unknown = sorted({key for resource in recording.resources for key in _unknown(resource)})
    parts = [
        f"# Plan of {recording.stack}",
        f"{len(recording.resources)} resources, from the program alone: nothing was asked of any account.",
        _table(("type", "count"), sorted(Counter(r.type for r in recording.resources if r.custom).items())),
    ]
    if recording.warnings:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in recording.warnings)]
    parts += [
        "## Who may do what",
        access_matrix.markdown(told),
        "## Connection budget",
        "\n".join(f"- {line}" for line in connection_budget(told).lines()),
        "## Picture",
        f"```mermaid\n{picture.mermaid(told)}```",
        "## Resources",
        _table(
            ("resource", "type", "parent", "protected"),
            [(r.name, r.type, r.parent.rpartition("::")[2], "yes" if r.protect else "") for r in recording.resources],
        ),
    ]
    if unknown:
        parts += [f"## {settings.KNOWN_AT_DEPLOY}", "\n".join(f"- {key}" for key in unknown)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _unknown(resource: Resource) -> list[str]:
    return [
        f"{resource.type} {resource.name}: {key}"
        for key, value in resource.inputs.items()
        if not isinstance(value, Secret) and settings.KNOWN_AT_DEPLOY in json.dumps(masked(value), ensure_ascii=False)
    ]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)

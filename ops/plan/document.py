"""The offline plan: what a stack declares, written to build/<stack>/ without the Pulumi CLI and without credentials.

None of its files contains a secret value, and the same program gives the same bytes.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.database.connection_budget import connection_budget
from components.services.env import env_names
from ops.plan import diagram, manifests, sql
from ops.plan.recorder import RecordedResource, Recording, StackRecording, masked, record_program
from ops.verify import matrix as access_matrix
from policies.rules.model import Secret
from settings import KNOWN_AT_DEPLOY, ROOT, Settings


def document(stack: str) -> dict[str, Any]:
    """The stack's plan as plan.json and the golden plans hold it. Raises SettingsError when the config is wrong."""
    return _document(record_program(stack))


def _document(program: StackRecording) -> dict[str, Any]:
    recording, settings = program
    return {
        "stack": recording.stack,
        "access": access_matrix.table(settings),
        "budget": list(connection_budget(settings).lines()),
        "picture": diagram.mermaid(settings).splitlines(),
        "resources": {resource.urn: _resource(resource) for resource in recording.resources},
        "outputs": masked(recording.outputs),
        "warnings": list(recording.warnings),
    }


def _resource(resource: RecordedResource) -> dict[str, Any]:
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
    """type::name of a URN: enough to find it, short enough to review."""
    return "::".join(urn.split("::")[2:]).rpartition("$")[2]


def text(document: Mapping[str, Any]) -> str:
    """A document as the plan's files hold it."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(stack: str, directory: Path | None = None) -> Path:
    """Writes the plan of a stack and returns its folder. Raises SettingsError when the config is wrong."""
    recording, settings = program = record_program(stack)
    folder = directory or ROOT / "build" / stack
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)

    files = {
        "plan.json": text(_document(program)),
        "plan.md": markdown(recording, settings),
        "access-matrix.md": access_matrix.markdown(settings),
        "architecture.mmd": diagram.mermaid(settings),
        "database.sql": sql.script(recording),
        "pgbouncer.ini": manifests.pgbouncer_ini(recording, settings),
        "env-keys.json": text(_env_keys(recording, settings)),
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    manifests.write(recording, folder / "manifests")
    return folder


def _env_keys(recording: Recording, settings: Settings) -> dict[str, list[str]]:
    """The names of each service's environment variables, by service key. A plan has no values."""
    envs = recording.outputs.get("service_env")
    services = [product for product in settings.products.values() if product.service]
    if isinstance(envs, Secret):
        return {str(p.service): sorted(envs.value[p.name]) for p in services if p.name in envs.value}
    return {str(p.service): sorted(env_names(p)) for p in services}


def markdown(recording: Recording, settings: Settings) -> str:
    """The reviewer's page: counts, warnings, access matrix, connection budget, picture, resources, unknown inputs."""
    unknown = sorted({key for resource in recording.resources for key in _unknown(resource)})
    parts = [
        f"# Plan of {recording.stack}",
        f"{len(recording.resources)} resources, from the program alone: no account was queried.",
        _table(("type", "count"), sorted(Counter(r.type for r in recording.resources if r.custom).items())),
    ]
    if recording.warnings:
        parts += ["## Warnings", "\n".join(f"- {warning}" for warning in recording.warnings)]
    parts += [
        "## Who may do what",
        access_matrix.markdown(settings),
        "## Connection budget",
        "\n".join(f"- {line}" for line in connection_budget(settings).lines()),
        "## Picture",
        f"```mermaid\n{diagram.mermaid(settings)}```",
        "## Resources",
        _table(
            ("resource", "type", "parent", "protected"),
            [(r.name, r.type, r.parent.rpartition("::")[2], "yes" if r.protect else "") for r in recording.resources],
        ),
    ]
    if unknown:
        parts += [f"## {KNOWN_AT_DEPLOY}", "\n".join(f"- {key}" for key in unknown)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _unknown(resource: RecordedResource) -> list[str]:
    return [
        f"{resource.type} {resource.name}: {key}"
        for key, value in resource.inputs.items()
        if not isinstance(value, Secret) and KNOWN_AT_DEPLOY in json.dumps(masked(value), ensure_ascii=False)
    ]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(str(field) for field in line)} |" for line in lines)

"""The recorded Kubernetes resources as manifests, and pgbouncer.ini, for a reviewer or an API server to read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.pgbouncer.ini import PgBouncerIni
from ops.plan.recorder import MASK, Recording, masked
from policies import tokens
from policies.rules.model import Resource, Secret
from settings import Settings

CLUSTER = "cluster"
"""Folder of the resources that are in no namespace."""


def manifests(recording: Recording) -> dict[str, str]:
    """Each Kubernetes resource of the recording by path, `<namespace>/<kind>-<name>.yaml`. Secret values are masked.

    `cluster/` comes first: it holds the namespaces, which must exist before their contents.
    """
    documents = [_document(resource) for resource in recording.resources if resource.type.startswith(tokens.KUBERNETES)]
    files = {_path(document): yaml.safe_dump(document, sort_keys=True) for document in documents}
    if len(files) != len(documents):
        raise ValueError("two Kubernetes resources have the same kind, namespace and name")
    return dict(sorted(files.items(), key=lambda item: (not item[0].startswith(f"{CLUSTER}/"), item[0])))


def write(recording: Recording, folder: Path) -> None:
    """Writes the manifests below `folder`; makes no folder where there are none."""
    for path, text in manifests(recording).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def pgbouncer_ini(recording: Recording, settings: Settings) -> str:
    """pgbouncer.ini as the stack declares it: the ConfigMap's on Kubernetes, the local pooler's in dev."""
    name = "pgbouncer.ini"
    found = [r.inputs["data"][name] for r in recording.of_type(tokens.CONFIG_MAP) if name in r.inputs["data"]]
    if found:
        return str(found[0])
    # For the container's version; without containers, `make up` renders it for the version that is installed.
    return PgBouncerIni.for_local(settings, auth_file_path="userlist.txt").render()


def _document(resource: Resource) -> dict[str, Any]:
    # The SDK marks a Secret's data as a whole. The values are secret, the keys are not.
    data = resource.inputs.get("stringData")
    if isinstance(data, Secret):
        return {**masked(resource.inputs), "stringData": dict.fromkeys(sorted(data.value), MASK)}
    return dict(masked(resource.inputs))


def _path(document: Mapping[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{metadata.get('namespace', CLUSTER)}/{document['kind'].lower()}-{metadata['name']}.yaml"

"""The recorded Kubernetes resources as manifests, and pgbouncer.ini: what a reviewer, or an API server, can read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.pgbouncer.ini import PgBouncerIni
from ops.plan.recorder import MASK, Recording, Resource, Secret, masked
from settings import Settings

_TYPE_PREFIX = "kubernetes:"

CLUSTER = "cluster"
"""Folder of what is in no namespace."""


def manifests(recording: Recording) -> dict[str, str]:
    """By path, `<namespace>/<kind>-<name>.yaml`, each Kubernetes resource of the recording. Secret values are masked.

    Sorted so that a namespace comes before what is in it: `cluster/` first, where the namespaces are.
    """
    documents = [_document(resource) for resource in recording.resources if resource.type.startswith(_TYPE_PREFIX)]
    files = {_path(document): yaml.safe_dump(document, sort_keys=True) for document in documents}
    if len(files) != len(documents):
        raise ValueError("two Kubernetes resources of one kind, namespace and name")
    return dict(sorted(files.items(), key=lambda item: (not item[0].startswith(f"{CLUSTER}/"), item[0])))


def write(recording: Recording, folder: Path) -> None:
    """Writes the manifests below `folder`; no folder where there are none."""
    for path, text in manifests(recording).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def pgbouncer_ini(recording: Recording, settings: Settings) -> str:
    """pgbouncer.ini as the stack declares it: the ConfigMap's on Kubernetes, the local pooler's in dev."""
    name = "pgbouncer.ini"
    found = [
        r.inputs["data"][name] for r in recording.of_type("kubernetes:core/v1:ConfigMap") if name in r.inputs["data"]
    ]
    if found:
        return str(found[0])
    # For the container's version; without containers, `make up` renders it for the version that is installed.
    return PgBouncerIni.for_local(settings, auth_file_path="userlist.txt").render()


def _document(resource: Resource) -> dict[str, Any]:
    # The SDK marks a Secret's data as a whole. What it holds is secret; which keys it has is not.
    data = resource.inputs.get("stringData")
    if isinstance(data, Secret):
        return {**masked(resource.inputs), "stringData": dict.fromkeys(sorted(data.value), MASK)}
    return dict(masked(resource.inputs))


def _path(document: Mapping[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{metadata.get('namespace', CLUSTER)}/{document['kind'].lower()}-{metadata['name']}.yaml"

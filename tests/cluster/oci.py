"""Image archives (OCI image layout) made from folders, for `ctr images import`: no registry, no container engine."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS = 300
_MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """One image of one layer."""

    name: str
    """Repository and tag, with the registry."""
    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """Of the manifest: what a reference ends with."""
        return _digest(self.manifest)

    @property
    def reference(self) -> str:
        """By tag and digest, as the stack's config names images."""
        return f"{self.name}@{self.digest}"

    @property
    def by_digest(self) -> str:
        """As a kubelet asks for it: it drops the tag of a name that has a digest."""
        return f"{self.name.rpartition(':')[0]}@{self.digest}"


def build(
    name: str, root: Path, *, entrypoint: Sequence[str] = (), environment: Sequence[str] = (), workdir: str = "/"
) -> Built:
    """An image of the folder's files. The same files give the same image."""
    tar = subprocess.run(
        ["tar", f"--directory={root}", "--numeric-owner", "--sort=name", "--mtime=@0", "--create", "--file=-", "."],
        check=True,
        capture_output=True,
        timeout=_SECONDS,
    ).stdout
    # Lightly: importing is what takes time, and that is bound by bytes that are written.
    layer = gzip.compress(tar, compresslevel=1, mtime=0)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *environment],
                **({"Entrypoint": list(entrypoint)} if entrypoint else {}),
                **({"WorkingDir": workdir} if workdir != "/" else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": _descriptor(f"{_MEDIA}.config.v1+json", config),
            "layers": [_descriptor(f"{_MEDIA}.layer.v1.tar+gzip", layer)],
        }
    )
    return Built(name=name, layer=layer, config=config, manifest=manifest)


def write_archive(images: Iterable[Built], path: Path) -> None:
    """One archive of several images, each under its tag and under its digest."""
    blobs: dict[str, bytes] = {}
    manifests = []
    for image in images:
        blobs |= {_digest(blob): blob for blob in (image.layer, image.config, image.manifest)}
        manifests += [
            {
                **_descriptor(f"{_MEDIA}.manifest.v1+json", image.manifest),
                "platform": {"os": "linux", "architecture": "amd64"},
                "annotations": {"io.containerd.image.name": name},
            }
            for name in (image.name, image.by_digest)
        ]
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": _json({"schemaVersion": 2, "manifests": manifests}),
        **{f"blobs/sha256/{digest.removeprefix('sha256:')}": blob for digest, blob in blobs.items()},
    }
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    unfinished.rename(path)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}

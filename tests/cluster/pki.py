"""Keys, certificates and kubeconfigs of a cluster, in one folder; valid for days, since no cluster lives longer."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """A CA with a folder for what it signs."""

    folder: Path
    pair: Pair

    def issue(self, name: str, *, subject: str, names: str = "", days: int = _DAYS) -> Pair:
        """A certificate for servers and clients alike; `names` as in subjectAltName, such as DNS:localhost."""
        pair = Pair(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        usage = "extendedKeyUsage = serverAuth, clientAuth\n"
        extensions.write_text(usage + (f"subjectAltName = {names}\n" if names else ""))
        _openssl("req", *_KEY, "-subj", subject, "-keyout", pair.key, "-out", request)
        signer = ("-CA", self.pair.certificate, "-CAkey", self.pair.key, "-CAcreateserial")
        _openssl(
            "x509", "-req", "-days", days, "-in", request, "-out", pair.certificate, "-extfile", extensions, *signer
        )
        return pair


def authority(folder: Path, name: str) -> Authority:
    """A new CA in a new folder."""
    folder.mkdir()
    pair = Pair(certificate=folder / "ca.crt", key=folder / "ca.key")
    _openssl(
        "req", "-x509", "-days", _DAYS, *_KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", pair.certificate
    )
    return Authority(folder=folder, pair=pair)


def key_pair(folder: Path, name: str) -> None:
    """A private key and its public one, without a certificate: `<name>.key` and `<name>.pub`."""
    key = folder / f"{name}.key"
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", key)
    _openssl("pkey", "-in", key, "-pubout", "-out", folder / f"{name}.pub")


def kubeconfig(server: str, authority: Path, token: str) -> dict[str, Any]:
    """How a user with that token reaches the API server. The CA's certificate is in it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "tests", "cluster": {"server": server, "certificate-authority": str(authority)}},
        ],
        "users": [{"name": "tests", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }


def write_json(path: Path, document: Any) -> Path:
    """JSON is YAML: every Kubernetes program reads it."""
    path.write_text(json.dumps(document, indent=1))
    return path


def _openssl(*arguments: str | Path | int) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)

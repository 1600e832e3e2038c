"""Certificates for tests: a CA of its own, what it signs, and a PostgreSQL that shows it."""

import os
import subprocess
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from ops.dev.model import Running
from tests.integration.conftest import superuser

_KEY = ("-newkey", "rsa:2048", "-nodes")
_RELOAD_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A server's certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """A CA whose files lie in a folder of its own."""

    certificate: Path
    key: Path

    def issue(self, host: str, folder: Path, *, owner: os.stat_result) -> Leaf:
        """A certificate for a host name, in an existing folder; its files belong to `owner`, who serves with them."""
        leaf = Leaf(certificate=folder / f"{host}.crt", key=folder / f"{host}.key")
        request, extensions = folder / f"{host}.csr", folder / f"{host}.ext"
        extensions.write_text(f"subjectAltName = DNS:{host}\nextendedKeyUsage = serverAuth\n")
        _openssl("req", *_KEY, "-subj", f"/CN={host}", "-keyout", leaf.key, "-out", request)
        signed_by = ("-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial")
        _openssl(
            *("x509", "-req", "-days", "2", "-in", request, "-out", leaf.certificate),
            *("-extfile", extensions, *signed_by),
        )
        for path, mode in ((leaf.key, 0o600), (leaf.certificate, 0o644)):
            path.chmod(mode)
            os.chown(path, owner.st_uid, owner.st_gid)
        return leaf


def authority(folder: Path) -> Authority:
    """A new CA in a new folder, which others may pass through. Every one has the same name."""
    folder.mkdir()
    folder.chmod(0o711)
    made = Authority(certificate=folder / "ca.crt", key=folder / "ca.key")
    _openssl("req", "-x509", "-days", "2", *_KEY, "-subj", "/CN=Test CA", "-keyout", made.key, "-out", made.certificate)
    made.certificate.chmod(0o644)
    return made


def owner_of(running: Running) -> os.stat_result:
    """Whose a native server's files are: who runs it."""
    assert running.socket_directory is not None
    return running.socket_directory.stat()


def serve_tls(running: Running, leaf: Leaf | None) -> None:
    """Makes a native server show this certificate to new connections; None: it speaks plaintext alone."""
    wanted = {"ssl": "on" if leaf else "off"}
    if leaf:
        wanted |= {"ssl_cert_file": str(leaf.certificate), "ssl_key_file": str(leaf.key)}
    with closing(superuser(running)) as connection:
        for setting, value in wanted.items():
            change = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value))
            connection.execute(change)
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + _RELOAD_SECONDS
    while _shown(running, wanted) != wanted:
        assert time.monotonic() < deadline, f"the server does not take {wanted}"
        time.sleep(0.02)


def _shown(running: Running, settings: Iterable[str]) -> dict[str, str]:
    """The settings as a new connection finds them: a reload does not take effect at once."""
    with closing(superuser(running)) as connection:
        return dict(connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(settings)]))


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)

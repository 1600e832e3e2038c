"""A PostgreSQL 15 outside of the cluster, as RDS is: TLS alone, its own CA, no superuser over the network."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from components.secrets.scram import scram_verifier
from ops.plan import sql as plan
from settings import ADMIN, DATABASE, ROOT
from tests.cluster import pki
from tests.cluster.cluster import Cluster
from tests.cluster.program import DATABASE_HOST, Program
from tests.cluster.site import Namespaces

PORT = 5432
_FOLDER = Path("/mnt/postgresql")
"""In the site: a file system in memory that nobody else sees."""
_USER = "nobody"
"""Who runs the server: a user that every machine has. PostgreSQL refuses to be run by root."""
_SUPERUSER = "postgres"
_START_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """The server, and the certificates that it shows."""

    inside: Namespaces
    binaries: Path
    ca_pem: str
    max_connections: int

    @property
    def socket(self) -> str:
        """Its socket's folder as this process sees it."""
        return f"/proc/{self.inside.pid}/root{_FOLDER}"

    def superuser(self, database: str = DATABASE) -> psycopg.Connection[Any]:
        """Through the socket alone."""
        return psycopg.connect(host=self.socket, port=PORT, dbname=database, user=_SUPERUSER, autocommit=True)

    def control(self, *arguments: str) -> None:
        """Runs pg_ctl."""
        self._as_user("pg_ctl", f"--pgdata={_FOLDER}/data", f"--log={_FOLDER}/log", "--wait", *arguments)

    def restart(self) -> None:
        """As a maintenance of RDS does: who is connected is thrown out."""
        self.control("restart", "--mode=fast")

    def log(self) -> str:
        """What the server wrote."""
        return self.inside.run("cat", _FOLDER / "log")

    def _as_user(self, program: str, *arguments: str) -> None:
        user = ("setpriv", f"--reuid={_USER}", "--regid=nogroup", "--clear-groups", "env", f"HOME={_FOLDER}")
        self.inside.run(
            "sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", _FOLDER, *user, self.binaries / program, *arguments
        )

    def connections(self, superuser: psycopg.Connection[Any]) -> dict[str, int]:
        """By role, how many connections come from other addresses than this machine's."""
        return dict(
            superuser.execute(
                "SELECT usename::text, count(*)::int FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND client_addr IS NOT NULL GROUP BY 1"
            ).fetchall()
        )

    def build(self, program: Program) -> None:
        """Every schema, role and grant of the stack, as its admin builds them, who is no superuser."""
        with closing(self._admin()) as admin:
            plan.apply(admin, program.recording, program.verifiers())

    def set_verifiers(self, verifiers: Mapping[str, str]) -> None:
        """The roles' passwords anew, as the provider changes them."""
        with closing(self._admin()) as admin:
            for role, verifier in verifiers.items():
                admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(host=self.socket, port=PORT, dbname=DATABASE, user=ADMIN, autocommit=True)


def binaries() -> Path | None:
    """Where this machine has PostgreSQL 15; None where it has none."""
    found = shutil.which("initdb")
    debian = Path("/usr/lib/postgresql/15/bin")
    return debian if (debian / "initdb").exists() else Path(found).parent if found else None


@contextmanager
def running_database(cluster: Cluster, *, max_connections: int) -> Iterator[Database]:
    """An empty database with its admin, at an address outside of the cluster, that pods know as `DATABASE_HOST`."""
    folder = binaries()
    assert folder
    authority = pki.authority(cluster.site.folder / "database-ca", "Test CA of the database")
    pair = authority.issue("database", subject=f"/CN={DATABASE_HOST}", names=f"DNS:{DATABASE_HOST}")
    inside = cluster.site.inside
    database = Database(
        inside=inside,
        binaries=folder,
        ca_pem=authority.pair.certificate.read_text(),
        max_connections=max_connections,
    )
    inside.run("mkdir", _FOLDER)
    for path in (pair.certificate, pair.key):
        inside.run("cp", path, _FOLDER)
    inside.run("chown", "-R", f"{_USER}:nogroup", _FOLDER)
    inside.run("chmod", "-R", "go-rwx", _FOLDER)
    database._as_user("initdb", f"--pgdata={_FOLDER}/data", f"--username={_SUPERUSER}", "--no-sync", "--encoding=UTF8")
    settings = {
        "listen_addresses": cluster.outside,
        "port": PORT,
        "unix_socket_directories": _FOLDER,
        "max_connections": max_connections,
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_cert_file": _FOLDER / pair.certificate.name,
        "ssl_key_file": _FOLDER / pair.key.name,
        "fsync": "off",
        "log_connections": "on",
        "log_disconnections": "on",
        "log_line_prefix": "%m [%p] %u %r ",
    }
    text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    # As rds.force_ssl=1 has it. Nobody comes in as the superuser.
    access = f"local all all trust\nhostssl all {_SUPERUSER} all reject\nhostssl all all all scram-sha-256\n"
    for name, content, how in (("postgresql.auto.conf", text, ">>"), ("pg_hba.conf", access, ">")):
        inside.run("sh", "-c", f'cat {how} "$1"', "sh", _FOLDER / "data" / name, input=content)
    database.control("start")
    _set_up(database)
    cluster.kubectl.do("apply", "--server-side", "--filename=-", document=_address(cluster.outside))
    yield database
    database.control("stop", "--mode=immediate")


def _set_up(database: Database) -> None:
    """What RDS itself sets up before anybody logs in."""
    with closing(database.superuser("postgres")) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    verifier = scram_verifier(secrets.token_hex(20), secrets.token_bytes(16))
    with closing(database.superuser()) as connection:
        connection.execute("SELECT set_config('lightwave.admin_verifier', %s, false)", [verifier])
        connection.execute((ROOT / "local/bootstrap.sql").read_bytes())


def _address(address: str) -> str:
    """`DATABASE_HOST` for the cluster's DNS: a Service that is nothing but a name for the address."""
    name, namespace = DATABASE_HOST.split(".")[:2]
    metadata = {"name": name, "namespace": namespace}
    ports = [{"name": "postgres", "port": PORT, "protocol": "TCP"}]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": metadata,
                    "spec": {"clusterIP": "None", "ports": ports},
                },
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": [address]}],
                    "ports": ports,
                },
            ],
        }
    )

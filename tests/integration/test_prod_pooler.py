"""The prod stack's pgbouncer.ini on a real PgBouncer, before a real PostgreSQL 15 that takes TLS alone, as RDS does.

The text is the one that the prod stack puts into its ConfigMap. Only addresses and paths are this machine's, and keys
that the PgBouncer found here does not know are left out; the first test says which.

What Debian's 1.18 does not prove of the image (1.25.2 or newer): pool sizes of each user (`pool_size` 1.23,
`reserve_pool_size` 1.24), prepared statements in transaction mode (`max_prepared_statements`, 1.21), the end of idle
clients (`client_idle_timeout`, 1.24), SIGTERM that waits for clients (1.23), and how it treats `options`, of which
1.20 and newer read a part. With a newer PgBouncer on PATH the same tests run on that one, with the keys it knows.
"""

import os
import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import ClientCursor, sql
from psycopg.conninfo import make_conninfo

from components.pgbouncer.ini import ClientTls, PgBouncerIni, ServerTls, auth_file
from components.secrets.scram import scram_verifier
from components.server import Server
from components.services.env import ServiceEnvArgs, service_env
from ops.dev import packages, ports
from ops.dev.env import NO_STORE
from ops.dev.files import write_private
from ops.dev.postgresql import SUPERUSER
from settings import ADMIN, DATABASE, STATS_USER
from tests.configs import WITH_CLIENT_TLS
from tests.integration import tls
from tests.integration.built import built_platform
from tests.integration.conftest import Platform
from tests.integration.pooler import Pooler, declared_ini, running_pooler

HOST = "localhost"
"""The database server's name, in its certificate and in the ini; it is 127.0.0.1."""
ROLES = ("cineos_user", "createos_user", "django_user", "payload_user", "photographyos_user")
UNGRANTED = "ungranted_user"
"""A role that the server and the auth file know, and that has no grant: what PUBLIC may, and no more."""
CHOSEN_PASSWORDS = {STATS_USER: "of-the-exporter", UNGRANTED: "of-nobody"}
START_SECONDS = 10

# By version that brought it, the keys of the prod ini that an older PgBouncer is not given.
NEWER: Mapping[tuple[int, int], set[tuple[str, ...]]] = {
    (1, 21): {("pgbouncer", "max_prepared_statements")},
    (1, 23): {("users", role, "pool_size") for role in ROLES},
    (1, 24): {("users", role, "reserve_pool_size") for role in ROLES} | {("pgbouncer", "client_idle_timeout")},
}
LOCAL: set[tuple[str, ...]] = {
    ("databases", DATABASE, "host"),
    ("databases", DATABASE, "port"),
    ("pgbouncer", "listen_addr"),
    ("pgbouncer", "listen_port"),
    ("pgbouncer", "auth_file"),
    ("pgbouncer", "server_tls_ca_file"),
}
LOCAL_CLIENT_TLS = {("pgbouncer", "client_tls_cert_file"), ("pgbouncer", "client_tls_key_file")}

Keys = dict[tuple[str, ...], str]


@cache
def prod_ini(*, client_tls: bool = False) -> PgBouncerIni:
    """What the prod stack renders into its ConfigMap."""
    return declared_ini("prod", pgbouncer=WITH_CLIENT_TLS if client_tls else {})


def parsed(text: str) -> Keys:
    """Every setting by section and key; those of a database or user one by one."""
    reader = ConfigParser(interpolation=None, comment_prefixes=(";",), delimiters=("=",))
    reader.read_string(text)
    found: Keys = {("pgbouncer", key): value for key, value in reader["pgbouncer"].items()}
    for section in ("databases", "users"):
        for name, values in reader[section].items():
            found |= {(section, name, key): value for key, value in re.findall(r"(\w+)=('[^']*'|\S+)", values)}
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A database with every product's schema and role, and what PgBouncer needs to stand before it."""

    platform: Platform
    binaries: packages.Binaries
    folder: Path
    """Of who runs the servers."""
    authority: tls.Authority
    leaf: tls.Leaf
    """The database's certificate, signed by the authority for `HOST`."""
    own_authority: tls.Authority
    own_leaf: tls.Leaf
    """PgBouncer's certificate, signed by another authority."""
    passwords: Mapping[str, str]

    def localized(self, ini: PgBouncerIni, **changes: Any) -> PgBouncerIni:
        """The same for this machine: addresses, paths and PgBouncer's version."""
        local: dict[str, Any] = {
            "version": min(self.binaries.pgbouncer_version, ini.version),
            "server_host": HOST,
            "server_port": self.platform.running.database_port,
            "listen_address": HOST,
            "listen_port": ports.free_port(),
            "auth_file_path": str(self.folder / "userlist.txt"),
            "server_tls": ini.server_tls and replace(ini.server_tls, ca_path=str(self.authority.certificate)),
            "client_tls": ini.client_tls
            and ClientTls(certificate_path=str(self.own_leaf.certificate), key_path=str(self.own_leaf.key)),
        }
        return replace(ini, **(local | changes))

    def pooler(self, ini: PgBouncerIni) -> AbstractContextManager[Pooler]:
        return running_pooler(ini, self.binaries.pgbouncer, self.folder, self.passwords)

    def log_of_refused_clients(self, ini: PgBouncerIni) -> str:
        """What PgBouncer says when it can serve nobody; each client hears an error."""
        # In prod a client waits for 30 s before it hears so.
        with patch("components.pgbouncer.ini.QUERY_WAIT_TIMEOUT_SECONDS", 1), self.pooler(ini) as pooler:
            for role in ROLES:
                assert "FATAL" in pooler.refusal(role)
            return pooler.log

    @contextmanager
    def shown(self, leaf: tls.Leaf | None) -> Iterator[None]:
        """The database shows another certificate, or none, for a while."""
        tls.serve_tls(self.platform.running, leaf)
        try:
            yield
        finally:
            tls.serve_tls(self.platform.running, self.leaf)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    binaries = packages.find()
    with built_platform() as platform:
        assert binaries is not None
        assert platform.running.socket_directory is not None
        owner = tls.owner_of(platform.running)
        folder = platform.running.socket_directory / "prod-pooler"
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)
        authority = tls.authority(folder / "ca")
        leaf = authority.issue(HOST, folder, owner=owner)
        own_authority = tls.authority(folder / "own-ca")
        own_leaf = own_authority.issue(HOST, folder / "own-ca", owner=owner)
        tls.serve_tls(platform.running, leaf)
        verifiers = {role: scram_verifier(password, os.urandom(16)) for role, password in CHOSEN_PASSWORDS.items()}
        with closing(platform.superuser()) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(UNGRANTED), sql.Literal(verifiers[UNGRANTED])
                )
            )
            _require_tls(connection)
        verifiers |= {role: platform.state.scram_verifiers[role].get_secret_value() for role in ROLES}
        users = folder / "userlist.txt"
        write_private(users, auth_file(verifiers))
        os.chown(users, owner.st_uid, owner.st_gid)
        passwords = {role: secret.get_secret_value() for role, secret in platform.state.passwords.items()}
        yield Site(
            platform=platform,
            binaries=binaries,
            folder=folder,
            authority=authority,
            leaf=leaf,
            own_authority=own_authority,
            own_leaf=own_leaf,
            passwords=passwords | CHOSEN_PASSWORDS,
        )


def _require_tls(superuser: psycopg.Connection) -> None:
    """Over the network by TLS alone, as rds.force_ssl=1 has it."""
    row = superuser.execute("SHOW hba_file").fetchone()
    assert row is not None
    path = Path(row[0])
    before = path.read_text()
    after = re.sub(r"^host ", "hostssl ", before, flags=re.MULTILINE)
    assert after != before
    path.write_text(after)
    superuser.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def pooler(site: Site) -> Iterator[Pooler]:
    """The prod ini's PgBouncer."""
    with site.pooler(site.localized(prod_ini())) as running:
        yield running


@pytest.fixture(scope="module")
def tls_pooler(site: Site) -> Iterator[Pooler]:
    """The same, for a stack whose config asks for TLS of clients too."""
    with site.pooler(site.localized(prod_ini(client_tls=True))) as running:
        yield running


@pytest.mark.parametrize("client_tls", [False, True], ids=["plaintext clients", "TLS clients"])
def test_nothing_but_addresses_paths_and_newer_keys_differs(site: Site, *, client_tls: bool) -> None:
    ini = prod_ini(client_tls=client_tls)
    prod, local = parsed(ini.render()), parsed(site.localized(ini).render())
    assert prod.keys() - local.keys() == {
        key for version, keys in NEWER.items() if version > site.binaries.pgbouncer_version for key in keys
    }
    assert local.keys() - prod.keys() == set()
    assert {key for key in local if local[key] != prod[key]} == (LOCAL | LOCAL_CLIENT_TLS if client_tls else LOCAL)
    assert {key[1] for key in prod if key[0] == "users"} == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_product_is_served_over_tls(pooler: Pooler, role: str) -> None:
    schema = role.removesuffix("_user")
    with closing(pooler.connect(role)) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TABLE {schema}.attempt (id integer)".encode())
        seen = connection.execute(
            "SELECT current_user, current_database(), current_setting('search_path'), ssl, version"
            " FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert seen is not None
    assert seen[:4] == (role, DATABASE, f"{schema}, public", True)
    assert seen[4] in ("TLSv1.2", "TLSv1.3")


def test_all_products_at_once(pooler: Pooler) -> None:
    with ExitStack() as stack:
        connections = {role: stack.enter_context(closing(pooler.connect(role))) for role in ROLES}
        for role, connection in connections.items():
            stack.enter_context(connection.transaction())
            assert connection.execute("SELECT current_user").fetchone() == (role,)


def test_the_database_takes_no_plaintext(site: Site) -> None:
    """Without it the test above would prove less."""
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        site.platform.connect("payload_user", sslmode="disable")


def test_who_knows_no_password_is_refused(pooler: Pooler) -> None:
    assert "authentication failed" in pooler.refusal("payload_user", password="wrong")
    # A product's own password opens no other product.
    assert "authentication failed" in pooler.refusal("payload_user", password=pooler.passwords["django_user"])


@pytest.mark.parametrize("role", ["nobody", ADMIN, SUPERUSER])
def test_who_is_not_in_the_auth_file_is_refused(pooler: Pooler, role: str) -> None:
    assert "authentication failed" in pooler.refusal(role)


def test_public_alone_may_not_connect(pooler: Pooler) -> None:
    assert "permission denied for database" in pooler.refusal(UNGRANTED)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_no_other_database_is_served(pooler: Pooler, database: str) -> None:
    assert "no such database" in pooler.refusal("payload_user", dbname=database)


def test_startup_options_are_refused(pooler: Pooler) -> None:
    assert "unsupported startup parameter" in pooler.refusal("django_user", options="-c search_path=payload")


def test_the_exporter_may_look_and_do_nothing(pooler: Pooler) -> None:
    # The console speaks the simple protocol alone.
    with closing(pooler.connect(STATS_USER, dbname="pgbouncer")) as console:
        pools = ClientCursor(console).execute("SHOW POOLS").fetchall()
        assert DATABASE in {pool[0] for pool in pools}
        with pytest.raises(psycopg.Error, match="admin access needed"):
            ClientCursor(console).execute("RELOAD")
    assert "not allowed" in pooler.refusal("payload_user", dbname="pgbouncer")


def test_another_ca_is_not_trusted(site: Site) -> None:
    other = tls.authority(site.folder / "other-ca")
    ini = site.localized(prod_ini(), server_tls=ServerTls(ca_path=str(other.certificate)))
    assert "certificate verify failed" in site.log_of_refused_clients(ini)


def test_a_certificate_for_another_host_is_not_trusted(site: Site) -> None:
    elsewhere = site.authority.issue("elsewhere.test", site.folder, owner=tls.owner_of(site.platform.running))
    with site.shown(elsewhere):
        log = site.log_of_refused_clients(site.localized(prod_ini()))
    assert f"name `{HOST}' not present in server certificate" in log


def test_a_database_without_tls_is_not_used(site: Site) -> None:
    with site.shown(None):
        log = site.log_of_refused_clients(site.localized(prod_ini()))
    assert "server refused SSL" in log


def test_a_pooler_without_tls_is_not_let_in(site: Site) -> None:
    """The dev stack's way, which only a server on the same machine takes."""
    assert "no encryption" in site.log_of_refused_clients(site.localized(prod_ini(), server_tls=None))


def test_clients_are_served_over_verified_tls(site: Site, tls_pooler: Pooler) -> None:
    verified = {"host": HOST, "sslmode": "verify-full", "sslrootcert": str(site.own_authority.certificate)}
    for role in ROLES:
        with closing(tls_pooler.connect(role, **verified)) as connection:
            assert connection.pgconn.ssl_in_use
            assert connection.execute("SELECT current_user").fetchone() == (role,)


def test_a_service_verifies_both_servers_with_one_file(site: Site, tls_pooler: Pooler) -> None:
    """Django's own URLs, as its Secret holds them; the file is the ConfigMap's beside it."""
    bundle = site.folder / "ca.pem"
    bundle.write_text("\n".join(ca.certificate.read_text() for ca in (site.authority, site.own_authority)))
    django = site.platform.settings.products["django"]
    entries = service_env(
        ServiceEnvArgs(
            product=django,
            database=DATABASE,
            pooled=Server(host=HOST, port=tls_pooler.port),
            direct=Server(host=HOST, port=site.platform.running.database_port),
            password=site.passwords[django.login_role],
            application_secret="unused",
            store=NO_STORE,
            direct_ca_path=str(bundle),
            pooled_ca_path=str(bundle),
            payload_api_url="http://payload:3000/api",
        )
    )
    env = {entry.name: str(entry.value) for entry in entries}
    keywords = {key: env[f"DATABASE_{key.upper()}"] for key in ("host", "port", "user", "password", "sslmode")}
    keywords |= {"dbname": env["DATABASE_NAME"], "sslrootcert": env["DATABASE_SSLROOTCERT"]}
    for conninfo in (env["DATABASE_URL"], env["DATABASE_URL_DIRECT"], make_conninfo(**keywords)):
        with psycopg.connect(conninfo, connect_timeout=20, prepare_threshold=None) as connection:
            assert connection.pgconn.ssl_in_use
            assert connection.execute("SELECT current_user").fetchone() == (django.login_role,)
        bundle_alone = conninfo.replace(str(bundle), str(site.folder / "neither.pem"))
        with pytest.raises(psycopg.OperationalError, match=r"neither\.pem"):
            psycopg.connect(bundle_alone, connect_timeout=20).close()


def test_plaintext_clients_are_refused(tls_pooler: Pooler) -> None:
    assert "SSL required" in tls_pooler.refusal("payload_user", sslmode="disable")

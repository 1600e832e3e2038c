"""A developer's own cluster: its pods reach the local PostgreSQL on an address besides loopback, and little of it."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest

from components.pgbouncer.ini import auth_file
from ops.dev import packages, ports, servers
from ops.dev import state as local_state
from ops.dev.files import write_private
from ops.dev.model import ServersError
from ops.dev.postgresql import SUPERUSER
from settings import ADMIN, DATABASE, HOST, STATS_USER
from tests.configs import ON_KIND
from tests.integration import tls
from tests.integration.built import built_platform
from tests.integration.conftest import Platform
from tests.integration.pooler import declared_ini, running_pooler

ADDRESS = "127.0.0.2"
"""Stands for this machine's address in the cluster's network; all of 127.0.0.0/8 is Linux's own."""
SECTIONS = ON_KIND | {"kubernetes": ON_KIND["kubernetes"] | {"databaseHost": ADDRESS, "databaseCidrs": ["127.0.0.0/8"]}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The database with a cluster switched on."""

    platform: Platform
    seen_by_pods: int
    """Port on which a connection reaches PostgreSQL as one from a pod would: from another address than loopback's."""

    def connect(self, role: str, database: str = DATABASE) -> psycopg.Connection:
        return self.platform.connect(role, database=database, port=self.seen_by_pods)


@contextmanager
def pods_network(port: int) -> Iterator[int]:
    """Forwards connections to `ADDRESS`, from `ADDRESS`."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((ADDRESS, port), 5, source_address=(ADDRESS, 0))
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for ends in ((client, server), (server, client)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), 5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    try:
        socket.create_server((ADDRESS, 0)).close()
    except OSError:
        pytest.skip(f"{ADDRESS} is no address of this machine")
    with built_platform({f"lightwave:{name}": value for name, value in SECTIONS.items()}) as platform:
        port = platform.running.database_port
        assert not listens(ADDRESS, port)
        switched_on = servers.start(platform.settings, platform.directory, kind="native")
        assert "PostgreSQL stopped: its configuration changed" in switched_on.actions
        with pods_network(port) as seen_by_pods:
            yield Cluster(platform=replace(platform, running=switched_on), seen_by_pods=seen_by_pods)


def test_products_come_in_from_the_cluster(cluster: Cluster) -> None:
    for product in cluster.platform.settings.products.values():
        with closing(cluster.connect(product.login_role)) as connection:
            seen = connection.execute("SELECT host(inet_client_addr()), host(inet_server_addr()), current_user")
            assert seen.fetchone() == (ADDRESS, ADDRESS, product.login_role)


@pytest.mark.parametrize(("role", "database"), [(ADMIN, DATABASE), (SUPERUSER, DATABASE), ("payload_user", "postgres")])
def test_nobody_else_does(cluster: Cluster, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
        cluster.connect(role, database).close()


def test_this_machine_comes_in_as_before(cluster: Cluster) -> None:
    cluster.platform.connect(ADMIN).close()
    cluster.platform.connect("payload_user", pooled=True).close()


def test_a_second_start_changes_nothing(cluster: Cluster) -> None:
    again = servers.start(cluster.platform.settings, cluster.platform.directory, kind="native")
    assert again.actions == ()


def test_the_clusters_pooler_serves_every_product(cluster: Cluster) -> None:
    """The ini that dev renders into its ConfigMap; only where it listens and reads the auth file is this machine's."""
    platform, binaries = cluster.platform, packages.find()
    assert binaries is not None
    assert platform.running.socket_directory is not None
    folder = platform.running.socket_directory / "cluster-pooler"
    folder.mkdir(mode=0o700)
    owner = tls.owner_of(platform.running)
    os.chown(folder, owner.st_uid, owner.st_gid)
    users = folder / "userlist.txt"
    verifiers = {role: verifier.get_secret_value() for role, verifier in platform.state.scram_verifiers.items()}
    write_private(users, auth_file(verifiers))
    os.chown(users, owner.st_uid, owner.st_gid)

    declared = declared_ini("dev", **SECTIONS)
    assert (declared.server_host, declared.server_tls, declared.stats_user) == (ADDRESS, None, True)
    ini = replace(
        declared,
        version=min(binaries.pgbouncer_version, declared.version),
        server_port=platform.running.database_port,  # 5432 in the offline plan
        listen_address=HOST,
        listen_port=ports.free_port(),
        auth_file_path=str(users),
    )
    passwords = {role: password.get_secret_value() for role, password in platform.state.passwords.items()}
    with running_pooler(ini, binaries.pgbouncer, folder, passwords) as pooler:
        for product in platform.settings.products.values():
            with closing(pooler.connect(product.login_role)) as connection:
                seen = connection.execute("SELECT current_user, host(inet_server_addr())").fetchone()
                assert seen == (product.login_role, ADDRESS)
        with closing(pooler.connect(STATS_USER, dbname="pgbouncer")) as console:
            assert psycopg.ClientCursor(console).execute("SHOW POOLS").fetchall()
        assert "authentication failed" in pooler.refusal("payload_user", password="wrong")


def test_switched_off_again_it_listens_on_loopback_alone(cluster: Cluster) -> None:
    """Last: the fixture's database is the others' too."""
    off = local_state.prepare("dev", cluster.platform.directory)
    stopped = servers.start(off, cluster.platform.directory, kind="native")
    assert "PostgreSQL stopped: its configuration changed" in stopped.actions
    assert not listens(ADDRESS, stopped.database_port)
    assert listens(HOST, stopped.database_port)


def test_an_address_of_another_machine_is_refused(cluster: Cluster) -> None:
    kubernetes = cluster.platform.settings.kubernetes
    assert kubernetes is not None
    # TEST-NET-1 of RFC 5737: nobody's.
    elsewhere = kubernetes.model_copy(update={"database_host": "192.0.2.1"})
    dev = cluster.platform.settings.model_copy(update={"kubernetes": elsewhere})
    with pytest.raises(ServersError, match=r"cannot listen on kubernetes\.databaseHost 192\.0\.2\.1"):
        servers.start(dev, cluster.platform.directory, kind="native")

"""Renders pgbouncer.ini and its auth file: for production's ConfigMap, the plan and local stacks.

Which PgBouncer version knows which key is from its NEWS.md.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from settings import DATABASE, HOST, STATS_USER, TEST_DATABASE, Product, Settings

OLDEST_VERSION = (1, 18)
"""What Debian 12 ships, and the oldest that was tried."""

CONTAINER_VERSION = (1, 25)
"""Of the image in local/compose.yaml."""

CLIENT_IDLE_TIMEOUT_SECONDS = 300
"""A client that is idle for longer is disconnected, so that a drain ends. Clients close idle connections sooner
themselves: node-postgres after 10 s, Django after CONN_MAX_AGE."""

QUERY_WAIT_TIMEOUT_SECONDS = 30
"""A query that waits longer for a server connection fails: before load balancers give up after 60 s."""

MAX_PREPARED_STATEMENTS = 200
"""Per server connection: PgBouncer's own default since 1.24."""

_OWN_DESCRIPTORS = 128
"""For listening sockets, log, event loop, DNS and the admin console, with room to spare: PgBouncer 1.26 itself expects
66 with the usual product table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerTls:
    """TLS from PgBouncer to PostgreSQL."""

    ca_path: str
    """PEM file with the CA certificates that verify the server."""
    mode: Literal["verify-full", "verify-ca"] = "verify-full"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientTls:
    """TLS from clients to PgBouncer, which then refuses plaintext clients."""

    certificate_path: str
    key_path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PgBouncerIni:
    """The configuration of one instance. Raises ValueError for values that PgBouncer would misread or not know."""

    version: tuple[int, int]
    """Major and minor version of the PgBouncer that reads the file: keys that it does not know are left out."""
    server_host: str
    server_port: int = 5432
    listen_address: str
    listen_port: int = 6432
    products: Sequence[Product]
    max_client_connections: int
    auth_file_path: str
    server_tls: ServerTls | None
    """None: no TLS, for a local server."""
    client_tls: ClientTls | None = None
    tested_product: Product | None = None
    """The product whose tests use `TEST_DATABASE`, on a local stack."""
    stats_user: bool = False
    """Whether `STATS_USER` may log in to the admin console; the auth file must then have its verifier."""
    log_path: str | None = None
    """None: stderr, as in a container."""
    pid_path: str | None = None

    def __post_init__(self) -> None:
        if self.version < OLDEST_VERSION:
            raise ValueError(
                f"PgBouncer {_dotted(self.version)} is too old; expected: {_dotted(OLDEST_VERSION)} or newer"
            )
        if not self.products:
            raise ValueError("no product: PgBouncer would have no users")
        texts = (self.server_host, self.listen_address, self.auth_file_path, self.log_path or "", self.pid_path or "")
        if any(re.search(r"[\n\r]", text) for text in texts):
            raise ValueError("a line break in a host or path would start a new setting")

    @classmethod
    def for_local(
        cls,
        settings: Settings,
        *,
        auth_file_path: str,
        version: tuple[int, int] = CONTAINER_VERSION,
        in_container: bool = False,
        log_path: str | None = None,
        pid_path: str | None = None,
    ) -> Self:
        """The configuration of a local stack's PgBouncer: on the loopback address and the ports of its state file, or
        on the usual ports `in_container`, whose port is published on the loopback address alone.

        Raises ValueError for a stack without a local state file.
        """
        if settings.local is None:
            raise ValueError(f"stack {settings.stack} has no local PgBouncer")
        return cls(
            version=version,
            server_host="postgres" if in_container else HOST,
            server_port=5432 if in_container else settings.local.database_port,
            listen_address="0.0.0.0" if in_container else HOST,  # noqa: S104
            listen_port=6432 if in_container else settings.local.pgbouncer_port,
            products=tuple(settings.products.values()),
            tested_product=settings.tested_product,
            max_client_connections=settings.pgbouncer.max_client_connections,
            auth_file_path=auth_file_path,
            server_tls=None,
            log_path=log_path,
            pid_path=pid_path,
        )

    @property
    def server_connections(self) -> int:
        """The most server connections of this instance: every pool and its reserve full."""
        return sum(p.pool.size + p.pool.reserve for p in self.products)

    @property
    def file_descriptors(self) -> int:
        """The file-descriptor limit that the process needs. Below it, new clients hang without an error."""
        # PgBouncer counts every user's pool once per database, whatever the users' own limits are.
        databases = 2 if self.tested_product else 1
        return self.max_client_connections + databases * self.server_connections + _OWN_DESCRIPTORS

    def render(self) -> str:
        """The text of the file: the same for the same input."""
        server = f"host={_quoted(self.server_host)} port={self.server_port}"
        sections = (
            ";; Generated: edits are overwritten.",
            "[databases]",
            ";; No user=: it would send every product to the server as one role. Each client's own role logs in there,",
            ";; with the verifier that the auth file and the server share.",
            f"{DATABASE} = {server} dbname={DATABASE} max_db_connections={self.server_connections}",
            *self._test_database(server),
            "",
            "[users]",
            ";; The products share the database, so each one's share of server connections is its user's.",
            *(f"{product.login_role} = {self._user(product)}" for product in self.products),
            "",
            "[pgbouncer]",
            *self._listener(),
            *self._authentication(),
            *self._tls(),
            *self._pooling(),
            *self._logging(),
        )
        return "\n".join(sections) + "\n"

    def _test_database(self, server: str) -> list[str]:
        if self.tested_product is None:
            return []
        pool = self.tested_product.pool
        return [f"{TEST_DATABASE} = {server} dbname={TEST_DATABASE} max_db_connections={pool.size + pool.reserve}"]

    def _user(self, product: Product) -> str:
        pool = product.pool
        parts = [f"max_user_connections={pool.size + pool.reserve}"]
        if self.version >= (1, 23):
            parts.insert(0, f"pool_size={pool.size}")
        if self.version >= (1, 24):
            parts.insert(1, f"reserve_pool_size={pool.reserve}")
        return " ".join(parts)

    def _listener(self) -> list[str]:
        return [
            f"listen_addr = {self.listen_address}",
            f"listen_port = {self.listen_port}",
            ";; No Unix socket: one way in.",
            "unix_socket_dir =",
            f"max_client_conn = {self.max_client_connections}",
            "",
        ]

    def _authentication(self) -> list[str]:
        return [
            "auth_type = scram-sha-256",
            f"auth_file = {self.auth_file_path}",
            ";; Nobody administers through the console: configuration comes from here alone.",
            "admin_users =",
            f"stats_users = {STATS_USER if self.stats_user else ''}".rstrip(),
            ";; extra_float_digits: sent by JDBC and the metrics exporter, of no effect. Nothing else is ignored,",
            ";; least of all `options`: a client that sets search_path there must hear that it does not hold.",
            "ignore_startup_parameters = extra_float_digits",
            "",
        ]

    def _tls(self) -> list[str]:
        if self.server_tls is None:
            lines = [";; The server is a developer's own and speaks no TLS.", "server_tls_sslmode = disable"]
        else:
            lines = [
                f"server_tls_sslmode = {self.server_tls.mode}",
                f"server_tls_ca_file = {self.server_tls.ca_path}",
                "server_tls_protocols = secure",
            ]
        if self.client_tls is None:
            return [*lines, "client_tls_sslmode = disable", ""]
        return [
            *lines,
            "client_tls_sslmode = require",
            f"client_tls_cert_file = {self.client_tls.certificate_path}",
            f"client_tls_key_file = {self.client_tls.key_path}",
            "client_tls_protocols = secure",
            "",
        ]

    def _pooling(self) -> list[str]:
        largest = max(p.pool.size for p in self.products)
        reserve = max(p.pool.reserve for p in self.products)
        lines = ["pool_mode = transaction"]
        if self.version < (1, 24):
            lines += [
                ";; This version has no pool sizes of its own for every user: the largest of them for all, and",
                ";; max_user_connections above holds each product to its share.",
            ]
        lines += [
            f"default_pool_size = {largest}",
            f"reserve_pool_size = {reserve}",
            f"query_wait_timeout = {QUERY_WAIT_TIMEOUT_SECONDS}",
            ";; A refused login at the server (a wrong verifier, a full server) blocks its pool for this long.",
            "server_login_retry = 3",
            ";; A server that vanished without a word, as in a failover, is noticed within a minute.",
            "tcp_keepidle = 30",
            "tcp_keepintvl = 10",
            "tcp_keepcnt = 3",
        ]
        if self.version >= (1, 21):
            lines.append(f"max_prepared_statements = {MAX_PREPARED_STATEMENTS}")
        if self.version >= (1, 24):
            lines += [
                ";; Without it one idle client would hold up a drain for ever.",
                f"client_idle_timeout = {CLIENT_IDLE_TIMEOUT_SECONDS}",
            ]
        return lines

    def _logging(self) -> list[str]:
        lines = []
        if self.log_path:
            lines.append(f"logfile = {self.log_path}")
        if self.pid_path:
            lines.append(f"pidfile = {self.pid_path}")
        return ["", *lines] if lines else []


def auth_file(verifiers: Mapping[str, str]) -> str:
    """The text of the auth file (userlist.txt), from verifiers by role. PgBouncer refuses roles that are not in it.

    Raises ValueError for anything but a SCRAM verifier: a plain password would work, but be readable in the file.
    """
    wrong = sorted(role for role, verifier in verifiers.items() if not verifier.startswith("SCRAM-SHA-256$"))
    if wrong:
        raise ValueError(f"no SCRAM verifier for {', '.join(wrong)}")
    if any('"' in text or "\n" in text for item in verifiers.items() for text in item):
        raise ValueError("a quote or line break in a role or verifier")
    return "".join(f'"{role}" "{verifier}"\n' for role, verifier in sorted(verifiers.items()))


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.:-]+", value) else "'" + value.replace("'", "''") + "'"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))

"""What a Valkey server reads: valkey.conf and users.acl. Imports no SDK: a local stack's server reads them too."""

import hashlib

from settings import VALKEY_METRICS_USER

DATA_PATH = "/data"

AUTH_PATH = "/etc/valkey-auth"
"""Folder of `ACL_FILE`."""

ACL_FILE = "users.acl"

CELERY_QUEUE = "celery"
"""Key of the list in which Celery's default queue is kept."""

_CLIENT_COMMANDS = (
    # Celery and the cache use many commands: allow all, new ones too, and take away what no client needs.
    "+@all",
    # Administration: CONFIG, ACL, SHUTDOWN, SAVE, REPLICAOF, DEBUG, and MONITOR, which shows every client's writes.
    "-@admin",
    # What blocks or empties the server for every client: KEYS, FLUSHALL, SWAPDB, MIGRATE.
    "-@dangerous",
    # Two of the dangerous ones are needed: INFO gives clients the server's version, and Django's cache.clear() sends
    # FLUSHDB.
    "+info",
    "+flushdb",
)

_METRICS_COMMANDS = (
    "-@all",
    # For the probes.
    "+ping",
    # Everything that the exporter sends: a denied command would fill the ACL log at every scrape. SLOWLOG GET shows it
    # the arguments of slow commands, truncated.
    "+client|setname",
    "+command|info",
    "+config|get",
    "+info",
    "+latency|histogram",
    "+latency|latest",
    "+slowlog|get",
    "+slowlog|len",
    # The length of Celery's queue: of no other key, and nothing of what is in it.
    f"%R~{CELERY_QUEUE}",
    "+llen",
    "+memory|usage",
    "+select",
    "+type",
)


def valkey_conf(
    *,
    max_memory_mib: int,
    port: int,
    bind: str = "0.0.0.0",  # noqa: S104 (its pod's address; network policies decide who reaches it)
    directory: str = DATA_PATH,
    acl_path: str = f"{AUTH_PATH}/{ACL_FILE}",
) -> str:
    """valkey.conf, with directives that Redis 7.0 also knows. `max_memory_mib` is memory for data only, in MiB."""
    return f"""\
bind {bind}
port {port}
aclfile {acl_path}
dir {directory}
# Queues must outlive a restart: a crash loses a second of them at most. No snapshots besides.
appendonly yes
appendfsync everysec
save ""
# Queues have no time to live and are never evicted; the cache and results have one.
maxmemory {max_memory_mib}mb
maxmemory-policy volatile-lru
# A client whose node is gone is noticed after a minute.
tcp-keepalive 60
"""


def users_acl(*, user: str, password: str, metrics_password: str) -> str:
    """users.acl: the users of the services and of the exporter, with SHA-256 hashes of their passwords; no one else."""
    return f"""\
user default off
user {user} on #{_sha256(password)} ~* &* {" ".join(_CLIENT_COMMANDS)}
user {VALKEY_METRICS_USER} on #{_sha256(metrics_password)} {" ".join(_METRICS_COMMANDS)}
"""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Valkey and the S3 store beside a local stack's database: what is generated for them, and how services reach them."""

import json
from collections.abc import Callable, Mapping

from components.kubernetes.valkey_files import users_acl, valkey_conf
from components.services.env import ObjectStore, valkey_user
from ops.dev import ports
from ops.dev.files import write_private
from ops.dev.model import Extras, LocalStack
from ops.dev.state import password
from settings import BUCKET, HOST, VALKEY_METRICS_PASSWORD, VALKEY_PASSWORD, Settings, ValkeySettings

FILE = "extras.json"
"""In a stack's folder: the generated ports and keys."""


def valkey_port(stack: LocalStack, *, has_data: bool) -> int:
    """Where the stack's Valkey listens; reserved on the first call.

    Without data it was never started: a port that another process took since is chosen again.
    """
    kept = _kept(stack, {"valkeyPort": lambda taken: ports.reserve(stack.directory, 6379, taken)}, again=not has_data)
    return int(kept["valkeyPort"])


def s3_environment(stack: LocalStack, *, has_data: bool) -> dict[str, str]:
    """What local/s3.sh takes in both kinds of servers, and PORT, where the store listens; made on the first call.

    The port is chosen again as in `valkey_port`.
    """
    kept = _kept(
        stack,
        {
            "s3Port": lambda taken: ports.reserve(stack.directory, 9000, taken),
            "s3AccessKeyId": lambda _: password(),
            "s3SecretAccessKey": lambda _: password(),
        },
        again=not has_data,
    )
    return {
        "BUCKET": BUCKET,
        "PORT": str(kept["s3Port"]),
        "ROOT_ACCESS_KEY": str(kept["s3AccessKeyId"]),
        "ROOT_SECRET_KEY": str(kept["s3SecretAccessKey"]),
        # R2's, which clients sign for.
        "VGW_REGION": "auto",
    }


def of(stack: LocalStack) -> Extras:
    """How services reach what was started from the stack's folder; None for what was not."""
    kept, secret = _read(stack), stack.state.secrets[VALKEY_PASSWORD].get_secret_value()
    redis_url = store = None
    if "valkeyPort" in kept and uses_valkey(stack.settings):
        user = valkey_user(stack.settings.products.values())
        redis_url = f"redis://{user}:{secret}@{HOST}:{kept['valkeyPort']}/0"
    if "s3Port" in kept:
        store = ObjectStore(
            endpoint=f"http://{HOST}:{kept['s3Port']}",
            account_id="local",
            access_key_id=str(kept["s3AccessKeyId"]),
            secret_access_key=str(kept["s3SecretAccessKey"]),
            bucket=BUCKET,
        )
    return Extras(store=store, redis_url=redis_url)


def _read(stack: LocalStack) -> dict[str, str | int]:
    path = stack.directory / FILE
    kept: dict[str, str | int] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def _kept(
    stack: LocalStack, wanted: Mapping[str, Callable[[list[int]], str | int]], *, again: bool
) -> dict[str, str | int]:
    """The file's values, completed by what is missing; a generator gets the ports that are taken already.

    `again`: ports that are not free are chosen again.
    """
    kept = before = _read(stack)
    for name, make in wanted.items():
        value = kept.get(name)
        if value is None or (again and isinstance(value, int) and not ports.port_is_free(value)):
            taken = [stack.state.database_port, stack.state.pgbouncer_port]
            kept = {**kept, name: make([*taken, *(value for value in kept.values() if isinstance(value, int))])}
    if kept != before:
        write_private(stack.directory / FILE, json.dumps(kept, indent=2) + "\n")
    return kept


def uses_valkey(settings: Settings) -> bool:
    """Whether a service of the stack uses Valkey."""
    return any(product.framework == "django" for product in settings.products.values())


def valkey_files(stack: LocalStack, *, bind: str, port: int, directory: str, acl_path: str) -> tuple[str, str]:
    """valkey.conf and users.acl, as production has them: the same access rules hold."""
    memory = (stack.settings.valkey or ValkeySettings()).max_memory_mib
    conf = valkey_conf(max_memory_mib=memory, bind=bind, port=port, directory=directory, acl_path=acl_path)
    acl = users_acl(
        user=valkey_user(stack.settings.products.values()),
        password=stack.state.secrets[VALKEY_PASSWORD].get_secret_value(),
        metrics_password=stack.state.secrets[VALKEY_METRICS_PASSWORD].get_secret_value(),
    )
    return conf, acl

"""Records what the program declares, without the Pulumi CLI and without credentials.

The one recorder, over the SDK's own mock monitor, for `make plan`, the unit tests, the golden plans and the policies.
"""

import asyncio
import json
import logging
import runpy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_in_stack

import settings
from policies import tokens
from policies.rules.model import UNKNOWN, Resource, Secret
from settings import Settings

_SIGNATURE = rpc._special_sig_key
_SECRET_SIGNATURE = rpc._special_secret_sig


MASK = "[secret]"


def masked(value: Any) -> Any:
    """A recorded value as JSON with every secret replaced by `MASK`."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # every number on the wire is a float
    return str(value) if value is UNKNOWN else value


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedResource(Resource):
    """One registered resource with its options, as the Pulumi CLI would receive it."""

    custom: bool
    parent: str
    """URN of the parent; empty for the stack's own children."""
    depends_on: tuple[str, ...]
    """URNs, sorted: explicit dependencies and those that follow from inputs."""
    provider: str
    """URN of the explicit provider; empty for the default one."""
    delete_before_replace: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    additional_secret_outputs: tuple[str, ...]
    aliases: tuple[str, ...]
    import_id: str
    deleted_with: str
    custom_timeouts: Mapping[str, str] = field(default_factory=dict)
    """By operation; empty for the provider's defaults."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything one run of the program declared."""

    stack: str
    resources: tuple[RecordedResource, ...]
    """Sorted by URN: registration order differs from run to run."""
    component_outputs: Mapping[str, Mapping[str, Any]]
    """By URN of the component."""
    outputs: Mapping[str, Any]
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    """Provider functions that were called: token and arguments, sorted by token."""
    warnings: tuple[str, ...]

    def of_type(self, type_: str) -> list[RecordedResource]:
        """The resources of one type token."""
        return [resource for resource in self.resources if resource.type == type_]

    def one(self, type_: str, name: str) -> RecordedResource:
        """The resource of that type and name. Raises KeyError when there is not exactly one."""
        found = [resource for resource in self.of_type(type_) if resource.name == name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} resources {type_} {name}")
        return found[0]

    def children(self, urn: str) -> list[RecordedResource]:
        """The resources whose parent has that URN."""
        return [resource for resource in self.resources if resource.parent == urn]


def secret(value: Any) -> dict[str, Any]:
    """A provider's output that it marks as secret."""
    return {_SIGNATURE: _SECRET_SIGNATURE, "value": value}


KNOWN = settings.KNOWN_AT_DEPLOY

COMPUTED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    tokens.RANDOM_PASSWORD: lambda _: {"result": secret(KNOWN), "bcryptHash": secret(KNOWN)},
    tokens.RANDOM_BYTES: lambda _: {"base64": secret("a25vd24gYXQgZGVwbG95"), "hex": secret(KNOWN)},
    tokens.ACCOUNT_TOKEN: lambda _: {"value": secret(KNOWN)},
    tokens.RDS_INSTANCE: lambda _: {
        "address": KNOWN,
        "endpoint": KNOWN,
        "port": 5432,
        "arn": KNOWN,
        "resourceId": KNOWN,
    },
}
"""The computed outputs that the program reads, by type. Every other output reads as None."""


class _Mocks(mocks.Mocks):
    def __init__(self, facts: Mapping[str, dict[str, Any]]) -> None:
        self._facts = facts
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        computed = COMPUTED[args.typ](args.inputs) if args.typ in COMPUTED else {}
        # Most AWS resources compute an ARN.
        known = {"arn": KNOWN} if args.typ.startswith("aws:") else {}
        return args.resource_id or f"{args.name}-id", {**known, **args.inputs, **computed}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        self.calls.append((args.token, args.args))
        if args.token not in self._facts:
            raise KeyError(f"the recorder has no answer to {args.token}: add it to FACTS")
        return self._facts[args.token], []


FACTS: dict[str, dict[str, Any]] = {
    "cloudflare:index/getAccountApiTokenPermissionGroupsList:getAccountApiTokenPermissionGroupsList": {
        "results": [{"name": "Workers R2 Storage Bucket Item Write", "id": KNOWN}]
    },
    tokens.GET_CLUSTER: {
        "arn": KNOWN,
        "endpoint": KNOWN,
        "certificateAuthorities": [{"data": KNOWN}],
        "vpcConfig": {"vpcId": KNOWN, "subnetIds": [KNOWN], "clusterSecurityGroupId": KNOWN},
    },
    # TEST-NET-1: a placeholder that is a valid network, because the manifests must be valid.
    tokens.GET_SUBNET: {"cidrBlock": "192.0.2.0/24"},
    tokens.GET_SUBNETS: {"ids": [f"{KNOWN} (1)", f"{KNOWN} (2)"]},
}
"""Placeholder answers to the provider functions that the program calls: offline, nothing is asked."""


class _Monitor(mocks.MockMonitor):
    def __init__(self, mocks_: _Mocks) -> None:
        super().__init__(mocks_)
        self.recorded: dict[str, RecordedResource] = {}
        self.registered_outputs: dict[str, Mapping[str, Any]] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the Pulumi CLI makes it: a child's type is qualified by every ancestor's, not only by the parent's."""
        ancestors = parent.split("::")[2] if parent else ""
        if ancestors and ancestors != "pulumi:pulumi:Stack":
            type_ = f"{ancestors}${type_}"
        stack, project = runtime_settings.get_stack(), runtime_settings.get_project()
        return f"urn:pulumi:{stack}::{project}::{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (the SDK's name)
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            if response.urn in self.recorded:
                raise ValueError(f"two resources with the URN {response.urn}")
            provider = self.recorded.get(request.provider.rpartition("::")[0])
            self.recorded[response.urn] = _resource(request, response.urn, provider)
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 (the SDK's name)
        self.registered_outputs[request.urn] = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _resource(request: Any, urn: str, provider: RecordedResource | None) -> RecordedResource:
    parent = "" if "::pulumi:pulumi:Stack::" in request.parent else request.parent
    return RecordedResource(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=parent,
        inputs=_plain(rpc.deserialize_properties(request.object)),
        protect=request.protect,
        provider_inputs=provider.inputs if provider else {},
        depends_on=tuple(sorted(set(request.dependencies))),
        provider=request.provider.rpartition("::")[0],
        delete_before_replace=request.deleteBeforeReplace,
        retain_on_delete=request.retainOnDelete,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        additional_secret_outputs=tuple(sorted(set(request.additionalSecretOutputs))),
        aliases=tuple(sorted(filter(None, [*request.aliasURNs, *(a.urn or a.spec.name for a in request.aliases)]))),
        import_id=request.importId,
        deleted_with=request.deletedWith,
        custom_timeouts={
            operation: value
            for operation in ("create", "update", "delete")
            if (value := getattr(request.customTimeouts, operation))
        },
    )


def _plain(value: Any) -> Any:
    """The SDK's wire form, its secret markers as `Secret` and the offline placeholder as `UNKNOWN`."""
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return Secret(_plain(value["value"]))
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return UNKNOWN if value == KNOWN else value


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def record(
    program: Callable[[], object],
    *,
    stack: str,
    config: Mapping[str, Any] | None = None,
    facts: Mapping[str, dict[str, Any]] | None = None,
) -> Recording:
    """Runs `program` under the mock monitor, in a thread of its own with its event loop and context.

    `config` holds whole values, as in a stack's file; `facts` adds to, or replaces, the answers in `FACTS`. Raises what
    the program raises.
    """

    def run() -> Recording:
        answers = _Mocks({**FACTS, **(facts or {})})
        monitor = _Monitor(answers)
        warnings = _Warnings()
        logger = logging.Logger("pulumi-program")
        logger.addHandler(warnings)

        async def program_once() -> None:
            program()

        loops: list[asyncio.AbstractEventLoop] = []

        def make_loop() -> None:
            loops.append(asyncio.new_event_loop())
            asyncio.set_event_loop(loops[-1])

        async def recorded() -> None:
            # The mock monitor answers in threads that need a loop. One it makes itself is never closed, and says so.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=make_loop))
            # Inside the loop: what these calls register must run on it.
            mocks.set_mocks(
                answers, project=settings.PROJECT, stack=stack, preview=False, logger=logger, monitor=monitor
            )
            runtime_settings.set_root_resource(None)  # type: ignore[arg-type]  # run_in_stack makes its own
            # The SDK keeps these after a run that failed, and would wait for them in a closed loop.
            runtime_settings.SETTINGS.rpc_manager.clear()
            runtime_settings.SETTINGS.outputs.clear()
            set_all_config(
                {key: value if isinstance(value, str) else json.dumps(value) for key, value in (config or {}).items()},
                [],
            )
            await run_in_stack(program_once)

        try:
            with settings.offline():
                asyncio.run(recorded())
        finally:
            for loop in loops:
                loop.close()
        stack_urns = [urn for urn in monitor.registered_outputs if "::pulumi:pulumi:Stack::" in urn]
        outputs = dict(monitor.registered_outputs)
        stack_outputs: dict[str, Any] = {}
        for urn in stack_urns:
            stack_outputs |= outputs.pop(urn)
        return Recording(
            stack=stack,
            resources=tuple(monitor.recorded[urn] for urn in sorted(monitor.recorded)),
            component_outputs=outputs,
            outputs=dict(sorted(stack_outputs.items())),
            calls=tuple(sorted(answers.calls, key=lambda call: (call[0], repr(call[1])))),
            warnings=tuple(sorted(set(warnings.messages))),
        )

    # A thread begins with an empty context, and a short stack: Pulumi walks the whole of it for each resource.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


class StackRecording(NamedTuple):
    """The recording of a whole stack, and the settings that its program ran with."""

    recording: Recording
    settings: Settings


def record_stack(stack: str, *, overrides: Mapping[str, Any] | None = None) -> Recording:
    """Records the whole program with the stack's config; `overrides` replaces keys of it.

    Raises SettingsError when the config is wrong.
    """
    return record_program(stack, overrides=overrides).recording


def record_program(stack: str, *, overrides: Mapping[str, Any] | None = None) -> StackRecording:
    """As `record_stack`, with the settings that the program loaded."""
    loaded: list[Settings] = []

    def program() -> None:
        loaded.append(runpy.run_path(str(settings.ROOT / "__main__.py"), run_name="__recorded__")["settings"])

    config = {**settings.stack_config(stack), **(overrides or {})}
    recording = record(program, stack=stack, config=config)
    return StackRecording(recording, *loaded)

"""Records what the program declares, with no engine and no credentials.

The one recorder, over the SDK's own mock monitor, behind `make plan`, the unit tests, the golden plans and the
policies.
"""

import asyncio
import contextvars
import json
import logging
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_in_stack

import settings

_SIGNATURE = rpc._special_sig_key
_SECRET_SIGNATURE = rpc._special_secret_sig


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the program marked as secret. Its repr does not tell it."""

    value: Any = field(repr=False)


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
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One registered resource, as the engine would have been told."""

    urn: str
    type: str
    name: str
    custom: bool
    parent: str
    """URN of the parent; empty for the stack's own children."""
    inputs: Mapping[str, Any]
    """Secrets are wrapped in `Secret`, at the depth where the program marked them."""
    protect: bool
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
    """By operation, where it has one of its own."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything one run of the program declared."""

    stack: str
    resources: tuple[Resource, ...]
    """Sorted by URN: registration order differs from run to run."""
    component_outputs: Mapping[str, Mapping[str, Any]]
    """By URN of the component."""
    outputs: Mapping[str, Any]
    """The stack's outputs."""
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    """Provider functions that were called: token and arguments, sorted by token."""
    warnings: tuple[str, ...]
    """What the program warned about."""

    def of_type(self, type_: str) -> list[Resource]:
        """The resources of one type token."""
        return [resource for resource in self.resources if resource.type == type_]

    def one(self, type_: str, name: str) -> Resource:
        """The resource of that type and name. Raises KeyError when there is not exactly one."""
        found = [resource for resource in self.of_type(type_) if resource.name == name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} resources {type_} {name}")
        return found[0]

    def children(self, urn: str) -> list[Resource]:
        """The resources whose parent has that URN."""
        return [resource for resource in self.resources if resource.parent == urn]


def secret(value: Any) -> dict[str, Any]:
    """A provider's output that it marks as secret."""
    return {_SIGNATURE: _SECRET_SIGNATURE, "value": value}


KNOWN = settings.KNOWN_AT_DEPLOY

COMPUTED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "random:index/randomPassword:RandomPassword": lambda _: {
        "result": secret(KNOWN),
        "bcryptHash": secret(KNOWN),
    },
    "random:index/randomBytes:RandomBytes": lambda _: {"base64": secret("a25vd24gYXQgZGVwbG95"), "hex": secret(KNOWN)},
    "cloudflare:index/accountToken:AccountToken": lambda _: {"value": secret(KNOWN)},
    "aws:rds/instance:Instance": lambda _: {"address": KNOWN, "endpoint": KNOWN, "port": 5432, "arn": KNOWN},
}
"""What providers add to a resource's inputs, as far as the program reads it. Everything else reads as None."""


class _Mocks(mocks.Mocks):
    def __init__(self, facts: Mapping[str, dict[str, Any]]) -> None:
        self._facts = facts
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        computed = COMPUTED[args.typ](args.inputs) if args.typ in COMPUTED else {}
        # An ARN is the one computed output that most AWS resources share.
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
    "aws:eks/getCluster:getCluster": {
        "arn": KNOWN,
        "endpoint": KNOWN,
        "certificateAuthorities": [{"data": KNOWN}],
        "vpcConfig": {"vpcId": KNOWN, "subnetIds": [KNOWN], "clusterSecurityGroupId": KNOWN},
    },
    # TEST-NET-1: a placeholder that is a network, for the manifests must be valid.
    "aws:ec2/getVpc:getVpc": {"cidrBlock": "192.0.2.0/24"},
    "aws:ec2/getSubnets:getSubnets": {"ids": [f"{KNOWN} (1)", f"{KNOWN} (2)"]},
}
"""Answers to the provider functions that the program calls: placeholders, for nothing is asked offline."""


class _Monitor(mocks.MockMonitor):
    def __init__(self, mocks_: _Mocks) -> None:
        super().__init__(mocks_)
        self.recorded: dict[str, Resource] = {}
        self.registered_outputs: dict[str, Mapping[str, Any]] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine makes it: a child's type is qualified by every ancestor's, not by the parent's alone."""
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
            self.recorded[response.urn] = _resource(request, response.urn)
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 (the SDK's name)
        self.registered_outputs[request.urn] = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def _resource(request: Any, urn: str) -> Resource:
    parent = "" if "::pulumi:pulumi:Stack::" in request.parent else request.parent
    return Resource(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=parent,
        inputs=_plain(rpc.deserialize_properties(request.object)),
        protect=request.protect,
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
    """The SDK's wire form with its secret markers turned into `Secret`."""
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return Secret(_plain(value["value"]))
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


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
    """Runs `program` under the mock monitor, in an event loop and a context of its own.

    `config` holds whole values, as in a stack's file; `facts` answers to provider functions beside `FACTS`. Whatever
    the program raises is raised.
    """

    def run() -> Recording:
        answers = _Mocks({**FACTS, **(facts or {})})
        monitor = _Monitor(answers)
        heard = _Warnings()
        logger = logging.Logger("pulumi-program")
        logger.addHandler(heard)

        async def program_once() -> None:
            program()

        async def recorded() -> None:
            # Inside the loop: what these register must run on it.
            mocks.set_mocks(
                answers, project=settings.PROJECT, stack=stack, preview=False, logger=logger, monitor=monitor
            )
            runtime_settings.set_root_resource(None)  # type: ignore[arg-type]  # run_in_stack makes its own
            # The SDK keeps these beyond a run that failed, and would wait for them in a loop that is closed.
            runtime_settings.SETTINGS.rpc_manager.clear()
            runtime_settings.SETTINGS.outputs.clear()
            set_all_config(
                {key: value if isinstance(value, str) else json.dumps(value) for key, value in (config or {}).items()},
                [],
            )
            await run_in_stack(program_once)

        with settings.offline():
            asyncio.run(recorded())
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
            warnings=tuple(sorted(set(heard.messages))),
        )

    return contextvars.Context().run(run)


def record_stack(stack: str, *, overrides: Mapping[str, Any] | None = None) -> Recording:
    """Records the whole program with the stack's own config, `overrides` laid over it key by key.

    Raises SettingsError when the config is wrong.
    """
    config = {**settings.stack_config(stack), **(overrides or {})}
    return record(
        lambda: runpy.run_path(str(settings.ROOT / "__main__.py"), run_name="__main__"), stack=stack, config=config
    )

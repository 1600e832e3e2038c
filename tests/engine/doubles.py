# ruff: noqa: ARG002, N802 (the names and arguments are gRPC's)
"""Doubles of providers for the real Pulumi CLI: gRPC servers that remember what they were asked.

What they prove: that the program, its order, its options, its secrets and its state hold together under the real
CLI. What they do not: that AWS or Cloudflare would accept an input, how long anything takes, what a change replaces.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The wire's word for a string that is known after the update only."""


class Computed(NamedTuple):
    """What a provider adds to a resource's inputs."""

    keys: tuple[str, ...]
    make: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Called when the resource is made or updated, never in a preview."""


NOTHING = Computed((), lambda _: {})


class Double(provider_pb2_grpc.ResourceProviderServicer):
    """One provider: whatever it is asked to create exists from then on, with what `computed` adds by type."""

    def __init__(
        self, version: str, computed: Mapping[str, Computed], answers: Mapping[str, Callable[..., dict[str, Any]]]
    ) -> None:
        self.version = version
        self.computed = computed
        self.answers = answers
        self.objects: dict[str, dict[str, Any]] = {}
        """What exists, by id."""
        self.log: list[tuple[str, str]] = []
        """Every create, update and delete: verb and type."""
        self.fail: set[str] = set()
        """Types, and resources' names, whose next create fails."""
        self.reached = threading.Event()
        self.hold: dict[str, threading.Event] = {}
        """Types whose create sets `reached` and waits for the event."""
        self._lock = threading.Lock()

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.version)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Check(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = _plain(request.old_inputs), _plain(request.news)
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        changed = [key for key in changed if key not in request.ignoreChanges and "*" not in request.ignoreChanges]
        kinds = provider_pb2.DiffResponse
        return kinds(changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE, diffs=changed)

    def Create(self, request: Any, context: Any) -> Any:
        kind, computed = request.type, self.computed.get(request.type, NOTHING)
        if request.preview:
            unknown = dict.fromkeys((*computed.keys, "arn"), UNKNOWN)
            return provider_pb2.CreateResponse(properties=_struct({**_plain(request.properties), **unknown}))
        for failing in self.fail & {kind, request.name}:
            self.fail.discard(failing)
            context.abort(grpc.StatusCode.INTERNAL, f"the double was set to fail {failing}")
        if kind in self.hold:
            self.reached.set()
            self.hold[kind].wait(60)
        inputs = _plain(request.properties)
        state = {**inputs, **computed.make(inputs)}
        with self._lock:
            id_ = f"{request.name}-{len(self.objects)}"
            state.setdefault("arn", f"arn:aws:double:::{id_}")
            self.objects[id_] = state
            self.log.append(("create", kind))
        return provider_pb2.CreateResponse(id=id_, properties=_struct(state))

    def Read(self, request: Any, context: Any) -> Any:
        state = self.objects.get(request.id)
        if state is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=_struct(state), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        inputs, computed = _plain(request.news), self.computed.get(request.type, NOTHING)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_struct({**_plain(request.olds), **inputs}))
        with self._lock:
            state = {**self.objects[request.id], **inputs, **computed.make(inputs)}
            self.objects[request.id] = state
            self.log.append(("update", request.type))
        return provider_pb2.UpdateResponse(properties=_struct(state))

    def Delete(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.objects.pop(request.id, None)
            self.log.append(("delete", request.type))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        if request.tok not in self.answers:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the double has no answer to {request.tok}")
        answer = provider_pb2.InvokeResponse()
        getattr(answer, "return").CopyFrom(_struct(self.answers[request.tok](_plain(request.args))))
        return answer


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    document: dict[str, Any] = json_format.MessageToDict(struct)
    return document


def _struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(document)
    return struct


@contextmanager
def serving(double: Double) -> Iterator[int]:
    """Serves the double on a free loopback port, which it yields."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(double, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None)

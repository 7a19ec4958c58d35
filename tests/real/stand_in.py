"""A cloud in memory behind the engine's own provider protocol: it stands in for Google, Kubernetes and `random`.

The engine attaches to it by `PULUMI_DEBUG_PROVIDERS`, so no plugin is started, and what exists outlives an engine
that is killed, as a real cloud does. Protocol: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
It knows no schema beyond the installed SDKs' types: it takes values that Google would refuse.
"""

# ruff: noqa: ARG002, N802 - names and arguments are those of the gRPC service

import hashlib
import importlib
import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi._types import resource_types
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from preview.diff.compare import AUTONAME
from preview.diff.rules import Around, rule_for
from preview.diff.values import comparable, differences

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's sentinel: https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/plugin/rpc.go"""

ENDPOINT = "gke-0123456789abcdef.us-central1.gke.goog"
PROJECT_NUMBER = "123456789012"
_NAMING = ("name", "accountId", "repositoryId", "bucket")


class Kind(StrEnum):
    """What the engine asks a provider to do to a resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One thing that was done, in the order in which it took effect. `made`: a create found nothing there."""

    kind: Kind
    urn: str
    inputs: Mapping[str, Any]
    made: bool = True

    @property
    def type(self) -> str:
        """The resource's type token."""
        return type_of(self.urn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a resource is: `cluster` identifies the Kubernetes cluster, and is empty for everything else."""

    cluster: str
    type: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """A resource that exists."""

    urn: str
    inputs: Mapping[str, Any]


def _nothing(_kind: Kind, _urn: str, _done: bool) -> None:  # noqa: FBT001 - the shape of a callback
    pass


@dataclass(kw_only=True)
class Cloud:
    """What exists, and the ledger of how it came to be.

    `interrupt` is called before and after each operation takes effect; `seconds` is how long one takes.
    """

    existing: dict[Place, Existing] = field(default_factory=dict)
    ledger: list[Operation] = field(default_factory=list)
    interrupt: Callable[[Kind, str, bool], None] = _nothing
    seconds: float = 0.0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _running: int = 0

    @contextmanager
    def operation(self, kind: Kind, urn: str) -> Iterator[None]:
        """Take the time that an operation takes, and let it be interrupted on both sides of its effect."""
        with self._lock:
            self._running += 1
        try:
            self.interrupt(kind, urn, False)
            time.sleep(self.seconds)
            with self._lock:
                yield
            self.interrupt(kind, urn, True)
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def wait_until_idle(self) -> None:
        """Wait for what an engine that is gone has left running."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._running == 0, timeout=30)

    def count(self, kind: Kind) -> int:
        """How many operations of a kind took effect."""
        return sum(operation.kind is kind for operation in self.ledger)

    def operations(self, start: int = 0) -> set[tuple[str, str]]:
        """(kind, URN) of every operation since the ledger had `start` entries."""
        return {(str(operation.kind), operation.urn) for operation in self.ledger[start:]}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """All providers in one; a connection of the engine's is one configured provider."""

    def __init__(self, cloud: Cloud) -> None:
        """Serve this cloud."""
        self._cloud = cloud
        self._configurations: dict[str, dict[str, Any]] = {}

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Take note that the engine uses this process."""
        return empty_pb2.Empty()

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Say what kind of values are understood."""
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Be newer than any SDK asks for: the engine warns of an older provider."""
        return plugin_pb2.PluginInfo(version="999.0.0")

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Accept any configuration."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare two configurations; another cluster is another provider."""
        old, new = _plain(request.old_inputs) or _plain(request.olds), _plain(request.news)
        return _difference(old, new, token=type_of(request.urn), config={})

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Remember which cluster this connection leads to."""
        self._configurations[context.peer()] = _plain(request.args)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Add the name that the provider chooses, and keep it from then on."""
        inputs, token, logical_name = _plain(request.news), type_of(request.urn), request.urn.rpartition("::")[2]
        if token.startswith("gcp:") and "name" not in inputs and chooses_name(token):
            chosen = f"{logical_name}-{hashlib.sha256(request.randomSeed).hexdigest()[:7]}"
            inputs["name"] = _plain(request.olds).get("name", chosen)
        return provider_pb2.CheckResponse(inputs=_struct(inputs))

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare the inputs of two programs."""
        return _difference(
            _plain(request.old_inputs),
            _plain(request.news),
            request.ignoreChanges,
            token=type_of(request.urn),
            config=self._configurations.get(context.peer(), {}),
        )

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Make a resource; in a preview, say what is not known of it."""
        inputs, token = _plain(request.properties), type_of(request.urn)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_struct(computed(token, inputs, lambda _name: UNKNOWN)))
        place = self._place(context, token, _id_of(request.urn, inputs))
        with self._cloud.operation(Kind.CREATE, request.urn):
            there = place in self._cloud.existing
            if there and _is_named(token, inputs):
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{place.id} already exists")
            self._cloud.existing[place] = Existing(urn=request.urn, inputs=inputs)
            self._cloud.ledger.append(Operation(kind=Kind.CREATE, urn=request.urn, inputs=inputs, made=not there))
        return provider_pb2.CreateResponse(id=place.id, properties=_struct(_outputs(request.urn, inputs)))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Say what is there under an id, or by an empty id that nothing is."""
        token = type_of(request.urn)
        found = self._cloud.existing.get(self._place(context, token, request.id))
        if found is None:
            return provider_pb2.ReadResponse()
        inputs = dict(found.inputs)
        return provider_pb2.ReadResponse(
            id=request.id, properties=_struct(_outputs(request.urn, inputs)), inputs=_struct(inputs)
        )

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Change a resource in place."""
        inputs, token = _plain(request.news), type_of(request.urn)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_struct(_outputs(request.urn, inputs)))
        with self._cloud.operation(Kind.UPDATE, request.urn):
            self._cloud.existing[self._place(context, token, request.id)] = Existing(urn=request.urn, inputs=inputs)
            self._cloud.ledger.append(Operation(kind=Kind.UPDATE, urn=request.urn, inputs=inputs))
        return provider_pb2.UpdateResponse(properties=_struct(_outputs(request.urn, inputs)))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Take a resource away; one that is gone already is no error."""
        with self._cloud.operation(Kind.DELETE, request.urn):
            gone = self._cloud.existing.pop(self._place(context, type_of(request.urn), request.id), None)
            self._cloud.ledger.append(Operation(kind=Kind.DELETE, urn=request.urn, inputs={}, made=gone is not None))
        return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Answer what Google would answer to somebody with credentials."""
        answer = _plain(request.args) | {"id": "projects/example-project", "number": PROJECT_NUMBER}
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").update(answer)
        return response

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Finish what is running: it is short."""
        return empty_pb2.Empty()

    def _place(self, context: grpc.ServicerContext, token: str, identity: str) -> Place:
        configuration = self._configurations[context.peer()] if token.startswith("kubernetes:") else {}
        cluster = configuration.get("clusterIdentifier", "")
        return Place(cluster=cluster, type=token, id=identity)


class Server:
    """The stand-in's gRPC server on loopback, for as long as the block lasts."""

    def __init__(self, cloud: Cloud, packages: tuple[str, ...] = ("gcp", "kubernetes", "random")) -> None:
        """Serve these packages of this cloud."""
        self._server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 1 << 28)])
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(cloud), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.attach = ",".join(f"{package}:{port}" for package in packages)
        """The value of PULUMI_DEBUG_PROVIDERS."""

    def __enter__(self) -> Self:
        """Start to answer."""
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once."""
        self._server.stop(None).wait()


def id_in(cloud: Cloud, urn: str, inputs: Mapping[str, Any]) -> str:
    """The id of what was made for this URN under the name in these inputs; empty where nothing was."""
    places = [place for place, found in cloud.existing.items() if found.urn == urn]
    named = _is_named(type_of(urn), inputs)
    return next((place.id for place in places if not named or place.id == _id_of(urn, inputs)), "")


def type_of(urn: str) -> str:
    """The type token in a URN."""
    return urn.split("::")[2].rpartition("$")[2]


@cache
def _class_of(token: str) -> type:
    package, module, name = token.split(":")
    folder = module.partition("/")[0].removeprefix("index")
    found = getattr(importlib.import_module(f"pulumi_{package}" + (f".{folder}" if folder else "")), name)
    assert isinstance(found, type)
    return found


@cache
def chooses_name(token: str) -> bool:
    """Whether a resource has a name, which the provider then chooses where the program does not."""
    return "name" in inspect.signature(getattr(_class_of(token), "_internal_init")).parameters  # noqa: B009 - private


def computed(token: str, inputs: Mapping[str, Any], value: Callable[[str], Any]) -> dict[str, Any]:
    """Add to the inputs a value for each text that the SDK types as an output, and the cluster's endpoint."""
    outputs: dict[str, Any] = dict(inputs)
    # What Kubernetes adds, it adds to objects that exist, and nothing here reads it.
    if not token.startswith("kubernetes:"):
        for name, declared in resource_types(_class_of(token)).items():
            if (
                name not in inputs
                and name not in ("id", "urn")
                and str in (declared, *getattr(declared, "__args__", ()))
            ):
                outputs[name] = value(name)
    if token == "gcp:container/cluster:Cluster":  # noqa: S105 - a type
        given = outputs["controlPlaneEndpointsConfig"]
        endpoint = value("endpoint")
        outputs["controlPlaneEndpointsConfig"] = given | {
            "dnsEndpointConfig": given["dnsEndpointConfig"]
            | {"endpoint": ENDPOINT if endpoint != UNKNOWN else endpoint}
        }
    return outputs


def _is_named(token: str, inputs: Mapping[str, Any]) -> bool:
    return token.startswith("kubernetes:") or any(name in inputs for name in _NAMING)


def _outputs(urn: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return computed(type_of(urn), inputs, lambda name: f"{name}-of-{_id_of(urn, inputs)}")


def _id_of(urn: str, inputs: Mapping[str, Any]) -> str:
    token = type_of(urn)
    if token.startswith("kubernetes:"):
        named = inputs if token.endswith(":Release") else inputs["metadata"]
        return f"{named['namespace']}/{named['name']}" if "namespace" in named else str(named["name"])
    for name in _NAMING:
        if name in inputs:
            return str(inputs[name])
    return hashlib.sha256(json.dumps([urn, inputs], sort_keys=True).encode()).hexdigest()[:16]


def _difference(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    ignored: Iterable[str] = (),
    *,
    token: str,
    config: Mapping[str, Any],
) -> provider_pb2.DiffResponse:
    """Answer as the providers do, whose answers the table of rules holds (tests/real/test_replacements.py)."""
    around = Around(before=old, after=new, provider=config)
    changed, replacing = set(), set()
    for found in differences(comparable(old), comparable(new)):
        if any(found.path == path or found.path.startswith((f"{path}.", f"{path}[")) for path in ignored):
            continue
        key = re.split(r"[.\[]", found.path, maxsplit=1)[0]
        changed.add(key)
        if rule_for(token, found.path, before=found.before, after=found.after, around=around) is not None:
            replacing.add(key)
    some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some,
        diffs=sorted(changed),
        replaces=sorted(replacing),
        deleteBeforeReplace=bool(replacing) and _is_named_by_hand(token, old, new),
    )


def _is_named_by_hand(token: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two could not be there at once; a name that is chosen ends with seven hexadecimal digits here."""
    if token.startswith("kubernetes:"):
        return all(_of(old, key) == _of(new, key) for key in ("name", "namespace")) and bool(_of(new, "name"))
    given = [new[key] for key in ("name", "accountId", "roleId", "projectId", "secretId") if new.get(key)]
    return token.startswith("gcp:") and bool(given) and not AUTONAME.search(str(given[0]))


def _of(inputs: Mapping[str, Any], key: str) -> Any:
    return inputs.get("metadata", {}).get(key)


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(struct)
    return found


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct

"""The engine's side of a run, in the program's own process: it answers the SDK's requests and records them.

`pulumi.runtime.Settings` takes any object with the methods of the gRPC stubs, so a program needs neither a
socket nor the Pulumi CLI. What each method has to answer is the service definition `proto/pulumi/resource.proto`
of pulumi/pulumi; the rules of naming, inheritance and provider choice are those of its
`pkg/resource/deploy/source_eval.go`.
"""

# ruff: noqa: N802 - methods are named by the gRPC service

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2, provider_pb2, resource_pb2

from preview.values import UNKNOWN_SENTINEL, from_protobuf, from_struct, lower, secret_wire

if TYPE_CHECKING:
    from pulumi.runtime.proto import alias_pb2, callback_pb2, source_pb2

    from preview.request import Fixtures

STACK_TYPE: Final = "pulumi:pulumi:Stack"
_PROVIDER_PREFIX: Final = "pulumi:providers:"
_WITHHELD_FEATURES: Final = (
    "STATE_MIGRATIONS",
    "INVOKE_PARENT",
    "INVOKE_OUTPUT_VALUES",
    "CALL_OUTPUT_VALUES",
    "SENDS_OPTIONS_TO_HOOKS",
)
_SEVERITIES: Final = {
    engine_pb2.INFO: "info",
    engine_pb2.WARNING: "warning",
    engine_pb2.ERROR: "error",
}


class EngineError(Exception):
    """A request that the engine refuses, with the place in the project that made it."""

    def __init__(self, message: str, source: str = "") -> None:
        """Take what to tell the reader, and `file:line` if one is known."""
        super().__init__(message)
        self.source = source


class Completion(Protocol):
    """What stands in for a provider: it may add properties to those that the program gave."""

    def name(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return the property with the name that a provider chooses, where the program leaves it the choice."""

    def properties(self, token: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Return what a provider adds to a custom resource's properties, in wire form."""

    def resource_id(self, token: str, name: str) -> str:
        """Return the id of a custom resource, empty while it is not known."""


def make_urn(*, stack: str, project: str, parent: str, type_token: str, name: str) -> str:
    """Name a resource as the engine does: the chain of its parents' types without the stack's own.

    Source: `sdk/go/common/resource/urn/urn.go` of pulumi/pulumi.
    """
    parent_type = parent.split("::")[2] if parent else ""
    qualified = f"{parent_type}${type_token}" if parent_type and parent_type != STACK_TYPE else type_token
    return f"urn:pulumi:{stack}::{project}::{qualified}::{name}"


class Monitor:
    """Resource monitor and engine of one run."""

    def __init__(
        self,
        *,
        project: str,
        stack: str,
        root: str,
        preview: bool,
        completion: Completion,
        organization: str = "organization",
        fixtures: Fixtures | None = None,
        disabled_providers: frozenset[str] = frozenset(),
    ) -> None:
        """Take what is deployed; `root` is the project's folder, `preview` whether nothing exists yet."""
        self._project = project
        self._stack = stack
        self._organization = organization
        self._root = root.rstrip("/") + "/"
        self._preview = preview
        self._completion = completion
        self._fixtures = fixtures or {}
        self._disabled_providers = disabled_providers
        self._requests: dict[str, resource_pb2.RegisterResourceRequest] = {}
        self._packages: dict[str, resource_pb2.RegisterPackageRequest] = {}
        self._stack_transforms: list[callback_pb2.Callback] = []
        self.run_callback: Callable[[callback_pb2.Callback, bytes], bytes] | None = None
        """Runs one of the program's transforms; set by whoever owns the event loop."""
        self.resources: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, Any] = {}
        self.diagnostics: list[dict[str, str]] = []
        self.invokes: list[dict[str, Any]] = []

    # Resource monitor

    def GetDeploymentInfo(self, _request: Any) -> resource_pb2.DeploymentInfo:
        """Say what this engine can do and what is being deployed."""
        return resource_pb2.DeploymentInfo(
            project=self._project,
            stack=self._stack,
            organization=self._organization,
            dryRun=self._preview,
            supportedFeatures=[
                number
                for name, number in resource_pb2.ResourceMonitorFeature.items()
                if not name.endswith(_WITHHELD_FEATURES)
            ],
        )

    def SupportsFeature(self, _request: resource_pb2.SupportsFeatureRequest) -> resource_pb2.SupportsFeatureResponse:
        """Answer SDKs that are older than `GetDeploymentInfo`."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=True)

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        """Record a resource and answer with what is known of it."""
        self._inherit(request)
        self._transform(request)
        source = "" if request.type == STACK_TYPE else self._source(request)
        urn = self._urn(request.parent, request.type, request.name)
        if urn in self.resources:
            first = self.resources[urn]["source"]
            raise EngineError(
                f"Duplicate resource URN '{urn}'; try giving it a unique name"
                + (f" (the first is at {first})" if first else ""),
                source,
            )
        given, awaits = lower(from_struct(request.object))
        # An output without a value is one that is left out.
        inputs = given = {key: value for key, value in given.items() if value is not None}
        is_provider = request.type.startswith(_PROVIDER_PREFIX)
        if request.custom and is_provider and request.version:
            inputs = {"version": request.version} | given
        if request.custom and not is_provider and not request.importId:
            inputs = inputs | self._completion.name(request.type, request.name, inputs)
            inputs = dict(sorted(inputs.items()))
        provider = self._provider(request, urn, source) if request.custom or request.remote else ""
        outputs = dict(inputs)
        resource_id = ""
        if request.custom:
            if not is_provider:
                outputs.update(self._completion.properties(request.type, request.name, inputs))
            for key in request.additionalSecretOutputs:
                outputs[key] = secret_wire(outputs.get(key, UNKNOWN_SENTINEL))
            resource_id = request.importId or self._completion.resource_id(request.type, request.name)
        request.ClearField("stackTrace")
        self._requests[urn] = request
        self.resources[urn] = {
            "urn": urn,
            "type": request.type,
            "name": request.name,
            "parent": request.parent,
            "custom": request.custom,
            "id": (resource_id or UNKNOWN_SENTINEL) if request.custom else None,
            "inputs": inputs,
            "outputs": outputs if request.custom else {},
            "dependencies": sorted(request.dependencies),
            "propertyDependencies": {
                key: sorted(request.propertyDependencies[key].urns)
                for key in sorted(request.propertyDependencies)
                if key in inputs
            },
            "awaits": {path: sorted(urns) for path, urns in awaits.items()},
            "provider": provider,
            "options": _options(request),
            "source": source,
            "operation": "import" if request.custom and request.importId else "create",
            "registered": False,
        }
        response = resource_pb2.RegisterResourceResponse(urn=urn, id=resource_id, result=resource_pb2.Result.SUCCESS)
        if request.custom or request.remote:
            response.object.update({**given, **outputs})
        return response

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:
        """Record what a component, or the stack, says it is made of."""
        resource = self.resources[request.urn]
        outputs = from_struct(request.outputs)
        resource["outputs"] = outputs
        resource["registered"] = True
        if resource["type"] == STACK_TYPE:
            self.outputs = outputs
        return empty_pb2.Empty()

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> resource_pb2.ReadResourceResponse:
        """Record a resource that exists already; what it is made of comes from a fixture or is unknown."""
        source = self._source(request)
        urn = self._urn(request.parent, request.type, request.name)
        if urn in self.resources:
            raise EngineError(f"Duplicate resource URN '{urn}'; try giving it a unique name", source)
        inputs, awaits = lower(from_struct(request.properties))
        outputs = {**inputs, **self._fixtures.get(request.type, {})}
        if not self._preview:
            outputs = {**self._completion.properties(request.type, request.name, outputs), **outputs}
        for key in request.additionalSecretOutputs:
            outputs[key] = secret_wire(outputs.get(key, UNKNOWN_SENTINEL))
        self.resources[urn] = {
            "urn": urn,
            "type": request.type,
            "name": request.name,
            "parent": request.parent,
            "custom": True,
            "id": request.id,
            "inputs": inputs,
            "outputs": outputs,
            "dependencies": sorted(request.dependencies),
            "propertyDependencies": {},
            "awaits": {path: sorted(urns) for path, urns in awaits.items()},
            "provider": self._read_provider(request, source),
            "options": {"additionalSecretOutputs": sorted(request.additionalSecretOutputs)}
            if request.additionalSecretOutputs
            else {},
            "source": source,
            "operation": "read",
            "registered": False,
        }
        response = resource_pb2.ReadResourceResponse(urn=urn)
        # SDKs older than 3.260 take the id of the request instead.
        if "id" in resource_pb2.ReadResourceResponse.DESCRIPTOR.fields_by_name:
            response.id = "" if request.id == UNKNOWN_SENTINEL else request.id
        response.properties.update(outputs)
        return response

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> resource_pb2.ResourceInvokeResponse:
        """Answer a provider function from a fixture, else that the answer is not known."""
        fixture = self._fixtures.get(request.tok)
        arguments = from_struct(request.args)
        self.invokes.append({"token": request.tok, "arguments": arguments, "answered": fixture is not None})
        if request.tok == "pulumi:pulumi:getResource":
            known = self.resources.get(arguments.get("urn", ""))
            fixture = known and {"urn": known["urn"], "id": known["id"] or "", "state": known["outputs"]}
        if fixture is None:
            return resource_pb2.ResourceInvokeResponse(unknown=True)
        answer = struct_pb2.Struct()
        answer.update(fixture)
        response = resource_pb2.ResourceInvokeResponse()
        getattr(response, "return").CopyFrom(answer)
        return response

    def Call(self, request: resource_pb2.ResourceCallRequest) -> provider_pb2.CallResponse:
        """Answer a resource's method from a fixture; there is no way to answer that it is not known."""
        fixture = self._fixtures.get(request.tok)
        if fixture is None:
            raise EngineError(
                f"the method {request.tok} runs in a provider, which an offline preview does not have",
                self._source(request),
            )
        answer = struct_pb2.Struct()
        answer.update(fixture)
        response = provider_pb2.CallResponse()
        getattr(response, "return").CopyFrom(answer)
        return response

    def ExistsResource(self, _request: Any) -> Any:
        """Say that nobody has looked."""
        return resource_pb2.ExistsResourceResponse(unknown=True)

    def RegisterPackage(self, request: resource_pb2.RegisterPackageRequest) -> resource_pb2.RegisterPackageResponse:
        """Give a package (a parameterised one too) a reference that is the same in every run."""
        reference = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:32]
        self._packages[reference] = request
        return resource_pb2.RegisterPackageResponse(ref=reference)

    def RegisterStackTransform(self, request: callback_pb2.Callback) -> empty_pb2.Empty:
        """Keep a transform for every later resource."""
        self._stack_transforms.append(request)
        return empty_pb2.Empty()

    def RegisterStackInvokeTransform(self, _request: Any) -> empty_pb2.Empty:
        """Take note; without a provider there is nothing to transform."""
        return empty_pb2.Empty()

    def RegisterResourceHook(self, _request: Any) -> empty_pb2.Empty:
        """Take note; a preview runs no hook."""
        return empty_pb2.Empty()

    def RegisterErrorHook(self, _request: Any) -> empty_pb2.Empty:
        """Take note; a preview runs no hook."""
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, _request: Any) -> empty_pb2.Empty:
        """Let the program end."""
        return empty_pb2.Empty()

    # Engine

    def Log(self, request: engine_pb2.LogRequest) -> empty_pb2.Empty:
        """Keep what a person should read."""
        severity = _SEVERITIES.get(request.severity)
        if severity is not None and not request.ephemeral:
            self.diagnostics.append({"severity": severity, "message": request.message, "urn": request.urn})
        return empty_pb2.Empty()

    def GetRootResource(self, _request: Any) -> engine_pb2.GetRootResourceResponse:
        """Name the stack's resource."""
        urn = next((urn for urn, r in self.resources.items() if r["type"] == STACK_TYPE), "")
        return engine_pb2.GetRootResourceResponse(urn=urn)

    def SetRootResource(self, _request: Any) -> engine_pb2.SetRootResourceResponse:
        """Take note; the stack's resource is known by its type."""
        return engine_pb2.SetRootResourceResponse()

    def RequirePulumiVersion(self, _request: Any) -> Any:
        """Accept any requirement: there is no Pulumi CLI in an offline preview."""
        return engine_pb2.RequirePulumiVersionResponse()

    def StartDebugging(self, _request: Any) -> empty_pb2.Empty:
        """Take note; nobody attaches a debugger."""
        return empty_pb2.Empty()

    # Rules of the engine

    def _urn(self, parent: str, type_token: str, name: str) -> str:
        return make_urn(stack=self._stack, project=self._project, parent=parent, type_token=type_token, name=name)

    def _inherit(self, request: resource_pb2.RegisterResourceRequest) -> None:
        """`inheritFromParent` of source_eval.go; protection and providers are inherited by the SDK already."""
        parent = self._requests.get(request.parent)
        if parent is None:
            return
        request.deletedWith = request.deletedWith or parent.deletedWith
        if not request.HasField("retainOnDelete") and parent.HasField("retainOnDelete"):
            request.retainOnDelete = parent.retainOnDelete

    def _provider(self, request: resource_pb2.RegisterResourceRequest, urn: str, source: str) -> str:
        """`resolveProvider` and `getProviderReference` of source_eval.go."""
        if request.type.startswith(_PROVIDER_PREFIX):
            return ""
        package = request.type.partition(":")[0]
        if request.provider:
            return request.provider
        ancestor: resource_pb2.RegisterResourceRequest | None = request
        while ancestor is not None:
            if package in ancestor.providers:
                return ancestor.providers[package]
            ancestor = self._requests.get(ancestor.parent)
        return self._default_provider(package, self._version(request), urn, source)

    def _read_provider(self, request: resource_pb2.ReadResourceRequest, source: str) -> str:
        package = request.type.partition(":")[0]
        return request.provider or self._default_provider(package, self._version(request), "Read", source)

    def _default_provider(self, package: str, version: str, what: str, source: str) -> str:
        if package == "pulumi":
            return ""
        if self._disabled_providers & {"*", package}:
            raise EngineError(
                f"Default provider for '{package}' disabled. '{what}' must use an explicit provider.", source
            )
        name = "default" + (f"_{version}".replace(".", "_").replace("-", "_") if version else "")
        urn = self._urn("", f"{_PROVIDER_PREFIX}{package}", name)
        return f"{urn}::{UNKNOWN_SENTINEL}"

    def _version(self, request: resource_pb2.RegisterResourceRequest | resource_pb2.ReadResourceRequest) -> str:
        package = self._packages.get(request.packageRef)
        return package.version if package is not None else request.version

    def _transform(self, request: resource_pb2.RegisterResourceRequest) -> None:
        """Run the resource's own transforms, then those of its parents, then the stack's, as source_eval.go
        does.
        """
        callbacks = list(request.transforms)
        ancestor = self._requests.get(request.parent)
        while ancestor is not None:
            callbacks.extend(ancestor.transforms)
            ancestor = self._requests.get(ancestor.parent)
        if request.type != STACK_TYPE:
            callbacks.extend(self._stack_transforms)
        if not callbacks or self.run_callback is None:
            return
        for callback in callbacks:
            call = resource_pb2.TransformRequest(
                type=request.type,
                name=request.name,
                custom=request.custom,
                parent=request.parent,
                properties=request.object,
                options=_to_transform_options(request),
            )
            answer = resource_pb2.TransformResponse.FromString(self.run_callback(callback, call.SerializeToString()))
            request.object.CopyFrom(answer.properties)
            if answer.HasField("options"):
                _from_transform_options(answer.options, request)

    def _source(
        self,
        request: resource_pb2.RegisterResourceRequest
        | resource_pb2.ReadResourceRequest
        | resource_pb2.ResourceCallRequest,
    ) -> str:
        """The innermost line of the project that led to a request."""
        for frame in request.stackTrace.frames:
            if found := self._project_line(frame.pc):
                return found
        return self._project_line(request.sourcePosition)

    def _project_line(self, position: source_pb2.SourcePosition) -> str:
        path = unquote(urlsplit(position.uri).path)
        if not path.startswith(self._root):
            return ""
        relative = path.removeprefix(self._root)
        return "" if is_installed(relative) else f"{relative}:{position.line}"


def is_installed(relative: str) -> bool:
    """Whether a path inside the project belongs to an installed package or a hidden folder such as `.venv`."""
    parts = relative.split("/")
    return "site-packages" in parts or any(part.startswith(".") for part in parts)


_LISTS: Final = ("ignoreChanges", "replaceOnChanges", "additionalSecretOutputs", "hideDiffs", "replace_with")
_TEXTS: Final = ("deletedWith", "importId", "version", "pluginDownloadURL")


def _options(request: resource_pb2.RegisterResourceRequest) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.HasField("protect"):
        options["protect"] = request.protect
    if request.HasField("retainOnDelete"):
        options["retainOnDelete"] = request.retainOnDelete
    if request.deleteBeforeReplaceDefined:
        options["deleteBeforeReplace"] = request.deleteBeforeReplace
    for name in _LISTS:
        if items := list(getattr(request, name)):
            options["replaceWith" if name == "replace_with" else name] = items
    for name in _TEXTS:
        if text := getattr(request, name):
            options["importID" if name == "importId" else name] = text
    if request.HasField("customTimeouts"):
        options["customTimeouts"] = {f.name: text for f, text in request.customTimeouts.ListFields()}
    if request.aliases:
        options["aliases"] = [_alias(alias) for alias in request.aliases]
    if request.HasField("replacement_trigger"):
        options["replacementTrigger"] = from_protobuf(request.replacement_trigger)
    if request.providers:
        options["providers"] = {package: request.providers[package] for package in sorted(request.providers)}
    return options


def _alias(alias: alias_pb2.Alias) -> str | dict[str, Any]:
    if alias.urn:
        return alias.urn
    return {field.name: value for field, value in alias.spec.ListFields()}


_SHARED_OPTIONS: Final = {
    "depends_on": "dependencies",
    "ignore_changes": "ignoreChanges",
    "replace_on_changes": "replaceOnChanges",
    "additional_secret_outputs": "additionalSecretOutputs",
    "aliases": "aliases",
    "hide_diff": "hideDiffs",
    "replace_with": "replace_with",
}
_SINGLE_OPTIONS: Final = {
    "version": "version",
    "provider": "provider",
    "plugin_download_url": "pluginDownloadURL",
    "deleted_with": "deletedWith",
    "import": "importId",
}


def _to_transform_options(
    request: resource_pb2.RegisterResourceRequest,
) -> resource_pb2.TransformResourceOptions:
    options = resource_pb2.TransformResourceOptions()
    for theirs, ours in _SHARED_OPTIONS.items():
        getattr(options, theirs).extend(getattr(request, ours))
    for theirs, ours in _SINGLE_OPTIONS.items():
        setattr(options, theirs, getattr(request, ours))
    if request.HasField("protect"):
        options.protect = request.protect
    if request.HasField("retainOnDelete"):
        options.retain_on_delete = request.retainOnDelete
    if request.HasField("customTimeouts"):
        options.custom_timeouts.CopyFrom(request.customTimeouts)
    if request.deleteBeforeReplaceDefined:
        options.delete_before_replace = request.deleteBeforeReplace
    for package, reference in request.providers.items():
        options.providers[package] = reference
    return options


def _from_transform_options(
    options: resource_pb2.TransformResourceOptions, request: resource_pb2.RegisterResourceRequest
) -> None:
    for theirs, ours in _SHARED_OPTIONS.items():
        request.ClearField(ours)  # type: ignore[arg-type]
        getattr(request, ours).extend(getattr(options, theirs))
    for theirs, ours in _SINGLE_OPTIONS.items():
        setattr(request, ours, getattr(options, theirs))
    if options.HasField("protect"):
        request.protect = options.protect
    if options.HasField("retain_on_delete"):
        request.retainOnDelete = options.retain_on_delete
    if options.HasField("custom_timeouts"):
        request.customTimeouts.CopyFrom(options.custom_timeouts)
    if options.HasField("delete_before_replace"):
        request.deleteBeforeReplaceDefined = True
        request.deleteBeforeReplace = options.delete_before_replace
    request.ClearField("providers")
    for package, reference in options.providers.items():
        request.providers[package] = reference

"""A project's policy pack, run in a child as the engine runs it, but for the process and the socket between them.

The pack's own `__main__.py` is run, and `PolicyPack` builds its own server; in place of being served it is called. What
it is asked is what the engine asks: `pkg/resource/deploy/step_generator.go` (which resources, inputs for each one and
outputs at the end) and `pkg/resource/plugin/analyzer_plugin.go` (how they are written) of pulumi/pulumi at 1b594989.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pulumi_policy.policy
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2

from preview.document import seconds
from preview.snapshot import Resource, Snapshot
from preview.values import UNKNOWN, UNKNOWN_SENTINEL, Asset, ResourceReference, Secret, plain, secret_wire

if TYPE_CHECKING:
    from preview.project import Project

FOLDER: Final = "policy"
"""Where a project keeps its pack: `pulumi up --policy-pack policy`."""
ORGANIZATION: Final = "organization"


class _Built(BaseException):
    """The pack's server is built; carries it past everything that the pack would do next, which is to serve."""

    def __init__(self, servicer: Any) -> None:
        super().__init__()
        self.servicer = servicer


def judge_here(project: Project, snapshot: Snapshot) -> dict[str, Any]:
    """Run the pack in this process, which must be a child's, and return what it says as plain JSON.

    `policies`: name and level of each; `diagnostics`: policy, level, URN (empty for the stack) and message, in order;
    `notApplicable`: a reason by policy.
    """
    servicer = _load(project)
    servicer.ConfigureStack(
        analyzer_pb2.AnalyzerStackConfigureRequest(
            stack=snapshot.stack,
            project=snapshot.project,
            organization=ORGANIZATION,
            dry_run=snapshot.preview,
            config=dict(snapshot.config),
            config_secret_keys=sorted(snapshot.secret_keys),
        ),
        None,
    )
    return judge_by(servicer, snapshot)


def _load(project: Project) -> Any:
    """Run the pack's entry as the engine's host does: in its folder, which is on the path in place of the project's."""
    folder = project.root / FOLDER
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(project.root))]
    sys.argv[:] = [str(folder)]
    os.chdir(folder)
    # The engine tells a pack the values, and not which of them are secret.
    os.environ.pop("PULUMI_CONFIG_SECRET_KEYS", None)

    def built(servicer: Any, _server: Any) -> None:
        raise _Built(servicer)

    # This process is a child that ends soon; nothing is put back.
    vars(pulumi_policy.policy).update(
        grpc=SimpleNamespace(server=lambda *_arguments, **_options: None),
        analyzer_pb2_grpc=SimpleNamespace(add_AnalyzerServicer_to_server=built),
    )
    try:
        runpy.run_path(str(folder), run_name="__main__")
    except _Built as done:
        return done.servicer
    raise RuntimeError(f"{FOLDER}/__main__.py made no PolicyPack")


def judge_by(analyzer: Any, snapshot: Snapshot, *context: Any) -> dict[str, Any]:
    """Ask an analyzer, which is the pack's server itself or a client of it, about every resource and about the stack.

    `context` is what each call gets besides; the server itself takes one and looks at none.
    """
    arguments = context or ((None,) if hasattr(analyzer, "_get_policy_config") else ())
    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty(), *arguments)
    by_urn = {resource.urn: resource for resource in snapshot.resources}
    diagnostics: list[dict[str, str]] = []
    for resource in snapshot.resources:
        # What is read was made elsewhere, and is looked at with the whole stack alone.
        if resource.operation != "read":
            answer = analyzer.Analyze(request_of(resource, by_urn), *arguments)
            diagnostics += [_diagnostic(found, resource.urn) for found in answer.diagnostics]
    request = analyzer_pb2.AnalyzeStackRequest(resources=[member_of(found, by_urn) for found in snapshot.resources])
    answer = analyzer.AnalyzeStack(request, *arguments)
    diagnostics += [_diagnostic(found, found.urn if found.urn in by_urn else "") for found in answer.diagnostics]
    return {
        "policies": [
            {"name": policy.name, "description": policy.description, "level": _level(policy.enforcementLevel)}
            for policy in info.policies
        ],
        "diagnostics": diagnostics,
        "notApplicable": {found.policy_name: found.reason for found in answer.not_applicable},
    }


def _level(number: Any) -> str:
    return analyzer_pb2.EnforcementLevel.Name(number).lower()


def _diagnostic(found: analyzer_pb2.AnalyzeDiagnostic, urn: str) -> dict[str, str]:
    return {
        "policy": found.policyName,
        "level": _level(found.enforcementLevel),
        "urn": urn,
        "message": found.message,
    }


def request_of(resource: Resource, by_urn: Mapping[str, Resource]) -> analyzer_pb2.AnalyzeRequest:
    """Ask about one resource, by what it is asked to be."""
    return analyzer_pb2.AnalyzeRequest(
        urn=resource.urn,
        type=resource.type,
        name=resource.name,
        properties=_struct(resource.inputs),
        options=_options(resource),
        provider=_provider(resource, by_urn),
    )


def member_of(resource: Resource, by_urn: Mapping[str, Resource]) -> analyzer_pb2.AnalyzerResource:
    """Name one resource of the whole stack, by what has become of it."""
    return analyzer_pb2.AnalyzerResource(
        urn=resource.urn,
        type=resource.type,
        name=resource.name,
        properties=_struct(resource.outputs),
        options=_options(resource),
        provider=_provider(resource, by_urn),
        parent=resource.parent,
        dependencies=resource.dependencies,
        propertyDependencies={
            key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
            for key, urns in resource.property_dependencies.items()
            if urns
        },
    )


def _provider(resource: Resource, by_urn: Mapping[str, Resource]) -> analyzer_pb2.AnalyzerProviderResource | None:
    found = by_urn.get(resource.provider.rpartition("::")[0])
    if found is None:
        return None
    return analyzer_pb2.AnalyzerProviderResource(
        type=found.type, urn=found.urn, name=found.name, properties=_struct(found.inputs)
    )


def _options(resource: Resource) -> analyzer_pb2.AnalyzerResourceOptions:
    options = resource.options
    return analyzer_pb2.AnalyzerResourceOptions(
        protect=bool(options.get("protect")),
        ignoreChanges=options.get("ignoreChanges", ()),
        deleteBeforeReplace=bool(options.get("deleteBeforeReplace")),
        deleteBeforeReplaceDefined="deleteBeforeReplace" in options,
        additionalSecretOutputs=options.get("additionalSecretOutputs", ()),
        aliases=[alias for alias in options.get("aliases", ()) if isinstance(alias, str)],
        customTimeouts=analyzer_pb2.AnalyzerResourceOptions.CustomTimeouts(
            **{name: seconds(text) for name, text in options.get("customTimeouts", {}).items()}
        ),
        parent=resource.parent,
    )


def _struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Write properties as `MarshalProperties` does for an analyzer: unknown and secret stay so, internal keys go."""
    struct = struct_pb2.Struct()
    struct.update(_wire(properties))
    return struct


def _wire(value: Any) -> Any:  # noqa: PLR0911 - one case a line
    if isinstance(value, Mapping):
        return {key: _wire(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list | tuple):
        return [_wire(item) for item in value]
    if value is UNKNOWN:
        return UNKNOWN_SENTINEL
    if isinstance(value, Secret):
        return secret_wire(_wire(value.value))
    if isinstance(value, ResourceReference):
        return value.urn if value.id is None else _wire(value.id)
    if isinstance(value, Asset):
        return plain(value, unknown=UNKNOWN_SENTINEL, secret=lambda inner: secret_wire(_wire(inner)))
    return value

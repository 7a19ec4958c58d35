"""The JSON document of a preview, in the shape of `pulumi preview --json`.

Sources in pulumi/pulumi: `pkg/display/json.go` and `sdk/go/common/apitype/core.go` (`ResourceV3`). Left out
because they differ from run to run: `duration` and `stackTrace`. Ours beside: `outputs` (the stack's), `options` in
`newState`, and `explanation`, `cost` and `policies` where they were asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from preview import policies
from preview.masking import mask
from preview.snapshot import Resource, Snapshot
from preview.values import SHOWN_SECRET, UNKNOWN_SENTINEL, plain

_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_STATE_OPTIONS: Final = (
    "protect",
    "additionalSecretOutputs",
    "importID",
    "retainOnDelete",
    "deletedWith",
    "replaceWith",
    "ignoreChanges",
    "replaceOnChanges",
)
"""Options that the engine keeps in a resource's state, under these names."""


def document(snapshot: Snapshot) -> dict[str, Any]:
    """Describe a snapshot as plain JSON in which no secret occurs and unknowns are the engine's sentinel."""
    steps = [step for resource in snapshot.resources for step in _steps(resource, snapshot.secrets)]
    return {
        "config": {
            key: SHOWN_SECRET if key in snapshot.secret_keys else mask(text, snapshot.secrets)
            for key, text in sorted(snapshot.config.items())
        },
        "steps": steps,
        "diagnostics": [
            {
                **({"urn": mask(diagnostic.urn, snapshot.secrets)} if diagnostic.urn else {}),
                "message": _message(mask(diagnostic.message, snapshot.secrets), diagnostic.severity),
                "severity": diagnostic.severity,
            }
            for diagnostic in snapshot.diagnostics
        ],
        "changeSummary": dict(sorted(Counter(step["op"] for step in steps).items())),
        "outputs": _plain(snapshot.outputs, snapshot.secrets),
        **({"explanation": mask(snapshot.explanation, snapshot.secrets)} if snapshot.explanation else {}),
        **({"cost": mask(snapshot.cost, snapshot.secrets)} if snapshot.cost is not None else {}),
        **({"policies": policies.document(policies.of(snapshot))} if snapshot.judged is not None else {}),
    }


def _steps(resource: Resource, secrets: frozenset[str]) -> list[dict[str, Any]]:
    """One step, or two for an import: the engine reads the resource and then brings it to what the program says."""
    operations = ("import", "update") if resource.operation == "import" else (resource.operation,)
    state = _state(resource, secrets)
    provider = {"provider": state["provider"]} if "provider" in state else {}
    return [
        {"op": operation, "urn": state["urn"], **provider, "newState": state, "detailedDiff": None}
        for operation in operations
    ]


def _state(resource: Resource, secrets: frozenset[str]) -> dict[str, Any]:
    options = _plain(resource.options, secrets)
    state: dict[str, Any] = {"urn": mask(resource.urn, secrets), "custom": resource.custom}
    if resource.operation == "read":
        state["id"] = _plain(resource.id, secrets)
    state["type"] = resource.type
    if resource.inputs:
        state["inputs"] = _plain(resource.inputs, secrets)
        if resource.is_provider:
            # Where the engine keeps a plugin's address; empty for public ones.
            state["inputs"]["__internal"] = {}
    if resource.parent:
        state["parent"] = mask(resource.parent, secrets)
    if resource.operation == "read":
        state["external"] = True
    if resource.dependencies:
        state["dependencies"] = mask(list(resource.dependencies), secrets)
    if resource.provider:
        state["provider"] = mask(resource.provider, secrets)
    if resource.property_dependencies:
        state["propertyDependencies"] = mask(
            {key: list(urns) for key, urns in resource.property_dependencies.items()}, secrets
        )
    state |= {name: options[name] for name in _STATE_OPTIONS if options.get(name)}
    if "customTimeouts" in options:
        state["customTimeouts"] = {name: seconds(text) for name, text in options["customTimeouts"].items()}
    if resource.source:
        file, _, line = resource.source.rpartition(":")
        state["sourcePosition"] = f"project:///{file}#{line}"
    if options:
        state["options"] = options
    return state


def _message(text: str, severity: str) -> str:
    """A message as the engine prints it: warnings and errors say so themselves."""
    return f"{severity}: {text}\n" if severity in {"warning", "error"} else f"{text}\n"


def _plain(value: Any, secrets: frozenset[str]) -> Any:
    shown = dict(value) if isinstance(value, Mapping) else value
    return mask(plain(shown, unknown=UNKNOWN_SENTINEL), secrets)


def seconds(duration: str) -> float:
    """A duration as Go writes it, `1h30m`, in seconds."""
    total = sum(
        float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)(h|ms|us|µs|ns|m|s)", duration)
    )
    return int(total) if total == int(total) else total

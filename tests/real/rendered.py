"""The objects of every stack as they would be sent, with something valid where only the cloud knows the value."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from preview import Snapshot, manifests
from settings import COST_KEY
from tests.recording import ROOT, recorded

STACKS: Final = tuple(
    sorted(
        file.name.split(".")[1]
        for file in ROOT.glob("Pulumi.*.yaml")
        if COST_KEY not in yaml.safe_load(file.read_text(encoding="utf-8")).get("config", {})
    )
)
"""Those that make something: one with `costOf` has outputs only."""

VALID: Final = {"⟦Address/gateway-address.address⟧": "10.0.0.7"}
"""What stands in for a placeholder where a format is checked: the one place for all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One Helm release: the chart that is asked for, and its values."""

    name: str
    namespace: str
    chart: str
    version: str
    repository: str
    skip_crds: bool
    values: Mapping[str, Any]


def snapshot(stack: str) -> Snapshot:
    """A stack whose outputs are all named, recorded once a session."""
    return recorded(stack, placeholders=True)


@cache
def objects(stack: str) -> dict[str, dict[str, Any]]:
    """The Kubernetes objects of a stack by file name, as `make preview ARGS=--manifests=...` writes them.

    Each is made once: copy what you change.
    """
    return objects_of(snapshot(stack))


def objects_of(program: Snapshot) -> dict[str, dict[str, Any]]:
    """The Kubernetes objects of a recorded program by file name."""
    written = manifests.files(program)
    return {name: _valid(yaml.safe_load(text)) for name, text in written.items() if not name.startswith("values-")}


def of_kind(stack: str, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    return [manifest for manifest in objects(stack).values() if manifest["kind"] == kind]


@cache
def releases(stack: str) -> dict[str, Release]:
    """The Helm releases of a stack by name, in the order in which the program makes them."""
    found = {}
    written = manifests.files(snapshot(stack))
    for resource in snapshot(stack).of_type("kubernetes:helm.sh/v3:Release"):
        inputs = resource.inputs
        name = str(inputs["name"])
        found[name] = Release(
            name=name,
            namespace=str(inputs["namespace"]),
            chart=str(inputs["chart"]),
            version=str(inputs["version"]),
            repository=str(inputs["repositoryOpts"]["repo"]),
            skip_crds=bool(inputs.get("skipCrds", False)),
            values=_valid(yaml.safe_load(written[f"values-{name}.yaml"])),
        )
    return found


def _valid(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_valid(item) for item in value]
    if isinstance(value, str) and "⟦" in value:
        for placeholder, valid in VALID.items():
            value = value.replace(placeholder, valid)
        assert "⟦" not in value, f"{value}: say in {Path(__file__).name} what stands in for it"
    return value

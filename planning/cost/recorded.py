"""Recorded resources, as `pulumi preview --json` and a stack's state write them, read without believing anything.

Both hold `type`, `urn` and `inputs` of each resource. A value that is known after creation only is the engine's
sentinel; a property that is not there is not there. Nothing here raises for what a program might have written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine writes what is not known yet: sdk/go/common/resource/plugin/rpc.go of pulumi/pulumi."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One resource: its type token, its logical name, what it was asked to be."""

    type: str
    name: str
    inputs: Mapping[str, Any]

    @property
    def object_name(self) -> str:
        """The name in Kubernetes, or in the cloud; empty where it is not known."""
        found = at(self.inputs, "metadata", "name") or self.inputs.get("name")
        return found if isinstance(found, str) and found != UNKNOWN else ""


def recorded(states: Iterable[Mapping[str, Any]]) -> tuple[Recorded, ...]:
    """Read what holds `type`, `urn` and `inputs`; components and providers are left out."""
    return tuple(
        Recorded(
            type=str(state["type"]),
            name=str(state["urn"]).rpartition("::")[2],
            inputs=state.get("inputs") or {},
        )
        for state in states
        if state.get("custom") and not str(state["type"]).startswith("pulumi:")
    )


def at(value: Any, *path: str | int) -> Any:
    """Follow a path of keys and places; None where there is nothing."""
    for part in path:
        if isinstance(value, Mapping) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        else:
            return None
    return None if value == UNKNOWN else value


def number(value: Any) -> float | None:
    """Read a number; None where it is none, or not known yet."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def each(value: Any) -> list[Any]:
    """Read a list; none where it is not one."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []

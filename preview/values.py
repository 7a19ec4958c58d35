"""Values as they travel between a program and its engine, and as Python objects.

The wire form is that of Pulumi's resource monitor, a protobuf Struct: an unknown is a sentinel string, and secrets,
assets, resource references and outputs are maps that carry a signature. Constants:
`sdk/python/lib/pulumi/runtime/rpc.py` of pulumi/pulumi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

UNKNOWN_SENTINEL: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE_KEY: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a marker
REFERENCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET_SIGNATURE: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"

SHOWN_SECRET: Final = "[secret]"  # noqa: S105 - what is shown instead of one
SHOWN_UNKNOWN: Final = "[unknown]"


class Unknown(Enum):
    """The type of `UNKNOWN`, a value that only exists once the resource does."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return SHOWN_UNKNOWN


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must not be shown; its `repr` does not."""

    value: Any

    def __repr__(self) -> str:
        return SHOWN_SECRET


@dataclass(frozen=True, slots=True)
class ResourceReference:
    """A resource given as a value; `id` is None for components and UNKNOWN before creation."""

    urn: str
    id: Any = None


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, text or archive: `signature` says which, `fields` are those of the wire (path, text, uri, assets)."""

    signature: str
    fields: Mapping[str, Any]


def from_protobuf(value: struct_pb2.Value) -> Any:
    """Turn one protobuf value into plain JSON of the wire form; whole numbers become int."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [from_protobuf(item) for item in value.list_value.values]
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Turn a protobuf struct into plain JSON of the wire form, keys sorted: a protobuf map has no order of its
    own.
    """
    fields = struct.fields
    return {key: from_protobuf(fields[key]) for key in sorted(fields)}


def decode(wire: Any) -> Any:  # noqa: PLR0911 - one case a line
    """Turn plain JSON of the wire form into Python values with `UNKNOWN`, `Secret` and the like.

    Output values are lowered as the engine does for resources that it creates itself: to a secret, an unknown or
    the value.
    """
    if isinstance(wire, str):
        return UNKNOWN if wire == UNKNOWN_SENTINEL else wire
    if isinstance(wire, list):
        return [decode(item) for item in wire]
    if not isinstance(wire, dict):
        return wire
    signature = wire.get(SIGNATURE_KEY)
    if signature is None:
        return {key: decode(item) for key, item in wire.items()}
    if signature == SECRET_SIGNATURE:
        return Secret(decode(wire["value"]))
    if signature == REFERENCE_SIGNATURE:
        return ResourceReference(wire["urn"], decode(wire.get("id")))
    if signature == OUTPUT_SIGNATURE:
        value = decode(wire["value"]) if "value" in wire else UNKNOWN
        return Secret(value) if wire.get("secret") else value
    return Asset(signature, {key: decode(item) for key, item in wire.items() if key != SIGNATURE_KEY})


def lower(wire: Any, path: str = "") -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Take output values out of plain JSON of the wire form, and say what each unknown one waits for.

    Gives the same JSON as the engine makes of it for its own resources, and by the path of each value that is not
    known yet the URNs of the resources that it comes from.
    """
    awaits: dict[str, tuple[str, ...]] = {}
    return _lowered(wire, path, awaits), awaits


def _lowered(wire: Any, path: str, awaits: dict[str, tuple[str, ...]]) -> Any:
    if isinstance(wire, list):
        return [_lowered(item, f"{path}[{place}]", awaits) for place, item in enumerate(wire)]
    if not isinstance(wire, dict):
        return wire
    if wire.get(SIGNATURE_KEY) != OUTPUT_SIGNATURE:
        # What carries a signature has no path of its own.
        inner = path if SIGNATURE_KEY in wire else None
        return {
            key: _lowered(item, inner if inner is not None else f"{path}.{key}" if path else key, awaits)
            for key, item in wire.items()
        }
    if "value" in wire:
        value = _lowered(wire["value"], path, awaits)
    else:
        value, awaits[path] = UNKNOWN_SENTINEL, tuple(wire.get("dependencies", ()))
    return secret_wire(value) if wire.get("secret") else value


def secret_wire(wire: Any) -> dict[str, Any]:
    """Mark a wire value as secret; one that is already stays as it is."""
    if isinstance(wire, dict) and wire.get(SIGNATURE_KEY) == SECRET_SIGNATURE:
        return wire
    return {SIGNATURE_KEY: SECRET_SIGNATURE, "value": wire}


def plain(  # noqa: PLR0911 - one case a line
    value: Any,
    *,
    unknown: str = SHOWN_UNKNOWN,
    secret: Callable[[Any], Any] = lambda _value: SHOWN_SECRET,
) -> Any:
    """Turn a decoded value into plain JSON for showing: unknowns and secrets by the given stand-ins."""
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, dict):
        return {key: plain(item, unknown=unknown, secret=secret) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, unknown=unknown, secret=secret) for item in value]
    if isinstance(value, Secret):
        return secret(value.value)
    if isinstance(value, ResourceReference):
        shown = {SIGNATURE_KEY: REFERENCE_SIGNATURE, "urn": value.urn}
        return shown if value.id is None else shown | {"id": unknown if value.id is UNKNOWN else value.id}
    if isinstance(value, Asset):
        fields = {key: plain(item, unknown=unknown, secret=secret) for key, item in value.fields.items()}
        return {SIGNATURE_KEY: value.signature, **fields}
    return unknown


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value inside a decoded value with its path (`spec.containers[0].image`), secrets before their
    content.
    """
    yield path, value
    if isinstance(value, Secret):
        yield from walk(value.value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]")
    elif isinstance(value, Asset):
        yield from walk(dict(value.fields), path)

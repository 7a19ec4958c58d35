"""Configuration paths, `models[0].scaling.min`, as `pulumi config set --path` takes them.

Sources in pulumi/pulumi: `sdk/go/common/resource/properties_path.go` (strict form) and `config/object.go`
(`Set`, `coerce`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1


class PathError(ValueError):
    """A path that cannot be read, or that does not fit the value it points into."""


def parse_path(path: str) -> list[str | int]:
    """Split `root.array[0]["a key"]` into names and indices; PathError where it cannot be read."""
    if path.startswith("."):
        raise PathError("expected property path to start with a name or index")
    elements: list[str | int] = []
    rest = path
    while rest:
        if rest[0] == ".":
            rest = rest[1:]
            if not rest:
                raise PathError("expected property path to end with a name or index")
            if rest[0] == "[":
                raise PathError("expected property name after '.'")
        elif rest.startswith('["'):
            name, rest = _quoted(rest[2:])
            elements.append(name)
        elif rest[0] == "[":
            inside, bracket, after = rest[1:].partition("]")
            if not bracket:
                raise PathError("missing closing bracket in array index")
            if not _WHOLE_NUMBER.fullmatch(inside):
                raise PathError(f"invalid array index: {inside!r}")
            elements.append(int(inside))
            rest = after
        else:
            name = re.split(r"[.\[]", rest, maxsplit=1)[0]
            elements.append(name)
            rest = rest[len(name) :]
    return elements


def _quoted(text: str) -> tuple[str, str]:
    name = ""
    position = 0
    while position < len(text):
        if text.startswith('\\"', position):
            name += '"'
            position += 2
        elif text[position] == '"':
            if text[position + 1 : position + 2] != "]":
                raise PathError("missing closing bracket in property access")
            return name, text[position + 2 :]
        else:
            name += text[position]
            position += 1
    raise PathError("missing closing quote in property name")


def set_path(root: Any, path: Sequence[str | int], text: str) -> Any:
    """Return a copy of `root` with the value at `path` set to `text`, which becomes a boolean or whole number if
    it reads as one.

    Everything beside the path stays. Containers that are missing are made; a scalar where the first container is
    expected is replaced by one; an index may be at most one past the end. PathError otherwise.
    """
    if not isinstance(root, (dict, list)):
        root = None
    return _set(root, [], path, coerce(text))


def _set(value: Any, seen: list[str | int], path: Sequence[str | int], new: Any) -> Any:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if value is None:
        value = [None] * max(0, head + 1) if isinstance(head, int) else {}
    if isinstance(value, list):
        if not isinstance(head, int):
            raise PathError(f"{_shown([*seen, head])}: key for an array must be an int")
        if not 0 <= head <= len(value):
            raise PathError(f"{_shown([*seen, head])}: array index out of range, it has {len(value)} items")
        before = value[head] if head < len(value) else None
        return [*value[:head], _set(before, [*seen, head], rest, new), *value[head + 1 :]]
    if isinstance(value, dict):
        if not isinstance(head, str):
            raise PathError(f"{_shown([*seen, head])}: key for a map must be a string")
        return {**value, head: _set(value.get(head), [*seen, head], rest, new)}
    raise PathError(f"{_shown(seen)}: expected {'an array' if isinstance(head, int) else 'a map'}")


def coerce(text: str) -> Any:
    """Read `true`, `false` and whole numbers as such; anything else, and `0123`, stays text."""
    if text in {"true", "false"}:
        return text == "true"
    if len(text) > 1 and text.startswith("0"):
        return text
    if _WHOLE_NUMBER.fullmatch(text) and _INT64_MIN <= int(text) <= _UINT64_MAX:
        return int(text)
    return text


def _shown(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")

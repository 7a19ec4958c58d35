"""YAML as the Pulumi engine reads it (gopkg.in/yaml.v3), which is not quite as PyYAML does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from preview.errors import InvalidFile, Problem

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Differs from PyYAML in what yaml.v3 does differently.

    `yes`, `on` and their like are text, so are dates and `12:30`; `1e3` is a number; a key that stands twice is
    an error.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: dict[Any, Any] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool, type(None))):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice, first in line {seen[key]}", key_node.start_mark
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _construct_int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "").lower()
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if digits.startswith(("0x", "0b", "0o")):
        return sign * int(digits, 0)
    return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)


def _construct_float(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty one is an empty mapping.

    Raises `InvalidFile` with file, line and column where it is broken, is not text, or holds something else.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise InvalidFile(path.name, [_broken(path, error)]) from None
    except UnicodeDecodeError as error:
        raise InvalidFile(
            path.name,
            [Problem(key=path.name, reason=f"is not UTF-8 text: {error.reason}", fix="save it as UTF-8")],
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        problem = Problem(
            key=f"{path.name}:1",
            reason=f"holds a {type(content).__name__}, not keys with values",
            fix="write `key: value` lines",
        )
        raise InvalidFile(path.name, [problem])
    return {str(key): value for key, value in content.items()}


def _broken(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = path.name if mark is None else f"{path.name}:{mark.line + 1}:{mark.column + 1}"
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = path.read_text(encoding="utf-8-sig").splitlines()[mark.line : mark.line + 1] if mark else []
    shown = f": {_without_value(line[0])}" if line else ""
    return Problem(
        key=where,
        reason=f"is not valid YAML: {what}{shown}",
        fix="check indentation, colons and quotes in this line and the one above",
    )


def _without_value(line: str) -> str:
    """A line for a person without what could be a secret: its key, or nothing."""
    key, colon, _ = line.partition(": ")
    return f"`{key.strip()}{': ...' if colon else ''}`" if len(key) < 60 else "this line"

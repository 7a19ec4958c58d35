"""What differs between two values, by path; lists are matched by what names their items, texts by lines."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from preview.values import SHOWN_SECRET, SHOWN_UNKNOWN, UNKNOWN, UNKNOWN_SENTINEL, Secret, plain


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "-"


MISSING: Final = Missing.MISSING
"""There is nothing at this path."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret: it can be compared, and not be read."""

    digest: str

    def __repr__(self) -> str:
        return SHOWN_SECRET


@dataclass(frozen=True, slots=True)
class Awaited:
    """A value that is not known yet, of these resources (URNs)."""

    urns: tuple[str, ...]

    def __repr__(self) -> str:
        return f"[unknown, of {', '.join(urn.rpartition('::')[2] for urn in self.urns)}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One value that differs: MISSING stands for none."""

    path: str
    before: Any
    after: Any

    @property
    def inverse(self) -> Difference:
        """The same, the other way."""
        return Difference(path=self.path, before=self.after, after=self.before)

    @property
    def lines(self) -> list[str]:
        """Of two texts of several lines, those that differ, marked with + and -; else none."""
        if not _is_text(self.before) or not _is_text(self.after):
            return []
        found = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), n=0, lineterm="")
        return [line for line in found if not line.startswith(("---", "+++", "@@"))]


NAMES: Final = ("name", "key", "id", "record", "alert", "mountPath", "containerPort", "port", "topologyKey", "title")
"""Keys that may name an item of a list, the first that names all of them and each once."""


def comparable(value: Any, rename: Callable[[str], str] = str) -> Any:  # noqa: PLR0911 - one case a line
    """Bring a decoded value into a form in which equal things are equal: numbers by value, secrets by digest."""
    if isinstance(value, Secret):
        text = json.dumps(plain(value.value, secret=plain), sort_keys=True, default=str)
        return Hidden(hashlib.sha256(rename(text).encode()).hexdigest())
    if value is UNKNOWN or value == UNKNOWN_SENTINEL:
        return UNKNOWN
    if isinstance(value, str):
        return rename(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): comparable(item, rename) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(item, rename) for item in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return comparable(plain(value), rename)


def awaiting(value: Any, awaits: Mapping[str, tuple[str, ...]], path: str = "") -> Any:
    """Put what an unknown value waits for in its place; paths are those of `preview.values.lower`."""
    if isinstance(value, dict):
        return {key: awaiting(item, awaits, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list):
        return [awaiting(item, awaits, f"{path}[{place}]") for place, item in enumerate(value)]
    if path not in awaits:
        return value
    if isinstance(value, Hidden):
        return Hidden(value.digest + repr(awaits[path]))
    return Awaited(awaits[path]) if value is UNKNOWN else value


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield every difference between two comparable values."""
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path and _is_plain(key) else key if _is_plain(key) else f'{path}["{key}"]'
            yield from differences(before.get(key, MISSING), after.get(key, MISSING), inner)
        return
    if isinstance(before, list) and isinstance(after, list):
        yield from _in_lists(before, after, path)
        return
    # True is 1 for Python, and not for anybody else.
    if type(before) is type(after) and before == after:
        return
    parsed = _as_json(before), _as_json(after)
    if parsed[0] is not None and parsed[1] is not None and type(parsed[0]) is type(parsed[1]):
        found = list(differences(*parsed, path=path))
        # Written another way it is another text, if the same value.
        yield from found or [Difference(path=path, before=before, after=after)]
        return
    yield Difference(path=path, before=before, after=after)


def _is_plain(key: str) -> bool:
    return bool(key) and all(one.isalnum() or one in "_-:" for one in key)


def _in_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    if (key := _naming(before, after)) is not None:
        named = [{str(item[key]): item for item in items} for items in (before, after)]
        common = [[name for name in one if name in other] for one, other in (named, reversed(named))]
        if common[0] != common[1]:
            yield Difference(path=f"{path}[order]", before=common[0], after=common[1])
        for name in dict.fromkeys([*named[0], *named[1]]):
            yield from differences(named[0].get(name, MISSING), named[1].get(name, MISSING), f"{path}[{name}]")
        return
    old, new = ([json.dumps(item, sort_keys=True, default=repr) for item in items] for items in (before, after))
    if new < old:
        # What two sequences have in common may be found in several ways: one of them, whichever comes first.
        yield from (found.inverse for found in _in_sequences(after, before, new, old, path))
    else:
        yield from _in_sequences(before, after, old, new, path)


def _in_sequences(
    before: list[Any], after: list[Any], old: list[str], new: list[str], path: str
) -> Iterator[Difference]:
    for tag, first, last, start, end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(last - first, end - start)):
            was = before[first + offset] if first + offset < last else MISSING
            now = after[start + offset] if start + offset < end else MISSING
            place = first + offset if was is not MISSING else start + offset
            yield from differences(was, now, f"{path}[{place}]")


def _naming(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """Find the key that names the items of both lists."""
    if not before and not after:
        return None
    for key in NAMES:
        if all(_is_named(items, key) for items in (before, after)):
            return key
    return None


def _is_named(items: Sequence[Any], key: str) -> bool:
    names = [item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str | int)]
    return len(names) == len(items) == len(set(map(str, names)))


def _as_json(value: Any) -> Any:
    """Read a text that holds an object or a list; None for anything else."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def shown(value: Any, longest: int = 80) -> str:
    """Write a value on one line, secrets and unknowns by their stand-ins."""
    if isinstance(value, Hidden):
        return SHOWN_SECRET
    if value is UNKNOWN:
        return SHOWN_UNKNOWN
    if isinstance(value, Awaited):
        return repr(value)
    if value is MISSING:
        return "-"
    text = value if isinstance(value, str) else json.dumps(_written(value), ensure_ascii=False, sort_keys=True)
    text = text.replace("\n", "\\n")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else repr(value)


def as_document(value: Any) -> Any:
    """Write a value as plain JSON for a document; MISSING is not written, so its caller has to leave it out."""
    return _written(value)

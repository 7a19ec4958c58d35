"""YAML files as the Pulumi engine reads them (gopkg.in/yaml.v3), which is not as PyYAML does.

Only PyYAML's parser is used. Refused although the engine takes it, because nobody can have meant it or because that
parser cannot read it: what follows the first document, which the engine does not look at; two keys of which it keeps
one; a word in brackets that ends in a colon, and a tag there with a comma in it; `\\'` between double quotes; a tab
before a comment; a byte order mark within the file; UTF-16; what is wrong in a value that a merge hides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from preview.errors import InvalidFile, Problem
from preview.scalars import TagError, key_text, scalar, short_tag, written_and_read

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_ALIASED: Final = 396_000
"""Values that aliases may stand for, as in yaml.v3's decode.go; of more than a thousand, at most 99 of a hundred."""
_TAG: Final = re.compile(r"(?:&\S+\s+)?!(?!<)\S*[],[{}]")


class NotText(str):
    """A key that is no text in the file: in a stack file it becomes text, in a project file it is refused."""

    __slots__ = ("written",)
    written: str | None
    """As it stands in the file; None for null."""


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty one is an empty mapping.

    Values are text, truths, numbers, None, `Timestamp`, lists and dicts. Raises `InvalidFile` with file, line and
    column of all that is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(
            path.name,
            [Problem(key=path.name, reason=f"is not UTF-8 text: {error.reason}", fix="save it as UTF-8")],
        ) from None
    document = _Document(path.name, text)
    content = None
    try:
        content = document.read()
    except yaml.YAMLError as error:
        document.problems.append(_broken(path.name, text, error))
    except RecursionError:
        document.problems.append(Problem(key=path.name, reason="nests too deep", fix="write it flatter"))
    if document.problems:
        raise InvalidFile(path.name, document.problems)
    if content is None:
        return {}
    if not isinstance(content, dict):
        problem = Problem(
            key=f"{path.name}:1",
            reason=f"holds a {type(content).__name__}, not keys with values",
            fix="write `key: value` lines",
        )
        raise InvalidFile(path.name, [problem])
    return content


class _Document:
    """The first document of a file, with what is wrong in it."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, list[Any]] = {}
        """Value and size of what each stands for; empty where that has not ended yet."""
        self._read = self._aliased = self._brackets = 0

    def read(self) -> Any:
        """Its value. Raises YAMLError where it cannot be parsed to its end."""
        next(self._events)
        if (place := self.text.find("\ufeff")) >= 0:
            line = self.text.count("\n", 0, place) + 1
            fix = r'take it out, or write it as "\uFEFF"'
            self.problems.append(
                Problem(
                    key=f"{self.file}:{line}", reason="an invisible byte order mark stands within the file", fix=fix
                )
            )
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            return None
        if start.version not in (None, (1, 1)):
            self._wrong(start, "the engine reads YAML 1.1 only", "take the line with %YAML out")
        value = self._value(next(self._events))
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._wrong(after, "a second document begins, and the engine reads the first one alone", "leave one")
        return value

    def _value(self, event: Any) -> Any:
        self._read += 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag and _TAG.match(self.text, event.start_mark.index):
            self._wrong(event, "to the engine the tag goes on to the next space", "write a space behind it")
        before = self._read
        anchored: list[Any] = []
        if event.anchor:
            self._anchors[event.anchor] = anchored
        brackets = bool(getattr(event, "flow_style", False))
        self._brackets += brackets
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(inner) for inner in self._until(yaml.SequenceEndEvent)]
        else:
            value = self._mapping()
        self._brackets -= brackets
        anchored += [value, self._read - before + 1]
        return value

    def _until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._wrong(event, f"there is no anchor &{event.anchor} above it", "write the value itself")
            return None
        anchored = self._anchors[event.anchor]
        if not anchored:
            self._wrong(event, f"the value of anchor &{event.anchor} contains itself", "write the value itself")
            return None
        value, size = anchored
        self._read += size
        self._aliased += size
        too_many = self._aliased > 100 and self._read > 1000 and self._aliased > 0.99 * self._read
        if too_many or self._aliased > _MOST_ALIASED:
            raise yaml.composer.ComposerError(None, None, "too much of it is aliases", event.start_mark)
        return value

    def _scalar(self, event: Any) -> Any:
        tag = short_tag(event.tag)
        if event.style == '"' and "/" in re.findall(r"\\(.)", self._source(event), re.DOTALL):
            self._wrong(event, r"`\/` is no escape that the engine knows", "write / without the backslash")
        if self._brackets and not event.style and "?" in event.value:
            self._wrong(event, "in brackets a `?` ends a word to the engine", "write it in quotes")
        if event.style and not tag:
            tag = "!!str"
        try:
            value = scalar(tag, event.value)
        except TagError as error:
            self._wrong(event, f"the tag {tag} does not fit: {error}", "write the value without a tag")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._wrong(event, f"{event.value} is no number that the engine can hand over", "write it in quotes")
            return None
        try:
            return written_and_read(value) if isinstance(value, str) else value
        except ValueError as error:
            self._wrong(event, f"the engine cannot read it: {error}", "begin it with something else")
            return None

    def _mapping(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[dict[str, Any]] = []
        only_text = True
        for event in self._until(yaml.MappingEndEvent):
            # Also in quotes: the engine writes it without them, and reads that again.
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<":
                merged += self._merged()
                key, written = "<<", "<<"
            else:
                key, written = self._key(event)
                only_text = only_text and not isinstance(key, NotText)
                found[key] = self._value(next(self._events))
            for same in {key, written} & lines.keys():
                self._wrong(event, f"key {same!r} stands twice, first in line {lines[same]}", "leave one of them")
                break
            lines |= dict.fromkeys((key, written), event.start_mark.line + 1)
        for inherited in merged:
            for key, value in inherited.items():
                # Beside keys that are text, one that was not is what was written, and null is left out.
                text = key.written if only_text and isinstance(key, NotText) else key
                if text is not None:
                    found.setdefault(text, value)
        return found

    def _key(self, event: Any) -> tuple[str, str]:
        """A key, and how it is written."""
        value = self._value(event)
        if isinstance(value, (dict, list)):
            self._wrong(event, "a key must be text", "write a word before the colon")
            return NotText(), ""
        written = event.value if isinstance(event, yaml.ScalarEvent) else f"*{event.anchor}"
        tag = short_tag(event.tag) if isinstance(event, yaml.ScalarEvent) else ""
        if isinstance(value, str) and tag in {"", "!!str"}:
            return value, written
        key = NotText(value if isinstance(value, str) else key_text(value))
        key.written = None if value is None else written
        return key, written

    def _merged(self) -> list[dict[str, Any]]:
        event = next(self._events)
        value = self._value(event)
        listed = value if isinstance(event, yaml.SequenceStartEvent) else [value]
        if all(isinstance(item, dict) for item in listed):
            return list(listed)
        self._wrong(event, "`<<` takes a mapping or a list of mappings", "write an alias of a mapping")
        return []

    def _source(self, event: Any) -> str:
        return self.text[event.start_mark.index : event.end_mark.index]

    def _wrong(self, event: Any, reason: str, fix: str) -> None:
        mark = event.start_mark
        where = f"{self.file}:{mark.line + 1}:{mark.column + 1}"
        self.problems.append(Problem(key=where, reason=f"{reason}{_shown_line(self.text, mark)}", fix=fix))


def _broken(file: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = file if mark is None else f"{file}:{mark.line + 1}:{mark.column + 1}"
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(
        key=where,
        reason=f"is not valid YAML: {what}{_shown_line(text, mark)}",
        fix="check indentation, colons and quotes in this line and the one above",
    )


def _shown_line(text: str, mark: Any) -> str:
    """A line for a person without what could be a secret: its key, or nothing."""
    lines = text.splitlines()[mark.line : mark.line + 1] if mark else []
    if not lines:
        return ""
    key, colon, _ = lines[0].partition(": ")
    return f": `{key.strip()}{': ...' if colon else ''}`" if len(key) < 60 else ": this line"

"""What a word of YAML is to the Pulumi engine, and how it writes a value as configuration text.

Sources: `resolve.go` of gopkg.in/yaml.v3 (what is a number, a timestamp, a truth), `encode.go` of Go's encoding/json
and `FormatFloat` (texts), Go's time package (timestamps). The engine reads each file, writes it as YAML and reads
that again (`loaders.go` of sdk/go/common/workspace), which is why `-0.0` is 0.
"""

from __future__ import annotations

import base64
import calendar
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

INT64: Final = range(-(2**63), 2**63)
_UINT64_END: Final = 2**64
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_WORDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_WHOLE: Final = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_BASES: Final = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_LONGEST_WHOLE: Final = 70
"""Characters; 64 bits and their sign are 67."""
_NOT_IN_BLOCK: Final = re.compile(r"[^\t\n -~\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]| (?:[\n\u2028\u2029]|\Z)")
"""For what yaml.v3 writes no block: characters that it does not hold for printable, spaces where a line ends."""
_BREAKS: Final = ("\n", "\u2028", "\u2029")
_BROKEN: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MOMENT: Final = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)"
    r"(?:(?P<gap>[Tt]| +)(?P<hour>\d\d?):(?P<minute>\d\d?):(?P<second>\d\d?)(?:[.,](?P<part>\d+))?"
    r"(?P<zone>Z|[-+]\d\d:\d\d)?)?",
    re.ASCII,
)


class TagError(ValueError):
    """A word that is not what its tag says."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An unquoted date or time."""

    in_stack: str
    """What a stack file's becomes: Go's `Time.String()`, which names the zone as the machine calls it."""
    in_project: str
    """What a project file's becomes: RFC 3339."""


def short_tag(tag: str | None) -> str:
    """`!!int` for `tag:yaml.org,2002:int`; empty without a tag."""
    if tag is None or tag == "!":
        return ""
    return "!!" + tag.removeprefix(_TAG_PREFIX) if tag.startswith(_TAG_PREFIX) else tag


def scalar(tag: str, text: str) -> Any:
    """Read a word by its short tag, or by what it looks like without one. Raises TagError where the tag is wrong."""
    if tag == "!!binary":
        return _binary(text)
    if tag not in {"", "!!bool", "!!int", "!!float", "!!null", "!!timestamp"}:
        return text
    value = _plain(text, timestamps=tag in {"", "!!timestamp"})
    if tag == "!!float" and type(value) is int and value in INT64:
        return float(value)
    if tag and tag != tag_of(value):
        raise TagError(f"{text!r} is no {tag}")
    return value


def written_and_read(text: str) -> str:
    """What is left of a text of several lines when the engine has written it as a block and read that again.

    yaml.v3 puts no line break before the block: the text's own first one takes its place. And it gives the indentation
    only where a block begins with a space or a break, so that one with a tab cannot be read. Raises ValueError then.
    """
    if "\n" not in text or _NOT_IN_BLOCK.search(text):
        return text
    if text[0] == "\t":
        raise ValueError("text of several lines cannot begin with a tab")
    return text[1:] if text[0] in _BREAKS else text


def tag_of(value: Any) -> str:
    """The short tag of a scalar."""
    kinds = {bool: "!!bool", int: "!!int", float: "!!float", type(None): "!!null", Timestamp: "!!timestamp"}
    return kinds.get(type(value), "!!str")


def _plain(text: str, *, timestamps: bool) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if timestamps and (moment := _timestamp(text)):
        return moment
    digits = text if text[0] == "." else text.replace("_", "")
    if (whole := _whole(digits)) is not None:
        return whole
    # What overflows a float is text.
    if _BROKEN.fullmatch(digits) and math.isfinite(number := float(digits)):
        return number
    return text


def _whole(digits: str) -> int | None:
    # Go takes a sign behind these two prefixes as well.
    digits = re.sub(r"^0([bo])([-+])", r"\g<2>0\1", digits)
    match = _WHOLE.fullmatch(digits)
    if match is None or len(digits) > _LONGEST_WHOLE:
        return None
    base = str(match.lastgroup)
    number = int(match[base], _BASES[base])
    if match["sign"] == "-":
        number = -number
    return number if number in INT64 or (number < _UINT64_END and not match["sign"]) else None


def _timestamp(text: str) -> Timestamp | None:
    match = _MOMENT.fullmatch(text)
    # Only a `T` goes with a zone, and it needs one.
    if match is None or (match["gap"] in ("T", "t")) != bool(match["zone"]):
        return None
    year, month, day, hour, minute, second = (
        int(match[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")
    )
    zone = match["zone"] or "Z"
    away = 0 if zone == "Z" else int(zone[1:3]) * 60 + int(zone[4:])
    if not (1 <= month <= 12 and 1 <= day <= _days(year, month) and hour < 24 and minute < 60 and second < 60):
        return None
    if zone != "Z" and (int(zone[1:3]) > 24 or int(zone[4:]) > 60):
        return None
    part = (match["part"] or "")[:9].rstrip("0")
    date, time = f"{year:04}-{month:02}-{day:02}", f"{hour:02}:{minute:02}:{second:02}{'.' if part else ''}{part}"
    if not away:
        return Timestamp(f"{date} {time} +0000 UTC", f"{date}T{time}Z")
    hours = f"{zone[0]}{away // 60:02}"
    offset = f"{hours}{away % 60:02}"
    name = _zone_here(f"{date} {time[:8]}", timedelta(minutes=-away if zone[0] == "-" else away)) or offset
    return Timestamp(f"{date} {time} {offset} {name}", f"{date}T{time}{hours}:{away % 60:02}")


def _days(year: int, month: int) -> int:
    # The calendar module has no year 0, which is as leap as the year 400.
    return calendar.monthrange(year or 400, month)[1]


def _zone_here(moment: str, offset: timedelta) -> str | None:
    """What this machine calls the zone, if it is its own: Go then takes that name."""
    try:
        here = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone(offset)).astimezone()
    except (ValueError, OverflowError):
        return None
    return here.tzname() if here.utcoffset() == offset else None


def _binary(text: str) -> str:
    packed = text.replace("\r", "").replace("\n", "")
    try:
        content = base64.b64decode(packed, validate=True)
    except ValueError:
        content = None
    if content is None or len(packed) % 4:
        raise TagError("its text is not base64")
    # On its way to the program JSON replaces each byte that is no UTF-8.
    return re.sub("[\udc80-\udcff]", "\ufffd", content.decode("utf-8", "surrogateescape"))


def number_text(number: float) -> str:
    """A number as Go's JSON has it: `1e-7`, `100000000000000000000`, `1e+21`."""
    if isinstance(number, int):
        return str(number)
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        text = format(Decimal(repr(number)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return repr(number).replace("e-0", "e-")


def json_text(value: Any) -> str:
    """A structured value as Go's JSON has it: keys sorted, `&`, `<` and `>` escaped as for a page of HTML."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(key)}:{json_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return re.sub("[&<>\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    return {True: "true", False: "false"}.get(value, "null")


def key_text(value: Any) -> str:
    """A key that is no text as Go prints it (`%v`)."""
    if isinstance(value, Timestamp):
        return value.in_stack
    if isinstance(value, float) and value and not 1e-4 <= abs(value) < 1e6:
        digits, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
        return f"{digits}e{int(exponent):+03}"
    return "<nil>" if value is None else json_text(value)

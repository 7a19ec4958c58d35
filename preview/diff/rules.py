"""Which fields replace a resource when they change, from replace_rules.csv; each with where a provider says so.

The table is made from the answers of the providers' own plans (`python -m scripts.replace_rules`). A field without a
rule is updated in place, as far as is known here: the provider has the last word. A rule says on which events it
counts. `when` narrows it further: that is judged here where it can be, else the rule counts.
"""

import csv
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from preview.diff.values import MISSING, Awaited
from preview.values import UNKNOWN

FILE: Final = Path(__file__).parent / "replace_rules.csv"
MADE_FOR: Final = {"pulumi-gcp": "10.2.0", "pulumi-kubernetes": "4.34.2", "pulumi-random": "4.21.4"}
"""The providers' SDKs that the table was made for: another version asks for a new one."""
REVISIONS: Final = {
    "gcp": "hashicorp/terraform-provider-google-beta@93c65b2d",
    "kubernetes": "pulumi/pulumi-kubernetes@94977969",
    "pulumi": "pulumi/pulumi-kubernetes@94977969",
    "random": "hashicorp/terraform-provider-random@v3.9.0",
}
"""By package, the providers' sources that the table's places are in."""


class Event(StrEnum):
    """What becomes of a value."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    UNKNOWN = "unknown"
    """It is not known until something that is made anew is there."""


EVENTS: Final = tuple(Event)
UNORDERED: Final = "unordered"
"""Beside the events: a set, whose order says nothing."""
STAYS: Final = "stays"
"""Beside the events: what is left out keeps its value, and all that is in it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A type (a pattern), a path without list places, on which events, when, and who says so.

    A path that ends with `.*` stands for everything below as well.
    """

    type: str
    path: str
    on: str
    when: str
    source: str

    @property
    def field(self) -> str:
        """The path without `.*`."""
        return self.path.removesuffix(".*")

    @property
    def told_by(self) -> str:
        """The provider's source, with its repository and revision."""
        is_place = ".go" in self.source
        return f"{REVISIONS[self.type.partition(':')[0]]} {self.source}" if is_place else self.source


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of the table."""
    with FILE.open(encoding="utf-8", newline="") as table:
        return tuple(Rule(**row) for row in csv.DictReader(table))


@cache
def _rules_of(token: str) -> tuple[Rule, ...]:
    exact = tuple(rule for rule in rules() if rule.type == token)
    patterns = (rule for rule in rules() if "*" in rule.type and fnmatchcase(token, rule.type))
    # What stands for a kind of types is for those that have no rules of their own; metadata is every kind's.
    return (*exact, *(rule for rule in patterns if not exact or rule.type == "kubernetes:*"))


@cache
def sets_of(token: str) -> frozenset[str]:
    """Give the paths of a type's sets."""
    return frozenset(rule.field for rule in _rules_of(token) if UNORDERED in rule.on.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What a condition may look at beside the value: the resource's inputs before and after, and its provider's."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    provider: Mapping[str, Any]


NOTHING: Final = Around(before={}, after={}, provider={})


def rule_for(token: str, path: str, *, before: Any, after: Any, around: Around = NOTHING) -> Rule | None:
    """Find the rule by which a change of a value replaces a resource; MISSING stands for none."""
    bare = re.sub(r"\[[^\]]*\]", "", path)
    # An item that comes or goes is a change of its list.
    event = Event.CHANGED if path.endswith("]") and not _is_unknown(after) else _event(before, after)
    for rule in _rules_of(token):
        if after is MISSING and bare == rule.field and not path.endswith("]") and STAYS in rule.on.split():
            return None
        if rule.path == "*" or bare == rule.field or (rule.path != rule.field and bare.startswith(f"{rule.field}.")):
            if event in rule.on.split() and _applies(rule, before, after, around):
                return rule
        elif rule.field.startswith(f"{bare}."):
            # A whole object came or went: what it holds came or went with it.
            was, now = (_within(rule.field.removeprefix(f"{bare}."), value) for value in (before, after))
            inner = _event(was, now)
            came_or_went = any(value is MISSING for value in (before, after)) and was is not now
            if came_or_went and inner in rule.on.split() and _applies(rule, was, now, around):
                return rule
    return None


def _is_nothing(value: Any) -> bool:
    return value is MISSING or value is None or (not isinstance(value, Enum) and value in (False, "", [], {}))


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _event(before: Any, after: Any) -> Event:
    if _is_unknown(after):
        return Event.UNKNOWN
    if before is MISSING:
        return Event.ADDED
    return Event.REMOVED if after is MISSING else Event.CHANGED


def _is_unknown(value: Any) -> bool:
    return value is UNKNOWN or isinstance(value, Awaited)


def _within(path: str, value: Any) -> Any:
    """Find the first value below an object, through lists; MISSING where there is none."""
    for part in path.split("."):
        if isinstance(value, list):
            value = next((item for item in value if isinstance(item, dict) and part in item), MISSING)
        value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
    return value


def is_judged(rule: Rule) -> bool:
    """Whether its condition, if it has one, can be judged here; else the rule counts."""
    return not rule.when or any(re.fullmatch(pattern, rule.when) for pattern in _CONDITIONS)


def _applies(rule: Rule, before: Any, after: Any, around: Around) -> bool:
    # For Terraform's SDK what is absent is false, 0 or empty, unless it has a default.
    # It reads "1" as 1 and "true" as true.
    both_nothing, one_text = _is_nothing(before) and _is_nothing(after), _as_text(before) == _as_text(after)
    is_same = rule.type.startswith("gcp:") and (both_nothing or one_text)
    if is_same and not rule.when.startswith("where absent is "):
        return False
    for pattern, applies in _CONDITIONS.items():
        if (match := re.fullmatch(pattern, rule.when)) is not None:
            return applies(match, before, after, around)
    return True


def _is_immutable(match: re.Match[str], _before: Any, _after: Any, around: Around) -> bool:
    return str(around.provider.get(match[1], "")).lower() != "true" or around.after.get("immutable") is True


def _is_another_cluster(_match: re.Match[str], _before: Any, _after: Any, around: Around) -> bool:
    kept = around.after.get("clusterIdentifier")
    return not kept or _is_unknown(kept) or kept != around.before.get("clusterIdentifier")


_CONDITIONS: Final[Mapping[str, Callable[[re.Match[str], Any, Any, Around], bool]]] = {
    r"where absent is (.*)": lambda match, before, after, _around: (
        len({match[1] if value is MISSING else str(value).lower() for value in (before, after)}) == 2
    ),
    "where more than case differs": lambda _match, before, after, _around: (
        # The names of federated principals are told apart by case.
        len({text if (text := str(value)).startswith("principal") else text.lower() for value in (before, after)}) == 2
    ),
    "where the link differs": lambda _match, before, after, _around: _link(before, after) != _link(after, after),
    "where the last part differs": lambda _match, before, after, _around: (
        len({str(value).rpartition("/")[2] for value in (before, after)}) == 2
    ),
    "where it was true": lambda _match, before, _after, _around: str(before).lower() == "true",
    "where an entry goes": lambda _match, before, _after, _around: before not in (MISSING, [], {}),
    "where the range shrinks or moves": lambda _match, before, after, _around: not _holds(before, after),
    r"while (\w+) is (\w+)": lambda match, _before, _after, around: (
        str(around.after.get(match[1])).lower() == match[2].lower()
    ),
    r"unless the provider has (\w+), and it is not immutable": _is_immutable,
    "unless that is the namespace default": lambda _match, before, after, _around: (
        not {before, after} <= {MISSING, None, "default"}
    ),
    "unless clusterIdentifier stays": _is_another_cluster,
    "unless both are empty": lambda _match, before, after, _around: any(
        value not in (MISSING, {}, None) for value in (before, after)
    ),
}


def _link(value: Any, new: Any) -> str:
    """Give what counts of a link: its last part where the new one is a bare name, else all from the project on."""
    text = str(value)
    return text.rpartition("/")[2] if "/" not in str(new) else text[max(text.find("projects/"), 0) :]


def _holds(before: Any, after: Any) -> bool:
    try:
        return ipaddress.IPv4Network(before).subnet_of(ipaddress.IPv4Network(after))
    except (TypeError, ValueError):
        return False

"""Which fields replace a resource when they change, from replace_rules.csv; each with where a provider says so.

A field without a rule is updated in place, as far as is known here: the provider has the last word.
`when` narrows a rule: it is checked here where that can be done, else the rule counts.
"""

import csv
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent / "replace_rules.csv"
_UNLESS: Final = "unless the provider has "
_SHRINKS: Final = "where the range shrinks or moves"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A type (a pattern), a path without list places, when, and who says so."""

    type: str
    path: str
    when: str
    source: str


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of the table."""
    with FILE.open(encoding="utf-8", newline="") as table:
        return tuple(Rule(**row) for row in csv.DictReader(table))


@cache
def _rules_of(token: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules() if fnmatchcase(token, rule.type))


def rule_for(
    token: str, path: str, *, before: Any = None, after: Any = None, provider: Mapping[str, Any] | None = None
) -> Rule | None:
    """Find the rule by which a change of a field replaces a resource; `provider` holds its provider's inputs."""
    bare = re.sub(r"\[[^\]]*\]", "", path)
    for rule in _rules_of(token):
        covers = rule.path in ("*", bare) or bare.startswith(f"{rule.path}.")
        covers = covers or _holds(rule, bare, before) or _holds(rule, bare, after)
        if covers and _applies(rule, before, after, provider or {}):
            return rule
    return None


def _holds(rule: Rule, path: str, value: Any) -> bool:
    """Whether a whole object was added or taken away that holds the rule's field."""
    if not rule.path.startswith(f"{path}."):
        return False
    inner = value
    for part in rule.path.removeprefix(f"{path}.").split("."):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner is not None


def _applies(rule: Rule, before: Any, after: Any, provider: Mapping[str, Any]) -> bool:
    if rule.when.startswith(_UNLESS):
        return str(provider.get(rule.when.removeprefix(_UNLESS), "")).lower() != "true"
    if rule.when == _SHRINKS:
        try:
            return not ipaddress.IPv4Network(before).subnet_of(ipaddress.IPv4Network(after))
        except (TypeError, ValueError):
            return True
    return True

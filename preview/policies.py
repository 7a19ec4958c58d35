"""Stub."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    MANDATORY = "mandatory"
    ADVISORY = "advisory"


class Verdict(StrEnum):
    VIOLATED = "violated"
    NOT_JUDGED = "not judged"
    PASSED = "passed"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    rule: str
    level: Level
    verdict: Verdict
    urn: str
    message: str


def judge(root, snapshots, timeout=None):
    return [() for _ in snapshots]

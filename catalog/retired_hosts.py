"""Hosts of charts and images that are gone, go, or get nothing new: nothing of a stack may name one."""

import csv
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class RetiredHost:
    """A host, or a folder of one, and the first day on which it cannot be relied on.

    For Istio's that is the day of the last trial, for which they are off; they go in December 2026, on a day that
    nobody had told when it was read (2026-11-30).
    """

    host: str
    retired_from: date
    replacement: str
    source: str


@cache
def retired_hosts() -> tuple[RetiredHost, ...]:
    """All that are known, by host."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = tuple(csv.DictReader(file))
    return tuple(
        RetiredHost(
            host=row["host"],
            retired_from=date.fromisoformat(row["retired_from"]),
            replacement=row["replacement"],
            source=row["source"],
        )
        for row in rows
    )


def retired_in(text: str) -> RetiredHost | None:
    """Find the first retired host that a text names: an image, the address of a chart, or a whole document."""
    for one in retired_hosts():
        # Not inside another host or path: a mirror of it may well have its name.
        if re.search(rf"(?:(?<=://)|(?<![\w./-])){re.escape(one.host)}(?![\w-]|\.\w)", text):
            return one
    return None

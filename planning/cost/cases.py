"""A figure in three cases: when nobody asks and nothing goes wrong, as expected, and at everything's most."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Case(StrEnum):
    """Which of the three."""

    LOW = "low"
    """Every model at its minimum, on the cheapest nodes that it may land on."""
    EXPECTED = "expected"
    """As `Usage` says."""
    HIGH = "high"
    """Every model at its maximum all month, on the dearest nodes that it may land on."""


class Cases(NamedTuple):
    """One figure in each case. A single line's need not rise from low to high: hours move to dearer nodes."""

    low: float
    expected: float
    high: float

    def plus(self, other: Cases) -> Cases:
        """Add case by case."""
        return Cases(*(mine + others for mine, others in zip(self, other, strict=True)))

    def times(self, factor: float) -> Cases:
        """Multiply all three."""
        return Cases(*(value * factor for value in self))


NONE = Cases(0.0, 0.0, 0.0)


def always(value: float) -> Cases:
    """Say the same in every case."""
    return Cases(value, value, value)


def total(figures: list[Cases]) -> Cases:
    """Add up any number of them."""
    found = NONE
    for figure in figures:
        found = found.plus(figure)
    return found

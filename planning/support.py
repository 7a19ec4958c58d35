"""Until when somebody looks after what a stack runs, and what to say when nobody does any more."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from planning.schema import EngineName


@dataclass(frozen=True, kw_only=True, slots=True)
class Support:
    """The last day on which a version gets fixes, and who says so. None: nobody names a day, and the source says that.

    A day that is only expected, or a month, is a day all the same: better a warning too early than none.
    """

    until: date | None
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One constant of versions.py as planning sees it."""

    constant: str
    version: str
    """What is pinned, as a person would write it."""
    support: Support
    engine: EngineName | None = None
    """The engine whose image this is, where a model names none of its own; None for what every stack runs."""


def ended(parts: Iterable[Part], *, engines: Container[EngineName], today: date) -> Iterator[str]:
    """Warn of each part whose last day is over, of an engine's image only where one of these engines runs it."""
    for part in parts:
        until = part.support.until
        if until is not None and until < today and (part.engine is None or part.engine in engines):
            yield (
                f"{part.constant} in versions.py is {part.version}, which gets no fixes since {until} "
                f"({part.support.source}): move it to a version that does, look at what that changes "
                "(make preview ARGS=--against), then make up"
            )

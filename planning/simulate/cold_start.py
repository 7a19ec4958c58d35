"""How long a replica takes from nothing to its first answer: a sum of named parts, each with a spread."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part in seconds: at the least, most often, at the most (a triangle); who says so in a word, and at length."""

    name: str
    least: float
    likely: float
    most: float
    on_new_node: bool = False
    """Whether only a node that was not there before needs it."""
    by: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse figures out of order."""
        if not 0 <= self.least <= self.likely <= self.most:
            raise ValueError(f"{self.name}: {self.least}, {self.likely}, {self.most} seconds are not in order")

    @property
    def mean(self) -> float:
        """Seconds on average."""
        return (self.least + self.likely + self.most) / 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """The parts in their order."""

    parts: tuple[Part, ...]

    @property
    def mean(self) -> float:
        """Seconds on average, on a new node."""
        return sum(part.mean for part in self.parts)

    @property
    def range(self) -> tuple[float, float]:
        """Seconds at the least and at the most, on a new node."""
        return sum(part.least for part in self.parts), sum(part.most for part in self.parts)

    def draw(self, random: Random, *, new_node: bool) -> dict[str, float]:
        """Seconds of each part, for one replica; a node that is there already has driver and image."""
        return {
            part.name: random.triangular(part.least, part.most, part.likely)
            for part in self.parts
            if new_node or not part.on_new_node
        }


NO_COLD_START = ColdStart(parts=())
"""A replica serves as soon as it is wanted."""

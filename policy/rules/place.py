"""Walking in properties: every value knows where it stands, and an unknown one cannot be taken for anything else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planning.cost.recorded import UNKNOWN


class NotKnown(Exception):  # noqa: N818  (it is a state, not an error)
    """A value was asked for that exists only once the resource does; `what` says which."""

    def __init__(self, what: str) -> None:
        """Take the value's place, or another name for it."""
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a resource's properties. There may be nothing: then its value is None, and so is all below it."""

    found: Any
    path: str = ""

    def __getitem__(self, key: str | int) -> "Place":
        """Step to a key of a mapping or to a place in a list."""
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}".removeprefix(".")
        if self.found == UNKNOWN:
            # What is below a value that is not known is not known either, and its name is the one to tell.
            return self
        if isinstance(self.found, Mapping) and isinstance(key, str):
            return Place(self.found.get(key), path)
        if isinstance(self.found, Sequence) and not isinstance(self.found, str) and isinstance(key, int):
            return Place(self.found[key], path)
        return Place(None, path)

    def at(self, *keys: str | int) -> "Place":
        """Step several times."""
        place = self
        for key in keys:
            place = place[key]
        return place

    @property
    def value(self) -> Any:
        """What is there; None for nothing. Raises NotKnown."""
        if self.found == UNKNOWN:
            raise NotKnown(self.path)
        return self.found

    @property
    def text(self) -> str:
        """What is there as text, empty for nothing. Raises NotKnown."""
        value = self.value
        return "" if value is None else str(value)

    def each(self) -> "Iterator[Place]":
        """Go through a list; none where there is no list. Raises NotKnown."""
        value = self.value
        if isinstance(value, Sequence) and not isinstance(value, str):
            for index in range(len(value)):
                yield self[index]

    def items(self) -> "Iterator[tuple[str, Place]]":
        """Go through a mapping; nothing where there is none. Raises NotKnown."""
        value = self.value
        if isinstance(value, Mapping):
            for key in value:
                yield key, self[key]

    def leaves(self) -> "Iterator[tuple[str, Place]]":
        """Yield everything below that is neither mapping nor list, each with the nearest key. Unknown ones too."""
        yield from _leaves("", self)


def _leaves(key: str, place: Place) -> Iterator[tuple[str, Place]]:
    found = place.found
    if isinstance(found, Mapping):
        for inner in found:
            yield from _leaves(inner, place[inner])
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for index in range(len(found)):
            yield from _leaves(key, place[index])
    else:
        yield key, place

"""What came of a run: every request's fate, waits, replicas over time, and what the nodes were paid for."""

import math
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Provisioning(StrEnum):
    """How a node is bought."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


class Use(StrEnum):
    """What a node's time was paid for."""

    STARTING = "starting"
    """From the order of a pod until it answers."""
    SERVING = "serving"
    """A replica computes."""
    IDLE = "idle"
    """A replica waits for requests."""
    DRAINING = "draining"
    """A replica was told to stop and goes on with what it has."""
    EMPTY = "empty"
    """No replica, and not given back yet."""


class Moment(NamedTuple):
    """The replicas of a version from `at` on, in seconds."""

    at: float
    wanted: int
    ready: int
    starting: int


class Loss(NamedTuple):
    """A spot node that was called back at `at`, in seconds."""

    at: float
    version: str | None
    """Whose pod it had; None for an empty node."""
    serving: bool
    """Whether the pod was ready, and not just starting or stopping."""
    ready: int
    """Replicas of the version that were ready just before."""


class Cut(NamedTuple):
    """An answer that broke off after its first token, at `at`, `seconds` after its replica had accepted it."""

    at: float
    version: str
    seconds: float
    called_back: bool
    """Whether Google had called the node back, so that it was no stop of our own will."""


@dataclass(kw_only=True, slots=True)
class VersionResults:
    """One version's part."""

    served: int = 0
    moments: list[Moment] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """Seconds of the median request, of the slowest of 20, of 100, and of all; None where there was none."""

    p50: float | None
    p95: float | None
    p99: float | None
    most: float | None


def quantiles(values: Sequence[float]) -> Quantiles:
    """Take them by rank: the smallest value that at least so large a part does not exceed."""
    ranked = sorted(values)

    def at(part: float) -> float | None:
        return ranked[max(0, math.ceil(part * len(ranked)) - 1)] if ranked else None

    return Quantiles(p50=at(0.5), p95=at(0.95), p99=at(0.99), most=at(1.0))


def _floats() -> "array[float]":
    return array("d")


@dataclass(kw_only=True, slots=True)
class Results:
    """One run. Times in seconds; every request is served, refused, cut or too long, and only one of them."""

    seconds: float
    """For which nodes are paid; requests that came until then are served to their end."""
    gpus: int
    """Of one node."""
    arrived: int = 0
    refused: int = 0
    """Callers who gave up."""
    cut: int = 0
    """Answers that broke off after their first token."""
    too_long: int = 0
    """Requests that no replica could ever hold."""
    overloaded: int = 0
    """Attempts that a full engine refused (429)."""
    knocks: int = 0
    """Attempts that found no replica (503)."""
    reset: int = 0
    """Attempts that ended with their replica before the first token."""
    tokens: int = 0
    """Of the answers that were served."""
    came: "array[float]" = field(default_factory=_floats)
    """When the served asked first; the next three are in the same order."""
    queue: "array[float]" = field(default_factory=_floats)
    """Waits inside an engine of the served."""
    first_token: "array[float]" = field(default_factory=_floats)
    """From the first attempt to the first token."""
    whole: "array[float]" = field(default_factory=_floats)
    """From the first attempt to the last token."""
    woken: list[float] = field(default_factory=list)
    """From the first attempt until an engine took the request, of those that found nobody at first."""
    starts: list[float] = field(default_factory=list)
    cut_after: list[float] = field(default_factory=list)
    """How long the cut had been in their engine."""
    cuts: list[Cut] = field(default_factory=list)
    """The same, one by one."""
    lost: list[Loss] = field(default_factory=list)
    """The called-back spot nodes, one by one."""
    at_first: int = 0
    """Served without having asked twice."""
    lingering: int = 0
    """Attempts that the gateway sent to a replica which had closed its port already; it then tried another."""
    stops: int = 0
    """Ready replicas that were told to stop though nobody called their node back."""
    nodes: int = 0
    losses: int = 0
    stock_outs: int = 0
    node_seconds: "defaultdict[tuple[Provisioning, Use], float]" = field(default_factory=lambda: defaultdict(float))
    mean_in_system: float = 0.0
    """Requests that were on their way, on average over the whole run."""
    versions: dict[str, VersionResults] = field(default_factory=dict)

    @property
    def served(self) -> int:
        """Requests that got their whole answer."""
        return len(self.whole)

    @property
    def served_share(self) -> float:
        """Of those that could be served at all; 1 where nobody asked."""
        asked = self.arrived - self.too_long
        return self.served / asked if asked else 1.0

    @property
    def gpu_hours(self) -> float:
        """All that was paid for."""
        return sum(self.node_seconds.values()) * self.gpus / 3600

    def cost(self, usd_per_hour: Mapping[Provisioning, float]) -> dict[tuple[Provisioning, Use], float]:
        """USD by part, at a price for a whole node; KeyError where a kind that was used has no price."""
        return {
            (provisioning, use): seconds / 3600 * usd_per_hour[provisioning]
            for (provisioning, use), seconds in sorted(self.node_seconds.items())
        }

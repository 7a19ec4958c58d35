"""Who asks, when, and for how much."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Protocol

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request: seconds since the start, tokens of the question and of the answer, at least one each."""

    at: float
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Question and answer together."""
        return self.input_tokens + self.output_tokens


class Shape(StrEnum):
    """How lengths are spread around their mean."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """How long questions or answers are, in tokens: `mean` before they are cut at `maximum`.

    `spread` is the standard deviation of the logarithm, for LOGNORMAL alone. Raises ValueError for a mean or a maximum
    below one token, or a spread that is negative or no number.
    """

    mean: int
    maximum: int
    shape: Shape = Shape.LOGNORMAL
    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.mean < 1 or self.maximum < 1:
            raise ValueError(f"mean and maximum must be one token or more: {self.mean}, {self.maximum}")
        if not 0 <= self.spread < math.inf:
            raise ValueError(f"spread must be a number, zero or more: {self.spread}")

    def draw(self, random: Random) -> int:
        """Tokens of one question or answer: from one to the maximum."""
        if self.mean == 1 and self.shape is Shape.EXPONENTIAL:
            tokens = 1
        elif self.shape is Shape.EXPONENTIAL:
            # Rounded up, an exponential length is a geometric one; at this rate its mean is the mean exactly.
            tokens = math.ceil(random.expovariate(-math.log1p(-1 / self.mean)))
        elif self.shape is Shape.LOGNORMAL:
            tokens = round(random.lognormvariate(math.log(self.mean) - self.spread**2 / 2, self.spread))
        else:
            tokens = self.mean
        return max(1, min(tokens, self.maximum))


class Profile(Protocol):
    """How many requests a second are to be expected at each time."""

    @property
    def peak(self) -> float:
        """Requests a second that are never exceeded."""

    def rate_at(self, seconds: float) -> float:
        """Requests a second at a time, in seconds since the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """The same at all times, in requests a second. Raises ValueError for a rate that is negative or no number."""

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    @property
    def peak(self) -> float:
        """The rate."""
        return self.rate

    def rate_at(self, seconds: float) -> float:  # noqa: ARG002  (a profile has it)
        """The rate."""
        return self.rate


@dataclass(frozen=True, kw_only=True, slots=True)
class BusinessHours:
    """`rate` requests a second from one hour of the day to another on the first days of each week, else a part of it.

    Time begins on Monday at midnight. `outside` is the part of the rate that stays at other times, 0 to 1. Raises
    ValueError for hours that are not in order within a day, for days beyond 1 to 7 and for parts beyond 0 to 1.
    """

    rate: float
    from_hour: float = 8
    to_hour: float = 18
    days: int = 5
    outside: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if not 0 <= self.from_hour < self.to_hour <= 24:
            raise ValueError(f"hours must be in order, from 0 to 24: {self.from_hour} to {self.to_hour}")
        if not 1 <= self.days <= 7:
            raise ValueError(f"working days must be 1 to 7: {self.days}")
        if not 0 <= self.outside <= 1:
            raise ValueError(f"the part of the rate outside must be 0 to 1: {self.outside}")

    @property
    def peak(self) -> float:
        """The rate within business hours."""
        return self.rate

    def rate_at(self, seconds: float) -> float:
        """Requests a second at a time, in seconds since Monday's midnight."""
        day, second = divmod(seconds % WEEK, DAY)
        within = day < self.days and self.from_hour * HOUR <= second < self.to_hour * HOUR
        return self.rate if within else self.rate * self.outside


@dataclass(frozen=True, kw_only=True, slots=True)
class Bursts:
    """Another profile, `factor` times as busy in bursts: a mean length each, and a mean time from start to start.

    Both are in seconds; bursts and the quiet between them have exponential lengths, so that `length / every` of the
    time is in a burst. When they come is decided by `seed` alone: other requests may be drawn for the same bursts.
    Raises ValueError for a factor that is negative or no number, and for bursts that leave no time between them.
    """

    of: Profile
    factor: float
    length: float
    every: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.factor < math.inf:
            raise ValueError(f"factor must be a number, zero or more: {self.factor}")
        if not 0 < self.length < self.every < math.inf:
            raise ValueError(f"a burst must be shorter than every so often: {self.length} s every {self.every} s")

    @property
    def peak(self) -> float:
        """The other's peak, in a burst."""
        return self.of.peak * max(1.0, self.factor)

    def rate_at(self, seconds: float) -> float:
        """Requests a second at a time, in seconds since the start."""
        # Asked for up to a power of two, so that the changes are drawn a few times only, however long it takes.
        changes = _changes(self.length, self.every, self.seed, 1 << int(seconds).bit_length())
        in_burst = bisect_right(changes, seconds) % 2
        return self.of.rate_at(seconds) * (self.factor if in_burst else 1.0)


def poisson(profile: Profile, seconds: float, questions: Lengths, answers: Lengths, seed: int) -> Iterator[Request]:
    """Requests of independent people, in order, from 0 until so many seconds; a seed always gives the same ones.

    Drawn at the peak's rate and thinned to the profile (Lewis and Shedler 1979, https://doi.org/10.1002/nav.3800260304).
    Times, questions and answers are drawn apart: another length changes no time.
    """
    peak = profile.peak
    if not peak:
        return
    times, asked, answered = (Random(f"{seed} {what}") for what in ("times", "questions", "answers"))  # noqa: S311
    at = times.expovariate(peak)
    while at < seconds:
        if times.random() * peak < profile.rate_at(at):
            yield Request(at=at, input_tokens=questions.draw(asked), output_tokens=answers.draw(answered))
        at += times.expovariate(peak)


@lru_cache(maxsize=64)
def _changes(length: float, every: float, seed: int, until: float) -> tuple[float, ...]:
    """When bursts begin and end, by turns, until a time at least; the first has begun already where it begins at 0."""
    random = Random(f"{seed} bursts")  # noqa: S311  (no secret)
    in_burst = random.random() < length / every
    changes = [0.0] if in_burst else []
    at = 0.0
    while at <= until:
        at += random.expovariate(1 / (length if in_burst else every - length))
        changes.append(at)
        in_burst = not in_burst
    return tuple(changes)


def _check_rate(rate: float) -> None:
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate must be a number of requests a second, zero or more: {rate}")

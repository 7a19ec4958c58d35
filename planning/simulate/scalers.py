"""Who decides how many replicas there are. A scaler sees what was measured and says a number; the platform obeys.

`Keda` runs the decision code of `monitoring.scaling`, which the program's ScaledObjects come from, and around it what
KEDA and the HorizontalPodAutoscaler do with its answer.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from monitoring.scaling import (
    SCALE_DOWN_PODS,
    SCALE_DOWN_SECONDS,
    SCALE_UP_PODS,
    SCALE_UP_SECONDS,
    replicas_for,
    stabilization_seconds,
)
from planning.simulate.arrivals import DAY, HOUR


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a scaler knows: as old as the last scrape, up to a poll."""

    now: float
    replicas: int
    """Wanted until now, the floor included."""
    ready: int
    requests_per_second: float
    """At the gateway, of all versions together, over two minutes; without those that found no replica."""
    queue: int
    """Requests that wait in this version's engines."""
    active: bool
    """Whether anybody asked within two minutes, or anything is queued or computed, in any version."""
    utilization: float
    """Busy part of the ready replicas' last minute, 0 to 1: what a GPU's duty cycle tells."""


class Scaler(Protocol):
    """One version's decision. It may keep a memory, so every run has one of its own."""

    def wanted(self, seen: Seen) -> int:
        """Say how many replicas there should be, the floor included."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AlwaysOn:
    """The same number, whatever happens."""

    replicas: int

    def wanted(self, seen: Seen) -> int:
        """Say the number."""
        del seen
        return self.replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """So many replicas between two hours of the first `days` days of each week, and another number outside."""

    from_hour: float
    to_hour: float
    replicas: int
    outside: int = 0
    days: int = 7

    def __post_init__(self) -> None:
        """Refuse hours out of order: a night is the rest of a day."""
        if not 0 <= self.from_hour < self.to_hour <= 24:
            raise ValueError(f"hours must be in order, from 0 to 24: {self.from_hour} to {self.to_hour}")

    def wanted(self, seen: Seen) -> int:
        """Look at the clock."""
        day, second = divmod(seen.now, DAY)
        inside = self.from_hour <= second / HOUR < self.to_hour and day % 7 < self.days
        return self.replicas if inside else self.outside


@dataclass(kw_only=True, slots=True)
class Keda:
    """KEDA and the HorizontalPodAutoscaler on one of the program's two signals.

    KEDA moves a version between 0 and 1 on `active`; above that the HorizontalPodAutoscaler decides, with its
    tolerance, its look back before it takes a replica away, and so many pods a minute.
    https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details
    """

    minimum: int
    maximum: int
    startup_seconds: int
    idle_seconds: float = math.inf
    share: float = 1.0
    """Of the model's requests, where the signal is their rate."""
    requests_per_second_per_replica: float | None = None
    queue_per_replica: float | None = None
    _active_at: float = 0.0
    _looked: bool = False
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    TOLERANCE = 0.1
    """kube-controller-manager's --horizontal-pod-autoscaler-tolerance."""

    def __post_init__(self) -> None:
        """Refuse both signals, and none."""
        if (self.requests_per_second_per_replica is None) is (self.queue_per_replica is None):
            raise ValueError("give either requests_per_second_per_replica or queue_per_replica")

    def wanted(self, seen: Seen) -> int:
        """Decide as one poll does."""
        # A version without a share is not woken by requests that it will not get: monitoring.scaling.triggers.
        active = seen.active and self.share > 0
        if active:
            self._active_at = seen.now
        # What KEDA does of its own is not in the HorizontalPodAutoscaler's count of changes.
        if seen.replicas == 0:
            self._recommended.clear()
            return max(1, self.minimum) if active and self.maximum else self.minimum
        if self.minimum == 0 and seen.now - self._active_at >= self.idle_seconds:
            return 0
        return self._changed(seen, self._within_limits(seen, self._stabilized(seen, self._recommendation(seen))))

    def _recommendation(self, seen: Seen) -> int:
        if self.requests_per_second_per_replica is not None:
            load, target, share = seen.requests_per_second, self.requests_per_second_per_replica, self.share
        else:
            load, target, share = float(seen.queue), self.queue_per_replica or 0.0, 1.0
        asked = replicas_for(load, target, share, self.minimum, self.maximum)
        if abs(load * share / (target * seen.replicas) - 1) <= self.TOLERANCE:
            asked = seen.replicas
        return min(max(asked, self.minimum, 1), self.maximum)

    def _stabilized(self, seen: Seen, recommended: int) -> int:
        """Take the highest number of the last minutes, unless that is more than now."""
        if not self._looked:
            # Its first look records what there is.
            self._looked = True
            self._recommended.append((seen.now, seen.replicas))
        window = seen.now - stabilization_seconds(self.startup_seconds)
        while self._recommended and self._recommended[0][0] <= window:
            self._recommended.popleft()
        while self._recommended and self._recommended[-1][1] <= recommended:
            self._recommended.pop()
        self._recommended.append((seen.now, recommended))
        return max(recommended, min(seen.replicas, self._recommended[0][1]))

    def _within_limits(self, seen: Seen, number: int) -> int:
        added = sum(change for at, change in self._changes if change > 0 and seen.now - at < SCALE_UP_SECONDS)
        taken = sum(-change for at, change in self._changes if change < 0 and seen.now - at < SCALE_DOWN_SECONDS)
        most = max(seen.replicas, seen.replicas - added + SCALE_UP_PODS)
        least = min(seen.replicas, seen.replicas + taken - SCALE_DOWN_PODS)
        return min(max(number, least), most)

    def _changed(self, seen: Seen, number: int) -> int:
        while self._changes and seen.now - self._changes[0][0] >= max(SCALE_UP_SECONDS, SCALE_DOWN_SECONDS):
            self._changes.popleft()
        if number != seen.replicas:
            self._changes.append((seen.now, number - seen.replicas))
        return number


@dataclass(kw_only=True, slots=True)
class HuggingFaceEndpoint:
    """A managed endpoint on `hardwareUsage`: 80 % of the GPU over a minute, up every minute, down every second one.

    A replica goes only after 300 seconds in which fewer were enough. How many are added at once is not published: here
    as many as bring the average below the threshold.
    https://github.com/huggingface/hf-endpoints-documentation/blob/main/docs/source/guides/autoscaling.md
    """

    minimum: int
    maximum: int
    threshold: float = 0.8
    scale_to_zero_minutes: float = 15
    _active_at: float = 0.0
    _up_at: float = -math.inf
    _down_at: float = -math.inf
    _higher_at: float = 0.0

    UP_SECONDS = 60
    DOWN_SECONDS = 120
    STABILIZATION_SECONDS = 300

    def wanted(self, seen: Seen) -> int:
        """Decide as the endpoint does."""
        if seen.active:
            self._active_at = seen.now
        if seen.replicas == 0:
            return max(1, self.minimum) if seen.active else self.minimum
        if self.minimum == 0 and seen.now - self._active_at >= self.scale_to_zero_minutes * 60:
            return 0
        enough = math.ceil(seen.ready * seen.utilization / self.threshold - 1e-9)
        enough = min(max(enough, self.minimum, 1), self.maximum)
        if enough >= seen.replicas:
            self._higher_at = seen.now
        if enough > seen.replicas and seen.ready == seen.replicas and seen.now - self._up_at >= self.UP_SECONDS:
            self._up_at = seen.now
            return enough
        waited = seen.now - self._higher_at >= self.STABILIZATION_SECONDS
        if enough < seen.replicas and waited and seen.now - self._down_at >= self.DOWN_SECONDS:
            self._down_at = seen.now
            return enough
        return seen.replicas

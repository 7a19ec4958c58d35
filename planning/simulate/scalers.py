"""Who decides how many replicas there are. A scaler sees what was measured and says a number; the platform obeys.

`Keda` is built from a recorded ScaledObject: it asks its queries, and around the answers does what KEDA and the
HorizontalPodAutoscaler do.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from planning.simulate.arrivals import DAY, HOUR
from planning.simulate.promql import Prometheus
from planning.simulate.scaled_object import FallbackBehavior, Limit, ScaledObject, Trigger

_MILLI: Final = 1000
"""KEDA hands values and thresholds on in whole thousandths: pkg/scalers/scaler.go of KEDA 2.21."""


_Values = Mapping[str, tuple[float, bool] | None]
"""Each trigger's value, and whether it is a fallback's; None is an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a scaler knows: as old as the last scrape, up to a poll."""

    now: float
    replicas: int
    """Wanted until now, the floor included."""
    ready: int
    active: bool
    """Whether anybody asked since the last scrape, or anything is queued or computed, in any version."""
    utilization: float
    """Busy part of the ready replicas' last minute, 0 to 1: what a GPU's duty cycle tells."""
    prometheus: Prometheus | None = None
    """What was scraped; None while it does not answer."""


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
    """KEDA 2.21 and the HorizontalPodAutoscaler of Kubernetes 1.36 on one recorded ScaledObject.

    Both decide at each poll: kube-controller-manager looks as often by default. Each method names the function whose
    rules it has: of KEDA's pkg/scaling/executor/scale_scaledobjects.go and pkg/fallback/fallback.go, of Kubernetes's
    pkg/controller/podautoscaler/horizontal.go.
    """

    scaled: ScaledObject
    floor: int = 0
    """Replicas beside those that it scales."""
    _created_at: float | None = None
    _active_at: float | None = None
    _failures: dict[str, int] = field(default_factory=dict)
    _failed_polls: int = 0
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def wanted(self, seen: Seen) -> int:
        """Decide as one poll of KEDA does, and where it changes nothing as one look of the HorizontalPodAutoscaler."""
        if self._created_at is None:
            self._created_at = seen.now
        if self.scaled.paused_at is not None:
            return self.floor + self.scaled.paused_at
        replicas = seen.replicas - self.floor
        values = {trigger.name: self._value(trigger, seen, replicas) for trigger in self.scaled.triggers}
        scaled = self._scaled(self._polled(values, replicas), replicas, seen.now)
        if scaled == replicas > 0:
            scaled = self._autoscaled(values, replicas, seen.now)
        return self.floor + scaled

    def _polled(self, values: _Values, replicas: int) -> _Values:
        """Give what a poll finds: nothing at all, and no error either, where the HorizontalPodAutoscaler met one first.

        That closes KEDA's cache of scalers, and a poll under way then leaves its triggers out (ClearScalersCache and
        ErrCacheClosed in pkg/scaling). How often is chance: here every second poll that meets an error. At zero the
        HorizontalPodAutoscaler asks nothing.
        """
        if replicas == 0 or None not in values.values():
            return values
        self._failed_polls += 1
        return {} if self._failed_polls % 2 == 0 else values

    def _composite(self, values: _Values) -> float | None:
        """Evaluate the formula (calculateScalingModifiersFormula); None is an error."""
        modifiers = self.scaled.modifiers
        if modifiers is None or None in values.values():
            return None
        value = values.get(modifiers.trigger)
        return modifiers.otherwise if value is None else value[0]

    def _value(self, trigger: Trigger, seen: Seen, replicas: int) -> tuple[float, bool] | None:
        """Give a trigger's value, and whether it is a fallback's; None is an error (GetMetricsWithFallback)."""
        answer = _answer(trigger, seen)
        if answer is not None:
            self._failures[trigger.name] = 0
            return answer, False
        fallback = self.scaled.fallback
        if fallback is None:
            return None
        self._failures[trigger.name] = failures = self._failures.get(trigger.name, 0) + 1
        if failures <= fallback.failure_threshold:
            return None
        number = {
            FallbackBehavior.STATIC: fallback.replicas,
            FallbackBehavior.CURRENT: replicas,
            FallbackBehavior.CURRENT_IF_HIGHER: max(replicas, fallback.replicas),
            FallbackBehavior.CURRENT_IF_LOWER: min(replicas, fallback.replicas),
        }[fallback.behavior]
        return number * trigger.threshold, True

    def _scaled(self, values: _Values, replicas: int, now: float) -> int:
        """Go from 0 to 1, and from any number to 0 (RequestScale, scaleToZeroOrIdle)."""
        scaled, failed = self.scaled, None in values.values()
        if self._is_active(values):
            if replicas == 0:
                self._active_at = now
                return max(1, scaled.minimum)
            if not failed:
                self._active_at = now
            return replicas
        if failed and (scaled.fallback is None or scaled.fallback.replicas):
            return replicas
        if replicas and scaled.minimum == 0:
            since, patience = self._active_at, scaled.cooldown_seconds
            if since is None:
                since, patience = self._created_at or 0.0, scaled.initial_cooldown_seconds
            return 0 if since + patience < now else replicas
        return max(replicas, scaled.minimum)

    def _is_active(self, values: _Values) -> bool:
        if (modifiers := self.scaled.modifiers) is not None:
            composite = self._composite(values)
            return composite is not None and composite > modifiers.activation_target
        return any(
            value[1] or value[0] > trigger.activation_threshold
            for trigger in self.scaled.triggers
            if (value := values.get(trigger.name)) is not None
        )

    def _autoscaled(self, values: _Values, replicas: int, now: float) -> int:
        """Decide on one replica or more (reconcileAutoscaler)."""
        minimum, maximum = max(1, self.scaled.minimum), self.scaled.maximum
        if not self._recommended:
            self._recommended.append((now, replicas))
        if not minimum <= replicas <= maximum:
            return self._changed(now, replicas, min(max(replicas, minimum), maximum))
        metrics = list(self._metrics(values))
        proposals = [self._proposal(target, value, replicas) for target, value in metrics if value is not None]
        proposed = max(proposals, default=0)
        # What some triggers propose counts upwards only while another fails (computeReplicasForMetrics).
        if not proposals or (len(proposals) < len(metrics) and proposed < replicas):
            return replicas
        number = self._limited(now, replicas, self._stabilized(now, replicas, proposed))
        return self._changed(now, replicas, min(max(number, minimum), maximum))

    def _metrics(self, values: _Values) -> Iterator[tuple[float, float | None]]:
        """Yield each target with the value that the HorizontalPodAutoscaler compares with it; None is an error."""
        if (modifiers := self.scaled.modifiers) is not None:
            yield modifiers.target, self._composite(values)
            return
        for trigger in self.scaled.triggers:
            value = values[trigger.name]
            yield trigger.threshold, None if value is None else value[0]

    def _proposal(self, target: float, value: float, replicas: int) -> int:
        """Divide the total among replicas (GetExternalPerPodMetricReplicas); a negative one counts as 0."""
        usage, wanted = max(0, int(value * _MILLI)), int(target * _MILLI)
        ratio = usage / (wanted * replicas)
        if -self.scaled.down.tolerance <= ratio - 1 <= self.scaled.up.tolerance:
            return replicas
        return -(-usage // wanted)

    def _stabilized(self, now: float, replicas: int, proposed: int) -> int:
        """Go up to the lowest number of the last time, down to the highest (stabilizeRecommendationWithBehaviors)."""
        up, down = self.scaled.up.stabilization_seconds, self.scaled.down.stabilization_seconds
        while self._recommended and self._recommended[0][0] <= now - max(up, down):
            self._recommended.popleft()
        lowest = min([proposed, *(number for at, number in self._recommended if at > now - up)])
        highest = max([proposed, *(number for at, number in self._recommended if at > now - down)])
        self._recommended.append((now, proposed))
        return min(max(replicas, lowest), highest)

    def _limited(self, now: float, replicas: int, number: int) -> int:
        """Change no faster than allowed (convertDesiredReplicasWithBehaviorRate)."""
        if number > replicas:
            most = max(self._from(now, replicas, limit, +1) for limit in self.scaled.up.limits)
            return min(number, max(most, replicas))
        if number < replicas:
            least = min(self._from(now, replicas, limit, -1) for limit in self.scaled.down.limits)
            return max(number, min(least, replicas))
        return number

    def _from(self, now: float, replicas: int, limit: Limit, sign: int) -> int:
        """Say how far a limit lets it go, from what there was when its time began."""
        before = replicas - sum(change for at, change in self._changes if at > now - limit.seconds)
        if not limit.percent:
            return before + sign * limit.value
        allowed = before * (1 + sign * limit.value / 100)
        return math.ceil(allowed) if sign > 0 else int(allowed)

    def _changed(self, now: float, replicas: int, number: int) -> int:
        longest = max(limit.seconds for limit in (*self.scaled.up.limits, *self.scaled.down.limits))
        while self._changes and self._changes[0][0] <= now - longest:
            self._changes.popleft()
        if number != replicas:
            # What KEDA does of its own is not in this count.
            self._changes.append((now, number - replicas))
        return number


def _answer(trigger: Trigger, seen: Seen) -> float | None:
    """Ask as KEDA does: one element or none, NaN and infinity are as none (ExecutePromQuery)."""
    if seen.prometheus is None:
        return None
    vector = seen.prometheus.ask(trigger.query, seen.now)
    values: Sequence[float] = [vector] if isinstance(vector, float) else list(vector.values())
    if len(values) > 1:
        return None
    if not values or not math.isfinite(values[0]):
        return 0.0 if trigger.ignore_null_values else None
    return values[0]


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

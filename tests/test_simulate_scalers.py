"""The simulator's scalers: KEDA's and the HorizontalPodAutoscaler's own rules, a managed endpoint's, a clock's."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitoring.scaling import POLLING_SECONDS, replicas_for
from planning.simulate.arrivals import DAY, HOUR
from planning.simulate.promql import Prometheus
from planning.simulate.scaled_object import (
    Direction,
    Fallback,
    FallbackBehavior,
    Limit,
    Modifiers,
    ScaledObject,
    Trigger,
    scaled_object_of,
)
from planning.simulate.scalers import AlwaysOn, HuggingFaceEndpoint, Keda, Scaler, Schedule, Seen

POLL = int(POLLING_SECONDS)
LOAD = Trigger(name="load", query="load", threshold=1.0, ignore_null_values=False)
ACTIVITY = Trigger(name="activity", query="activity", threshold=1.0, ignore_null_values=False)
ONE: dict[str, Any] = {"triggers": (LOAD,), "modifiers": Modifiers(trigger="load", otherwise=1.0, target=1.0)}
"""One trigger and the formula `load ?? 1`, as the program renders them."""


def seen(
    *, now: float = 0.0, replicas: int = 1, ready: int | None = None, active: bool = True, utilization: float = 0.0
) -> Seen:
    return Seen(
        now=now,
        replicas=replicas,
        ready=replicas if ready is None else ready,
        active=active,
        utilization=utilization,
    )


def scaled(
    minimum: int = 1, maximum: int = 30, window: int = 0, cooldown: int = 10**6, **fields: object
) -> ScaledObject:
    """One of the load is what a replica takes; two come and one goes a minute. Any load is activity."""
    given: dict[str, Any] = {
        "workload": "llama-stable",
        "minimum": minimum,
        "maximum": maximum,
        "polling_seconds": POLL,
        "cooldown_seconds": cooldown,
        "initial_cooldown_seconds": 0,
        "up": Direction(stabilization_seconds=0, limits=(Limit(value=2, seconds=60),)),
        "down": Direction(stabilization_seconds=window, limits=(Limit(value=1, seconds=60),)),
        "triggers": (LOAD, ACTIVITY) if minimum == 0 else (LOAD,),
    }
    return ScaledObject(**(given | fields))


def keda(minimum: int = 1, maximum: int = 30, window: int = 0, cooldown: int = 10**6, **fields: object) -> Keda:
    return Keda(scaled=scaled(minimum, maximum, window, cooldown, **fields))


@dataclass(frozen=True)
class Poll:
    load: float | None = 0.0
    """None: Prometheus has no element."""
    active: bool = True
    utilization: float = 0.0
    away: bool = False
    """Prometheus does not answer."""


def steer(scaler: Scaler, replicas: int, polls: Iterable[Poll]) -> list[int]:
    """What a scaler says, poll by poll, where the platform obeys at once."""
    said, prometheus = [], Prometheus()
    for number, poll in enumerate(polls):
        now = float(number * POLL)
        if not poll.away:
            load: list[tuple[str, dict[str, str], float]] = [] if poll.load is None else [("load", {}, poll.load)]
            prometheus.scrape(now, [*load, ("activity", {}, float(poll.active))])
        at = replace(
            seen(now=now, replicas=replicas, active=poll.active, utilization=poll.utilization),
            prometheus=None if poll.away else prometheus,
        )
        replicas = scaler.wanted(at)
        said.append(replicas)
    return said


def changed(said: Sequence[int], sign: int, seconds: int = 60) -> int:
    """How far a step up (down, -1) leaves the number from that of so long before, at the most; waking left out."""
    polls, most = math.ceil(seconds / POLL), 0
    for end in range(1, len(said)):
        begin = max(0, end - polls)
        if 0 not in said[begin : end + 1] and sign * (said[end] - said[end - 1]) > 0:
            most = max(most, sign * (said[end] - said[begin]))
    return most


# The HorizontalPodAutoscaler: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale


@pytest.mark.parametrize(
    ("replicas", "rate", "expected"),
    [
        (2, 4.0, 4),  # "If the current metric value is 200m, and the desired value is 100m": doubled
        (2, 1.0, 1),  # "If the current value is instead 50m": half of it
        (3, 3.5, 4),  # rounded up
        (4, 4.0, 4),
        # The tolerance is a tenth of what the present number takes, both ways.
        (10, 10.9, 10),
        (10, 11.1, 12),
        (20, 18.1, 20),
        (20, 17.9, 19),  # 18, but one a minute
    ],
)
def test_the_documented_algorithm(replicas: int, rate: float, expected: int) -> None:
    assert steer(keda(), replicas, [Poll(load=rate)]) == [expected]


def test_the_highest_of_several_triggers_decides() -> None:
    other = replace(LOAD, name="other", query="load * 2")
    assert steer(keda(triggers=(LOAD, other)), 1, [Poll(load=1)] * 2) == [2, 2]


def test_two_come_a_minute() -> None:
    assert steer(keda(), 1, [Poll(load=7)] * 13) == [3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 7]


def test_one_goes_a_minute() -> None:
    assert steer(keda(), 4, [Poll(load=1)] * 9) == [3, 3, 3, 3, 2, 2, 2, 2, 1]


def test_percent_and_the_widest_of_several_limits() -> None:
    """Kubernetes's own, where nothing is said: four more or twice as many in 15 s, down to none of them at once."""
    own = scaled_object_of(
        {"spec": {"scaleTargetRef": {"name": "x"}, "minReplicaCount": 1, "maxReplicaCount": 99, "triggers": []}}
    )
    free = keda(maximum=99, up=own.up, down=replace(own.down, stabilization_seconds=0))
    assert steer(free, 1, [*[Poll(load=90)] * 5, Poll(load=1)]) == [5, 10, 20, 40, 80, 1]
    tenth = Direction(stabilization_seconds=0, limits=(Limit(value=10, seconds=60, percent=True),))
    assert steer(keda(maximum=99, down=tenth), 50, [Poll(load=1)] * 5) == [45, 45, 45, 45, 40]


def test_the_highest_of_the_window_stays() -> None:
    """Five for the start, then one with a short peak of three: each is kept for 300 seconds since it was asked for."""
    loads = [5.0] * 4 + [1.0] * 4 + [3.0] + [1.0] * 40
    said = steer(keda(window=300), 5, [Poll(load=load) for load in loads])
    last_five, last_three = 3, 8
    window = 300 // POLL
    assert said[: last_five + window] == [5] * (last_five + window)
    # A minute apart, but never below what the window still asks for.
    assert said[last_five + window :][:8] == [4] * 4 + [3] * 4
    assert said.index(2) == max(last_three + window, last_five + window + 8)
    assert said[-1] == 1


def test_a_peak_stays_for_the_window() -> None:
    loads = [1.0] * 4 + [3.0] + [1.0] * 30
    said = steer(keda(window=300), 1, [Poll(load=load) for load in loads])
    window = 300 // POLL
    assert said[4 : 4 + window + 1] == [3] * window + [2]


def test_more_is_not_held_back_by_the_window() -> None:
    assert steer(keda(window=3600), 1, [Poll(load=1), Poll(load=3)]) == [1, 3]


def test_more_is_held_back_by_a_window_of_its_own() -> None:
    up = Direction(stabilization_seconds=60, limits=(Limit(value=9, seconds=60),))
    assert steer(keda(up=up), 1, [*[Poll(load=1)] * 4, *[Poll(load=3)] * 5]) == [1] * 7 + [3] * 2


def test_the_number_at_the_start_is_in_the_window() -> None:
    """The controller's first look records what there is: recordInitialRecommendation in its horizontal.go."""
    said = steer(keda(window=300), 4, [Poll(load=0.5)] * 30)
    window = 300 // POLL
    assert said[:window] == [4] * window
    assert said[window] == 3


# KEDA: keda.sh/docs/2.21/concepts/scaling-deployments


def test_any_trigger_wakes() -> None:
    assert steer(keda(minimum=0), 0, [Poll(active=False)]) == [0]
    assert steer(keda(minimum=0), 0, [Poll(load=0.01, active=False)]) == [1]
    # To one, however much is asked; the rest is the HorizontalPodAutoscaler's.
    assert steer(keda(minimum=0), 0, [Poll(load=9)] * 2) == [1, 3]


def test_an_activation_threshold_has_to_be_passed() -> None:
    triggers = (replace(LOAD, activation_threshold=2.0),)
    assert steer(keda(minimum=0, triggers=triggers), 0, [Poll(load=2), Poll(load=2.5)]) == [0, 1]


@pytest.mark.parametrize("paused_at", [0, 2])
def test_what_is_paused_stays(paused_at: int) -> None:
    assert steer(keda(minimum=0, paused_at=paused_at), paused_at, [Poll(load=9)] * 3) == [paused_at] * 3


@pytest.mark.parametrize("active", [True, False])
def test_nothing_is_less_than_a_minimum(*, active: bool) -> None:
    assert steer(keda(minimum=2), 0, [Poll(active=active)]) == [2]
    assert HuggingFaceEndpoint(minimum=2, maximum=3).wanted(seen(replicas=0, active=active)) == 2


@pytest.mark.parametrize("cooldown", [0, 15, 300, 3600])
def test_asleep_after_the_cooldown(cooldown: int) -> None:
    last = 4
    polls = [Poll(active=number <= last) for number in range(last + cooldown // POLL + 3)]
    said = steer(keda(minimum=0, cooldown=cooldown), 1, polls)
    asleep = last + cooldown // POLL + 1
    assert said[:asleep] == [1] * asleep
    assert set(said[asleep:]) == {0}


def test_from_many_to_none_at_once() -> None:
    """The cooldown is KEDA's, and knows neither the window nor one a minute."""
    said = steer(keda(minimum=0, window=3600, cooldown=60), 5, [Poll(load=5), *[Poll(active=False)] * 6])
    assert said == [5, 5, 5, 5, 5, 0, 0]


def test_a_minimum_never_sleeps() -> None:
    assert steer(keda(minimum=1, cooldown=60), 1, [Poll(active=False)] * 50) == [1] * 50


@pytest.mark.parametrize("poll", [Poll(load=None, active=False), Poll(away=True)])
@pytest.mark.parametrize("replicas", [0, 1, 4])
@pytest.mark.parametrize("minimum", [0, 1])
def test_with_the_formula_an_error_changes_nothing(minimum: int, replicas: int, poll: Poll) -> None:
    replicas = max(replicas, minimum)
    scaler = keda(minimum=minimum, cooldown=60, **ONE)
    assert steer(scaler, replicas, [poll] * 20) == [replicas] * 20


def test_without_a_formula_an_error_may_take_all() -> None:
    """A poll that is dropped without an error is none that found activity: seen with KEDA's operator."""
    assert steer(keda(minimum=0, cooldown=60), 3, [Poll(load=3), *[Poll(away=True)] * 8])[-1] == 0
    # What sleeps has no HorizontalPodAutoscaler that would meet an error.
    assert steer(keda(minimum=0, cooldown=60), 0, [Poll(away=True)] * 8) == [0] * 8


@pytest.mark.parametrize("fields", [{}, ONE])
def test_the_return_after_the_cooldown_takes_all_away(fields: dict[str, Any]) -> None:
    """Seen with KEDA's operator: what a version needs beside a cooldown is a trigger that remembers."""
    polls = [Poll(load=3), Poll(away=True), Poll(active=False)]
    assert steer(keda(minimum=0, cooldown=POLL, **fields), 3, polls) == [3, 3, 0]


def test_a_formula_decides_alone() -> None:
    """Activity is what it gives, and so is what the HorizontalPodAutoscaler compares with the target."""
    assert steer(keda(minimum=0, **ONE), 0, [Poll(load=0), Poll(load=0.2), Poll(load=3)]) == [0, 1, 3]
    halved = ONE | {"modifiers": Modifiers(trigger="load", otherwise=1.0, target=2.0, activation_target=1.0)}
    assert steer(keda(minimum=0, **halved), 0, [Poll(load=1), Poll(load=6), Poll(load=6)]) == [0, 1, 3]


def test_a_tolerance_of_none_downwards_holds_nothing_back_and_adds_nothing() -> None:
    """A rollout has one pod more: with a tenth of tolerance nine of ten would be as good as ten."""
    strict = Direction(stabilization_seconds=0, limits=(Limit(value=9, seconds=1),), tolerance=0.0)
    assert steer(keda(down=strict), 10, [Poll(load=9.5)]) == [10]
    assert steer(keda(down=strict), 10, [Poll(load=9)]) == [9]
    assert steer(keda(down=strict), 10, [Poll(load=10.5)]) == [10]


def test_one_trigger_that_fails_lets_the_others_add_and_take_nothing() -> None:
    other = replace(LOAD, name="other", query="other")
    assert steer(keda(triggers=(LOAD, other)), 2, [Poll(load=4), Poll(load=1)]) == [4, 4]


@pytest.mark.parametrize(
    ("behavior", "replicas", "expected"),
    [
        (FallbackBehavior.STATIC, 4, 2),
        (FallbackBehavior.STATIC, 0, 1),
        (FallbackBehavior.CURRENT, 4, 4),
        (FallbackBehavior.CURRENT_IF_HIGHER, 4, 4),
        (FallbackBehavior.CURRENT_IF_HIGHER, 1, 2),
        (FallbackBehavior.CURRENT_IF_LOWER, 4, 2),
        (FallbackBehavior.CURRENT_IF_LOWER, 1, 1),
    ],
)
def test_a_fallback_counts_as_activity(behavior: FallbackBehavior, replicas: int, expected: int) -> None:
    """Since 2.19: at the fourth failure what sleeps is woken, though nobody asked."""
    fast = Direction(stabilization_seconds=0, limits=(Limit(value=9, seconds=1),))
    fallback = Fallback(failure_threshold=3, replicas=2, behavior=behavior)
    scaler = keda(minimum=0, fallback=fallback, up=fast, down=fast, cooldown=600)
    before = Poll(load=float(replicas), active=replicas > 0)
    assert steer(scaler, replicas, [before, *[Poll(away=True)] * 4]) == [replicas] * 4 + [expected]


def test_a_fallback_of_none_is_none() -> None:
    """The trap: KEDA then takes an error for no activity."""
    scaler = keda(minimum=0, fallback=Fallback(failure_threshold=3, replicas=0), cooldown=0)
    assert steer(scaler, 4, [Poll(away=True)] * 2) == [4, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_an_error_or_nothing(value: float) -> None:
    assert steer(keda(minimum=0, cooldown=0, **ONE), 3, [Poll(load=value)] * 3) == [3] * 3
    lenient = (replace(LOAD, ignore_null_values=True), ACTIVITY)
    said = steer(keda(minimum=0, cooldown=0, triggers=lenient), 3, [Poll(load=value, active=False)] * 3)
    assert said[-1] == 0


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"idleReplicaCount": 0}, "idleReplicaCount"),
        ({"advanced": {"scalingModifiers": {"formula": "a + b", "target": "1"}}}, "no formula 'a \\+ b'"),
        ({"advanced": {"scalingModifiers": {"formula": "a ?? 1", "metricType": "Value"}}}, "metric type Value"),
        ({"advanced": {"scalingModifiers": {"formula": "a ?? 1"}}, "fallback": {"replicas": 1}}, "no fallback"),
        ({"triggers": [{"type": "cpu", "metricType": "Utilization"}]}, "type cpu"),
        ({"triggers": [{"type": "prometheus", "metricType": "Value"}]}, "metric type Value"),
        (
            {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"selectPolicy": "Min"}}}}},
            "selectPolicy",
        ),
    ],
)
def test_what_the_simulator_does_not_know_is_refused(spec: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        scaled_object_of({"spec": {"scaleTargetRef": {"name": "x"}, **spec}})


POLLS = st.lists(
    st.builds(
        Poll,
        load=st.sampled_from([None, 0.0, 0.4, 1.0, 2.3, 5.0, 40.0]),
        active=st.booleans(),
        away=st.sampled_from([False, False, False, True]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    polls=POLLS,
    minimum=st.integers(0, 3),
    more=st.integers(0, 6),
    at_first=st.integers(0, 6),
    window=st.sampled_from([0, 60, 300]),
    cooldown=st.sampled_from([60, 300]),
)
def test_keda_stays_within_its_limits(
    *, polls: list[Poll], minimum: int, more: int, at_first: int, window: int, cooldown: int
) -> None:
    maximum = max(1, minimum + more)
    before = min(minimum + at_first, maximum)
    said = [before, *steer(keda(minimum, maximum, window, cooldown, **ONE), before, polls)]
    assert all(minimum <= number <= maximum for number in said)
    assert changed(said, +1) <= 2
    assert changed(said, -1) <= 1
    for number, (earlier, later) in enumerate(pairwise(said)):
        if earlier != later:
            assert not polls[number].away
        if not earlier and later:
            assert polls[number].load
        if earlier and not later:
            awake = [at for at in range(number + 1) if not polls[at].away and polls[at].load]
            assert (number - max(awake, default=-1000)) * POLL > cooldown


@settings(max_examples=200, deadline=None)
@given(
    load=st.floats(0.0, 40.0),
    per_replica=st.sampled_from([0.25, 1.0, 3.0]),
    minimum=st.integers(0, 3),
    more=st.integers(1, 9),
    start=st.integers(1, 12),
)
def test_a_load_that_lasts_ends_at_the_number_without_inertia(
    *, load: float, per_replica: float, minimum: int, more: int, start: int
) -> None:
    """`monitoring.scaling.replicas_for` says it; the HorizontalPodAutoscaler stops within its tolerance of it."""
    maximum = minimum + more
    scaler = keda(minimum, maximum, window=120, triggers=(replace(LOAD, threshold=per_replica), ACTIVITY))
    end = steer(scaler, min(max(start, minimum), maximum), [Poll(load=load)] * 100)[-1]
    expected = max(1, replicas_for(load, per_replica, 1.0, minimum, maximum))
    taken = load / (per_replica * end)
    assume(abs(abs(taken - 1) - 0.1) > 0.01)  # Thousandths decide at the very edge.
    if end != expected:
        assert abs(taken - 1) <= 0.1
        assert abs(end - expected) <= math.ceil(0.1 * end)
    if expected <= 5 and 0.3 < load / per_replica % 1 < 0.7:
        assert end == expected


# A managed endpoint


def endpoint(minimum: int = 1, maximum: int = 4) -> HuggingFaceEndpoint:
    return HuggingFaceEndpoint(minimum=minimum, maximum=maximum)


@pytest.mark.parametrize(("utilization", "expected"), [(0.79, 1), (0.80, 1), (0.81, 2), (1.0, 2)])
def test_an_endpoint_grows_above_its_threshold(utilization: float, expected: int) -> None:
    assert endpoint().wanted(seen(replicas=1, utilization=utilization)) == expected


def test_an_endpoint_grows_once_a_minute_and_not_above_its_maximum() -> None:
    assert steer(endpoint(), 1, [Poll(utilization=1.0)] * 16) == [2] * 4 + [3] * 4 + [4] * 8


def test_an_endpoint_waits_for_what_it_has_asked_for() -> None:
    """The two that are wanted, of which one is ready, would be too few."""
    scaler = HuggingFaceEndpoint(minimum=1, maximum=4, threshold=0.4)
    assert scaler.wanted(seen(now=600, replicas=2, ready=1, utilization=1.0)) == 2
    assert scaler.wanted(seen(now=900, replicas=2, ready=2, utilization=1.0)) > 2


def test_an_endpoint_shrinks_after_five_minutes() -> None:
    """They count from the last time at which all were needed."""
    polls = [Poll(utilization=0.7)] * 5 + [Poll(utilization=0.1)] * 30
    said = steer(endpoint(), 2, polls)
    assert said.index(1) == 4 + 300 // POLL
    assert said[-1] == 1


def test_a_busy_moment_starts_the_five_minutes_anew() -> None:
    polls = [Poll(utilization=0.1)] * 19 + [Poll(utilization=0.7)] + [Poll(utilization=0.1)] * 30
    assert steer(endpoint(), 2, polls).index(1) == 19 + 300 // POLL


def test_an_endpoint_shrinks_every_second_minute() -> None:
    """Three are enough at first, then two, and one: never two steps within two minutes."""
    scaler, replicas, steps = endpoint(), 4, list[float]()
    for now in range(0, 3600, POLL):
        said = scaler.wanted(seen(now=now, replicas=replicas, utilization=max(0.1, (replicas - 1) * 0.8 / replicas)))
        if said != replicas:
            steps.append(now)
        replicas = said
    assert steps[0] == 300
    assert steps[1] - steps[0] == steps[2] - steps[1] == 120
    assert replicas == 1


@pytest.mark.parametrize("minimum", [0, 1])
def test_an_endpoint_sleeps_after_fifteen_minutes(minimum: int) -> None:
    said = steer(endpoint(minimum), 1, [Poll()] * 3 + [Poll(active=False)] * 80)
    if minimum:
        assert set(said) == {1}
    else:
        assert said.index(0) == 2 + 900 // POLL
        assert set(said[said.index(0) :]) == {0}


def test_an_endpoint_wakes() -> None:
    scaler = endpoint(minimum=0)
    assert scaler.wanted(seen(replicas=0, active=False)) == 0
    assert scaler.wanted(seen(replicas=0, active=True)) == 1


# A clock, and none


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [
        (0, 0, 1),
        (0, 8 - 1 / HOUR, 1),
        (0, 8, 3),
        (0, 18 - 1 / HOUR, 3),
        (0, 18, 1),
        (4, 12, 3),
        (5, 12, 1),  # Saturday
        (6, 12, 1),
        (7, 12, 3),
    ],
)
def test_a_clock(day: int, hour: float, expected: int) -> None:
    scaler = Schedule(from_hour=8, to_hour=18, replicas=3, outside=1, days=5)
    assert scaler.wanted(seen(now=day * DAY + hour * HOUR, replicas=2)) == expected


def test_a_clock_around_the_clock() -> None:
    assert {Schedule(from_hour=0, to_hour=24, replicas=2).wanted(seen(now=at * HOUR)) for at in range(24 * 8)} == {2}


def test_the_same_whatever_happens() -> None:
    assert set(steer(AlwaysOn(replicas=3), 1, [Poll(load=99), Poll(active=False)])) == {3}


@pytest.mark.parametrize("hours", [(17, 9), (9, 9), (-1, 9), (9, 25)])
def test_hours_out_of_order_are_refused(hours: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="in order"):
        Schedule(from_hour=hours[0], to_hour=hours[1], replicas=1)

"""The simulator's scalers: KEDA's and the HorizontalPodAutoscaler's own rules, a managed endpoint's, a clock's."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitoring.scaling import POLLING_SECONDS, replicas_for
from planning.simulate.arrivals import DAY, HOUR
from planning.simulate.scalers import AlwaysOn, HuggingFaceEndpoint, Keda, Scaler, Schedule, Seen


def seen(
    *,
    now: float = 0.0,
    replicas: int = 1,
    rate: float = 0.0,
    ready: int | None = None,
    queue: int = 0,
    active: bool = True,
    utilization: float = 0.0,
) -> Seen:
    return Seen(
        now=now,
        replicas=replicas,
        ready=replicas if ready is None else ready,
        requests_per_second=rate,
        queue=queue,
        active=active,
        utilization=utilization,
    )


def keda(minimum: int = 1, maximum: int = 30, startup: int = 0, idle: float = math.inf, share: float = 1.0) -> Keda:
    """One request a second is what a replica takes."""
    return Keda(
        minimum=minimum,
        maximum=maximum,
        startup_seconds=startup,
        idle_seconds=idle,
        share=share,
        requests_per_second_per_replica=1.0,
    )


@dataclass(frozen=True)
class Poll:
    rate: float = 0.0
    active: bool = True
    utilization: float = 0.0


def steer(scaler: Scaler, replicas: int, polls: Iterable[Poll]) -> list[int]:
    """What a scaler says, poll by poll, where the platform obeys at once."""
    said = []
    for number, poll in enumerate(polls):
        now = number * POLLING_SECONDS
        at = seen(now=now, replicas=replicas, rate=poll.rate, active=poll.active, utilization=poll.utilization)
        replicas = scaler.wanted(at)
        said.append(replicas)
    return said


def changed_within(said: Sequence[int], sign: int, seconds: float = 60) -> int:
    """The most replicas that came (or went, -1) in any such time, without waking and going to sleep."""
    changes = [max(0, sign * (after - before)) if before and after else 0 for before, after in pairwise(said)]
    polls = math.ceil(seconds / POLLING_SECONDS)
    return max((sum(changes[at : at + polls]) for at in range(len(changes))), default=0)


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
    assert keda().wanted(seen(replicas=replicas, rate=rate)) == expected


def test_a_share_of_the_rate() -> None:
    assert keda(share=0.25).wanted(seen(replicas=1, rate=8.0)) == 2
    assert keda(share=0.5).wanted(seen(replicas=10, rate=21.8)) == 10


def test_the_queue_as_signal() -> None:
    scaler = Keda(minimum=1, maximum=9, startup_seconds=0, queue_per_replica=10)
    assert scaler.wanted(seen(replicas=1, queue=25, rate=1000)) == 3


@pytest.mark.parametrize("signals", [{}, {"queue_per_replica": 1.0, "requests_per_second_per_replica": 1.0}])
def test_one_signal(signals: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either"):
        Keda(minimum=1, maximum=2, startup_seconds=0, **signals)  # type: ignore[arg-type]


def test_two_come_a_minute() -> None:
    assert steer(keda(), 1, [Poll(rate=7)] * 13) == [3, 3, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 7]


def test_one_goes_a_minute() -> None:
    assert steer(keda(), 4, [Poll(rate=1)] * 9) == [3, 3, 3, 3, 2, 2, 2, 2, 1]


def test_the_highest_of_the_window_stays() -> None:
    """Five for the start, then one with a short peak of three: each is kept for 300 seconds since it was asked for."""
    rates = [5.0] * 4 + [1.0] * 4 + [3.0] + [1.0] * 40
    said = steer(keda(startup=300), 5, [Poll(rate=rate) for rate in rates])
    last_five, last_three = 3, 8
    window = 300 // POLLING_SECONDS
    assert said[: last_five + window] == [5] * (last_five + window)
    # A minute apart, but never below what the window still asks for.
    assert said[last_five + window :][:8] == [4] * 4 + [3] * 4
    assert said.index(2) == max(last_three + window, last_five + window + 8)
    assert said[-1] == 1


def test_a_peak_stays_for_the_window() -> None:
    rates = [1.0] * 4 + [3.0] + [1.0] * 30
    said = steer(keda(startup=300), 1, [Poll(rate=rate) for rate in rates])
    window = 300 // POLLING_SECONDS
    assert said[4 : 4 + window + 1] == [3] * window + [2]


def test_more_is_not_held_back_by_the_window() -> None:
    assert steer(keda(startup=3600), 1, [Poll(rate=1), Poll(rate=3)]) == [1, 3]


def test_the_number_at_the_start_is_in_the_window() -> None:
    """The controller's first look records what there is: recordInitialRecommendation in its horizontal.go."""
    said = steer(keda(startup=300), 4, [Poll(rate=0.5)] * 30)
    window = 300 // POLLING_SECONDS
    assert said[:window] == [4] * window
    assert said[window] == 3


# KEDA: keda.sh/docs/2.20/concepts/scaling-deployments


def test_only_activity_wakes() -> None:
    scaler = keda(minimum=0, idle=600)
    assert scaler.wanted(seen(now=0, replicas=0, rate=9, active=False)) == 0
    # To one, however much is asked; the rest is the HorizontalPodAutoscaler's.
    assert scaler.wanted(seen(now=15, replicas=0, rate=9, active=True)) == 1
    assert scaler.wanted(seen(now=30, replicas=1, rate=9, active=True)) == 3


def test_a_version_without_a_share_is_not_woken() -> None:
    assert keda(minimum=0, share=0.0).wanted(seen(replicas=0, rate=9, active=True)) == 0


def test_what_is_switched_off_is_not_woken() -> None:
    assert keda(minimum=0, maximum=0).wanted(seen(replicas=0, active=True)) == 0


@pytest.mark.parametrize("active", [True, False])
def test_nothing_is_less_than_a_minimum(*, active: bool) -> None:
    assert keda(minimum=2).wanted(seen(replicas=0, active=active)) == 2
    assert HuggingFaceEndpoint(minimum=2, maximum=3).wanted(seen(replicas=0, active=active)) == 2


@pytest.mark.parametrize("idle", [0, 15, 300, 3600])
def test_asleep_exactly_after_the_idle_time(idle: int) -> None:
    last = 4
    polls = [Poll(active=number <= last) for number in range(last + idle // POLLING_SECONDS + 3)]
    said = steer(keda(minimum=0, startup=0, idle=idle), 1, polls)
    asleep = last + max(1, idle // POLLING_SECONDS)
    if idle:
        assert said[:asleep] == [1] * asleep
        assert set(said[asleep:]) == {0}
    else:
        assert said[last + 1] == 0


def test_from_many_to_none_at_once() -> None:
    """The idle time is KEDA's, and knows neither the window nor one a minute."""
    said = steer(keda(minimum=0, startup=3600, idle=60), 5, [Poll(rate=5), *[Poll(active=False)] * 5])
    assert said == [5, 5, 5, 5, 0, 0]


def test_a_minimum_never_sleeps() -> None:
    assert steer(keda(minimum=1, idle=60), 1, [Poll(active=False)] * 50) == [1] * 50


POLLS = st.lists(
    st.builds(Poll, rate=st.sampled_from([0.0, 0.4, 1.0, 2.3, 5.0, 40.0]), active=st.booleans()), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(
    polls=POLLS,
    minimum=st.integers(0, 3),
    more=st.integers(0, 6),
    at_first=st.integers(0, 6),
    startup=st.sampled_from([0, 60, 300]),
    idle=st.sampled_from([60, 300]),
)
def test_keda_stays_within_its_limits(
    *, polls: list[Poll], minimum: int, more: int, at_first: int, startup: int, idle: int
) -> None:
    maximum = max(1, minimum + more)
    before = min(minimum + at_first, maximum)
    said = [before, *steer(keda(minimum, maximum, startup, idle), before, polls)]
    assert all(minimum <= number <= maximum for number in said)
    assert changed_within(said, +1) <= 2
    assert changed_within(said, -1) <= 1
    for number, (earlier, later) in enumerate(pairwise(said)):
        if not earlier and later:
            assert polls[number].active
        if earlier and not later:
            awake = [at for at in range(number + 1) if polls[at].active]
            assert (number - max(awake, default=0)) * POLLING_SECONDS >= idle


@settings(max_examples=200, deadline=None)
@given(
    rate=st.floats(0.0, 40.0),
    per_replica=st.sampled_from([0.25, 1.0, 3.0]),
    share=st.sampled_from([0.1, 0.9, 1.0]),
    minimum=st.integers(0, 3),
    more=st.integers(1, 9),
    start=st.integers(1, 12),
)
def test_a_load_that_lasts_ends_at_the_number_without_inertia(
    *, rate: float, per_replica: float, share: float, minimum: int, more: int, start: int
) -> None:
    """`monitoring.scaling.replicas_for` says it; the HorizontalPodAutoscaler stops within its tolerance of it."""
    maximum = minimum + more
    scaler = Keda(
        minimum=minimum, maximum=maximum, startup_seconds=120, share=share, requests_per_second_per_replica=per_replica
    )
    end = steer(scaler, min(max(start, minimum), maximum), [Poll(rate=rate)] * 100)[-1]
    expected = max(1, replicas_for(rate, per_replica, share, minimum, maximum))
    taken = rate * share / (per_replica * end)
    assume(abs(abs(taken - 1) - 0.1) > 0.01)  # Thousandths decide at the very edge.
    if end != expected:
        assert abs(taken - 1) <= 0.1
        assert abs(end - expected) <= math.ceil(0.1 * end)
    if expected <= 5 and 0.3 < rate * share / per_replica % 1 < 0.7:
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
    assert said.index(1) == 4 + 300 // POLLING_SECONDS
    assert said[-1] == 1


def test_a_busy_moment_starts_the_five_minutes_anew() -> None:
    polls = [Poll(utilization=0.1)] * 19 + [Poll(utilization=0.7)] + [Poll(utilization=0.1)] * 30
    assert steer(endpoint(), 2, polls).index(1) == 19 + 300 // POLLING_SECONDS


def test_an_endpoint_shrinks_every_second_minute() -> None:
    """Three are enough at first, then two, and one: never two steps within two minutes."""
    scaler, replicas, steps = endpoint(), 4, list[float]()
    for now in range(0, 3600, POLLING_SECONDS):
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
        assert said.index(0) == 2 + 900 // POLLING_SECONDS
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
    assert scaler.wanted(seen(now=day * DAY + hour * HOUR, replicas=2, rate=99)) == expected


def test_a_clock_around_the_clock() -> None:
    assert {Schedule(from_hour=0, to_hour=24, replicas=2).wanted(seen(now=at * HOUR)) for at in range(24 * 8)} == {2}


def test_the_same_whatever_happens() -> None:
    assert set(steer(AlwaysOn(replicas=3), 1, [Poll(rate=99), Poll(active=False)])) == {3}


@pytest.mark.parametrize("hours", [(17, 9), (9, 9), (-1, 9), (9, 25)])
def test_hours_out_of_order_are_refused(hours: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="in order"):
        Schedule(from_hour=hours[0], to_hour=hours[1], replicas=1)

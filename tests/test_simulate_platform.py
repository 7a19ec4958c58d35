"""The simulated platform: nothing is lost or paid twice, waits are those of theory, faults have their known effects."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.engine_metrics import TGI
from monitoring.queries import gateway_requests, queue, request_rate, under_way
from monitoring.scaling import POLLING_SECONDS
from planning.cold_start import NO_COLD_START, ColdStart, Part
from planning.simulate.arrivals import DAY, HOUR, Request
from planning.simulate.engine import Batching, Limits, Timing
from planning.simulate.platform import (
    Absences,
    Balancing,
    Callers,
    Gateway,
    Platform,
    Series,
    Simulation,
    Stopping,
    Supply,
    Version,
    simulate,
)
from planning.simulate.results import Provisioning, Results, Use, quantiles
from planning.simulate.scalers import AlwaysOn, HuggingFaceEndpoint, Keda, Scaler, Schedule, Seen
from tests.queueing import TIMING, erlang_c, kiefer_wolfowitz, markovian, roomy
from tests.scaling import scaled_object, scaling_rules

SPOT, ON_DEMAND = Provisioning.SPOT, Provisioning.ON_DEMAND
STEP = 0.1


class Recorded(Simulation):
    """A run that keeps its own books, beside those of the code that it tests."""

    def __init__(self, platform: Platform, *, seconds: float, seed: int = 0) -> None:
        self.bought: dict[int, float] = {}
        self.paid: list[float] = []
        self.left: list[tuple[Request, float]] = []
        self.answered: list[Request] = []
        self.floors: list[Provisioning] = []
        super().__init__(platform, seconds=seconds, seed=seed)

    @property
    def now(self) -> float:
        return self._now

    def paid_seconds(self) -> float:
        """Of every node from when it is bought until it is given back, or the end."""
        kept = (max(0.0, self._horizon - bought) for bought in self.bought.values())
        return sum(self.paid) + sum(kept)

    def _new_node(self, provisioning: Provisioning) -> Any:
        node = super()._new_node(provisioning)
        self.bought[id(node)] = self._now
        return node

    def _place(self, pod: Any, node: Any) -> None:
        if pod.is_floor:
            self.floors.append(node.provisioning)
        super()._place(pod, node)

    def _drop(self, node: Any, empty_since: float | None = None) -> None:
        gone = node.gone
        super()._drop(node, empty_since)
        if node.gone and not gone:
            bought = self.bought.pop(id(node))
            self.paid.append(max(0.0, min(self._now, self._horizon) - bought))

    def _leave(self, request: Request) -> None:
        self.left.append((request, self._now))
        super()._leave(request)

    def _serve(self, group: Any, served: Any) -> None:
        self.answered.append(served.request)
        super()._serve(group, served)


def ask(at: float, seconds: float, question: int = 1) -> Request:
    """A request whose answer takes so long: its first token comes at once."""
    return Request(at=at, input_tokens=question, output_tokens=round(seconds / STEP) + 1)


def always(replicas: int) -> Callable[[], Scaler]:
    return lambda: AlwaysOn(replicas=replicas)


ONE = always(1)


def version(scaler: Callable[[], Scaler] = ONE, **fields: Any) -> Version:
    """One replica at all times, which holds as much as one may want."""
    given: dict[str, Any] = {
        "name": "v1",
        "timing": Timing(step=STEP),
        "limits": roomy(100),
        "scaler": scaler,
        "initial": 1,
    }
    return Version(**(given | fields))


class Change:
    """Another number from a time on."""

    def __init__(self, time: float, before: int, after: int) -> None:
        self.time, self.before, self.after = time, before, after

    def wanted(self, seen: Seen) -> int:
        return self.after if seen.now >= self.time else self.before


def change(time: float, before: int, after: int) -> Callable[[], Scaler]:
    return lambda: Change(time, before, after)


# Whatever happens

SERIES = Series(service="llama", app="llama", queue="tgi_queue_size", in_flight="tgi_batch_current_size")
"""As the queries of tests.scaling select."""


def scaler(name: str, floor: int, maximum: int, **fields: Any) -> dict[str, Any]:
    """Scale a version of the model by what would be rendered for it: give its scaler and its rules."""
    given = {
        "version": name,
        "versions": (name,),
        "floor": floor,
        "maximum": max(1, maximum - floor),
        "startup_seconds": 60,
        "deadline_seconds": 300,
        **fields,
    }
    beside = scaled_object(**given)
    beside = beside if maximum > floor else replace(beside, paused_at=0)
    return {"scaler": partial(Keda, scaled=beside, floor=floor), "rules": scaling_rules(**given)}


@st.composite
def versions(draw: st.DrawFn, name: str) -> Version:
    floor = draw(st.integers(0, 2))
    maximum = max(1, floor + draw(st.integers(0, 3)))
    idle = draw(st.sampled_from([2, 10]))
    scalers: list[dict[str, Any]] = [
        {"scaler": always(maximum)},
        {"scaler": always(0)},
        {"scaler": lambda: Schedule(from_hour=0.1, to_hour=0.4, replicas=maximum)},
        {"scaler": lambda: Schedule(from_hour=0.1, to_hour=0.4, replicas=0, outside=maximum)},
        scaler(name, floor, maximum, idle_minutes=idle, requests_per_second_per_replica=0.01, share=0.5),
        scaler(name, floor, maximum, idle_minutes=idle, queue_per_replica=1),
        {"scaler": lambda: HuggingFaceEndpoint(minimum=floor, maximum=maximum, scale_to_zero_minutes=5)},
    ]
    return Version(
        name=name,
        timing=Timing(
            prefill=draw(st.sampled_from([0.0, 0.05])),
            prefill_a_token=draw(st.sampled_from([0.0, 0.01])),
            step=draw(st.sampled_from([0.05, 1.0])),
            step_a_cached_token=draw(st.sampled_from([0.0, 0.001])),
        ),
        limits=Limits(
            sequences=draw(st.integers(1, 4)),
            cached_tokens=draw(st.sampled_from([60, 10**6])),
            prefill_tokens=draw(st.sampled_from([30, 10**6])),
            requests=draw(st.sampled_from([1, 3, 10**6])),
        ),
        **draw(st.sampled_from(scalers)),
        share=draw(st.sampled_from([0.2, 1.0])),
        floor=floor,
        initial=draw(st.integers(0, maximum)),
        batching=draw(st.sampled_from(Batching)),
        workload=f"llama-{name}",
    )


ORDERS = [(ON_DEMAND,), (SPOT,), (SPOT, ON_DEMAND), (SPOT, SPOT, ON_DEMAND)]
SUPPLIES = st.builds(
    Supply,
    order=st.sampled_from(ORDERS),
    losses_per_day=st.sampled_from([0.0, 200.0]),
    losses=st.sampled_from([(), (100.0, 101.0), (0.0, 300.0, 306.0, 2000.0)]),
    outages_per_day=st.sampled_from([0.0, 40.0]),
    outage_hours=st.sampled_from([0.05, 0.5]),
    outages=st.sampled_from([(), ((0.0, 500.0), (200.0, 1000.0))]),
    fallback_seconds=st.sampled_from([0.0, 60.0]),
    retry_seconds=st.sampled_from([20.0, 300.0]),
    tail_seconds=st.sampled_from([0.0, 30.0, 600.0]),
)
STOPPINGS = st.builds(
    Stopping,
    pre_stop=st.sampled_from([0.0, 5.0, 20.0]),
    engine=st.sampled_from([0.0, 10.0, 90.0]),
    spot_window=st.sampled_from([None, 0.0, 15.0, 100.0]),
    endpoint_lag=st.sampled_from([0.0, 1.0, 30.0]),
    spot_endpoint_lag=st.sampled_from([0.0, 10.0, 60.0]),
)
CALLERS = st.builds(
    Callers,
    retry_after=st.sampled_from([1.0, 10.0]),
    spread=st.sampled_from([0.0, 0.2]),
    patience=st.sampled_from([0.0, 60.0, 1800.0]),
)
GATEWAYS = st.builds(
    Gateway,
    attempts=st.sampled_from([1, 3]),
    ejected_after=st.sampled_from([None, 1, 2]),
    ejection_seconds=st.sampled_from([5.0, 30.0]),
    most_ejected=st.sampled_from([0.1, 0.5, 1.0]),
)
STARTS = st.sampled_from(
    [
        NO_COLD_START,
        ColdStart(
            parts=(
                Part(name="node", least=20, likely=30, most=60, on_new_node=True),
                Part(name="model", least=5, likely=5, most=90),
            )
        ),
    ]
)


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    made = [draw(versions("v1"))]
    if draw(st.booleans()):
        made.append(draw(versions("v2")))
    return Platform(
        versions=tuple(made),
        supply=draw(SUPPLIES),
        cold_start=draw(STARTS),
        stopping=draw(STOPPINGS),
        callers=draw(CALLERS),
        balancing=draw(st.sampled_from(Balancing)),
        gateway=draw(GATEWAYS),
        series=SERIES,
        absences=draw(st.sampled_from([Absences(), Absences(prometheus=((200.0, 700.0),), keda=((600.0, 900.0),))])),
        gpus=draw(st.sampled_from([1, 2])),
    )


@st.composite
def workloads(draw: st.DrawFn) -> list[Request]:
    at, made = 0.0, []
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.sampled_from([0.0, 0.3, 2.0, 17.0, 80.0, 400.0]))
        made.append(Request(at=at, input_tokens=draw(st.integers(1, 40)), output_tokens=draw(st.integers(1, 80))))
    return made


def area(run: Recorded, requests: Iterable[Request]) -> float:
    """Requests in the system, over time: summed between every two changes."""
    changes = Counter(request.at for request in requests)
    changes.subtract(at for _, at in run.left)
    inside, before, total = 0, 0.0, 0.0
    for at in sorted(changes):
        total += inside * (at - before)
        inside, before = inside + changes[at], at
    assert inside == 0
    return total


def check(run: Recorded, platform: Platform, requests: list[Request]) -> None:
    """What must be so of any run."""
    results, horizon = run.results, run.results.seconds
    # Every request leaves once, and is counted once.
    assert results.arrived == len(requests)
    assert results.arrived == results.served + results.refused + results.cut + results.too_long
    assert Counter(id(request) for request, _ in run.left) == Counter(id(request) for request in requests)
    assert len({id(request) for request in run.answered}) == len(run.answered) == results.served
    assert sum(part.served for part in results.versions.values()) == results.served
    assert len(results.queue) == len(results.first_token) == results.served
    assert results.tokens == sum(request.output_tokens for request in run.answered)
    assert all(0 <= first <= whole for first, whole in zip(results.first_token, results.whole, strict=True))
    assert min(results.queue, default=0) >= 0
    assert len(results.cut_after) == results.cut
    # Little's law, by a sum of its own.
    assert results.mean_in_system * run.now == pytest.approx(area(run, requests), abs=1e-6)
    # Nothing is paid twice or not at all, and no part is negative.
    assert sum(results.node_seconds.values()) == pytest.approx(run.paid_seconds(), abs=1e-6)
    assert results.gpu_hours == pytest.approx(run.paid_seconds() * platform.gpus / 3600, abs=1e-9)
    assert min(results.node_seconds.values(), default=0) >= -1e-6
    floor = sum(part.floor for part in platform.versions)
    assert results.gpu_hours >= floor * horizon * platform.gpus / 3600 - 1e-9
    assert results.gpu_hours <= results.nodes * horizon * platform.gpus / 3600 + 1e-9
    assert {kind for kind, _ in results.node_seconds} <= {ON_DEMAND, *platform.supply.order}
    # The floor is on-demand, and always there.
    assert set(run.floors) <= {ON_DEMAND}
    assert len(run.floors) == floor
    for part in platform.versions:
        moments = results.versions[part.name].moments
        assert [moment.at for moment in moments] == sorted(moment.at for moment in moments)
        # Once all that happens at a time has happened, there are never more than wanted.
        for moment in {moment.at: moment for moment in moments}.values():
            assert part.floor <= moment.ready <= moment.ready + moment.starting <= moment.wanted


@settings(max_examples=200, deadline=None)
@given(platform=platforms(), requests=workloads(), seconds=st.sampled_from([250.0, 1800.0, 3600.0]))
def test_nothing_is_lost_or_counted_twice(platform: Platform, requests: list[Request], seconds: float) -> None:
    run = Recorded(platform, seconds=seconds, seed=1)
    results = run.run(requests)
    check(run, platform, requests)
    # A seed says all.
    assert repr(results) == repr(simulate(platform, requests, seconds=seconds, seed=1))


def test_another_seed_is_another_run() -> None:
    """Each stream of chance by itself."""
    requests = [ask(at=at * 2, seconds=3 + at % 7) for at in range(100)]
    spread = ColdStart(parts=(Part(name="model", least=10, likely=20, most=40),))
    one = version()
    by_chance = [
        Platform(versions=(one, replace(one, name="v2"))),
        Platform(versions=(replace(one, initial=4, scaler=always(4), limits=roomy(1)),)),
        Platform(versions=(replace(one, initial=0),), cold_start=spread),
        Platform(versions=(one,), supply=Supply(order=(SPOT,), losses_per_day=500)),
        Platform(
            versions=(replace(one, initial=0),), supply=Supply(order=(SPOT,), outages_per_day=5e3, outage_hours=1)
        ),
        Platform(versions=(replace(one, limits=replace(roomy(1), requests=1)),), callers=Callers(spread=0.5)),
    ]
    for platform in by_chance:
        assert len({repr(simulate(platform, requests, seconds=900, seed=seed)) for seed in range(12)}) > 1
    sure = Platform(versions=(one,))
    assert len({repr(simulate(sure, requests, seconds=900, seed=seed)) for seed in range(5)}) == 1


def test_requests_out_of_order() -> None:
    with pytest.raises(ValueError, match="sorted by time"):
        simulate(Platform(versions=(version(),)), [ask(10, 1), ask(5, 1)], seconds=60)


def test_what_is_paid_for() -> None:
    """Three answers of ten seconds in two hundred, one of them beyond the end; two of them at once are not twice."""
    platform = Platform(versions=(version(always(2), initial=2, floor=1),), gpus=4)
    results = simulate(platform, [ask(20, 10), ask(20, 10), ask(195, 10)], seconds=200)
    assert results.node_seconds == pytest.approx({(ON_DEMAND, Use.SERVING): 25, (ON_DEMAND, Use.IDLE): 375})
    assert results.gpu_hours == pytest.approx(400 * 4 / 3600)
    assert results.cost({ON_DEMAND: 36.0}) == pytest.approx(
        {(ON_DEMAND, Use.SERVING): 0.25, (ON_DEMAND, Use.IDLE): 3.75}
    )
    assert results.served == 3
    assert results.served_share == 1


def test_quantiles_by_rank() -> None:
    of = quantiles([float(value) for value in range(200, 0, -1)])
    assert (of.p50, of.p95, of.p99, of.most) == (100, 190, 198, 200)
    assert quantiles([]).p50 is None


# Theory


def one_queue(servers: int) -> Platform:
    return Platform(versions=(version(timing=TIMING, limits=roomy(servers)),))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 0.7), (4, 0.6)])
def test_waits_are_those_of_theory(servers: int, load: float) -> None:
    """One replica of so many sequences is M/M/c: to a thousandth for these very requests, to a fiftieth by Erlang.

    The seed is one whose requests are near the mean of all by their own waits, which the simulator has no part in.
    """
    requests = markovian(servers, load, 60_000, seed=13)
    exact = kiefer_wolfowitz(servers, requests)
    assert exact == pytest.approx(erlang_c(servers, load), rel=0.01)
    results = simulate(one_queue(servers), requests, seconds=1.0)
    assert results.served == len(requests)
    assert fmean(results.queue) == pytest.approx(exact, rel=1e-3)
    assert fmean(results.queue) == pytest.approx(erlang_c(servers, load), rel=0.02)
    # Little, with the rate and the stay of theory.
    assert results.mean_in_system == pytest.approx(load * servers * (1 + erlang_c(servers, load)), rel=0.02)


def test_who_gets_the_next_request() -> None:
    """Known for exponential service: one queue, the shortest queue, by turns, at random wait longer in this order."""
    replicas, load = 3, 0.7
    requests = markovian(replicas, load, 25_000, seed=3)
    wait = {}
    for balancing in Balancing:
        of = version(always(replicas), timing=TIMING, limits=roomy(1), initial=replicas)
        wait[balancing] = fmean(simulate(Platform(versions=(of,), balancing=balancing), requests, seconds=1.0).queue)
    one_line, at_random = erlang_c(replicas, load), erlang_c(1, load)
    assert one_line < wait[Balancing.LEAST_OUTSTANDING]
    assert wait[Balancing.LEAST_OUTSTANDING] < 0.9 * wait[Balancing.ROUND_ROBIN]
    assert wait[Balancing.ROUND_ROBIN] < 0.9 * at_random
    assert 1.1 * wait[Balancing.LEAST_OUTSTANDING] < wait[Balancing.LEAST_OF_TWO] < 0.9 * at_random


def test_least_of_two_may_look_at_one_twice() -> None:
    """As Envoy does: where one of two replicas is busy, it gets a quarter of the requests all the same."""
    count = 1000
    of = version(always(2), initial=2, limits=roomy(1))
    results = simulate(
        Platform(versions=(of,)), [ask(0, count + 2), *[ask(1 + at, 0.2) for at in range(count)]], seconds=1
    )
    waited = sum(wait > 1 for wait in results.queue)
    assert abs(waited - count / 4) < 4 * math.sqrt(count * 3 / 16)


def test_versions_get_their_share() -> None:
    count = 10_000
    platform = Platform(versions=(version(share=90.0), version(name="canary", share=10.0)))
    results = simulate(platform, [ask(at / 10, 1) for at in range(count)], seconds=60)
    assert abs(results.versions["canary"].served - count * 0.1) < 4 * math.sqrt(count * 0.09)


# Asleep and awake

NODE = Part(name="node", least=100, likely=110, most=120, on_new_node=True)
MODEL = Part(name="model", least=30, likely=30, most=40)
IDLE, TAIL = 600.0, 300.0
CALLER = Callers(retry_after=10, spread=0.2)


def sleeper(tail: float = TAIL) -> Platform:
    keda = scaler("v1", 0, 1, idle_minutes=int(IDLE / 60), startup_seconds=300, requests_per_second_per_replica=1.0)
    return Platform(
        versions=(version(keda["scaler"], initial=0, workload="llama-v1", rules=keda["rules"]),),
        series=SERIES,
        supply=Supply(order=(SPOT,), tail_seconds=tail),
        cold_start=ColdStart(parts=(NODE, MODEL)),
        callers=CALLER,
    )


@settings(max_examples=20, deadline=None)
@given(first=st.floats(200, 3000), seed=st.integers(0, 10**6))
def test_a_sleeping_model_is_woken_and_sleeps_again(first: float, seed: int) -> None:
    """Once Prometheus has watched the gateway for a window: before, a new series may be old."""
    second, end = first + 7200, 14_400.0
    results = simulate(sleeper(), [ask(first, 20), ask(second, 20)], seconds=end, seed=seed)
    # Until the next scrape, until the next poll, the start, until the caller comes back.
    least = POLLING_SECONDS + NODE.least + MODEL.least
    most = 2 * POLLING_SECONDS + NODE.most + MODEL.most + CALLER.retry_after * (1 + CALLER.spread)
    assert len(results.woken) == results.served == results.nodes == 2
    assert all(least <= wait <= most for wait in results.woken)
    # The model itself takes 20 seconds; both waits are the callers'.
    assert sorted(results.whole) == pytest.approx([wait + 20 for wait in sorted(results.woken)])
    paid = {use: results.node_seconds[SPOT, use] for use in Use}
    assert sum(paid.values()) == pytest.approx(sum(results.node_seconds.values()))
    assert paid[Use.STARTING] == pytest.approx(sum(results.starts))
    assert 2 * (NODE.least + MODEL.least) <= paid[Use.STARTING] <= 2 * (NODE.most + MODEL.most)
    assert paid[Use.SERVING] == pytest.approx(40)
    assert paid[Use.DRAINING] == pytest.approx(2 * Stopping().pre_stop)
    assert paid[Use.EMPTY] == pytest.approx(2 * TAIL)
    # Idle: until the caller came back, and after the answer the window, the idle time to a minute, a scrape, a poll.
    back, window = CALLER.retry_after * (1 + CALLER.spread), 120
    assert paid[Use.IDLE] >= 2 * (IDLE + window - 60 - POLLING_SECONDS)
    assert paid[Use.IDLE] <= 2 * (back + IDLE + window + 3 * POLLING_SECONDS)


def test_nobody_asks_and_nothing_is_paid() -> None:
    results = simulate(sleeper(), [], seconds=DAY)
    assert (results.nodes, results.gpu_hours, results.mean_in_system) == (0, 0.0, 0.0)


def test_a_short_request_keeps_an_awake_model_awake() -> None:
    """No scrape sees it computing, but one that has ended counts for the whole window."""
    awake = replace(sleeper(tail=0), versions=(replace(sleeper().versions[0], initial=1),))
    hours = [simulate(awake, asked, seconds=7200).gpu_hours * 3600 for asked in ([], [ask(301, 1)])]
    # Nobody asked: held until the gateway was watched for twelve minutes, then KEDA's own minute. One did at 301: the
    # scrapes from 315 to 420 see it, the last whole minute of them is remembered for nine more.
    assert hours == pytest.approx([IDLE + 180, 420 + IDLE], abs=60 + 2 * POLLING_SECONDS)
    assert hours[1] >= 301 + IDLE


def test_a_warm_node_has_what_a_new_one_needs() -> None:
    """The second start comes while the empty node still stands: no other is bought, and the node's part is left out."""
    results = simulate(sleeper(tail=3600), [ask(100, 20), ask(2700, 20)], seconds=9000)
    assert results.nodes == 1
    new, warm = results.starts
    assert NODE.least + MODEL.least <= new <= NODE.most + MODEL.most
    assert MODEL.least <= warm <= MODEL.most
    assert results.node_seconds[SPOT, Use.EMPTY] > 3600


def test_an_empty_node_goes_also_when_the_run_has_ended() -> None:
    """What is paid ends with the run, what happens to those who still wait does not."""
    results = simulate(sleeper(tail=300), [ask(100, 20), ask(7200, 20)], seconds=1200)
    assert results.nodes == 2
    assert results.served == 2


class Watcher(Change):
    """Keeps what it was shown, and what Prometheus told of the work then."""

    def __init__(self, seen: list[Seen], *numbers: int, told: list[Mapping[str, float]] | None = None) -> None:
        super().__init__(*numbers)
        self.seen, self.told = seen, [] if told is None else told

    def wanted(self, seen: Seen) -> int:
        self.seen.append(seen)
        assert seen.prometheus is not None
        asked = {name: seen.prometheus.ask(query, seen.now) for name, query in TOLD.items()}
        self.told.append({name: value[()] for name, value in asked.items() if not isinstance(value, float)})
        return super().wanted(seen)


TOLD = {
    "queue": queue("llama", "v1", TGI),
    "rate": request_rate("llama", 1.0),
    "requests": gateway_requests("llama"),
    "under way": under_way("llama", "v1", TGI),
}


def test_what_a_scaler_sees_of_the_work() -> None:
    """Two of three replicas compute all the time; then five requests come within a poll, and three of them wait."""
    seen: list[Seen] = []
    told: list[Mapping[str, float]] = []
    of = version(lambda: Watcher(seen, 0, 3, 3, told=told), initial=3, limits=roomy(1))
    platform = Platform(versions=(of,), balancing=Balancing.LEAST_OUTSTANDING, series=SERIES)
    simulate(platform, [ask(0, 2000), ask(0, 2000), ask(900, 1), *[ask(901, 600)] * 4], seconds=1500)
    at = {round(each.now): each for each in seen}
    of_work = {round(each.now): work for each, work in zip(seen, told, strict=True)}
    assert at[885].utilization == pytest.approx(2 / 3, abs=0.001)
    assert of_work[885] == {"queue": 0, "rate": 0, "requests": 0, "under way": 2}
    assert (at[915].ready, at[915].replicas) == (3, 3)
    assert of_work[915] == {"queue": 3, "rate": 0, "requests": 1, "under way": 6}
    # The first sample of a series is no rate, but a request all the same.
    assert of_work[1050]["requests"] == 0
    assert all(each.active for each in seen[1:])
    assert at[1395].utilization == pytest.approx(1, abs=0.001)


def test_impatience_wakes_but_is_no_rate() -> None:
    """Who finds nobody is heard, and asks for one replica: not for more of them by asking again and again."""
    seen: list[Seen] = []
    told: list[Mapping[str, float]] = []
    of = version(lambda: Watcher(seen, 600, 0, 1, told=told), initial=0)
    simulate(Platform(versions=(of,), series=SERIES), [ask(20, 1)], seconds=900)
    before = [work for each, work in zip(seen, told, strict=True) if 150 <= each.now <= 600]
    assert before
    assert all(work["requests"] > 0 for work in before)
    assert {work["rate"] for work in before} == {0.0}


def test_a_replica_that_goes_leaves_the_others_as_busy_as_they_are() -> None:
    seen: list[Seen] = []
    of = version(lambda: Watcher(seen, 600, 2, 1), initial=2)
    simulate(Platform(versions=(of,), balancing=Balancing.LEAST_OUTSTANDING), [ask(0, 1500)] * 2, seconds=1200)
    assert {each.ready for each in seen} == {1, 2}
    assert min(each.utilization for each in seen if each.now > 300) > 0.99


# A spot node is called back

LOSS, WINDOW = 100.0, 15.0


def called_back(stopping: Stopping, **fields: Any) -> Platform:
    """One spot replica that loses its node at LOSS; the next one serves at once."""
    return Platform(
        versions=(version(**fields),), supply=Supply(order=(SPOT,), losses=(LOSS,)), stopping=stopping, callers=CALLER
    )


@settings(max_examples=200, deadline=None)
@given(
    offset=st.integers(-150, 250),
    length=st.integers(1, 400),
    pre_stop=st.sampled_from([0.0, 5.0, 20.0]),
    engine=st.sampled_from([0.0, 8.0, 90.0]),
    lag=st.sampled_from([0.0, 10.0, 15.0, 60.0]),
    window=st.sampled_from([15.0, 45.0]),
)
def test_who_survives_a_called_back_node(
    *, offset: int, length: int, pre_stop: float, engine: float, lag: float, window: float
) -> None:
    """Times in tenths of a second, and half a tenth beside what else happens."""
    late, seconds = offset / 10 + 0.05, length / 10
    end = min(window, pre_stop + engine)
    stopping = Stopping(pre_stop=pre_stop, engine=engine, spot_window=window, spot_endpoint_lag=lag)
    results = simulate(called_back(stopping), [ask(LOSS + late, seconds)], seconds=600)
    # Without one that has begun, the replica ends as soon as it has closed its port.
    taken = late < 0 or late < min(lag, pre_stop, end)
    asked_again = late >= 0 and not taken and late < min(pre_stop, end)
    assert results.losses == 1
    assert results.cut == (taken and late + seconds > end and late < end)
    assert (results.knocks > 0) is asked_again
    assert results.cut + results.served == 1
    if results.cut:
        assert results.cut_after[0] == pytest.approx(end - late)


def test_the_notice_leaves_the_window_less_the_wait_before_the_port_closes() -> None:
    """What the drain budget promises to an answer, from its first token: 10 seconds of 15, and 5 until the gateway."""
    latest = LOSS + Stopping().pre_stop - 0.05
    for seconds, cut in (9.9, 0), (10.2, 1):
        results = simulate(called_back(Stopping(spot_window=WINDOW)), [ask(latest, seconds)], seconds=600)
        assert (results.cut, results.served) == (cut, 1 - cut)


def test_a_gateway_that_hears_late_sends_into_a_port_that_must_be_closed() -> None:
    """Longer before the port closes than the window: what comes late is taken, and cut. Closed in time, it comes back.

    This is what a drill on a real cluster can show, so it must be able to fail here too.
    """
    late = [ask(LOSS + at, 5) for at in (10.55, 12.55, 14.55)]
    deaf = Stopping(pre_stop=20, spot_window=WINDOW, spot_endpoint_lag=WINDOW)
    assert simulate(called_back(deaf), late, seconds=600).cut == len(late)
    # A long answer keeps the replica, so that its closed port is what the late ones find.
    keeper = [ask(LOSS, 14.9)]
    closed = replace(deaf, pre_stop=5)
    results = simulate(called_back(closed), keeper + late, seconds=600)
    assert (results.cut, results.served) == (0, len(late) + 1)
    assert results.knocks >= len(late)
    assert simulate(called_back(replace(deaf, spot_window=600)), late, seconds=600).cut == 0


def test_a_big_window_cuts_none() -> None:
    requests = [ask(at, 60) for at in range(0, 300, 3)]
    drains = [Stopping(engine=90, spot_window=window) for window in (15.0, 70.0)]
    small, big = (simulate(called_back(stopping), requests, seconds=600) for stopping in drains)
    assert small.cut > 10
    assert big.cut == 0


def test_what_had_no_token_yet_is_asked_again() -> None:
    """It waits before the batch when its replica is killed: nothing has gone out, and it is not cut."""
    platform = called_back(Stopping(spot_window=WINDOW), limits=roomy(1))
    results = simulate(platform, [ask(LOSS - 1, 60), ask(LOSS, 5)], seconds=600)
    assert (results.cut, results.reset, results.served) == (1, 1, 1)
    assert results.whole[0] == pytest.approx(WINDOW + CALLER.retry_after + 5, abs=2.01)


@pytest.mark.parametrize("more", [0, 1])
def test_a_called_back_pod_is_replaced_when_it_has_ended(more: int) -> None:
    """Until then it counts, also where the scaler changes its mind meanwhile."""
    answer = ask(LOSS - 5, 17)
    platform = called_back(Stopping(spot_window=WINDOW), scaler=change(90, 1, 1 + more))
    run = Recorded(platform, seconds=300)
    run.run([answer])
    bought = sorted(run.bought.values())
    ended = answer.at + 17
    assert bought == pytest.approx([*[105.0] * more, ended])
    assert run.results.cut == 0


def test_a_stopped_pod_whose_node_is_called_back_is_not_replaced() -> None:
    """It was told to stop before, and has the shorter of both times."""
    answers = [ask(50, 100), ask(50, 100)]
    for window, cut_at in (15.0, 115.0), (None, 100.0):
        platform = called_back(Stopping(engine=200, spot_window=window), scaler=change(60, 2, 1), initial=2)
        platform = replace(platform, balancing=Balancing.LEAST_OUTSTANDING, supply=Supply(order=(SPOT,), losses=(100,)))
        run = Recorded(platform, seconds=300)
        results = run.run(answers)
        assert results.nodes == 3  # Of the two that were lost, one is replaced.
        assert results.cut == 2
        assert [at for _, at in run.left] == pytest.approx([cut_at] * 2)


def test_a_lost_replica_that_finds_no_node_is_shown_as_starting() -> None:
    supply = Supply(order=(SPOT,), losses=(LOSS,), outages=((50.0, 500.0),), retry_seconds=500)
    results = simulate(Platform(versions=(version(),), supply=supply), [], seconds=1000)
    last = {moment.at: moment[1:] for moment in results.versions["v1"].moments}
    assert last == {0.0: (1, 1, 0), 100.0: (1, 0, 1), 600.0: (1, 1, 0)}


def test_losses_by_chance() -> None:
    replicas, a_day = 8, 24.0
    of = version(always(replicas), initial=replicas, floor=2)
    supply = Supply(order=(SPOT,), losses_per_day=a_day)
    results = simulate(Platform(versions=(of,), supply=supply), [], seconds=DAY)
    expected = (replicas - 2) * a_day
    assert abs(results.losses - expected) < 4 * math.sqrt(expected)
    assert results.nodes == replicas + results.losses
    assert results.gpu_hours == pytest.approx(replicas * 24)


# The gateway

THRICE = Gateway(attempts=3, ejected_after=2, ejection_seconds=30, most_ejected=0.5)


def refusing(gateway: Gateway, replicas: int, asked: int) -> Recorded:
    """All but one refuse from 100 s on, and are asked first; a request comes each second, for a second."""
    streams = [ask(90 + number, 150) for number in range(replicas + 1)]
    platform = Platform(
        versions=(version(always(replicas), initial=replicas, floor=1),),
        supply=Supply(order=(SPOT,), losses=(LOSS,)),
        stopping=Stopping(pre_stop=0, spot_window=200, spot_endpoint_lag=200),
        callers=Callers(retry_after=1000, spread=0),
        balancing=Balancing.LEAST_OUTSTANDING,
        gateway=gateway,
    )
    run = Recorded(platform, seconds=300)
    run.run([*streams, *(ask(LOSS + 1 + number, 1) for number in range(asked))])
    return run


def test_one_try_is_one_try() -> None:
    assert refusing(Gateway(attempts=1), 2, 4).results.knocks == 4
    assert refusing(Gateway(attempts=2), 2, 4).results.knocks == 0


def test_who_is_left_out_is_back_after_the_time() -> None:
    """One of two replicas refuses: twice until it is left out, and twice more when it is back."""
    assert refusing(replace(THRICE, ejection_seconds=1000), 2, 40).results.lingering == 2
    assert refusing(THRICE, 2, 40).results.lingering == 4


@pytest.mark.parametrize(("most", "out"), [(0.1, 1), (0.5, 2), (0.75, 3), (1.0, 3)])
def test_no_more_than_so_many_are_left_out(most: float, out: int) -> None:
    """Three of four refuse. One always may be left out; those that stay are asked again and again."""
    run = refusing(replace(THRICE, attempts=4, most_ejected=most, ejection_seconds=1000), 4, 30)
    assert run.results.knocks == 0
    # Those that are left out were asked twice.
    assert run.results.lingering - 2 * out == pytest.approx((3 - out) * 29, abs=3)


@pytest.mark.parametrize(("refusing", "unheard"), [(2, 0), (3, 2)])
def test_two_more_are_tried_and_who_refused_twice_is_left_out(refusing: int, unheard: int) -> None:
    """Spot replicas have closed their ports and go on with a stream each; the floor has most to do, so comes last."""
    streams = [ask(90 + number, 60) for number in range(refusing + 2)]
    platform = Platform(
        versions=(version(always(refusing + 1), initial=refusing + 1, floor=1),),
        supply=Supply(order=(SPOT,), losses=(LOSS,)),
        stopping=Stopping(pre_stop=0, spot_window=200, spot_endpoint_lag=200),
        callers=Callers(retry_after=1000, spread=0),
        balancing=Balancing.LEAST_OUTSTANDING,
        gateway=replace(THRICE, most_ejected=1.0),
    )
    late = [ask(LOSS + 1 + number, 1) for number in range(4)]
    run = Recorded(platform, seconds=300)
    results = run.run(streams + late)
    # Where three refuse, the first two callers meet them and nobody else; then all three are left out.
    came = {request.at: at for request, at in run.left}
    assert [came[request.at] - request.at > 10 for request in late] == [number < unheard for number in range(4)]
    assert results.knocks == unheard
    assert (results.cut, results.served) == (0, len(streams + late))


# Stopping of one's own will


def two_then_one() -> Scaler:
    return Schedule(from_hour=0, to_hour=1, replicas=2, outside=1)


@pytest.mark.parametrize(("engine", "cut"), [(10.0, 1), (60.0, 0)])
def test_a_scale_down_waits_for_answers_as_long_as_the_engine_does(engine: float, cut: int) -> None:
    told = HOUR + POLLING_SECONDS
    platform = Platform(
        versions=(version(two_then_one, initial=2),),
        stopping=Stopping(engine=engine),
        balancing=Balancing.LEAST_OUTSTANDING,
    )
    results = simulate(platform, [ask(HOUR, 60), ask(HOUR, 60)], seconds=2 * HOUR)
    assert (results.cut, results.served) == (cut, 2 - cut)
    if cut:
        assert results.cut_after[0] == pytest.approx(told + Stopping().pre_stop + engine - HOUR)
    draining = results.node_seconds[ON_DEMAND, Use.DRAINING]
    assert draining == pytest.approx(min(Stopping().pre_stop + engine, HOUR + 60 - told), abs=STEP)


def test_nobody_knocks_at_a_pod_that_stops() -> None:
    """The gateway hears of it before the port closes; the other way round, another replica is tried."""
    requests = [ask(HOUR + at / 2, 3) for at in range(100)]
    for stopping in Stopping(), Stopping(pre_stop=1, endpoint_lag=10):
        results = simulate(
            Platform(versions=(version(two_then_one, initial=2),), stopping=stopping, gateway=THRICE),
            requests,
            seconds=9000,
        )
        assert (results.served, results.knocks, results.cut) == (100, 0, 0)


def test_the_youngest_goes_first_and_the_floor_never() -> None:
    """A pod that still starts goes before one that serves."""
    slow = ColdStart(parts=(Part(name="model", least=1000, likely=1000, most=1000),))
    platform = Platform(versions=(version(change(60, 3, 2), initial=2, floor=1),), cold_start=slow)
    results = simulate(platform, [ask(10, 300)], seconds=600)
    assert (results.cut, results.served) == (0, 1)
    assert results.node_seconds[ON_DEMAND, Use.STARTING] == pytest.approx(60)
    assert {moment.ready for moment in results.versions["v1"].moments if moment.at} == {2}


# No spot node to be had


def outage(*order: Provisioning, fallback: float = 120.0) -> Platform:
    """For the first thousand seconds, in which one replica is wanted and none is there."""
    supply = Supply(order=order, outages=((0.0, 1000.0),), fallback_seconds=fallback, retry_seconds=300)
    return Platform(versions=(version(initial=0),), supply=supply)


def test_only_spot_is_waited_for() -> None:
    run = Recorded(outage(SPOT), seconds=3600)
    results = run.run([ask(1, 5)])
    assert list(run.bought.values()) == [POLLING_SECONDS + 4 * 300]
    assert results.stock_outs == 4
    assert results.served == 1
    assert set(results.node_seconds) == {(SPOT, Use.SERVING), (SPOT, Use.IDLE)}


def test_on_demand_comes_instead() -> None:
    run = Recorded(outage(SPOT, ON_DEMAND), seconds=3600)
    results = run.run([ask(1, 5)])
    assert list(run.bought.values()) == [POLLING_SECONDS + 120]
    assert results.stock_outs == 1
    assert {kind for kind, _ in results.node_seconds} == {ON_DEMAND}


def test_spot_is_taken_where_there_is_some() -> None:
    results = simulate(replace(outage(SPOT, ON_DEMAND), supply=Supply(order=(SPOT, ON_DEMAND))), [], seconds=3600)
    assert {kind for kind, _ in results.node_seconds} == {SPOT}


def test_a_loss_in_an_outage() -> None:
    supply = Supply(order=(SPOT, ON_DEMAND), losses=(LOSS,), outages=((50.0, 500.0),), fallback_seconds=60)
    results = simulate(Platform(versions=(version(),), supply=supply), [], seconds=1000)
    assert sum(results.node_seconds[SPOT, use] for use in Use) == pytest.approx(LOSS)
    assert sum(results.node_seconds[ON_DEMAND, use] for use in Use) == pytest.approx(1000 - LOSS - 60)


def test_one_that_waits_for_a_node_is_no_longer_wanted() -> None:
    results = simulate(replace(outage(SPOT), versions=(version(change(60, 1, 0), initial=0),)), [], seconds=3600)
    assert (results.nodes, results.gpu_hours) == (0, 0)


def test_outages_by_chance() -> None:
    """Two hours after every six without one: a quarter of the time, and as much of the orders meet one."""
    supply = Supply(order=(SPOT,), outages_per_day=4, outage_hours=2, retry_seconds=HOUR)
    run = Simulation(Platform(versions=(version(),), supply=supply), seconds=0.0)
    met = []

    def look() -> None:
        met.append(run._spot_is_out())
        run._at(run._now + HOUR, look)

    run._at(0.0, look)
    run._tick = lambda: None  # type: ignore[method-assign]
    run.run([ask(400 * DAY, 1)])
    assert fmean(met) == pytest.approx(0.25, abs=0.03)


# An engine that is full


def full(patience: float) -> Results:
    """One place, taken for a hundred seconds; the second caller comes a second later, and every ten seconds."""
    platform = Platform(
        versions=(version(limits=replace(roomy(1), requests=1)),),
        callers=Callers(retry_after=10, spread=0, patience=patience),
    )
    return simulate(platform, [ask(0, 100), ask(1, 5)], seconds=600)


def test_callers_come_back() -> None:
    results = full(patience=1800)
    assert (results.overloaded, results.served, results.knocks) == (10, 2, 0)
    assert sorted(results.whole) == pytest.approx([100, 105])
    assert sorted(results.first_token) == pytest.approx([0, 100])
    assert list(results.queue) == pytest.approx([0, 0])
    assert not results.woken


def test_an_overloaded_engine_is_asked_for() -> None:
    """A 429 has reached an engine: it counts as a request, unlike a 503 of the gateway."""
    seen: list[Seen] = []
    told: list[Mapping[str, float]] = []
    of = version(lambda: Watcher(seen, 0, 1, 1, told=told), limits=replace(roomy(1), requests=1))
    platform = Platform(versions=(of,), callers=Callers(retry_after=10, spread=0), series=SERIES)
    simulate(platform, [ask(300, 100), ask(301, 5)], seconds=900)
    [at] = [work for each, work in zip(seen, told, strict=True) if each.now == 390]
    assert at["requests"] == 9
    # Of a series that is younger than the window.
    assert 0.05 < at["rate"] <= 0.1


def test_callers_give_up() -> None:
    """They ask at 0, 10, ... 50 seconds; to wait once more would take them beyond their patience."""
    results = full(patience=50)
    assert (results.overloaded, results.refused, results.served) == (6, 1, 1)
    assert results.served_share == 0.5


def test_the_wait_is_spread() -> None:
    platform = Platform(versions=(version(initial=0),), callers=Callers(retry_after=100, spread=0.5))
    results = simulate(platform, [ask(at / 1000, 1) for at in range(500)], seconds=600)
    assert 100 <= min(results.woken) < 101
    assert 149 < max(results.woken) <= 150


def test_too_long_for_any_replica() -> None:
    of = version(limits=Limits(sequences=1, cached_tokens=50, prefill_tokens=20, requests=10))
    requests = [
        Request(at=1, input_tokens=20, output_tokens=30),
        Request(at=2, input_tokens=20, output_tokens=31),
        Request(at=3, input_tokens=21, output_tokens=1),
    ]
    results = simulate(Platform(versions=(of,)), requests, seconds=60)
    assert (results.served, results.too_long, results.overloaded) == (1, 2, 0)
    assert results.served_share == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Supply(retry_seconds=0),
        lambda: Supply(outages_per_day=1, outage_hours=0),
        lambda: Callers(retry_after=0),
        lambda: Callers(patience=math.inf),
    ],
)
def test_what_would_never_end_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\d|inf"):
        wrong()

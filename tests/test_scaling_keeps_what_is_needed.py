"""No rendered policy takes a loaded replica away, wakes what nobody asks for, or forgets who asked: whatever happens.

The recorded queries are asked of the simulator's Prometheus, which is held against the real one
(tests/test_simulate_promql.py), by KEDA's and the HorizontalPodAutoscaler's rules (tests/test_simulate_scalers.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.scaling import LOAD, POLLING_SECONDS
from planning.recording_rules import rules_of
from planning.simulate.promql import Prometheus
from planning.simulate.scaled_object import Trigger
from planning.simulate.scalers import Keda, Seen
from tests.scaling import expression, scaled_object, scaled_version

POLL = int(POLLING_SECONDS)
MINUTE = 60 // POLL
QUEUE, RATE = 4.0, 2.0


@dataclass(frozen=True)
class Phase:
    """What goes on for a while: requests a second that end, requests that run, and what is away."""

    minutes: float
    rate: float = 0.0
    running: int = 0
    prometheus: bool = True
    keda: bool = True
    gateway: bool = True
    """Whether its scrapes succeed, as for `engines` and `kube_state_metrics`."""
    engines: bool = True
    kube_state_metrics: bool = True
    loads: bool = False
    """Whether replicas that are started meanwhile stay unready."""


@dataclass(frozen=True)
class Moment:
    """One poll: what was there before it, what after, and what went on."""

    minute: float
    before: int
    after: int
    phase: Phase


Sample = tuple[str, Mapping[str, str], float]
GATEWAYS = ("gateway-a", "gateway-b")


def pod_name(number: int) -> str:
    return f"llama-stable-7f9c-p{number}"


class World:
    """A version and what is scraped of it. New replicas serve at once, unless a phase says that they load.

    There are two gateway pods; what is scraped of the second is as old as a scrape. Every second scrape finds
    kube-state-metrics, which is scraped half as often.
    """

    def __init__(self, replicas: int, **fields: Any) -> None:
        version = scaled_version(**fields)
        self.rules, self.floor = tuple(rules_of(version.rules())), version.floor
        self.keda = Keda(scaled=scaled_object(**fields), floor=version.floor)
        self.replicas = self.ready = version.floor + replicas
        self.prometheus, self.polls = Prometheus(), 0
        self.counts = {(pod, flags): 0.0 for pod in GATEWAYS for flags in ("-", "UH")}
        self.late, self.told = dict(self.counts), list[Sample]()

    def play(self, phases: Sequence[Phase]) -> Iterator[Moment]:
        for phase in phases:
            for _ in range(int(phase.minutes * MINUTE)):
                yield self.poll(phase)

    def poll(self, phase: Phase) -> Moment:
        self.polls += 1
        now, before = float(self.polls * POLL), self.replicas
        if not phase.loads:
            self.ready = self.replicas
        self.ready = min(self.ready, self.replicas)
        self.late = dict(self.counts)
        for pod in GATEWAYS:
            self.counts[pod, "-" if self.ready else "UH"] += phase.rate * POLL / len(GATEWAYS)
        if phase.prometheus:
            self.prometheus.scrape(now, self.samples(phase))
            self.prometheus.record(now, self.rules)
        if phase.keda:
            seen = Seen(
                now=now,
                replicas=self.replicas,
                ready=self.ready,
                active=False,
                utilization=0.0,
                prometheus=self.prometheus if phase.prometheus else None,
            )
            self.replicas = self.keda.wanted(seen)
        return Moment(minute=now / 60, before=before - self.floor, after=self.replicas - self.floor, phase=phase)

    def samples(self, phase: Phase) -> Iterator[Sample]:
        for pod, counts in zip(GATEWAYS, (self.counts, self.late), strict=True):
            gateway = {"job": "istio-ingress/merged-metrics", "namespace": "istio-ingress", "pod": pod}
            yield "up", gateway, float(phase.gateway)
            for (counted, flags), count in counts.items():
                if count and phase.gateway and counted == pod:
                    yield "istio_requests_total", {**AT_GATEWAY, "pod": pod, "response_flags": flags}, count
        waiting = max(0, phase.running - 2 * int(QUEUE) * self.ready)
        for number in range(self.replicas):
            of = {"namespace": "models", "app": "llama", "version": "stable", "pod": pod_name(number)}
            yield "up", {"job": "models/merged-metrics", **of}, float(phase.engines)
            if phase.engines and number < self.ready:
                yield "tgi_queue_size", of, waiting / self.ready
                yield "tgi_batch_current_size", of, (phase.running - waiting) / self.ready
        if self.polls % 2:
            self.told = list(self.deployments())
        if phase.kube_state_metrics:
            yield from self.told

    def deployments(self) -> Iterator[Sample]:
        of = {"namespace": "models", "deployment": "llama-stable"}
        yield "kube_deployment_spec_replicas", of, float(self.replicas - self.floor)
        yield "kube_deployment_status_replicas_unavailable", of, float(self.replicas - self.ready)
        for number in range(self.replicas):
            of = {"namespace": "models", "condition": "true", "pod": pod_name(number)}
            yield "kube_pod_status_ready", of, float(number < self.ready)


AT_GATEWAY = {
    "reporter": "source",
    "source_workload": "istio-ingressgateway",
    "source_workload_namespace": "istio-ingress",
    "destination_service_name": "llama",
    "destination_service_namespace": "models",
}
BY_QUEUE: dict[str, Any] = {"queue_per_replica": QUEUE}
BY_RATE: dict[str, Any] = {"requests_per_second_per_replica": RATE, "share": 1.0}
CALM = Phase(minutes=60)
"""Long enough that Prometheus has watched for as long as any query asks."""


def run(phases: Sequence[Phase], *, floor: int = 0, minimum: int = 0, replicas: int = 0, **target: Any) -> list[Moment]:
    """Play phases one after the other, after a calm hour."""
    world = World(
        max(replicas, minimum),
        floor=floor,
        minimum=minimum,
        maximum=6,
        startup_seconds=600,
        deadline_seconds=1200,
        **target,
    )
    calm = list(world.play([CALM]))
    assert calm[-1].after == minimum
    return list(world.play(phases))


SOURCES = ("prometheus", "gateway", "engines", "kube_state_metrics")


def known(phase: Phase) -> bool:
    """Whether everything that the queries rest on answers."""
    return all(getattr(phase, source) for source in SOURCES)


def lately(moments: Sequence[Moment], at: int, minutes: int) -> Sequence[Moment]:
    """Give the polls of the last minutes, that at `at` included."""
    return moments[max(0, at - minutes * MINUTE) : at + 1]


def faults(moments: Sequence[Moment], floor: int, target: Mapping[str, Any]) -> list[str]:
    """Say what a scaler did that it must not do."""
    found = []
    for at, moment in enumerate(moments):
        before, after, phase = moment.before, moment.after, moment.phase
        left = floor + after
        if after < before:
            if not known(phase) or not phase.keda:
                found.append(f"{moment.minute}: {before} -> {after} though nobody knew what went on")
            if any(not recent.phase.prometheus or not recent.phase.gateway for recent in lately(moments, at, 9)):
                found.append(f"{moment.minute}: {before} -> {after} right after an outage")
            if "queue_per_replica" in target and phase.running > left * QUEUE:
                found.append(f"{moment.minute}: {before} -> {after} under {phase.running} requests")
            # The rate is one over two minutes, and a tenth of tolerance is Kubernetes's.
            rate = min((recent.phase.rate for recent in lately(moments, at, 4)), default=0.0)
            if "queue_per_replica" not in target and rate > left * RATE * 1.11:
                found.append(f"{moment.minute}: {before} -> {after} at {rate} a second")
            if left == 0 and any(recent.phase.rate or recent.phase.running for recent in lately(moments, at, 13)):
                found.append(f"{moment.minute}: {before} -> {after}, and somebody asked within a quarter of an hour")
            if floor and after == 0 and before > 1 and all(recent.phase.keda for recent in lately(moments, at, 40)):
                found.append(f"{moment.minute}: {before} -> {after} in one step beside a floor")
        asked = any(recent.phase.rate or recent.phase.running for recent in lately(moments, at, 5))
        if after > before == 0 and not asked:
            found.append(f"{moment.minute}: {before} -> {after} though nobody asked")
    return found


MOSTLY = st.sampled_from([True, True, True, True, False])
PHASES = st.lists(
    st.builds(
        Phase,
        minutes=st.sampled_from([1, 4, 12, 30]),
        rate=st.sampled_from([0.0, 0.0, 0.5, 3.0, 9.0]),
        running=st.sampled_from([0, 0, 2, 9, 30]),
        prometheus=MOSTLY,
        keda=MOSTLY,
        gateway=MOSTLY,
        engines=MOSTLY,
        kube_state_metrics=MOSTLY,
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(phases=PHASES, floor=st.sampled_from([0, 1]), minimum=st.sampled_from([0, 1]), by_queue=st.booleans())
def test_whatever_happens(*, phases: list[Phase], floor: int, minimum: int, by_queue: bool) -> None:
    target = BY_QUEUE if by_queue else BY_RATE
    assert faults(run(phases, floor=floor, minimum=minimum, **target), floor, target) == []


BUSY = Phase(minutes=30, rate=3.0, running=30)


def test_the_policy_of_before_is_seen_to_do_harm() -> None:
    """Prod's until November 2026: the queue alone, and the idle time as KEDA's cooldown. It takes all at once."""
    world = World(0, floor=1, maximum=6, startup_seconds=1800, deadline_seconds=2400, **BY_QUEUE)
    load = f"{expression(LOAD, floor=1, **BY_QUEUE)} * {QUEUE}"
    queue = Trigger(name="queue", query=load, threshold=QUEUE)
    world.keda.scaled = replace(world.keda.scaled, triggers=(queue,), modifiers=None, cooldown_seconds=15 * 60)
    moments = list(world.play([CALM, BUSY, BUSY]))
    assert max(moment.after for moment in moments) == 3
    assert any("in one step beside a floor" in fault for fault in faults(moments, 1, BY_QUEUE))
    assert any("under 30 requests" in fault for fault in faults(moments, 1, BY_QUEUE))


def numbers(moments: Sequence[Moment]) -> list[int]:
    """Give each number of replicas once, as they follow."""
    said = [moments[0].before, *(moment.after for moment in moments)]
    return [one for place, one in enumerate(said) if place == 0 or said[place - 1] != one]


def test_beside_a_floor_replicas_stay_under_load_and_go_one_by_one() -> None:
    """Thirty under way: seven replicas may have them waiting; the queue is empty with three, and so they stay."""
    few = Phase(minutes=60, running=3)
    moments = run([replace(BUSY, minutes=120), few], floor=1, **BY_QUEUE)
    assert numbers(moments) == [0, 1, 3, 2, 1, 0]
    busy, calm = moments[: 120 * MINUTE], moments[120 * MINUTE :]
    assert {moment.after for moment in busy[10 * MINUTE :]} == {3}
    # Stabilisation of ten minutes, a minute a step, and the last is KEDA's.
    first = next(place for place, moment in enumerate(calm) if moment.after < 3)
    last = next(place for place, moment in enumerate(calm) if moment.after == 0)
    assert 9 * MINUTE < first <= 11 * MINUTE
    assert last >= first + 2 * MINUTE


def test_beside_a_floor_what_is_under_way_wakes_none() -> None:
    """Seven under way, all running: the floor's queue is empty."""
    moments = run([Phase(minutes=60, rate=0.5, running=7)], floor=1, **BY_QUEUE)
    assert {moment.after for moment in moments} == {0}


@pytest.mark.parametrize("target", [BY_QUEUE, BY_RATE])
@pytest.mark.parametrize("minutes", [1, 5, 20, 90])
@pytest.mark.parametrize(
    "away", [{source: False} for source in SOURCES] + [{"keda": False}, {"prometheus": False, "keda": False}]
)
def test_an_outage_changes_nothing_and_neither_does_its_return(
    away: dict[str, bool], minutes: int, target: dict[str, Any]
) -> None:
    loaded = run([BUSY, replace(BUSY, minutes=minutes, **away), BUSY], **target)
    there = {moment.after for moment in loaded[20 * MINUTE :]}
    assert len(there) == 1
    asleep = run([Phase(minutes=minutes, **away), CALM], **target)
    assert {moment.after for moment in asleep} == {0}


@pytest.mark.parametrize("target", [BY_QUEUE, BY_RATE])
@pytest.mark.parametrize("floor", [0, 1])
def test_an_outage_of_any_length_changes_nothing(floor: int, target: dict[str, Any]) -> None:
    """Each part of a query reaches back differently far: seen with KEDA's operator after six minutes.

    KEDA was away before, so that the first poll at which nothing seems wanted takes all.
    """
    for quarters in range(17, 33, 2):
        fields = {"floor": floor, "maximum": 6, "startup_seconds": 300, "deadline_seconds": 600, "idle_minutes": 5}
        world = World(0, **fields, **target)
        busy = replace(BUSY, minutes=10)
        away = replace(busy, minutes=quarters / MINUTE, prometheus=False, keda=False)
        moments = list(world.play([CALM, replace(busy, minutes=30), replace(busy, keda=False, minutes=60), away, busy]))
        assert len({moment.after for moment in moments[-60 * MINUTE :]}) == 1, quarters
        asleep = World(0, **fields, **target)
        once = Phase(minutes=2, rate=1.0)
        moments = list(asleep.play([CALM, once, CALM, Phase(minutes=quarters / MINUTE, prometheus=False), CALM]))
        assert {moment.after for moment in moments[-60 * MINUTE :]} == {0}, quarters


def test_a_prometheus_that_has_lost_its_past_takes_nothing() -> None:
    world = World(0, maximum=6, startup_seconds=600, deadline_seconds=1200, **BY_RATE)
    there = list(world.play([CALM, BUSY]))[-1].after
    world.prometheus = Prometheus()
    moments = list(world.play([replace(BUSY, minutes=60)]))
    assert {moment.after for moment in moments} == {there} == {2}


def test_who_asked_shortly_before_the_return_is_not_forgotten() -> None:
    """Asked once while neither was there to see it: the idle time begins once Prometheus is back."""
    awake = Phase(minutes=20, rate=1.0)
    away = Phase(minutes=40, prometheus=False, keda=False)
    moments = run([awake, away, replace(away, minutes=1, rate=1.0), replace(away, minutes=3), CALM], **BY_RATE)
    asleep = next(place for place, moment in enumerate(moments) if moment.after == 0 and place > 20 * MINUTE)
    assert asleep >= (20 + 40 + 1 + 3 + 13) * MINUTE


def test_a_model_wakes_though_prometheus_has_just_come_back() -> None:
    moments = run([Phase(minutes=30, prometheus=False), Phase(minutes=3), Phase(minutes=2, rate=1.0)], **BY_RATE)
    assert numbers(moments) == [0, 1]


@pytest.mark.parametrize("loading", [10, 18])
def test_a_model_that_loads_is_not_put_to_sleep(loading: int) -> None:
    """Asked for once; a start may take 20 minutes here. It sleeps a quarter of an hour after it was ready."""
    once = Phase(minutes=1, rate=0.1, loads=True)
    moments = run([once, Phase(minutes=loading, loads=True), CALM], **BY_RATE)
    assert numbers(moments) == [0, 1, 0]
    asleep = next(place for place, moment in enumerate(moments) if moment.before > moment.after)
    assert (1 + loading + 14) * MINUTE <= asleep <= (1 + loading + 18) * MINUTE


def test_a_model_that_never_is_ready_is_given_up() -> None:
    once = Phase(minutes=1, rate=0.1, loads=True)
    moments = run([once, Phase(minutes=120, loads=True)], **BY_RATE)
    assert numbers(moments) == [0, 1, 0]
    asleep = next(place for place, moment in enumerate(moments) if moment.before > moment.after)
    assert (20 + 14) * MINUTE <= asleep <= (20 + 18) * MINUTE


def test_without_the_formula_an_outage_takes_all() -> None:
    """KEDA drops a trigger without an error while the HorizontalPodAutoscaler meets one: seen on its real operator."""
    world = World(0, maximum=6, startup_seconds=600, deadline_seconds=1200, **BY_QUEUE)
    world.keda.scaled = replace(world.keda.scaled, modifiers=None)
    moments = list(world.play([CALM, BUSY, replace(BUSY, prometheus=False)]))
    assert numbers(moments)[-2:] == [3, 0]
    assert any("nobody knew" in fault for fault in faults(moments, 0, BY_QUEUE))

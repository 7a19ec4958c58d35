"""The engine of the simulator: against one that steps through every iteration, and against queueing theory."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planning.simulate.arrivals import Request
from planning.simulate.engine import Batching, Limits, Replica, Served, Timing
from tests.queueing import TIMING, erlang_c, markovian, roomy


def run(replica: Replica, requests: list[Request]) -> list[Served]:
    ended: list[Served] = []
    for request in requests:
        while replica.next_at <= request.at:
            ended += replica.advance()
        replica.offer(request, request.at)
    while replica.next_at < math.inf:
        ended += replica.advance()
    return ended


@dataclass
class Slot:
    """A request in the batch of the stepping engine."""

    request: Request
    left: int
    cached: int
    begun: float
    first: float


def stepped(
    requests: list[Request], timing: Timing, limits: Limits, batching: Batching
) -> dict[Request, tuple[float, float, float]]:
    """The same, one iteration at a time: when each request began, had its first token, ended."""
    coming, waiting, running = list(requests), list[Request](), list[Slot]()
    found: dict[Request, tuple[float, float, float]] = {}
    now = 0.0

    def arrive(until: float, reading: int = 0) -> None:
        while coming and coming[0].at <= until:
            request = coming.pop(0)
            room = len(waiting) + len(running) + reading < limits.requests
            if room and request.tokens <= limits.cached_tokens and request.input_tokens <= limits.prefill_tokens:
                waiting.append(request)

    while coming or waiting or running:
        if not waiting and not running:
            now = max(now, coming[0].at)
        arrive(now)
        reading: list[Request] = []
        while waiting and (batching is Batching.CONTINUOUS or not running):
            batch = [slot.request for slot in running] + reading
            if len(batch) >= limits.sequences:
                break
            if sum(r.tokens for r in [*batch, waiting[0]]) > limits.cached_tokens:
                break
            if sum(r.input_tokens for r in [*reading, waiting[0]]) > limits.prefill_tokens:
                break
            reading.append(waiting.pop(0))
        if reading:
            begun = now
            now += timing.prefill + timing.prefill_a_token * sum(r.input_tokens for r in reading)
            arrive(now, len(reading))
            longest = max(r.output_tokens for r in reading)
            for r in reading:
                made = longest if batching is Batching.STATIC else r.output_tokens
                running.append(Slot(request=r, left=made - 1, cached=r.input_tokens + 1, begun=begun, first=now))
        elif running:
            now += timing.step + timing.step_a_sequence * len(running)
            now += timing.step_a_cached_token * sum(slot.cached for slot in running)
            arrive(now)
            for slot in running:
                slot.left -= 1
                slot.cached += 1
        for slot in [slot for slot in running if slot.left <= 0]:
            found[slot.request] = (slot.begun, slot.first, now)
            running.remove(slot)
    return found


TIMINGS = st.builds(
    Timing,
    prefill=st.sampled_from([0.0, 0.01]),
    prefill_a_token=st.sampled_from([0.0, 0.0003]),
    step=st.sampled_from([0.02, 0.5]),
    step_a_sequence=st.sampled_from([0.0, 0.001]),
    step_a_cached_token=st.sampled_from([0.0, 0.00007]),
)
LIMITS = st.builds(
    Limits,
    sequences=st.integers(1, 5),
    cached_tokens=st.sampled_from([40, 100, 10**6]),
    prefill_tokens=st.sampled_from([20, 10**6]),
    requests=st.sampled_from([2, 6, 10**6]),
)


@st.composite
def workloads(draw: st.DrawFn) -> list[Request]:
    at, made = 0.0, []
    for number in range(draw(st.integers(1, 12))):
        # Never at the very end of a step, where rounding decides.
        at += draw(st.integers(0, 400)) / 97 + 0.00137 * (number + 1)
        made.append(Request(at=at, input_tokens=draw(st.integers(1, 30)), output_tokens=draw(st.integers(1, 40))))
    return made


@settings(max_examples=1000, deadline=None)
@given(requests=workloads(), timing=TIMINGS, limits=LIMITS, batching=st.sampled_from(Batching))
def test_jumping_is_stepping(requests: list[Request], timing: Timing, limits: Limits, batching: Batching) -> None:
    expected = stepped(requests, timing, limits, batching)
    ended = run(Replica(timing, limits, batching), requests)
    assert {served.request for served in ended} == set(expected)
    for served in ended:
        assert (served.begun, served.first_token, served.ended) == pytest.approx(expected[served.request], abs=1e-9)


def waits(servers: int, load: float, count: int, seed: int) -> float:
    """Mean wait of Poisson arrivals at exponential servers, in units of the mean service time."""
    ended = run(Replica(TIMING, roomy(servers)), markovian(servers, load, count, seed))
    return sum((served.begun or 0) - served.offered for served in ended) / len(ended)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (4, 0.6)])
def test_waits_are_those_of_theory(servers: int, load: float) -> None:
    """M/M/1 and M/M/c, whose service times are answers of exponential length, a token a step."""
    assert waits(servers, load, 200_000, seed=7) == pytest.approx(erlang_c(servers, load), rel=0.02)


def test_three_requests_in_a_hundred_cycles_or_ten() -> None:
    """The brief's picture: three places, one long answer, and short ones that wait for it or do not."""
    lengths = [100, 15, 20, *[15, 20, 25] * 9]
    # The first one only lets the others gather: they come while it is read in, and it is not counted.
    requests = [Request(at=0.0, input_tokens=1, output_tokens=length) for length in [1, *lengths]]
    limits = Limits(sequences=3, cached_tokens=10**6, prefill_tokens=10**6, requests=100)
    done = {}
    for batching in Batching:
        ended = run(Replica(Timing(prefill=0.01, step=1.0), limits, batching), requests)
        done[batching] = sum((served.ended or math.inf) <= 100 for served in ended) - 1
    assert done[Batching.STATIC] == 3
    assert done[Batching.CONTINUOUS] >= 10

"""Queueing theory that the simulator is held against, and requests as the theory has them."""

import heapq
import math
from collections.abc import Sequence
from random import Random

from planning.simulate.arrivals import Request
from planning.simulate.engine import Limits, Timing

TOKENS: int = 5000
"""An answer has so many on average, and a step takes the same part of a second: a mean service time is a second."""
TIMING = Timing(step=1 / TOKENS)


def roomy(sequences: int) -> Limits:
    """A replica that nothing but its number of sequences limits."""
    return Limits(sequences=sequences, cached_tokens=10**9, prefill_tokens=10**9, requests=10**9)


def markovian(servers: int, load: float, count: int, seed: int) -> list[Request]:
    """Poisson arrivals of exponential answers."""
    random, at, made = Random(seed), 0.0, []  # noqa: S311  (no secret)
    for _ in range(count):
        at += random.expovariate(load * servers)
        made.append(Request(at=at, input_tokens=1, output_tokens=max(1, round(random.expovariate(1) * TOKENS))))
    return made


def erlang_c(servers: int, load: float) -> float:
    """Mean wait of M/M/c in mean service times."""
    offered = load * servers
    waiting = offered**servers / math.factorial(servers) / (1 - load)
    probability = waiting / (sum(offered**k / math.factorial(k) for k in range(servers)) + waiting)
    return probability / (servers * (1 - load))


def kiefer_wolfowitz(servers: int, requests: Sequence[Request]) -> float:
    """Mean wait of these very requests, first come first served: each takes the server that is free first."""
    free, waited = [0.0] * servers, 0.0
    for request in requests:
        begun = max(request.at, free[0])
        waited += begun - request.at
        heapq.heapreplace(free, begun + (request.output_tokens - 1) / TOKENS)
    return waited / len(requests)

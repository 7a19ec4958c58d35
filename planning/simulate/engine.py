"""One replica: requests wait, are read in (prefill), and are answered a token a step, many in one batch.

Time is counted in iterations, as in Orca (OSDI 2022, https://www.usenix.org/conference/osdi22/presentation/yu), but not
stepped through: between two changes of the batch all its steps are one sum, so that a request costs a few events.

Static batching takes what waits into an empty batch and gives all answers back when the longest has ended;
continuous batching lets a request in and out between any two steps. That is the whole difference.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from planning.simulate.arrivals import Request


class Batching(StrEnum):
    """When a waiting request may join."""

    STATIC = "static"
    CONTINUOUS = "continuous"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds of the two kinds of work, each linear in what it works on.

    A prefill reads tokens; a step makes one token for each sequence of the batch and reads all tokens in the cache.
    """

    prefill: float = 0.0
    prefill_a_token: float = 0.0
    step: float = 0.0
    step_a_sequence: float = 0.0
    step_a_cached_token: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the engine holds at once: sequences in a batch, tokens in the cache, tokens in one prefill, requests in all.

    Beyond `requests` an engine answers that it is overloaded (TGI: 429, max_concurrent_requests).
    """

    sequences: int
    cached_tokens: int
    prefill_tokens: int
    requests: int


@dataclass(slots=True)
class Served:
    """One request's way through a replica; times in seconds, None while they lie ahead."""

    request: Request
    offered: float
    begun: float | None = None
    first_token: float | None = None
    ended: float | None = None


class Replica:
    """A replica's queue and batch. Its owner calls `offer`, and `advance` whenever `next_at` has come."""

    __slots__ = (
        "_batching",
        "_cached",
        "_joined",
        "_limits",
        "_reading",
        "_reserved",
        "_run_start",
        "_run_steps",
        "_running",
        "_steps",
        "_timing",
        "busy_seconds",
        "next_at",
        "waiting",
    )

    def __init__(self, timing: Timing, limits: Limits, batching: Batching = Batching.CONTINUOUS) -> None:
        """Start idle and empty."""
        self._timing, self._limits, self._batching = timing, limits, batching
        self.waiting: deque[Served] = deque()
        self.next_at = math.inf
        """When something happens next, unless a request comes first."""
        self.busy_seconds = 0.0
        """Time in prefills and steps that have ended."""
        self._running: list[tuple[int, int, int, Served]] = []  # by (last step, number of joining), with the first step
        self._reading: list[Served] = []
        self._run_start = 0.0  # of the present prefill or run of steps
        self._run_steps = 0
        self._steps = 0  # made before the present run
        self._cached = 0  # tokens, before the present run
        self._reserved = 0  # tokens, for all that may still come of what is in the batch
        self._joined = 0

    @property
    def in_flight(self) -> int:
        """Requests that are in the batch."""
        return len(self._running) + len(self._reading)

    @property
    def outstanding(self) -> int:
        """Requests that are here, in the batch or before it."""
        return len(self.waiting) + len(self._running) + len(self._reading)

    def busy_by(self, now: float) -> float:
        """Seconds of work until now, what is under way included."""
        return self.busy_seconds + (now - self._run_start if self.in_flight else 0.0)

    def holds(self, request: Request) -> bool:
        """Whether the request could ever be served here."""
        limits = self._limits
        return request.tokens <= limits.cached_tokens and request.input_tokens <= limits.prefill_tokens

    def offer(self, request: Request, now: float) -> Served | None:
        """Take a request, or None where the engine is overloaded or could never hold it."""
        if self.outstanding >= self._limits.requests or not self.holds(request):
            return None
        served = Served(request=request, offered=now)
        self.waiting.append(served)
        if not self.in_flight:
            self._begin(now)
        elif self._running and not self._reading and len(self.waiting) == 1 and self._may_join(request, 0, 0):
            # It joins between two steps: the run ends with the one that is under way.
            self._run_steps = min(self._run_steps, self._steps_by(now))
            self.next_at = self._run_start + self._run_seconds(self._run_steps)
        return served

    def advance(self) -> list[Served]:
        """Do what was due at `next_at`; return the requests that ended."""
        now = self.next_at
        self.busy_seconds += now - self._run_start
        if self._reading:
            for served in self._reading:
                served.first_token = now
            self._join()
        else:
            self._steps += self._run_steps
            self._cached += self._run_steps * len(self._running)
        ended = []
        while self._running and self._running[0][0] <= self._steps:
            last, _, first, served = heapq.heappop(self._running)
            served.ended = now
            self._cached -= served.request.input_tokens + 1 + last - first
            self._reserved -= served.request.tokens
            ended.append(served)
        self._begin(now)
        return ended

    def stop(self, now: float) -> list[Served]:
        """End at once; return what had not ended, in the order in which it came."""
        self.busy_seconds = self.busy_by(now)
        left = [*(served for *_, served in self._running), *self._reading, *self.waiting]
        self._running, self._reading, self.next_at = [], [], math.inf
        self.waiting.clear()
        return sorted(left, key=lambda served: served.offered)

    def _join(self) -> None:
        """Put what was read in into the batch; its first token is made already."""
        longest = max(served.request.output_tokens for served in self._reading)
        for served in self._reading:
            self._joined += 1
            length = longest if self._batching is Batching.STATIC else served.request.output_tokens
            heapq.heappush(self._running, (self._steps + length - 1, self._joined, self._steps, served))
            self._cached += served.request.input_tokens + 1
        self._reading = []

    def _begin(self, now: float) -> None:
        """Start a prefill if somebody may join, else a run of steps until the first of the batch ends, else nothing."""
        self._run_start = now
        tokens = 0
        while self.waiting and self._may_join(self.waiting[0].request, tokens, len(self._reading)):
            served = self.waiting.popleft()
            served.begun = now
            self._reading.append(served)
            self._reserved += served.request.tokens
            tokens += served.request.input_tokens
        if self._reading:
            self.next_at = now + self._timing.prefill + tokens * self._timing.prefill_a_token
        elif self._running:
            self._run_steps = self._running[0][0] - self._steps
            self.next_at = now + self._run_seconds(self._run_steps)
        else:
            self.next_at = math.inf

    def _may_join(self, request: Request, tokens: int, reading: int) -> bool:
        """Whether a request may join, beside so many that are being read in, with so many tokens."""
        if self._running and self._batching is Batching.STATIC:
            return False
        limits = self._limits
        return (
            len(self._running) + reading < limits.sequences
            and self._reserved + request.tokens <= limits.cached_tokens
            and tokens + request.input_tokens <= limits.prefill_tokens
        )

    def _first_step_seconds(self) -> float:
        timing, sequences = self._timing, len(self._running)
        return timing.step + sequences * timing.step_a_sequence + self._cached * timing.step_a_cached_token

    def _run_seconds(self, steps: int) -> float:
        """How long the present run takes for so many steps: each has a token a sequence more in the cache to read."""
        growth = self._timing.step_a_cached_token * len(self._running)
        return steps * self._first_step_seconds() + growth * steps * (steps - 1) / 2

    def _steps_by(self, now: float) -> int:
        """The steps of the present run that have begun by now: at least the one that is under way is finished."""
        elapsed, first = now - self._run_start, self._first_step_seconds()
        growth = self._timing.step_a_cached_token * len(self._running)
        if growth:
            half = first - growth / 2
            steps = math.ceil((math.sqrt(half * half + 2 * growth * elapsed) - half) / growth)
        else:
            steps = math.ceil(elapsed / first) if first else self._run_steps
        # Rounding must neither go back in time nor wait a step too long.
        while steps > 1 and self._run_seconds(steps - 1) >= elapsed:
            steps -= 1
        while self._run_seconds(steps) < elapsed:
            steps += 1
        return max(steps, 1)

"""The claims that one meets about serving on GPUs, computed: continuous batching, and what sleeping saves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from catalog.architectures import Architecture, architecture_of
from catalog.gpu_machines import GpuType, machines_with
from catalog.prices import BRIEF
from monitoring.engine_metrics import EngineMetrics
from monitoring.scaling import ScaledVersion
from planning.cold_start import DRIVER, IMAGE, NODE, WARM_UP, ColdStart
from planning.memory import fit
from planning.recording_rules import rules_of
from planning.simulate.arrivals import DAY, BusinessHours, Constant, Lengths, Request, Shape, poisson
from planning.simulate.engine import Batching, Limits, Replica, Timing
from planning.simulate.platform import Platform, Series, Supply, Version, simulate
from planning.simulate.results import Provisioning, Results
from planning.simulate.scaled_object import scaled_object_of
from planning.simulate.scalers import Keda
from planning.simulate.scenario import ROOMY
from planning.simulate.timing import timing_of

# Continuous batching

CYCLES: Final = 100
_ANSWERS: Final = (100, 15, 20, *(15, 20, 25) * 9)


def answers_in_100_cycles(batching: Batching) -> int:
    """Count answers after 100 steps with three places, one long answer, and short ones that wait for it or do not."""
    # The first one only lets the others gather: they come while it is read in, and it is not counted.
    requests = [Request(at=0.0, input_tokens=1, output_tokens=length) for length in (1, *_ANSWERS)]
    replica = Replica(Timing(prefill=0.01, step=1.0), _limits(sequences=3), batching)
    for request in requests:
        replica.offer(request, request.at)
    ended = 0
    while replica.next_at <= CYCLES:
        ended += len(replica.advance())
    return ended - 1


def _limits(*, sequences: int = ROOMY, cached_tokens: int = ROOMY) -> Limits:
    return Limits(sequences=sequences, cached_tokens=cached_tokens, prefill_tokens=ROOMY, requests=ROOMY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One comparison of static and continuous batching, and on what.

    The conditions of Anyscale's of 2023, as far as they are known: a model of 13 billion weights in 16 bits on one A100
    of 40 GB, questions of 512 tokens, answers of exponential length, 128 on average, cut at `longest`.
    https://www.anyscale.com/blog/continuous-batching-llm-inference and
    anyscale/llm-continuous-batching-benchmarks at commit ce08a149
    """

    longest: int
    question_tokens: int = 512
    answer_tokens: int = 128

    @property
    def _shape(self) -> Architecture:
        # OPT-13B is not in the catalogue; Llama 2 13B has as many layers, heads and, to 2 %, weights.
        known = architecture_of("llama-3.1-8b")
        if known is None:
            raise AssertionError("the catalogue has lost llama-3.1-8b")
        return replace(
            known,
            name="13b",
            layers=40,
            hidden_size=5120,
            attention_heads=40,
            key_value_heads=40,
            intermediate_size=13824,
            vocabulary_size=32000,
        )

    @property
    def timing(self) -> Timing:
        """How fast a step is."""
        return timing_of(self._shape, gpu_type=GpuType.A100_40GB, gpus=1)

    @property
    def cached_tokens(self) -> int:
        """Tokens that the card holds beside the weights."""
        memory = machines_with(GpuType.A100_40GB)[0].gpu_memory_gib
        return fit(self._shape, gpus=1, gpu_memory_gb=memory).key_value_tokens

    def limits(self, *, paged: bool) -> Limits:
        """What is held at once: with room set aside for the longest answer of each request, or as much as it needs."""
        whole = self.question_tokens + self.longest
        sequences = ROOMY if paged else max(1, self.cached_tokens // whole)
        return _limits(sequences=sequences, cached_tokens=self.cached_tokens)

    def answers_per_second(self, rate: float, batching: Batching, *, paged: bool = False, hours: float = 1.0) -> float:
        """Answers a second in an hour of so many requests a second, to one replica that lets any number wait."""
        questions = Lengths(mean=self.question_tokens, maximum=self.question_tokens, shape=Shape.FIXED)
        answers = Lengths(mean=self.answer_tokens, maximum=self.longest, shape=Shape.EXPONENTIAL)
        seconds = hours * 3600
        replica = Replica(self.timing, self.limits(paged=paged), batching)
        ended = 0
        for request in poisson(Constant(rate=rate), seconds, questions, answers, seed=1):
            while replica.next_at <= request.at:
                ended += len(replica.advance())
            replica.offer(request, request.at)
        while replica.next_at <= seconds:
            ended += len(replica.advance())
        return ended / seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """Answers a second at one load."""

    longest: int
    rate: float
    static: float
    continuous: float
    paged: float
    """Continuous, with memory as it is needed instead of for the longest answer."""


RATES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
LONGEST: Final = (32, 128, 512, 1536)


def load_sweep(longest: int = 1536, rates: Sequence[float] = RATES) -> Iterator[Gain]:
    """Compare at loads from nearly none to more than can be served."""
    experiment = Experiment(longest=longest)
    for rate in rates:
        yield Gain(
            longest=longest,
            rate=rate,
            static=experiment.answers_per_second(rate, Batching.STATIC),
            continuous=experiment.answers_per_second(rate, Batching.CONTINUOUS),
            paged=experiment.answers_per_second(rate, Batching.CONTINUOUS, paged=True),
        )


# What sleeping saves

MANAGED_USD: Final = BRIEF.managed_gpu_usd_per_hour
SPOT_USD: Final = BRIEF.spot_gpu_usd_per_hour
HOURS_A_DAY: Final = BRIEF.hours_a_day
DAYS: Final = BRIEF.used_hours // HOURS_A_DAY
SIMULATED_DAYS: Final = 5
"""Of these, all alike: the month is so many times what they come to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A month of one GPU: hours, price, and what its callers wait for that."""

    what: str
    gpu_hours: float
    usd_per_hour: float
    waiting_callers: int | None = None
    """None: not counted."""
    mean_wait_seconds: float | None = None

    @property
    def usd(self) -> float:
        """The month's sum."""
        return self.gpu_hours * self.usd_per_hour


def saved(bill: Bill, against: Bill) -> float:
    """Say which part of the other bill this one saves."""
    return 1 - bill.usd / against.usd


def bills() -> tuple[Bill, ...]:
    """Compute the brief's two bills, then what is left of the difference at one price, and with cold starts."""
    slept, times = days_with_sleep(), DAYS / SIMULATED_DAYS
    return (
        Bill(what="always on, managed", gpu_hours=BRIEF.month_hours, usd_per_hour=MANAGED_USD, waiting_callers=0),
        Bill(what="8 hours on 25 days, spot", gpu_hours=BRIEF.used_hours, usd_per_hour=SPOT_USD),
        Bill(what="always on, spot", gpu_hours=BRIEF.month_hours, usd_per_hour=SPOT_USD, waiting_callers=0),
        Bill(what="8 hours on 30 days, spot", gpu_hours=HOURS_A_DAY * 30, usd_per_hour=SPOT_USD),
        Bill(
            what=f"{SIMULATED_DAYS} of 25 days simulated: starts, 15 idle minutes, empty nodes, spot",
            gpu_hours=slept.gpu_hours * times,
            usd_per_hour=SPOT_USD,
            waiting_callers=round(len(slept.woken) * times),
            mean_wait_seconds=sum(slept.woken) / len(slept.woken),
        ),
    )


def days_with_sleep() -> Results:
    """Run one replica for some days: a request every ten seconds for eight hours, and asleep after 15 idle minutes.

    Each takes 0.3 seconds on average. No spot node is lost: the hours are what is compared.
    """
    profile = BusinessHours(rate=0.1, from_hour=9, to_hour=9 + HOURS_A_DAY, days=7)
    one = Lengths(mean=1, maximum=1, shape=Shape.FIXED)
    answers = Lengths(mean=30, maximum=ROOMY, shape=Shape.EXPONENTIAL)
    series = Series()
    scaled = ScaledVersion(
        model=series.app,
        version="stable",
        versions=("stable",),
        share=1.0,
        engine=EngineMetrics(),
        minimum=0,
        maximum=1,
        idle_minutes=15,
        startup_seconds=1800,
        deadline_seconds=2400,
        requests_per_second_per_replica=2,
    )
    scaler = partial(Keda, scaled=scaled_object_of({"spec": scaled.scaled_object("http://prometheus")}))
    platform = Platform(
        versions=(
            Version(
                name="stable",
                timing=Timing(step=0.01),
                limits=_limits(sequences=1),
                scaler=scaler,
                workload=scaled.workload,
                rules=tuple(rules_of(scaled.rules())),
            ),
        ),
        series=series,
        supply=Supply(order=(Provisioning.SPOT,), tail_seconds=600),
        cold_start=ColdStart(parts=(NODE, DRIVER, IMAGE, WARM_UP)),
    )
    seconds = SIMULATED_DAYS * DAY
    return simulate(platform, poisson(profile, seconds, one, answers, seed=1), seconds=seconds, seed=1)

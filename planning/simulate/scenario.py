"""From one planned model to a simulated one: what the stack says, what is known, and what has to be assumed.

Whatever is not in the stack is told as an assumption, with its source or the option that changes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from catalog.gpu_cards import GPU_CARDS
from catalog.prices import GLOBAL, Kind, usd
from planning.checks.vllm import BATCH_TOKENS
from planning.cold_start import ColdStart, cold_start_of, place_of
from planning.cost.recorded import Recorded
from planning.observed import engine_metrics
from planning.plan import Plan
from planning.pools import PoolKind
from planning.schema import EngineName, WeightsFrom
from planning.serving import ModelPlan
from planning.simulate.arrivals import DAY, Bursts, BusinessHours, Constant, Lengths, Profile, Request, Shape, poisson
from planning.simulate.deployed import DeployedVersion, deployed_model
from planning.simulate.engine import Limits, Timing
from planning.simulate.platform import Balancing, Callers, Platform, Stopping, Supply, Version
from planning.simulate.results import Provisioning
from planning.simulate.scalers import AlwaysOn, HuggingFaceEndpoint, Keda, Scaler, Schedule
from planning.simulate.timing import timing_of

AZURE: Final = (
    "means of 19,366 requests of November 2023: AzureLLMInferenceTrace_conv.csv, Azure/AzurePublicDataset at b469a113"
)
QUESTION_TOKENS: Final = 1155
ANSWER_TOKENS: Final = 211
VLLM_SEQUENCES: Final = 256
"""vLLM's own on an A100: https://github.com/vllm-project/vllm/blob/v0.31.0/vllm/engine/arg_utils.py"""
TGI_REQUESTS: Final = 128
"""TGI's own --max-concurrent-requests."""
ROOMY: Final = 10**9
"""A limit that is none."""
CUSTOM_STEP_SECONDS: Final = 0.01
CUSTOM_USE: Final = 0.6
"""How busy a replica of our own engine is assumed to be at the rate that a replica is scaled for."""
NAT_USD_PER_GB: Final = usd("cloud-nat-data", Kind.ON_DEMAND, GLOBAL)
"""What Cloud NAT takes for a GB, beside its hours."""


class Pattern(StrEnum):
    """When people ask."""

    CONSTANT = "constant"
    BUSINESS_HOURS = "business-hours"
    BURSTS = "bursts"


class Policy(StrEnum):
    """Who scales."""

    DECLARED = "declared"
    """KEDA, by the recorded ScaledObjects."""
    ALWAYS_ON = "always-on"
    SCHEDULE = "schedule"
    HUGGING_FACE = "hugging-face"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a person says beside the stack. None is for what the stack says, else for what is assumed."""

    days: float | None = None
    """One, or as long as a trace."""
    seed: int = 0
    policy: Policy = Policy.DECLARED
    pattern: Pattern = Pattern.BUSINESS_HOURS
    from_hour: float = 9.0
    to_hour: float = 17.0
    requests_per_second: float | None = None
    question_tokens: int | None = None
    answer_tokens: int | None = None
    trace: tuple[Request, ...] | None = None
    service_seconds: float | None = None
    balancing: Balancing | None = None
    losses_per_day: float = 1.0
    outages_per_day: float = 0.0
    outage_hours: float = 1.0
    retry_after: float = 10.0
    patience_minutes: float = 30.0
    tail_minutes: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """Something that a run rests on: what, how much, who says so in a word or two, and at length."""

    what: str
    value: str
    by: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One model, ready to be run; `requests` begins anew at each call."""

    model: str
    platform: Platform
    requests: Callable[[], Iterator[Request]]
    seconds: float
    seed: int
    usd_per_hour: Mapping[Provisioning, float | None]
    """Of a node."""
    weights_gb: float | None
    """What a start downloads; None is unknown."""
    weights_from: WeightsFrom
    always_on: int
    """Replicas that would do without a scaler."""
    assumptions: tuple[Assumption, ...]


def scenario(plan: Plan, model: ModelPlan, options: Options, resources: Sequence[Recorded]) -> Scenario:
    """Put a planned model into the simulator, with the recorded objects that scale it and route to it.

    Raises ValueError where the size of its weights is not known, and for objects that the simulator cannot follow.
    """
    deployed = deployed_model(resources, model.name, engine_metrics(model.declared))
    versions = [version for version in deployed.versions if version.scaled.paused_at is None or version.floor]
    seconds = (options.days or 1.0) * DAY
    if options.trace:
        # To the end of the trace, and of so many days where that is later.
        seconds = max(options.trace[-1].at, (options.days or 0.0) * DAY, 1.0)
    engine = _own_engine(model, options) if model.declared.engine is EngineName.CUSTOM else _engine(model, options)
    load, requests = _load(model, options, engine, seconds)
    least = {version.name: version.floor + _minimum(version) for version in versions}
    always_on = max(model.normal_replicas or 0, sum(least.values()), 1)
    order = _order(plan, model)
    cold_start, size = cold_start_of(model), model.download_bytes
    platform = Platform(
        versions=tuple(
            Version(
                name=version.name,
                timing=engine.timing,
                limits=engine.limits[version.name],
                share=version.share,
                scaler=_scaler(version, options, always_on=always_on),
                floor=version.floor,
                initial=_initial(version, options.policy, always_on=always_on),
                workload=version.scaled.workload,
                rules=version.rules,
            )
            for version in versions
        ),
        supply=Supply(
            order=order,
            losses_per_day=options.losses_per_day,
            outages_per_day=options.outages_per_day,
            outage_hours=options.outage_hours,
            tail_seconds=options.tail_minutes * 60,
        ),
        cold_start=cold_start,
        stopping=Stopping(engine=model.drain.engine_seconds, spot_window=model.drain.spot_window_seconds),
        callers=Callers(retry_after=options.retry_after, patience=options.patience_minutes * 60),
        balancing=options.balancing or deployed.balancing,
        gateway=deployed.gateway,
        series=deployed.series,
        gpus=model.machine.gpus,
    )
    return Scenario(
        model=model.name,
        platform=platform,
        requests=requests,
        seconds=seconds,
        seed=options.seed,
        usd_per_hour={
            Provisioning.SPOT: model.machine.spot_usd_per_hour,
            Provisioning.ON_DEMAND: model.machine.on_demand_usd_per_hour,
        },
        weights_gb=None if size is None else size / 1e9,
        weights_from=place_of(model),
        always_on=always_on,
        assumptions=(
            load,
            *engine.assumptions,
            *_told(cold_start),
            *_platform_assumptions(options, spot=Provisioning.SPOT in order),
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Engine:
    timing: Timing
    limits: Mapping[str, Limits]
    questions: Lengths
    answers: Lengths
    assumptions: Sequence[Assumption]


def _engine(model: ModelPlan, options: Options) -> _Engine:
    """TGI or vLLM, by its architecture."""
    known, machine = model.architecture, model.machine
    fits = [version.fit for version in model.versions]
    if known is None or any(fit is None for fit in fits):
        raise ValueError(
            f"model {model.name}: its architecture or the size of its weights is unknown, so how fast it is cannot be "
            "said: set architecture to a name in docs/memory.md or to the path of its config.json"
        )
    timing = timing_of(
        known,
        gpu_type=machine.gpu_type,
        gpus=machine.gpus,
        quantize=model.declared.quantize,
        key_value_bytes_per_token=next(fit.key_value_bytes_per_token for fit in fits if fit is not None),
    )
    limits = {}
    for version in model.versions:
        batching, cached = version.batching, version.fit.key_value_tokens if version.fit else 0
        if model.declared.engine is EngineName.VLLM:
            sequences, prefill, most = VLLM_SEQUENCES, BATCH_TOKENS, ROOMY
        else:
            # TGI's launcher, launcher/src/main.rs: as many as the cards could compute in a second at their peak.
            flops = GPU_CARDS[machine.gpu_type].flops * machine.gpus
            sequences, prefill, most = ROOMY, min(int(flops / 2 / known.parameters), cached), TGI_REQUESTS
        limits[version.name] = Limits(
            sequences=batching.max_batch_size or sequences,
            cached_tokens=cached,
            # Both engines divide a longer question among several prefills; here it is one, as long as all of them.
            prefill_tokens=max(
                batching.max_batch_prefill_tokens or prefill, batching.max_total_tokens or known.maximum_positions
            ),
            requests=batching.max_concurrent_requests or most,
        )
    longest = min(
        [
            known.maximum_positions,
            *(version.batching.max_total_tokens or known.maximum_positions for version in model.versions),
            *(limit.cached_tokens for limit in limits.values()),
        ]
    )
    mean_question, mean_answer = options.question_tokens or QUESTION_TOKENS, options.answer_tokens or ANSWER_TOKENS
    questions = Lengths(mean=mean_question, maximum=max(1, longest * 3 // 4))
    answers = Lengths(mean=mean_answer, maximum=max(1, longest // 4), shape=Shape.EXPONENTIAL)
    return _Engine(
        timing=timing,
        limits=limits,
        questions=questions,
        answers=answers,
        assumptions=[
            Assumption(
                what="a question",
                value=f"{mean_question:,} tokens on average, lognormal, at most {questions.maximum:,}",
                by="--question-tokens" if options.question_tokens else "assumed: --question-tokens",
                detail="" if options.question_tokens else AZURE,
            ),
            Assumption(
                what="an answer",
                value=f"{mean_answer:,} tokens on average, exponential, at most {answers.maximum:,}",
                by="--answer-tokens" if options.answer_tokens else "assumed: --answer-tokens",
                detail="" if options.answer_tokens else AZURE,
            ),
            Assumption(
                what="a step",
                value=f"{timing.step * 1000:.1f} ms, {timing.step_a_sequence * 1000:.2f} more for each sequence, "
                f"{timing.step_a_cached_token * 1e6:.2f} more for 1,000 tokens in the cache"
                + (
                    f"; the stack's millisecondsPerToken is {model.declared.milliseconds_per_token:g}"
                    if model.declared.milliseconds_per_token is not None
                    else ""
                ),
                by="architecture and card",
                detail="planning/simulate/timing.py, catalog/gpu_cards.py",
            ),
            Assumption(
                what="reading a question",
                value=f"{timing.prefill_a_token * 1e6:.0f} ms for 1,000 tokens",
                by="assumed",
                detail="half of the card's peak: catalog/gpu_cards.py",
            ),
        ],
    )


def _own_engine(model: ModelPlan, options: Options) -> _Engine:
    """An engine that nobody knows: it serves one request after another, for exponential times."""
    target = model.declared.scaling.requests_per_second_per_replica
    seconds = options.service_seconds or (CUSTOM_USE / target if target is not None else 1.0)
    steps = max(1, round(seconds / CUSTOM_STEP_SECONDS))
    if options.trace:
        steps = max(1, round(sum(request.output_tokens for request in options.trace) / len(options.trace)))
    limits = Limits(sequences=1, cached_tokens=ROOMY, prefill_tokens=ROOMY, requests=ROOMY)
    detail = f"as busy as {CUSTOM_USE:.0%} at the rate that a replica is scaled for" if target else ""
    return _Engine(
        timing=Timing(step=seconds / steps),
        limits={version.name: limits for version in model.versions},
        questions=Lengths(mean=1, maximum=1, shape=Shape.FIXED),
        answers=Lengths(mean=steps, maximum=ROOMY, shape=Shape.EXPONENTIAL),
        assumptions=[
            Assumption(
                what="a request",
                value=f"{seconds:.2f} s on average, one after another in a replica",
                by="--service-seconds" if options.service_seconds else "assumed: --service-seconds",
                detail="" if options.service_seconds else detail,
            )
        ],
    )


def _load(
    model: ModelPlan, options: Options, engine: _Engine, seconds: float
) -> tuple[Assumption, Callable[[], Iterator[Request]]]:
    if options.trace is not None:
        trace = options.trace
        return Assumption(what="requests", value=f"{len(trace):,} of a trace", by="--trace"), partial(iter, trace)
    normal = model.declared.scaling.normal_requests_per_second
    rate = options.requests_per_second or normal or 1.0
    hours = f"from {options.from_hour:g} to {options.to_hour:g} o'clock on working days, none outside"
    profile: Profile = BusinessHours(rate=rate, from_hour=options.from_hour, to_hour=options.to_hour)
    match options.pattern:
        case Pattern.CONSTANT:
            profile, hours = Constant(rate=rate), "at all times"
        case Pattern.BURSTS:
            profile = Bursts(of=profile, factor=4, length=300, every=3600, seed=options.seed)
            hours += ", and four times as many for 5 minutes about once an hour"
    by = "assumed: --requests-per-second, --pattern"
    if options.requests_per_second is not None:
        by = "--requests-per-second"
    elif normal is not None:
        by = "stack: normalRequestsPerSecond; --pattern"
    return (
        Assumption(what="requests", value=f"{rate:g} a second, {hours}", by=by),
        partial(poisson, profile, seconds, engine.questions, engine.answers, options.seed),
    )


def _order(plan: Plan, model: ModelPlan) -> tuple[Provisioning, ...]:
    """Where its elastic replicas go: the class's pools, as far as they are priced by the hour."""
    pools = {pool.name: pool for pool in plan.pools}
    [order] = (found.priorities for found in plan.compute_classes if found.name == model.machine.machine_type)
    kinds = (pools[name].kind for name in order)
    bought = {PoolKind.SPOT: Provisioning.SPOT, PoolKind.ON_DEMAND: Provisioning.ON_DEMAND}
    return tuple(bought[kind] for kind in kinds if kind in bought)


def _minimum(version: DeployedVersion) -> int:
    """The fewest replicas that are scaled."""
    return version.scaled.minimum if version.scaled.paused_at is None else version.scaled.paused_at


def _always_on(version: DeployedVersion, always_on: int) -> int:
    return max(1, round(always_on * version.share))


def _initial(version: DeployedVersion, policy: Policy, *, always_on: int) -> int:
    match policy:
        case Policy.ALWAYS_ON:
            return _always_on(version, always_on)
        case Policy.SCHEDULE:
            return 0
        case Policy.DECLARED | Policy.HUGGING_FACE:
            return version.floor + _minimum(version)


def _scaler(version: DeployedVersion, options: Options, *, always_on: int) -> Callable[[], Scaler]:
    number, scaled = _always_on(version, always_on), version.scaled
    match options.policy:
        case Policy.ALWAYS_ON:
            return partial(AlwaysOn, replicas=number)
        case Policy.SCHEDULE:
            return partial(Schedule, from_hour=options.from_hour, to_hour=options.to_hour, replicas=number, days=5)
        case Policy.HUGGING_FACE:
            most = scaled.maximum if scaled.paused_at is None else scaled.paused_at
            return partial(HuggingFaceEndpoint, minimum=version.floor + _minimum(version), maximum=version.floor + most)
        case Policy.DECLARED:
            return partial(Keda, scaled=scaled, floor=version.floor)


def _told(cold_start: ColdStart) -> list[Assumption]:
    return [
        Assumption(
            what=f"start: {part.name}",
            value=f"{part.least:.0f} to {part.most:.0f} s, mostly {part.likely:.0f}",
            by=part.by,
            detail=part.source,
        )
        for part in cold_start.parts
    ]


def _platform_assumptions(options: Options, *, spot: bool) -> Iterator[Assumption]:
    if spot:
        yield Assumption(
            what="spot losses",
            value=f"{options.losses_per_day:g} a day and node, at random",
            by="assumed: --losses-per-day",
            detail="no rate of A100s on Google Cloud is published",
        )
        outages = f"{options.outages_per_day:g} a day, {options.outage_hours:g} hours on average"
        yield Assumption(
            what="no spot to be had",
            value=outages if options.outages_per_day else "never",
            by="assumed: --outages-per-day, --outage-hours",
        )
    yield Assumption(
        what="callers",
        value=f"ask again after {options.retry_after:g} s or a little more, for {options.patience_minutes:g} minutes",
        by="assumed: --retry-after, --patience-minutes",
        detail="neither TGI nor the gateway sends Retry-After: they have to do it of their own",
    )
    yield Assumption(
        what="empty nodes",
        value=f"stay for {options.tail_minutes:g} minutes",
        by="assumed: --tail-minutes",
        detail="scale-down-unneeded-time of kubernetes/autoscaler, cluster-autoscaler/FAQ.md at 55c37cd5; GKE's "
        "profile OPTIMIZE_UTILIZATION is quicker, by how much is not published",
    )

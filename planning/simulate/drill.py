"""The preemption drill: spot nodes are called back under streaming callers, and what became of them is judged.

Three runs a seed: with losses, the same without (what the losses cost), and one in which replicas come and go by order
(what a stop of our own will cuts). Offline; docs/drill.md says what is drawn and what the verdict means.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from planning.cold_start import NO_COLD_START
from planning.cost.recorded import Recorded
from planning.drain import PRE_STOP_SECONDS
from planning.plan import Plan
from planning.pools import PoolKind
from planning.serving import ModelPlan, floors
from planning.simulate.arrivals import DAY
from planning.simulate.platform import Platform, Stopping, Supply, Version, simulate
from planning.simulate.results import Cut, Loss, Moment, Provisioning, Results
from planning.simulate.scalers import AlwaysOn, Seen
from planning.simulate.scenario import NAT_USD_PER_GB, Assumption, Options, Scenario, scenario

LOSSES_PER_DAY: Final = 2.0
"""Of one spot node, where nobody says otherwise: a guess on the bad side, since no rate is published."""
SERVED_SHARE: Final = 0.999
"""What a model without `slo` is held to."""
STOPS_A_RUN: Final = 10
"""Times that a version goes back by one replica in the run of stops."""
LEAST_PHASE_SECONDS: Final = 300.0
"""How long such a replica serves before it is stopped, at the least."""
_EXACT: Final = 1e-6
"""Seconds by which two sums of the same times may differ."""


class Part(StrEnum):
    """One of the three runs of a seed."""

    LOSSES = "losses"
    QUIET = "quiet"
    STOPS = "stops"


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """What is lost, beside `Options.losses_per_day`, and what is put wrong on purpose; None leaves it as declared.

    Times in seconds. `endpoint_lag` is how long the gateway goes on sending to a replica that stops.
    """

    losses: tuple[float, ...] = ()
    """Times at which all spot nodes of the moment are called back."""
    zone_losses_per_day: float = 0.0
    pre_stop: float | None = None
    spot_window: float | None = None
    engine_timeout: float | None = None
    endpoint_lag: float | None = None
    floor: int | None = None
    replicas: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """How old an answer has to be before it may be cut, in seconds since its replica accepted it."""

    spot: float | None
    """When a node is called back; None where there is no spot node."""
    voluntary: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One run to make."""

    part: Part
    scenario: Scenario


class Recovery(NamedTuple):
    """What followed the loss of one or more serving replicas of a version at one time."""

    at: float
    version: str
    replicas: int
    seconds: float | None
    """Until as many served again, or as many as the scaler wants by then; None: not before the run had ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What is kept of a run. Times in seconds."""

    part: Part
    seed: int
    seconds: float
    arrived: int
    served: int
    at_first: int
    too_long: int
    gave_up: int
    reset: int
    lingering: int | None
    """None where it cannot be seen."""
    stops: int
    longest_wait: float
    """To the first token, of the served."""
    cuts: tuple[Cut, ...]
    losses: tuple[Loss, ...]
    recoveries: tuple[Recovery, ...]
    moments: Mapping[str, Sequence[Moment]]
    usd: float | None
    """For nodes and what starts download, as far as that is known; None where a kind of node has no price."""

    @property
    def share(self) -> float:
        """Served, of those that could be served at all."""
        return _share([self], "served")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """One model's drill, before it is run."""

    model: str
    objective: float
    """The share of requests that has to be served."""
    objective_from: str
    budgets: Budgets
    versions: tuple[Version, ...]
    tasks: tuple[Task, ...]
    assumptions: tuple[Assumption, ...]
    unpriced: str = ""
    """What the extra cost leaves out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A drill that was run: what was seen, what is wrong with it, and what else a reader should know."""

    drill: Drill
    runs: tuple[Played, ...]
    reasons: tuple[str, ...]
    """Why it has failed; none where it has passed."""
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.reasons

    def of(self, part: Part) -> list[Played]:
        """The runs of one kind, by seed."""
        return [run for run in self.runs if run.part is part]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpAndDown:
    """By turns `high` and `low` replicas, each for `phase` seconds: a scaler whose mind is made up."""

    low: int
    high: int
    phase: float

    def wanted(self, seen: Seen) -> int:
        """Look at the clock."""
        return self.low if int(seen.now // self.phase) % 2 else self.high


def drill(
    plan: Plan, model: ModelPlan, options: Options, faults: Faults, resources: Sequence[Recorded], *, seeds: int
) -> Drill:
    """Set up the runs of so many seeds, from `options.seed` on. Raises ValueError as `scenario` does."""
    budgets = budgets_of(model, faults)
    made = [scenario(plan, model, replace(options, seed=options.seed + number), resources) for number in range(seeds)]
    spot = Provisioning.SPOT in made[0].platform.supply.order
    platform = _platform(made[0].platform, model, faults, zones=_zones(plan, model))
    stops = platform.stopping
    phase = max(LEAST_PHASE_SECONDS, stops.pre_stop + max(stops.engine, budgets.voluntary) + 60)
    days = None if options.trace else 2 * STOPS_A_RUN * phase / DAY
    tasks = []
    for found in made:
        tasks += [
            Task(part=Part.LOSSES, scenario=replace(found, platform=platform)),
            Task(part=Part.QUIET, scenario=replace(found, platform=_quiet(platform))),
        ]
        falling = scenario(plan, model, replace(options, seed=found.seed, days=days), resources)
        tasks.append(Task(part=Part.STOPS, scenario=replace(falling, platform=_falling(platform, phase))))
    share, source = objective_of(model)
    return Drill(
        model=model.name,
        objective=share,
        objective_from=source,
        budgets=budgets,
        versions=platform.versions,
        tasks=tuple(tasks),
        assumptions=tuple(_assumptions(made[0].assumptions, platform, options, faults, spot=spot)),
        unpriced="what a start downloads" if made[0].weights_gb is None else "",
    )


def objective_of(model: ModelPlan) -> tuple[float, str]:
    """Say what share of requests has to be served, and who says so."""
    if model.declared.slo is None:
        return SERVED_SHARE, "no slo in the stack"
    return round(model.declared.slo.availability / 100, 10), "slo.availability"


def budgets_of(model: ModelPlan, faults: Faults) -> Budgets:
    """Say what the stack promises: what is put wrong on purpose does not lower it, but a shorter notice does."""
    drain = model.drain
    window = drain.spot_window_seconds if faults.spot_window is None else faults.spot_window
    if drain.spot_window_seconds is None or window is None:
        return Budgets(spot=None, voluntary=drain.engine_seconds)
    return Budgets(spot=max(0.0, min(window - PRE_STOP_SECONDS, drain.engine_seconds)), voluntary=drain.engine_seconds)


def _zones(plan: Plan, model: ModelPlan) -> int:
    pools = [pool for pool in plan.pools if pool.machine == model.machine and pool.kind is PoolKind.SPOT]
    return max((len(pool.zones) for pool in pools), default=1)


def _platform(platform: Platform, model: ModelPlan, faults: Faults, *, zones: int) -> Platform:
    return replace(
        platform,
        versions=tuple(_version(version, model, faults) for version in platform.versions),
        supply=replace(
            platform.supply, losses=faults.losses, zones=zones, zone_losses_per_day=faults.zone_losses_per_day
        ),
        stopping=_stopping(platform.stopping, faults),
    )


def _version(version: Version, model: ModelPlan, faults: Faults) -> Version:
    """Set its replicas: under the normal load from the start, so that no cold start of a first morning is in it."""
    normal = math.ceil((model.normal_replicas or 0) * version.share)
    version = replace(version, initial=max(version.initial, normal, version.floor))
    if faults.replicas is not None:
        number = max(1, round(faults.replicas * version.share))
        version = replace(
            version,
            scaler=partial(AlwaysOn, replicas=number),
            initial=number,
            floor=min(version.floor, number),
        )
    if faults.floor is not None:
        scaling = model.declared.scaling.model_copy(update={"base_on_demand_replicas": faults.floor})
        floor = floors(model.declared.model_copy(update={"scaling": scaling}))[version.name]
        version = replace(version, floor=floor, initial=max(version.initial, floor))
    return version


def _stopping(stopping: Stopping, faults: Faults) -> Stopping:
    if faults.pre_stop is not None:
        stopping = replace(stopping, pre_stop=faults.pre_stop)
    if faults.engine_timeout is not None:
        stopping = replace(stopping, engine=faults.engine_timeout)
    if faults.spot_window is not None and stopping.spot_window is not None:
        stopping = replace(stopping, spot_window=faults.spot_window)
    if faults.endpoint_lag is not None:
        stopping = replace(stopping, endpoint_lag=faults.endpoint_lag, spot_endpoint_lag=faults.endpoint_lag)
    return stopping


def _without_losses(supply: Supply) -> Supply:
    return replace(supply, losses_per_day=0.0, losses=(), zone_losses_per_day=0.0)


def _quiet(platform: Platform) -> Platform:
    return replace(platform, supply=_without_losses(platform.supply))


def _falling(platform: Platform, phase: float) -> Platform:
    """One replica more and one less by turns; they start at once, since only how they stop is asked."""
    versions = []
    for version in platform.versions:
        low = max(version.initial, 1)
        scaler = partial(UpAndDown, low=low, high=low + 1, phase=phase)
        versions.append(replace(version, scaler=scaler, initial=low + 1))
    supply = replace(_without_losses(platform.supply), outages_per_day=0.0)
    return replace(platform, versions=tuple(versions), supply=supply, cold_start=NO_COLD_START)


def _assumptions(
    known: Iterable[Assumption], platform: Platform, options: Options, faults: Faults, *, spot: bool
) -> Iterator[Assumption]:
    yield from (assumption for assumption in known if assumption.what != "spot losses")
    if spot:
        yield from _losses(options, faults, platform.supply.zones)
    stopping = platform.stopping
    window = "" if stopping.spot_window is None else f"; a called-back spot node leaves {stopping.spot_window:g} s"
    options_ = [
        option
        for option, value in (
            ("--pre-stop", faults.pre_stop),
            ("--engine-timeout", faults.engine_timeout),
            ("--spot-window", faults.spot_window),
        )
        if value is not None
    ]
    yield Assumption(
        what="stopping",
        value=f"{stopping.pre_stop:g} s preStop, {stopping.engine:g} s engine{window}",
        by=", ".join(options_) or "stack",
        detail="planning/drain.py",
    )
    yield Assumption(
        what="endpoints",
        value=f"stay for {stopping.spot_endpoint_lag:g} s on a node that shuts down, {stopping.endpoint_lag:g} s else",
        by="--endpoint-lag" if faults.endpoint_lag is not None else "assumed: --endpoint-lag",
    )


def _losses(options: Options, faults: Faults, zones: int) -> Iterator[Assumption]:
    if options.losses_per_day:
        yield Assumption(
            what="spot losses",
            value=f"{options.losses_per_day:g} a day and node, at random",
            by="assumed: --losses-per-day",
            detail="no rate of A100s on Google Cloud is published",
        )
    if faults.losses:
        yield Assumption(what="lost at once", value=f"all spot nodes, {len(faults.losses)} times a run", by="--losses")
    if faults.zone_losses_per_day:
        yield Assumption(
            what="zones lost",
            value=f"{faults.zone_losses_per_day:g} a day, each of {zones}; nodes are spread among them at random",
            by="--zone-losses-per-day",
        )


def play(task: Task) -> Played:
    """Make one run."""
    made = task.scenario
    results = simulate(made.platform, made.requests(), seconds=made.seconds, seed=made.seed)
    return Played(
        part=task.part,
        seed=made.seed,
        seconds=made.seconds,
        arrived=results.arrived,
        served=results.served,
        at_first=results.at_first,
        too_long=results.too_long,
        gave_up=results.refused,
        reset=results.reset,
        lingering=results.lingering,
        stops=results.stops,
        longest_wait=max(results.first_token, default=0.0),
        cuts=tuple(results.cuts),
        losses=tuple(results.lost),
        recoveries=tuple(recoveries(results)),
        moments={name: tuple(version.moments) for name, version in results.versions.items()},
        usd=_usd(made, results),
    )


def _usd(made: Scenario, results: Results) -> float | None:
    prices = {kind: price for kind, price in made.usd_per_hour.items() if price is not None}
    if not {kind for kind, _ in results.node_seconds} <= prices.keys():
        return None
    return sum(results.cost(prices).values()) + len(results.starts) * (made.weights_gb or 0.0) * NAT_USD_PER_GB


def recoveries(results: Results) -> Iterator[Recovery]:
    """Follow each loss of serving replicas until as many of its version serve again. Same times are one loss."""
    serving = sorted((loss for loss in results.lost if loss.serving), key=_when)
    for (at, version), lost in groupby(serving, key=_when):
        nodes = list(lost)
        before = max(loss.ready for loss in nodes)
        moments = results.versions[version].moments
        # The last one of its own time, when all that was lost then is lost, and all that came later.
        first = max(number for number, moment in enumerate(moments) if moment.at <= at)
        again = next((m.at for m in moments[first:] if m.ready >= min(before, m.wanted)), None)
        yield Recovery(at=at, version=version, replicas=len(nodes), seconds=None if again is None else again - at)


def _when(loss: Loss) -> tuple[float, str]:
    return loss.at, loss.version or ""


def judge(done: Drill, runs: Sequence[Played]) -> Outcome:
    """Hold the runs against the budgets and the objective."""
    ordered = tuple(sorted(runs, key=lambda run: (run.seed, run.part)))
    outcome = Outcome(drill=done, runs=ordered, reasons=(), notes=())
    return replace(outcome, reasons=tuple(_reasons(outcome)), notes=tuple(_notes(outcome)))


def too_early(done: Drill, cuts: Iterable[Cut]) -> list[Cut]:
    """Find the cut answers that were younger than their budget."""
    budgets = done.budgets
    return [
        cut for cut in cuts if cut.seconds < (budgets.spot or 0.0 if cut.called_back else budgets.voluntary) - _EXACT
    ]


def cuts_of(runs: Iterable[Played], *, called_back: bool) -> list[Cut]:
    """All cut answers of some runs, of one of the two kinds of stop."""
    return [cut for run in runs for cut in run.cuts if cut.called_back is called_back]


def _reasons(outcome: Outcome) -> Iterator[str]:
    done, judged = outcome.drill, [*outcome.of(Part.LOSSES), *outcome.of(Part.STOPS)]
    for called_back, budget, what in (
        (True, done.budgets.spot, "when a spot node was called back"),
        (False, done.budgets.voluntary, "when a replica was told to stop"),
    ):
        cuts = too_early(done, cuts_of(judged, called_back=called_back))
        if cuts and budget is not None:
            yield (
                f"{streams(len(cuts))} cut {what} though younger than the budget of {budget:g} s, "
                f"the youngest after {min(cut.seconds for cut in cuts):.1f} s"
            )
    share = served_share(outcome)
    if share < done.objective:
        yield f"{share:.3%} of the requests were served, less than {done.objective:.3%} ({done.objective_from})"


def _notes(outcome: Outcome) -> Iterator[str]:
    done, losses = outcome.drill, outcome.of(Part.LOSSES)
    if done.budgets.spot is None:
        yield "there is no spot node that could be lost: only the stops were tried"
    elif not any(run.losses for run in losses):
        yield "no spot node was lost in any run: more --days or --losses-per-day, or --replicas beside the floor"
    if done.budgets.spot == 0:
        yield (
            f"the notice is over before the {PRE_STOP_SECONDS} s of preStop are: no answer is promised anything when a "
            "spot node is called back"
        )
    first = _share(losses, "at_first")
    if first < done.objective <= served_share(outcome):
        alone = ", ".join(f"{v.name}" for v in done.versions if not v.floor and v.initial < 2)
        yield (
            f"only {first:.3%} were served at the first try, less than {done.objective:.3%}: callers have to ask again "
            "while replicas are missing" + (f" (one replica and no floor: {alone})" if alone else "")
        )


def served_share(outcome: Outcome) -> float:
    """Of all requests of the runs with losses, those that were too long for any replica left out."""
    return _share(outcome.of(Part.LOSSES), "served")


def first_share(outcome: Outcome) -> float:
    """Of the same, those that were served without having asked twice."""
    return _share(outcome.of(Part.LOSSES), "at_first")


def _share(runs: Sequence[Played], field: str) -> float:
    asked = sum(run.arrived - run.too_long for run in runs)
    return sum(getattr(run, field) for run in runs) / asked if asked else 1.0


def extra_usd_a_day(outcome: Outcome) -> list[float] | None:
    """What the losses of each run cost beside the same run without any; None where it is unknown."""
    if not outcome.of(Part.QUIET):
        return None
    extra = []
    for lossy, quiet in zip(outcome.of(Part.LOSSES), outcome.of(Part.QUIET), strict=True):
        if lossy.usd is None or quiet.usd is None:
            return None
        extra.append((lossy.usd - quiet.usd) / lossy.seconds * DAY)
    return extra


def streams(number: int) -> str:
    """A number of streams, and that they were something."""
    return f"{number:,} stream{'s were' if number != 1 else ' was'}"


def read_losses(text: str) -> tuple[float, ...]:
    """Read times of losses in seconds, one a line under an optional header `seconds`, and sort them.

    Raises ValueError, with the line, for anything else, and for a file without a time.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        value = line.strip()
        if not value or (number == 1 and value == "seconds"):
            continue
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise ValueError(f"line {number}: {value!r} is no time: seconds since the start, 0 or more, one a line")
        found.append(seconds)
    if not found:
        raise ValueError("there is no time in it: seconds since the start, one a line")
    return tuple(sorted(found))

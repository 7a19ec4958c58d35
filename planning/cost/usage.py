"""How much of a stack is used: what its settings say, what its plan knows, what is assumed; or what a simulation found.

None of it is in the recorded resources, which say only between which bounds a model may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from catalog.prices import MONTH_HOURS
from monitoring.scaling import replicas_for
from planning.cold_start import cold_start_of, place_of
from planning.cost.cases import NONE, Cases
from planning.plan import Plan
from planning.pools import PoolKind
from planning.refusal import Problem, Refusal
from planning.schema import Usage as Declared
from planning.schema import WeightsFrom
from planning.serving import floor_name

EMPTY_NODE_MINUTES: Final = 10
"""scale-down-unneeded-time of kubernetes/autoscaler, cluster-autoscaler/FAQ.md at 55c37cd5. GKE's profile
OPTIMIZE_UTILIZATION is quicker, by how much is not published."""
SOURCE: Final = "--usage"
"""Where a simulation comes from, as `python -m preview` calls it."""
HIGH_LOSSES: Final = 3
"""How many times the expected losses are reckoned with in the high case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadUsage:
    """One Deployment on GPU nodes. `busy` is its replicas while it is used; seconds of a start; GB that it fetches."""

    busy: int
    cold_start: Cases = NONE
    download_gb: float | None = None
    """Through the NAT, at each start; None is unknown."""
    from_bucket: bool = False
    stated: bool = True
    """Whether the settings say how many replicas the normal load takes; else it is the minimum, one at the least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    """What a simulation of one model found, as a month: GPU hours by how they are bought and what for; starts."""

    gpu_hours: Mapping[tuple[PoolKind, str], float]
    starts: float
    days: float
    """How long the simulation was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """All of it. Hours a day and days a month that a model is asked anything; share and losses of spot nodes."""

    hours_a_day: float
    days_a_month: float
    on_demand_share: float
    losses_per_day: float
    workloads: Mapping[str, WorkloadUsage] = field(default_factory=dict)
    """By the Deployment's name; what is not in it has its minimum, one replica at the least."""
    fallback: Mapping[str, bool | None] = field(default_factory=dict)
    """By machine type, what its models say of on-demand nodes in place of spot ones."""
    simulated: Mapping[str, Simulated] = field(default_factory=dict)
    """By model."""
    bucket_gb: float | None = None
    """What the stack's bucket keeps, every revision once; None is unknown."""

    @property
    def used_hours(self) -> float:
        """Hours of a month."""
        return self.hours_a_day * self.days_a_month

    def of(self, workload: str, *, minimum: int, maximum: int) -> WorkloadUsage:
        """Find what is known of a Deployment, within its bounds."""
        found = self.workloads.get(workload, WorkloadUsage(busy=max(1, minimum), stated=False))
        return replace(found, busy=min(max(found.busy, minimum), maximum))


def usage_of(plan: Plan, simulated: Mapping[str, Simulated] | None = None) -> Usage:
    """Gather what a stack's settings and its plan say."""
    declared: Declared = plan.stack.usage
    workloads: dict[str, WorkloadUsage] = {}
    for model in plan.models:
        start, size, scaling = cold_start_of(model), model.download_bytes, model.declared.scaling
        least, most = start.range
        for version in model.versions:
            replicas = version.replicas
            normal, rate = max(replicas.minimum, 0 if replicas.paused else 1), scaling.normal_requests_per_second
            stated = scaling.requests_per_second_per_replica is not None and rate is not None
            if scaling.requests_per_second_per_replica is not None and rate is not None:
                normal = replicas_for(
                    rate,
                    scaling.requests_per_second_per_replica,
                    share=version.weight / 100,
                    minimum=replicas.minimum,
                    maximum=replicas.maximum,
                )
            name = f"{model.name}-{version.name}"
            elastic = WorkloadUsage(
                busy=max(0, normal - replicas.floor),
                cold_start=Cases(least, start.mean, most),
                download_gb=None if size is None else size / 1e9,
                from_bucket=place_of(model) is WeightsFrom.BUCKET,
                stated=stated,
            )
            workloads[name] = elastic
            if replicas.floor:
                workloads[floor_name(name)] = replace(elastic, busy=replicas.floor)
    return Usage(
        hours_a_day=declared.hours_a_day,
        days_a_month=declared.days_a_month,
        on_demand_share=declared.on_demand_share,
        losses_per_day=declared.losses_per_day,
        workloads=workloads,
        fallback=_fallback(plan),
        simulated=simulated or {},
        bucket_gb=_bucket_gb(plan),
    )


def _bucket_gb(plan: Plan) -> float | None:
    """Add up the weights that are stored once for each revision."""
    sizes = {fill.weights: model.download_bytes for model in plan.models for fill in model.fills}
    known = [size for size in sizes.values() if size is not None]
    return sum(known) / 1e9 if len(known) == len(sizes) else None


def _fallback(plan: Plan) -> dict[str, bool | None]:
    """What the models of each machine type say; they share a class, so that those who say something say the same."""
    found: dict[str, bool | None] = {}
    for model in plan.models:
        said, machine = model.declared.scaling.dynamic_on_demand_fallback, model.machine.machine_type
        found[machine] = found.get(machine) if said is None else said
    return found


def simulated_from(document: Mapping[str, Any] | None) -> dict[str, Simulated]:
    """Read what `make simulate ARGS="--format json"` wrote, as a month. Raises Refusal for anything else."""
    if document is None:
        return {}
    try:
        found = {}
        for model in document["models"]:
            hours = float(model["hours"])
            month = MONTH_HOURS / hours
            found[str(model["model"])] = Simulated(
                gpu_hours={
                    (PoolKind(part["provisioning"]), str(part["use"])): float(part["hours"]) * month
                    for part in model["gpuHours"]["parts"]
                },
                starts=float(model["replicas"]["starts"]) * month,
                days=hours / 24,
            )
        return found
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        fix = 'write one with make simulate STACK=... ARGS="--format json" > FILE'
        problem = Problem(key="models", reason="is not what a simulation writes", fix=fix)
        raise Refusal(SOURCE, [problem]) from error

"""What a stack's GPU nodes are expected to cost, and what they cost at the most."""

from dataclasses import dataclass

from planning.plan import Plan
from planning.pools import Pool, PoolKind
from planning.serving import ModelPlan

WORKING_HOURS_SHARE = 8 * 22 / 730
"""Eight hours of 22 days, of the hours of a month: for how much of it a stack is used, where nobody says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """US dollars an hour at list prices, for GPU nodes alone; None where a price that it takes is unknown."""

    expected_usd_per_hour: float | None
    """The mean over a month."""
    most_usd_per_hour: float | None
    """Every model at its maximum, each replica on the dearest nodes that it may land on; without a rollout's."""


def forecast(plan: Plan, hours_share: float = WORKING_HOURS_SHARE) -> Forecast:
    """Forecast a stack that is used for `hours_share` (0 to 1) of the time, and asked for nothing in the rest.

    While it is used a model has its normal replicas, or where its settings name none the minimum, at least one; then
    the minimum. The floor is on on-demand nodes, the others on the first nodes of their class that have a price.
    """
    pools = {pool.name: pool for pool in plan.pools}
    expected: list[float | None] = []
    most: list[float | None] = []
    for model in plan.models:
        [order] = [found.priorities for found in plan.compute_classes if found.name == model.machine.machine_type]
        elastic = [pools[name].usd_per_hour for name in order]
        floor = pools[f"{model.machine.machine_type}-{PoolKind.FLOOR}"]
        least = sum(version.replicas.minimum for version in model.versions)
        used = max(1, least) if model.normal_replicas is None else model.normal_replicas
        known = [price for price in elastic if price is not None]
        expected.append(
            _cost(model, used * hours_share + least * (1 - hours_share), floor, known[0] if known else None)
        )
        largest = sum(version.replicas.maximum for version in model.versions if not version.replicas.paused)
        most.append(_cost(model, largest, floor, max(known) if len(known) == len(elastic) else None))
    return Forecast(expected_usd_per_hour=_sum(expected), most_usd_per_hour=_sum(most))


def _cost(model: ModelPlan, replicas: float, floor: Pool, elastic_usd: float | None) -> float | None:
    """Price so many replicas of a model, those of its floor first, which are always there."""
    on_floor = sum(version.replicas.floor for version in model.versions)
    floor_usd = floor.usd_per_hour if on_floor else 0
    if floor_usd is None or (elastic_usd is None and replicas > on_floor):
        return None
    return on_floor * floor_usd + (replicas - on_floor) * (elastic_usd or 0)


def _sum(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None

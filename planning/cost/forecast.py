"""What a stack's GPU nodes are expected to cost an hour, and at the most: what its alerts compare the actual with.

The same hours as the bill's, from the plan instead of from recorded resources, which a running program does not have.
"""

from dataclasses import dataclass

from catalog.prices import MONTH_HOURS
from planning.cost.hours import node_hours
from planning.cost.usage import usage_of
from planning.cost.workloads import workloads_of_plan
from planning.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """US dollars an hour at list prices, for GPU nodes alone; None where a price that it takes is unknown."""

    expected_usd_per_hour: float | None
    """The mean over a month, as the setting `usage` says."""
    most_usd_per_hour: float | None
    """Every model at its maximum, each replica on the dearest nodes that it may land on; without a rollout's."""


def forecast(plan: Plan) -> Forecast:
    """Forecast a stack that is used as its settings say."""
    usage = usage_of(plan)
    prices = {(pool.machine.machine_type, pool.kind): pool.usd_per_hour for pool in plan.pools}
    expected = most = 0.0
    expected_known = most_known = True
    for workload in workloads_of_plan(plan):
        here = {kind: prices[workload.machine_type, kind] for kind in workload.order}
        for found in node_hours(workload, usage, workload.order, here):
            price = here[found.kind]
            expected_known &= price is not None
            expected += found.hours.expected / MONTH_HOURS * (price or 0.0)
            most += found.hours.high / MONTH_HOURS * (price or 0.0)
        most_known &= not workload.maximum or None not in here.values()
    return Forecast(
        expected_usd_per_hour=expected if expected_known else None,
        most_usd_per_hour=most if expected_known and most_known else None,
    )

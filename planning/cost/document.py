"""The price of a stack as one JSON document, and the figures that its parts rest on.

`cost: {currency, region, monthly: {low, expected, high}, ...}`: US dollars a month of 730 hours, rounded to cents where
they are written and nowhere before. Null is unknown. docs/cost.md says what each part is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from catalog.prices import MONTH_HOURS, OLD_DAYS, PRICES_READ_ON, age, oldest
from planning.cost.cases import Cases
from planning.cost.comparison import break_evens, over_hours, placement_of, regions, ways
from planning.cost.hours import ELSEWHERE
from planning.cost.pricing import CLAIM_DISK, NODE_HOURS, Bill, Line, Part, bill_of
from planning.cost.recorded import recorded
from planning.cost.usage import EMPTY_NODE_MINUTES, HIGH_LOSSES, SOURCE, Usage, simulated_from, usage_of
from planning.plan import Plan
from planning.pools import PoolKind
from planning.refusal import Problem, Refusal
from planning.schema import Capacity

CURRENCY: Final = "USD"

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """Something that the sum rests on: what, how much, who says so."""

    what: str
    value: str
    by: str


def cost_of(
    plan: Plan,
    states: Iterable[Mapping[str, Any]],
    simulation: Mapping[str, Any] | None,
    *,
    today: date | None = None,
) -> Document:
    """Price what a program asked for, as its plan and perhaps a simulation say that it is used.

    `states` are the recorded resources, `simulation` is what `make simulate ARGS="--format json"` wrote, `today` tells
    how old the prices are; None asks the clock.
    Raises Refusal for a file that is no simulation, or that of another stack.
    """
    simulated, today = simulated_from(simulation), today or datetime.now(UTC).date()
    if unknown := simulated.keys() - {model.name for model in plan.models}:
        problem = Problem(
            key="models",
            value=", ".join(sorted(unknown)),
            reason="are not in this stack",
            fix=f"simulate a stack with {', '.join(model.name for model in plan.models)}",
        )
        raise Refusal(SOURCE, [problem])
    resources, usage = recorded(states), usage_of(plan, simulated)
    region = plan.stack.region
    bill = bill_of(resources, usage, region=region)
    rates = {model.name: model.declared.scaling.requests_per_second_per_replica for model in plan.models}
    machines = oldest(line.price for line in bill.lines if line.unit == NODE_HOURS) if bill.lines else PRICES_READ_ON
    return {
        "currency": CURRENCY,
        "region": region,
        "capacity": str(plan.stack.capacity),
        "monthly": cases(bill.usd),
        "isWhole": bill.is_whole,
        # A simulation does not tell what of its hours would be there anyway.
        "alwaysOn": cents(bill_of(resources, replace(usage, simulated={}), region=region).always_on_usd),
        "platform": cents(bill.fixed_usd),
        "usdPerHour": round(bill.usd.expected / MONTH_HOURS, 4),
        "parts": _parts(bill),
        "models": _models(bill),
        "lines": [_line(line) for line in bill.lines],
        "unpriced": [{"what": found.what, "why": found.why} for found in bill.unpriced],
        "assumptions": [
            {"what": found.what, "value": found.value, "by": found.by} for found in _assumptions(bill, usage)
        ],
        "comparison": [
            {
                "way": way.name,
                "placement": str(placement_of(way)),
                "alwaysOn": cents(way.always_on_usd),
                "autoscaled": cents(way.autoscaled_usd),
                "slaPercent": way.sla_percent,
                "note": way.note,
            }
            for way in ways(resources, usage, region)
        ],
        "capacities": {
            str(capacity): cases(bill_of(resources, usage, region=region, capacity=capacity).usd)
            for capacity in Capacity
        },
        "breakEvens": [
            {"model": found.model, "what": found.what, "value": found.value, "told": found.told}
            for found in break_evens(bill, usage, rates)
        ],
        "regions": [
            {
                "region": found.name,
                "machinesAndDisks": cents(found.usd),
                "zones": list(found.zones),
                "own": found.is_own,
                "note": found.note,
            }
            for found in regions(resources, usage, region)
        ],
        "overHours": {
            name: [None if value is None else round(value, 2) for value in values]
            for name, values in over_hours(resources, usage, region).items()
        },
        "prices": {
            "machines": str(machines),
            "oldest": str(oldest(line.price for line in bill.lines)),
            "days": age(today, machines),
            "old": age(today, machines) > OLD_DAYS,
            "kind": "list prices, without any discount of yours",
        },
    }


def cents(value: float | None) -> float | None:
    """Round dollars to cents; None stays unknown."""
    return None if value is None else round(value, 2)


def cases(found: Cases) -> Document:
    """Write the three cases."""
    return {"low": cents(found.low), "expected": cents(found.expected), "high": cents(found.high)}


def _line(line: Line) -> Document:
    return {
        "part": str(line.part),
        "what": line.what,
        "resource": line.resource,
        "model": line.model or None,
        "quantity": {
            "low": round(line.quantity.low, 6),
            "expected": round(line.quantity.expected, 6),
            "high": round(line.quantity.high, 6),
        },
        "unit": line.unit,
        "rate": line.rate,
        "usd": cases(line.usd),
        "alwaysOn": line.always_on,
        "price": {"item": line.price.item, "region": line.price.region, "readOn": str(line.price.read_on)},
        "source": line.price.source,
    }


def _parts(bill: Bill) -> list[Document]:
    return [
        {"part": str(part), "usd": cents(sum(line.usd.expected for line in bill.lines if line.part is part))}
        for part in Part
        if any(line.part is part for line in bill.lines)
    ]


def _models(bill: Bill) -> list[Document]:
    return [
        {"model": model, "usd": cents(sum(line.usd.expected for line in bill.lines if line.model == model))}
        for model in dict.fromkeys(workload.model for workload in bill.workloads)
    ]


def _assumptions(bill: Bill, usage: Usage) -> Iterator[Assumption]:
    """Tell what is not in the resources: who set it, and how to change it."""
    by = "setting usage"
    yield Assumption(
        what="hours of use",
        value=f"{usage.hours_a_day:g} a day on {usage.days_a_month:g} days, {usage.used_hours:g} of {MONTH_HOURS}",
        by=f"{by}.hoursADay, .daysAMonth",
    )
    kinds = {kind for workload in bill.workloads for kind in workload.order}
    if {PoolKind.SPOT, PoolKind.ON_DEMAND} <= kinds:
        yield Assumption(
            what="on demand in place of spot",
            value=f"{usage.on_demand_share:.0%} of the hours where it may; no share is published",
            by=f"{by}.onDemandShare",
        )
    if PoolKind.SPOT in kinds:
        yield Assumption(
            what="spot losses",
            value=f"{usage.losses_per_day:g} a node and day, {HIGH_LOSSES} times as many at the most; none published",
            by=f"{by}.lossesPerDay",
        )
    for workload in bill.workloads:
        known = usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum)
        if workload.maximum == 0:
            continue
        yield Assumption(
            what=f"replicas of {workload.name}",
            value=f"{workload.minimum} at the least, {known.busy} in the hours of use, {workload.maximum} at the most",
            by="the resources; in use: "
            + ("normalRequestsPerSecond" if known.stated else "the minimum, at least one: no normal load is stated"),
        )
        if known.busy > workload.minimum:
            yield Assumption(
                what=f"after use of {workload.name}",
                value=f"{workload.tail_seconds / 60:g} idle minutes, then {EMPTY_NODE_MINUTES} of an empty node",
                by="the resources; cluster-autoscaler/FAQ.md of kubernetes/autoscaler at 55c37cd5",
            )
        if start := known.cold_start.expected:
            yield Assumption(
                what=f"start of {workload.name}",
                value=f"{start / 60:.1f} minutes on average, within the hours of use",
                by="make preview ARGS=--explain lists its parts",
            )
        if any(kind in ELSEWHERE for kind in workload.order):
            yield Assumption(
                what=f"reservation or flex-start of {workload.name}",
                value="counted as never there",
                by="no price known",
            )
    for model, found in usage.simulated.items():
        yield Assumption(
            what=f"use of {model}",
            value=f"a simulation of {found.days:g} days stands for the month, as expected",
            by="--usage",
        )
    yield Assumption(
        what="system nodes", value="the fewest that the pool may have, the most in the high case", by="assumed"
    )
    yield Assumption(what="claims of disks", value=f"{CLAIM_DISK}, GKE's default class", by="GKE's documentation")
    yield Assumption(what="a month", value=f"{MONTH_HOURS} hours, as in Google's calculator", by="catalog/prices.py")

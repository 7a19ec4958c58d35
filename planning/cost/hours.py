"""From workloads and their use to node hours of a month: kept all month, used, starting, idle before they are given up.

One replica more than the minimum costs on a day on which it is used: the hours of use, the time that it stays idle
before the scaler takes it away, and ten minutes of an empty node. Its start lies within the hours of use, since nobody
starts it before somebody asks. A lost spot node starts anew within the hours that its replica has anyway, so losses
make no hours; they turn served hours into starting ones, and every start fetches the weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from catalog.prices import MONTH_HOURS
from planning.cost.cases import Cases, total
from planning.cost.usage import EMPTY_NODE_MINUTES, HIGH_LOSSES, Simulated, Usage
from planning.cost.workloads import Workload
from planning.pools import PoolKind

DAY_HOURS: Final = 24
ELSEWHERE: Final = (PoolKind.RESERVED, PoolKind.FLEX_START)
"""Kinds of which no price is known: a reservation is paid for whether it is used or not, flex-start has none here."""


class Use(StrEnum):
    """What a node hour is for."""

    KEPT = "kept"
    """The minimum, there all month."""
    USED = "used"
    """Replicas beyond the minimum, in the hours of use."""
    STARTING = "starting"
    """From the order of a node until its replica answers, in the hours of use."""
    STARTING_AGAIN = "starting again"
    """The same of the minimum, after a lost spot node."""
    IDLE = "idle tail"
    """Replicas beyond the minimum that wait to be taken away, and their nodes, empty until they are given back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeHours:
    """Hours of one workload's nodes of one kind, for one use. `always_on`: paid though nobody asks."""

    workload: Workload
    kind: PoolKind
    use: str
    hours: Cases
    always_on: bool


def nodes(workload: Workload, pods: int) -> int:
    """Count the nodes that so many pods take."""
    return -(-pods // workload.pods_a_node)


def split(order: Sequence[PoolKind], on_demand_share: float) -> dict[PoolKind, float]:
    """Share hours out among the kinds that have a price: most to the first, the rest to the one that stands in."""
    priced = [kind for kind in order if kind not in ELSEWHERE]
    if len(priced) < 2:
        return dict.fromkeys(priced, 1.0)
    return {priced[0]: 1 - on_demand_share, priced[1]: on_demand_share}


def node_hours(
    workload: Workload, usage: Usage, order: Sequence[PoolKind], usd_per_hour: dict[PoolKind, float | None]
) -> Iterator[NodeHours]:
    """Yield a workload's hours by kind and use. Prices decide only which kind is the cheapest and which the dearest."""
    known = usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum)
    least, most, busy = (nodes(workload, pods) for pods in (workload.minimum, workload.maximum, known.busy))
    shares = split(order, usage.on_demand_share)
    if not shares:
        return
    ranked = sorted(shares, key=lambda kind: (usd_per_hour.get(kind) or 0.0, kind))
    cheapest, dearest = ranked[0], ranked[-1]
    simulated = usage.simulated.get(workload.model)
    for kind, share in shares.items():
        start = known.cold_start.expected / 3600
        lost = min(1.0, usage.losses_per_day / DAY_HOURS * start) if kind is PoolKind.SPOT else 0.0
        a_day = min(DAY_HOURS, usage.hours_a_day + _stays(workload)) if usage.used_hours else 0.0
        used = min(usage.hours_a_day, a_day)
        starting = min(start, used)
        days = usage.days_a_month * (busy - least) * share
        kept = least * MONTH_HOURS * share
        expected = {
            Use.KEPT: kept * (1 - lost),
            Use.USED: days * (used - starting) * (1 - lost),
            Use.STARTING_AGAIN: kept * lost,
            Use.STARTING: days * (starting + (used - starting) * lost),
            Use.IDLE: days * (a_day - used),
        }
        for use, hours in expected.items():
            low = least * MONTH_HOURS if use is Use.KEPT and kind is cheapest else 0.0
            high = 0.0
            if kind is dearest and use in (Use.KEPT, Use.USED):
                high = (least if use is Use.KEPT else most - least) * MONTH_HOURS
            cases = Cases(low, 0.0 if simulated else hours, high)
            if any(cases):
                always_on = use in (Use.KEPT, Use.STARTING_AGAIN)
                yield NodeHours(workload=workload, kind=kind, use=use, hours=cases, always_on=always_on)


def simulated_hours(workload: Workload, found: Simulated) -> Iterator[NodeHours]:
    """Yield what a simulation found for the model of a workload, as expected; low and high are the workloads' own."""
    for (kind, use), gpu_hours in sorted(found.gpu_hours.items()):
        hours = gpu_hours / (workload.gpus * workload.pods_a_node)
        yield NodeHours(
            workload=workload, kind=kind, use=f"{use}, simulated", hours=Cases(0.0, hours, 0.0), always_on=False
        )


def _stays(workload: Workload) -> float:
    """Hours that a replica which nobody needs any more is paid for."""
    return workload.tail_seconds / 3600 + EMPTY_NODE_MINUTES / 60


def starts(workload: Workload, usage: Usage, order: Sequence[PoolKind]) -> Cases:
    """Count the starts of a month beyond the first ones: on every day of use, and after every lost spot node."""
    known = usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum)
    spot = split(order, usage.on_demand_share).get(PoolKind.SPOT, 0.0)
    least, most, busy = (nodes(workload, pods) for pods in (workload.minimum, workload.maximum, known.busy))
    days = usage.days_a_month if usage.used_hours else 0.0
    hours = least * MONTH_HOURS + (busy - least) * days * min(DAY_HOURS, usage.hours_a_day)
    lost = hours / DAY_HOURS * usage.losses_per_day * spot
    month = MONTH_HOURS / DAY_HOURS
    # At the most: up and down once a day, and the high number of losses on every node, all month.
    worst = (most - least) * month + most * month * usage.losses_per_day * HIGH_LOSSES * (spot > 0)
    return Cases(0.0, (busy - least) * days + lost, worst)


def all_hours(cases: Sequence[NodeHours]) -> Cases:
    """Add up hours, whatever they are for."""
    return total([found.hours for found in cases])

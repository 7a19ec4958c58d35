"""The same platform bought in other ways and in other regions, and where two of them cost the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from catalog.gpu_machines import GpuType, gpu_machines
from catalog.prices import MONTH_HOURS, Kind, Placement, UnknownPriceError, price_of, usd
from planning.cost.hours import DAY_HOURS, nodes
from planning.cost.pricing import Bill, Part, bill_of
from planning.cost.recorded import Recorded
from planning.cost.usage import Usage
from planning.cost.workloads import Workload
from planning.schema import Capacity

MANAGED_CARDS: Final[Mapping[str, str]] = {GpuType.A100_80GB: "a100", GpuType.A100_40GB: "a100"}
"""The card of an endpoint that stands in for one's own; Hugging Face's A100 has 80 GB."""
VENDORS: Final = ("aws", "gcp")
MANAGED_IDLE_MINUTES: Final = 15
"""After which an endpoint goes to zero: the API's own scale_to_zero_timeout, huggingface_hub."""

COMPARED: Final = (Part.GPU_NODES, Part.SYSTEM_NODES, Part.DISKS)
"""What the table knows of in every region that has the machines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to buy the platform: US dollars a month with replicas always on, and autoscaled; None is unknown."""

    name: str
    always_on_usd: float | None
    autoscaled_usd: float | None
    sla_percent: float | None
    """The availability that is promised of the machines; None: nothing is, or it is unknown."""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """What machines and disks would cost elsewhere, as expected, US dollars a month; None is unknown."""

    name: str
    usd: float | None
    zones: tuple[str, ...]
    """Those that have every machine type."""
    is_own: bool
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven:
    """Where two ways of one model cost the same. `value` None: nowhere, or it is unknown; `told` says which and why."""

    model: str
    what: str
    value: float | None
    told: str


def ways(resources: Sequence[Recorded], usage: Usage, region: str) -> Iterator[Way]:
    """Compare every way to buy; the cluster and all else that is shared is in each sum, but for managed ones."""
    for capacity in Capacity:
        scaled = bill_of(resources, usage, region=region, capacity=capacity)
        kept = bill_of(resources, usage, region=region, capacity=capacity, always_on=True)
        missing = next((found for found in scaled.unpriced if found.is_machine), None)
        yield Way(
            name=str(capacity),
            always_on_usd=kept.usd.expected if kept.is_whole else None,
            autoscaled_usd=scaled.usd.expected if scaled.is_whole else None,
            sla_percent=None,
            note=missing.why if missing else "",
        )
    bill = bill_of(resources, usage, region=region, always_on=True)
    for kind in (Kind.COMMITTED_1_YEAR, Kind.COMMITTED_3_YEARS):
        yield _committed(bill, usage, kind)
    scaled_workloads = bill_of(resources, usage, region=region).workloads
    for vendor in VENDORS:
        yield _managed(scaled_workloads, usage, vendor)


def _busy(workload: Workload, usage: Usage) -> int:
    return usage.of(workload.name, minimum=workload.minimum, maximum=workload.maximum).busy


def _committed(bill: Bill, usage: Usage, kind: Kind) -> Way:
    total = bill.fixed_usd + sum(line.usd.expected for line in bill.lines if line.model and line.part is Part.DISKS)
    try:
        for workload in bill.workloads:
            rate = usd(workload.machine_type, kind, bill.region)
            total += nodes(workload, _busy(workload, usage)) * MONTH_HOURS * rate
    except UnknownPriceError as error:
        return Way(name=str(kind), always_on_usd=None, autoscaled_usd=None, sla_percent=None, note=str(error))
    note = "paid for whether it is used or not, so that sleeping saves nothing"
    return Way(name=str(kind), always_on_usd=total, autoscaled_usd=total, sla_percent=None, note=note)


def managed_item(workload: Workload) -> str | None:
    """Name the endpoint that stands in for one pod of a workload; None where there is none."""
    card = MANAGED_CARDS.get(workload.gpu_type)
    return None if card is None else f"hugging-face-{card}-x{workload.gpus}"


def _managed(workloads: Sequence[Workload], usage: Usage, vendor: str) -> Way:
    name, kept, scaled, promised = f"managed-{vendor}", 0.0, 0.0, []
    a_day = min(DAY_HOURS, usage.hours_a_day + MANAGED_IDLE_MINUTES / 60) if usage.used_hours else 0.0
    try:
        for workload in workloads:
            if not (item := managed_item(workload)):
                raise UnknownPriceError(f"no endpoint has a card such as {workload.gpu_type}")
            price, busy = price_of(item, Kind.ON_DEMAND, vendor), _busy(workload, usage)
            rate = usd(item, Kind.ON_DEMAND, vendor)
            promised.append(price.sla_percent)
            kept += busy * MONTH_HOURS * rate
            scaled += (workload.minimum * MONTH_HOURS + (busy - workload.minimum) * usage.days_a_month * a_day) * rate
    except UnknownPriceError as error:
        return Way(name=name, always_on_usd=None, autoscaled_usd=None, sla_percent=None, note=str(error))
    known = [sla for sla in promised if sla is not None]
    return Way(
        name=name,
        always_on_usd=kept,
        autoscaled_usd=scaled,
        sla_percent=min(known) if known and len(known) == len(promised) else None,
        note="endpoints of Hugging Face, as many replicas; no cluster, and nothing that runs in one",
    )


def placement_of(way: Way) -> Placement:
    """Say who runs it."""
    return Placement.MANAGED if way.name.startswith("managed-") else Placement.OWN


def regions(resources: Sequence[Recorded], usage: Usage, region: str) -> list[Region]:
    """Rank the regions that have every GPU machine type, the cheapest first and unknown ones last."""
    bill = bill_of(resources, usage, region=region)
    wanted = {workload.machine_type for workload in bill.workloads}
    found = []
    for place in sorted({machine.region for machine in gpu_machines()}):
        types = {machine.machine_type for machine in gpu_machines() if machine.region == place}
        if not wanted <= types:
            continue
        zones = [
            set(machine.zones)
            for machine in gpu_machines()
            if machine.region == place and machine.machine_type in wanted
        ]
        there = bill_of(resources, usage, region=place)
        unknown = [missing for missing in there.unpriced if missing.is_machine or "disk" in missing.what]
        machines = sum(
            line.usd.expected for line in there.lines if line.part in (Part.GPU_NODES, Part.SYSTEM_NODES, Part.DISKS)
        )
        found.append(
            Region(
                name=place,
                usd=None if unknown else machines,
                zones=tuple(sorted(set.intersection(*zones))) if zones else (),
                is_own=place == region,
                note=unknown[0].why if unknown else "",
            )
        )
    return sorted(found, key=lambda one: (one.usd is None, one.usd or 0.0, one.name))


def over_hours(
    resources: Sequence[Recorded], usage: Usage, region: str, steps: Sequence[float] = tuple(range(0, 25, 2))
) -> dict[str, list[float | None]]:
    """Price each way, autoscaled, for hours of use a day from none to all, on so many days as `usage` says."""
    found: dict[str, list[float | None]] = {"hours": list(steps)}
    for hours in steps:
        used = replace(usage, hours_a_day=hours, simulated={})
        bills = {str(capacity): bill_of(resources, used, region=region, capacity=capacity) for capacity in Capacity}
        for name, bill in bills.items():
            found.setdefault(name, []).append(bill.usd.expected if bill.is_whole else None)
        for vendor in VENDORS:
            managed = _managed(bills[Capacity.SPOT].workloads, used, vendor)
            found.setdefault(managed.name, []).append(managed.autoscaled_usd)
    return found


def break_evens(bill: Bill, usage: Usage, rates: Mapping[str, float | None]) -> Iterator[BreakEven]:
    """Find where two ways cost the same, for every model; `rates` are requests a second that one replica is for."""
    for model in dict.fromkeys(workload.model for workload in bill.workloads if workload.machine_type):
        own = [workload for workload in bill.workloads if workload.model == model]
        machine = own[0].machine_type
        try:
            spot, on_demand = usd(machine, Kind.SPOT, bill.region), usd(machine, Kind.ON_DEMAND, bill.region)
        except UnknownPriceError as error:
            yield BreakEven(model=model, what="spot and on-demand", value=None, told=f"unknown: {error}")
            continue
        known = usage.of(own[0].name, minimum=own[0].minimum, maximum=own[0].maximum)
        yield _hours_where_on_demand_is_spot(model, spot, on_demand)
        yield _losses_where_spot_stops_paying(model, spot, on_demand, known.cold_start.expected / 3600)
        for vendor in VENDORS:
            yield _managed_and_own(bill, usage, own, vendor, rates.get(model))


def _hours_where_on_demand_is_spot(model: str, spot: float, on_demand: float) -> BreakEven:
    what = "hours a month on demand that cost as much as spot all month"
    if spot >= on_demand:
        return BreakEven(model=model, what=what, value=None, told="never: spot is not cheaper here")
    hours = MONTH_HOURS * spot / on_demand
    told = f"{hours:,.0f} hours: {MONTH_HOURS} x {spot:.4f} / {on_demand:.4f}"
    return BreakEven(model=model, what=what, value=hours, told=told)


def _losses_where_spot_stops_paying(model: str, spot: float, on_demand: float, start_hours: float) -> BreakEven:
    """A node that is lost L times a day serves 24 - L x start of 24 hours that are paid for."""
    what = "losses a day of a spot node at which an hour served costs as much as on demand"
    if spot >= on_demand:
        return BreakEven(model=model, what=what, value=None, told="always: spot is not cheaper here")
    if not start_hours:
        return BreakEven(model=model, what=what, value=None, told="unknown: how long a start takes is")
    losses = DAY_HOURS * (1 - spot / on_demand) / start_hours
    told = f"{losses:,.0f} a day, with {start_hours * 60:.1f} minutes a start: 24 x (1 - {spot:.4f} / {on_demand:.4f})"
    return BreakEven(model=model, what=what, value=losses, told=f"{told} / {start_hours:.4f}")


def _managed_and_own(
    bill: Bill, usage: Usage, workloads: Sequence[Workload], vendor: str, rate: float | None
) -> BreakEven:
    """Managed costs M for an hour that a replica serves, idle tails included; one's own S, and F a month before any."""
    model, fixed = workloads[0].model, bill.fixed_usd
    what = f"at which one's own costs as much as managed ({vendor})"
    managed = _managed(workloads, usage, vendor)
    served = sum(
        workload.minimum * MONTH_HOURS + (_busy(workload, usage) - workload.minimum) * usage.used_hours
        for workload in workloads
    )
    if managed.autoscaled_usd is None:
        return BreakEven(model=model, what=f"hours {what}", value=None, told=f"unknown: {managed.note}")
    if not served or not bill.is_whole:
        return BreakEven(model=model, what=f"hours {what}", value=None, told="unknown: nothing is served or priced")
    theirs = managed.autoscaled_usd / served
    ours = sum(line.usd.expected for line in bill.lines if line.model == model) / served
    if ours >= theirs:
        told = f"never: managed costs {theirs:.2f} an hour served, one's own {ours:.2f}, and the platform on top"
        return BreakEven(model=model, what=f"hours {what}", value=None, told=told)
    hours = fixed / (theirs - ours)
    arithmetic = f"{hours:,.0f} replica hours a month: {fixed:,.2f} / ({theirs:.4f} - {ours:.4f})"
    if rate is None:
        told = f"{arithmetic}; how many requests a replica answers is not stated"
        return BreakEven(model=model, what=f"replica hours a month {what}", value=hours, told=told)
    requests = hours / (MONTH_HOURS / DAY_HOURS) * 3600 * rate
    told = f"{requests:,.0f} a day, {arithmetic}, at {rate:g} a second"
    return BreakEven(model=model, what=f"requests a day {what}", value=requests, told=told)

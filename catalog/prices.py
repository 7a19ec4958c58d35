"""List prices in US dollars, each with its unit, its region, its source and its date; and the brief's own figures.

One row of prices.csv is one item in one region; the four columns after the unit are the ways to buy it (`Kind`). An
empty price is unknown; a `-` says that there is nothing to know, because the item is not sold that way. `placement` is
who runs what one pays for, `sla_percent` what is promised of it: unknown where it is empty, as for all of one's own.

Item and region: machine types, the T4 card alone (`nvidia-tesla-t4`) and disks by their Google names, in Google's
regions; what costs the same in all of them is in `global`; Hugging Face's endpoints by card and number of cards, those
without a card by processor and number of vCPUs, their region is the vendor, `aws` or `gcp`, because that is how their
page lists them. A machine of flex-start is an item of its own, `flex-start-` and the machine type, because another
source on another day has its price.

What is free of a service is not taken off: `note` says how much that is, and of what. Most of it is a billing
account's, of which a project has only a part.

What is not here is refused with what there is: no price is guessed, none is taken from another region.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parent / "prices.csv"
GLOBAL: Final = "global"
NOT_SOLD: Final = "-"
OLD_DAYS: Final = 60
"""A spot price may move once a day (https://cloud.google.com/spot-vms/pricing); list prices move a few times a year."""
MONTH_HOURS: Final = 730
"""The hours of a month in Google's own calculator: what a price by the month is divided by."""


class Unit(StrEnum):
    """What a price is of. All are US dollars; a GB is 10^9 bytes, a GiB 2^30."""

    HOUR = "USD an hour"
    GB = "USD a GB"
    GIB = "USD a GiB"
    GB_MONTH = "USD a GB for a month"
    GIB_MONTH = "USD a GiB for a month"
    MONTH = "USD a month"
    """One thing, for as much of a month as there was one."""
    MILLION = "USD for a million"
    """Requests, or what `note` says."""
    TEN_THOUSAND = "USD for 10 thousand"


class Kind(StrEnum):
    """How a thing is bought. What is sold in one way only is on demand."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    COMMITTED_1_YEAR = "committed-1-year"
    COMMITTED_3_YEARS = "committed-3-years"


COLUMNS: Final = {kind: kind.value.replace("-", "_") for kind in Kind}
"""The column of prices.csv that holds each kind."""


class Placement(StrEnum):
    """Who runs what one pays for."""

    OWN = "own"
    MANAGED = "managed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """One price of the table; what unit, region and placement mean is said at the top of this module."""

    item: str
    kind: Kind
    region: str
    unit: Unit
    usd: float | None
    """In US dollars; None is unknown."""
    placement: Placement
    sla_percent: float | None
    """The availability that is promised; None is unknown."""
    read_on: date
    """The day that the source gives for its figures; where it gives none, when it was read, and `note` says so."""
    source: str
    note: str


class UnknownPriceError(LookupError):
    """The table has no such price; the text names what was asked for and what there is."""


def read_prices(path: Path) -> tuple[Price, ...]:
    """Read a table of the form of prices.csv. Raises KeyError or ValueError where it is not one, OSError."""
    with path.open(encoding="utf-8", newline="") as table:
        return tuple(
            Price(
                item=row["item"],
                kind=kind,
                region=row["region"],
                unit=Unit(row["unit"]),
                usd=float(row[column]) if row[column] else None,
                placement=Placement(row["placement"]),
                sla_percent=float(row["sla_percent"]) if row["sla_percent"] else None,
                read_on=date.fromisoformat(row["read_on"]),
                source=row["source"],
                note=row["note"],
            )
            for row in csv.DictReader(table)
            for kind, column in COLUMNS.items()
            if row[column] != NOT_SOLD
        )


@cache
def prices() -> tuple[Price, ...]:
    """Every price of the table, in its order."""
    return read_prices(FILE)


@cache
def _table() -> dict[tuple[str, str], dict[Kind, Price]]:
    table: dict[tuple[str, str], dict[Kind, Price]] = {}
    for price in prices():
        table.setdefault((price.item, price.region), {})[price.kind] = price
    return table


def price_of(item: str, kind: Kind, region: str) -> Price:
    """Find a price, which may be one that nobody knows. Raises UnknownPriceError where the table has no such row."""
    kinds = _table().get((item, region), {})
    if kind in kinds:
        return kinds[kind]
    asked = f"no {kind} price of {item} in {region}"
    if kinds:
        raise UnknownPriceError(f"{asked}: there it is sold as {', '.join(kinds)}")
    if regions := [there for what, there in _table() if what == item]:
        raise UnknownPriceError(f"{asked}: the table has it in {', '.join(sorted(regions))}")
    raise UnknownPriceError(f"{asked}: the table has {', '.join(sorted({what for what, _ in _table()}))}")


def usd(item: str, kind: Kind, region: str) -> float:
    """Return a price in US dollars for its unit. Raises UnknownPriceError where there is none or nobody knows it."""
    price = price_of(item, kind, region)
    if price.usd is None:
        known = [f"{one.kind} {one.usd:g}" for one in _table()[item, region].values() if one.usd is not None]
        because = f" ({price.note})" if price.note else ""
        raise UnknownPriceError(
            f"the {kind} price of {item} in {region} is unknown{because}; known: {', '.join(known) or 'none'}"
        )
    return price.usd


EGRESS_TIERS: Final = (
    ("internet-egress-first-tib", 1024.0),
    ("internet-egress-to-10-tib", 10 * 1024.0),
    ("internet-egress-above-10-tib", float("inf")),
)
"""Each tier's item, and the GiB of a month at which it ends."""


def internet_egress_usd(gib: float, region: str) -> float:
    """Return what a month's answers to the internet cost in US dollars, over all tiers. Raises UnknownPriceError."""
    total, begins = 0.0, 0.0
    for item, ends in EGRESS_TIERS:
        total += max(0.0, min(gib, ends) - begins) * usd(item, Kind.ON_DEMAND, region)
        begins = ends
    return total


def oldest(items: Iterable[Price]) -> date:
    """Return the date of the oldest of some prices. Raises ValueError where there are none."""
    return min(price.read_on for price in items)


PRICES_READ_ON: Final = oldest(price for price in prices() if price.item.startswith("a2-"))
"""The date of the prices of A2 machines, which are nearly all that a stack costs; the oldest, should they differ."""


def age(today: date, read_on: date = PRICES_READ_ON) -> int:
    """How many days old a price is; negative is a clock that is wrong."""
    return (today - read_on).days


def age_text(today: date, read_on: date = PRICES_READ_ON) -> str:
    """Say of which day prices are, and that they are old where they are older than 60 days."""
    days = age(today, read_on)
    if days <= OLD_DAYS:
        return f"list prices of {read_on}"
    return f"list prices of {read_on}, {days} days old: older than {OLD_DAYS} days, `make prices` shows what moved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Brief:
    """The figures that the project was asked for with, in US dollars, hours and per cent. Nobody's price list."""

    read_on: date
    """The day that work on it began: it gives no date itself."""
    managed_gpu_usd_per_hour: float
    """A managed A100."""
    spot_gpu_usd_per_hour: float
    """An A100 of one's own on spot."""
    month_hours: int
    hours_a_day: int
    """For how long it is used on a day on which it is."""
    used_hours: int
    """And in the whole month."""
    always_on_usd: float
    slept_usd: float
    saved_percent: float
    managed_cpu_usd_per_hour: float
    managed_gpu_usd_per_hour_range: tuple[float, float]
    """Of Hugging Face's endpoints, from the least card to the largest."""
    managed_sla_percent: float


BRIEF: Final = Brief(
    read_on=date(2026, 11, 23),
    managed_gpu_usd_per_hour=4.50,
    spot_gpu_usd_per_hour=2.50,
    month_hours=720,
    hours_a_day=8,
    used_hours=200,
    always_on_usd=3240,
    slept_usd=500,
    saved_percent=85,
    managed_cpu_usd_per_hour=0.032,
    managed_gpu_usd_per_hour_range=(0.50, 5.00),
    managed_sla_percent=99.9,
)

"""`make prices`: what Google's list prices are today against catalog/prices.csv, and with --write into it.

The Cloud Billing Catalog API, https://docs.cloud.google.com/billing/v1/how-tos/catalog-api, needs an API key: it is
read from the environment variable GOOGLE_API_KEY, goes into a header, and is never shown. Prices are USD list prices.

A machine has no price there, only its cores, memory, cards and local SSD have, each by region and way to buy. Their
names are those that Cyclenerd/google-cloud-pricing-cost-calculator maps at commit dac31281, build/mapping.csv. A row is
written only where every price that it holds was found, each part with exactly one price; any other is listed with the
reason. What the table does not know stays unknown: commitments that Google does not sell publicly have parts, too.

It asks for one service, Compute Engine. What is another's stays of its own date and is listed as such: DNS, logs,
buckets, images, secrets, the fee of a cluster, Hugging Face; and so do traffic, addresses, load balancers and the NAT,
which have tiers, and flex-start, whose names there are known from two readers' notes only.

It was never run against the API itself, for want of a key: what answers look like is the documentation's word.
"""

import argparse
import csv
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

from catalog import prices
from catalog.gpu_machines import GpuType, gpu_machines
from catalog.prices import COLUMNS, FILE, MONTH_HOURS, NOT_SOLD, Kind
from scripts.terminal import OperationError, run, say

URL = "https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus"
KEY: Final = "GOOGLE_API_KEY"
SOURCE: Final = "Cloud Billing Catalog API, services/6F81-5844-456A"
TIMEOUT_SECONDS: Final = 60
DIGITS: Final = Decimal("0.000001")
"""As the table has them."""
STILL: Final = Decimal("0.0001")
"""A price that differs by less than this part did not move: sources round a machine's price, or one card's."""
USAGE: Final = {
    Kind.ON_DEMAND: "OnDemand",
    Kind.SPOT: "Preemptible",
    Kind.COMMITTED_1_YEAR: "Commit1Yr",
    Kind.COMMITTED_3_YEARS: "Commit3Yr",
}


class NotFoundError(Exception):
    """A price that cannot be had from the catalogue; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sku:
    """A price of Google's catalogue. https://docs.cloud.google.com/billing/docs/reference/rest/v1/services.skus/list"""

    description: str
    group: str
    usage: str
    regions: frozenset[str]
    unit: str
    usd: Decimal | None
    """For one unit; None where it depends on how much is used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a machine is made of: memory and local SSD in GiB, the card by Google's name in the catalogue."""

    series: str
    vcpus: int
    memory_gib: int
    card: str = ""
    cards: int = 0
    local_ssd_gib: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One thing to find in the catalogue, and how much of its unit goes into the price."""

    names: Mapping[Kind, str]
    """A pattern that the whole description has to match."""
    group: str
    unit: str
    amount: Decimal


_DISKS: Final = {
    "pd-balanced": ("Balanced PD", "SSD"),
    "pd-ssd": ("SSD backed PD", "SSD"),
    "pd-standard": ("Storage PD", "PDStandard"),
}
"""What Google calls a disk of the table, and its resource group."""
_CARDS: Final = {GpuType.A100_40GB: "Nvidia Tesla A100", GpuType.A100_80GB: "Nvidia Tesla A100 80GB"}
_L4S: Final = {4: 1, 8: 1, 12: 1, 16: 1, 32: 1, 24: 2, 48: 4, 96: 8}
"""The cards of a g2-standard machine by its vCPUs: https://docs.cloud.google.com/compute/docs/gpus"""


@cache
def _a2_shapes() -> Mapping[str, Shape]:
    return {
        machine.machine_type: Shape(
            series="A2",
            vcpus=machine.vcpus,
            memory_gib=machine.memory_gib,
            card=_CARDS[machine.gpu_type],
            cards=machine.gpus,
            local_ssd_gib=machine.local_ssd_gib,
        )
        for machine in gpu_machines()
    }


def shape_of(item: str) -> Shape | None:
    """Say what a machine type of the table is made of; None where it is none."""
    if item in _a2_shapes():
        return _a2_shapes()[item]
    if found := re.fullmatch(r"a3-highgpu-(\d+)g", item):
        cards = int(found[1])
        ssd = 750 * cards
        return Shape(
            series="A3",
            vcpus=26 * cards,
            memory_gib=234 * cards,
            card="Nvidia H100 80GB",
            cards=cards,
            local_ssd_gib=ssd,
        )
    if found := re.fullmatch(r"(g2|e2|n2|n4)-standard-(\d+)", item):
        series, vcpus = found[1].upper(), int(found[2])
        cards = _L4S[vcpus] if series == "G2" else 0
        return Shape(series=series, vcpus=vcpus, memory_gib=4 * vcpus, card="Nvidia L4" if cards else "", cards=cards)
    return None


def parts_of(item: str) -> list[Part]:
    """Say what a price of the table is the sum of; nothing where the catalogue is not asked for it."""
    if item in _DISKS:
        name, group = _DISKS[item]
        return [
            Part(names={Kind.ON_DEMAND: rf"{name} Capacity( in .+)?"}, group=group, unit="GiBy.mo", amount=Decimal(1))
        ]
    if item == "local-ssd":
        return [_local_ssd(Decimal(1))]
    if item == "nvidia-tesla-t4":
        return [_card("Nvidia Tesla T4", 1)]
    shape = shape_of(item)
    if shape is None:
        return []
    parts = [_of_series(shape.series, "Core", shape.vcpus), _of_series(shape.series, "Ram", shape.memory_gib)]
    if shape.cards:
        parts.append(_card(shape.card, shape.cards))
    if shape.local_ssd_gib:
        parts.append(_local_ssd(Decimal(shape.local_ssd_gib) / MONTH_HOURS))
    return parts


def _of_series(series: str, what: str, amount: int) -> Part:
    committed = "Cpu" if what == "Core" else what
    return Part(
        names={
            Kind.ON_DEMAND: rf"{series} Instance {what} running in .+",
            Kind.SPOT: rf"Spot Preemptible {series} Instance {what} running in .+",
            Kind.COMMITTED_1_YEAR: rf"Commitment v1: {series} {committed} in .+ for 1 Year",
            Kind.COMMITTED_3_YEARS: rf"Commitment v1: {series} {committed} in .+ for 3 Years?",
        },
        group="CPU" if what == "Core" else "RAM",
        unit="h" if what == "Core" else "GiBy.h",
        amount=Decimal(amount),
    )


def _card(card: str, amount: int) -> Part:
    return Part(
        names={
            Kind.ON_DEMAND: rf"{card} GPU running in .+",
            Kind.SPOT: rf"{card} GPU attached to Spot Preemptible VMs running in .+",
            Kind.COMMITTED_1_YEAR: rf"Commitment v1: {card} GPU running in .+ for 1 Year",
            Kind.COMMITTED_3_YEARS: rf"Commitment v1: {card} GPU running in .+ for 3 Years?",
        },
        group="GPU",
        unit="h",
        amount=Decimal(amount),
    )


def _local_ssd(amount: Decimal) -> Part:
    return Part(
        names={
            Kind.ON_DEMAND: r"SSD backed Local Storage( in .+)?",
            Kind.SPOT: r"SSD backed Local Storage attached to Spot Preemptible VMs( (running )?in .+)?",
            Kind.COMMITTED_1_YEAR: r"Commitment v1: Local SSD.* 1 Year",
            Kind.COMMITTED_3_YEARS: r"Commitment v1: Local SSD.* 3 Years?",
        },
        group="LocalSSD",
        unit="GiBy.mo",
        amount=amount,
    )


def read_skus(key: str) -> Iterator[Sku]:
    """Read all pages of the catalogue. Raises OSError where it cannot be asked, OperationError on an odd answer."""
    page = ""
    seen = set[str]()
    while True:
        query = {"currencyCode": "USD", "pageSize": "5000"} | ({"pageToken": page} if page else {})
        request = urllib.request.Request(f"{URL}?{urllib.parse.urlencode(query)}")  # noqa: S310
        request.add_unredirected_header("X-Goog-Api-Key", key)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            body = response.read()
        try:
            answer = json.loads(body)
            yield from [sku_of(sku) for sku in answer["skus"]]
            page = answer.get("nextPageToken", "")
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise OperationError(f"the catalogue's answer is not of the documented form: {error!r}") from None
        if not page:
            return
        if page in seen:
            raise OperationError("the catalogue gives one page for ever")
        seen.add(page)


def sku_of(sku: Mapping[str, Any]) -> Sku:
    """Read one SKU of an answer. Raises KeyError and such where it is not of the documented form."""
    # In the order of time; where no time is asked for, only the one that holds.
    pricing: Mapping[str, Any] = sku["pricingInfo"][-1]["pricingExpression"] if sku["pricingInfo"] else {}
    rates = pricing.get("tieredRates", [])
    usd = None
    if len(rates) == 1 and rates[0]["unitPrice"]["currencyCode"] == "USD":
        # `units` is a string of digits, as JSON has 64-bit integers; what is 0 may be left out.
        price = rates[0]["unitPrice"]
        usd = Decimal(price.get("units", "0")) + Decimal(price.get("nanos", 0)) / 10**9
    return Sku(
        description=sku["description"],
        group=sku["category"]["resourceGroup"],
        usage=sku["category"]["usageType"],
        regions=frozenset(sku["serviceRegions"]),
        unit=pricing.get("usageUnit", ""),
        usd=usd,
    )


class Catalogue:
    """The SKUs, to find parts in."""

    def __init__(self, skus: Iterable[Sku]) -> None:
        """Sort them by what every question says."""
        self._by: dict[tuple[str, str, str], list[Sku]] = {}
        for sku in skus:
            for region in sku.regions:
                self._by.setdefault((sku.group, sku.usage, region), []).append(sku)

    def usd(self, item: str, kind: Kind, region: str) -> Decimal:
        """Add a price up from its parts, in US dollars. Raises NotFoundError where one is not there exactly once."""
        parts = parts_of(item)
        if not parts:
            raise NotFoundError("the catalogue is not asked for it")
        total = sum((part.amount * self._one(part, kind, region) for part in parts), Decimal(0))
        return total.quantize(DIGITS)

    def _one(self, part: Part, kind: Kind, region: str) -> Decimal:
        pattern = part.names.get(kind)
        what = f"{pattern}, {USAGE[kind]}, {region}"
        if pattern is None:
            raise NotFoundError(f"no name is known for it as {kind}")
        found = [
            sku for sku in self._by.get((part.group, USAGE[kind], region), []) if re.fullmatch(pattern, sku.description)
        ]
        if not found:
            raise NotFoundError(f"no SKU is called {what}")
        if odd := {sku.unit for sku in found} - {part.unit}:
            raise NotFoundError(f"{what} is sold by {', '.join(sorted(odd))}, not by {part.unit}")
        costs = {sku.usd for sku in found}
        cost = costs.pop()
        if costs or cost is None:
            raise NotFoundError(f"{what} has no single price")
        if cost <= 0:
            raise NotFoundError(f"{what} costs nothing")
        return cost


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of the table, and what became of it: the new prices of its columns, or why there are none."""

    cells: Mapping[str, str]
    found: Mapping[Kind, Decimal]
    problem: str = ""

    @property
    def name(self) -> str:
        """Item and region."""
        return f"{self.cells['item']} in {self.cells['region']}"

    def moved(self) -> Iterator[str]:
        """Say which prices are not what they were: old, new, and by how much."""
        for kind, new in self.found.items():
            old = Decimal(self.cells[COLUMNS[kind]])
            if abs(new - old) > STILL * old:
                yield f"{self.name}, {kind}: {old.normalize():f} -> {new.normalize():f} ({(new - old) / old:+.1%})"

    def written(self, today: date) -> dict[str, str]:
        """The row as it is to be written."""
        if self.problem:
            return dict(self.cells)
        new = {COLUMNS[kind]: f"{usd.normalize():f}" for kind, usd in self.found.items()}
        return dict(self.cells) | new | {"read_on": today.isoformat(), "source": SOURCE}


def refreshed(table: Iterable[Mapping[str, str]], catalogue: Catalogue) -> Iterator[Row]:
    """Look up every price that the table holds; a row with one that is not found keeps all of its own."""
    for cells in table:
        held = [kind for kind, column in COLUMNS.items() if cells[column] not in ("", NOT_SOLD)]
        try:
            if not held:
                raise NotFoundError("the table has no price of it either")
            found = {kind: catalogue.usd(cells["item"], kind, cells["region"]) for kind in held}
        except NotFoundError as reason:
            yield Row(cells=cells, found={}, problem=str(reason))
        else:
            yield Row(cells=cells, found=found)


def main(argv: Sequence[str], today: date | None = None) -> int:
    """Show what moved, and write it with --write; exit 1 where the catalogue cannot be asked, nothing changed."""
    parser = argparse.ArgumentParser(prog="scripts.prices", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="write what was found into catalog/prices.csv")
    arguments = parser.parse_args(argv)
    day = today or datetime.now(UTC).date()
    say(prices.age_text(day))
    key = os.environ.get(KEY, "").strip()
    # Anything else would be refused with a message that holds it.
    if not re.fullmatch(r"[\w-]+", key, re.ASCII):
        raise OperationError(f"set {KEY} to an API key that may use the Cloud Billing API; nothing was changed")
    try:
        catalogue = Catalogue(read_skus(key))
    except urllib.error.HTTPError as error:
        say(f"the Cloud Billing Catalog API answered {error.code}; nothing was changed")
        return 1
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        say(f"the Cloud Billing Catalog API could not be asked ({reason}); nothing was changed")
        return 1
    with FILE.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        columns = list(table.fieldnames or [])
        rows = list(refreshed(table, catalogue))
    moved = [line for row in rows for line in row.moved()]
    left = [row for row in rows if row.problem]
    say("\n".join(moved) or "no price moved")
    say(f"{len(rows) - len(left)} of {len(rows)} rows were found, {len(moved)} prices moved")
    if left:
        say("not refreshed, and still of their own date:")
        for row in left:
            say(f"  {row.name}: {row.problem}")
    if len(left) == len(rows):
        say("nothing was found, so nothing was changed")
        return 1
    if arguments.write:
        with FILE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row.written(day) for row in rows)
        say(f"{FILE.name} is written; the figures in README.md and docs/ may follow: make tables, make test")
    return 0


if __name__ == "__main__":
    run(main)

"""What a stack costs, as text for a terminal and as Markdown: the `cost` of a preview's document and nothing else.

The document is the program's own (`cost()` of its main file); docs/cost.md describes its form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from preview.markup import escape

Cost = Mapping[str, Any]
Row = tuple[str, ...]

UNKNOWN: Final = "unknown"


def money(value: float | None, *, cents: bool = True) -> str:
    """US dollars with thousands parted; None is unknown."""
    return UNKNOWN if value is None else f"{value:,.2f}" if cents else f"{value:,.0f}"


def headline(cost: Cost) -> str:
    """The sum in one sentence."""
    low, expected, high = (money(cost["monthly"][case]) for case in ("low", "expected", "high"))
    least = "" if cost["isWhole"] else "at least "
    return (
        f"{least}{expected} {cost['currency']} a month expected, {low} if nobody asks, {high} at the most;"
        f" {money(cost['usdPerHour'])} an hour"
    )


def notes(cost: Cost) -> Iterator[str]:
    """What has to be known beside the sum: what is paid for always, how old the prices are, what is missing."""
    yield (
        f"{money(cost['alwaysOn'])} of it is always on, asked or not; without any model the platform is"
        f" {money(cost['platform'])}"
    )
    yield age(cost)
    if not cost["isWhole"]:
        yield "machines without a known price are missing from every sum: see what is not priced"


def age(cost: Cost) -> str:
    """Of which day the prices are, and that they are old where they are."""
    prices = cost["prices"]
    old = f", {prices['days']} days old: `make prices` shows what moved" if prices["old"] else ""
    oldest = "" if prices["oldest"] == prices["machines"] else f"; the oldest of others is of {prices['oldest']}"
    return f"{prices['kind']}; those of machines are of {prices['machines']}{old}{oldest}"


def lines(cost: Cost) -> Iterator[Row]:
    """Every line of the bill."""
    yield ("", "quantity", "unit", "USD each", "low", "expected", "high", "")
    for line in cost["lines"]:
        usd = line["usd"]
        yield (
            f"{line['part']}: {_about(line)}",
            f"{line['quantity']['expected']:,.1f}",
            line["unit"],
            f"{line['rate']:.4f}",
            money(usd["low"]),
            money(usd["expected"]),
            money(usd["high"]),
            "always on" if line["alwaysOn"] else "by use",
        )
    monthly = cost["monthly"]
    yield ("sum", "", "", "", money(monthly["low"]), money(monthly["expected"]), money(monthly["high"]), "")


def _about(line: Mapping[str, Any]) -> str:
    what, resource = str(line["what"]), str(line["resource"])
    return what if what.startswith(resource) else f"{resource}: {what}"


def comparison(cost: Cost) -> Iterator[Row]:
    """The ways to buy it."""
    yield ("", "always on", "autoscaled", "promised", "")
    for way in cost["comparison"]:
        own = " (this stack)" if way["way"] == cost["capacity"] else ""
        sla = "-" if way["slaPercent"] is None else f"{way['slaPercent']:g} %"
        yield (way["way"] + own, money(way["alwaysOn"]), money(way["autoscaled"]), sla, way["note"])


def regions(cost: Cost) -> Iterator[Row]:
    """The regions that have the machines."""
    yield ("", "machines and disks", "zones", "")
    for region in cost["regions"]:
        name = region["region"] + (" (this stack)" if region["own"] else "")
        zones = ", ".join(zone.removeprefix(f"{region['region']}-") for zone in region["zones"]) or "no common zone"
        yield (name, money(region["machinesAndDisks"]), zones, region["note"])


def break_evens(cost: Cost) -> Iterator[Row]:
    """Where two ways cost the same."""
    for found in cost["breakEvens"]:
        yield (found["model"], found["what"], found["told"])


def assumptions(cost: Cost) -> Iterator[Row]:
    """What the expected sum rests on."""
    for found in cost["assumptions"]:
        yield (found["what"], found["value"], found["by"])


def unpriced(cost: Cost) -> Iterator[Row]:
    """What is paid for and in no sum."""
    for found in cost["unpriced"]:
        yield (found["what"], found["why"])


SECTIONS: Final = (
    ("Other ways to buy it, USD a month as expected", comparison, True),
    ("Where two ways cost the same", break_evens, False),
    ("Regions that have the machines, USD a month", regions, True),
    ("Not priced: paid for, and in no sum", unpriced, False),
    ("What it rests on", assumptions, False),
)
"""Title, rows, and whether the first row is a head."""


def text(cost: Cost, *, stack: str) -> str:
    """Write the report for a terminal."""
    sections = [
        [f"{stack} in {cost['region']}: {headline(cost)}", *(f"  {note}" for note in notes(cost))],
        ["The bill of a month", *_aligned(list(lines(cost)), numbers=range(1, 7), left=(2,))],
        *(
            [title, *_aligned(list(rows(cost)), numbers=(1, 2) if rows is comparison else (1,) if has_head else ())]
            for title, rows, has_head in SECTIONS
        ),
    ]
    return "\n\n".join("\n".join(section) for section in sections if len(section) > 1)


def _aligned(rows: Sequence[Row], *, numbers: Sequence[int], left: Sequence[int] = ()) -> Iterator[str]:
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in numbers and column not in left else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  " + "  ".join([*cells, row[-1]]).rstrip()


def markdown(cost: Cost, *, stack: str) -> str:
    """Write the report for a comment: the sum and the ways open, all else folded."""
    head = f"### {escape(stack)}: {headline(cost)}"
    folded = [
        ("The bill of a month, line by line", _table(list(lines(cost)), has_head=True)),
        *((title, _table(list(rows(cost)), has_head=has_head)) for title, rows, has_head in SECTIONS[1:]),
    ]
    return "\n\n".join(
        [
            head,
            "\n".join(f"- {escape(note)}" for note in notes(cost)),
            _table(list(comparison(cost)), has_head=True),
            *(f"<details><summary>{title}</summary>\n\n{table}\n\n</details>" for title, table in folded if table),
        ]
    )


def _table(rows: Sequence[Row], *, has_head: bool) -> str:
    if not rows:
        return ""
    head, body = (rows[0], rows[1:]) if has_head else (("",) * len(rows[0]), rows)
    written = [head, ("---",) * len(head), *body]
    return "\n".join(f"| {' | '.join(escape(cell) for cell in row)} |" for row in written)

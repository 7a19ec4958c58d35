"""What stacks cost as one HTML page with pictures: no network, no script, readable on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pages import drawn, whole
from preview.cost_text import SECTIONS, Cost, Row, headline, lines, notes

_COLORS: Final = ("#2a7f62", "#6f8fb8", "#e0a030", "#7a6fb0", "#c0504d", "#444444")
_DASHED: Final = "managed-"
"""Ways without a cluster of one's own are drawn as dashed lines."""


def page(costs: Mapping[str, Cost]) -> str:
    """Make the page of some stacks' costs; the same costs give the same bytes."""
    return whole(f"A month of {' and '.join(costs)}", (_section(stack, cost) for stack, cost in costs.items()))


def _section(stack: str, cost: Cost) -> str:
    tables = [("The bill of a month", list(lines(cost)), True)]
    tables += [(title, list(rows(cost)), has_head) for title, rows, has_head in SECTIONS]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes(cost))
    return "\n".join(
        [
            f"<h2>{escape(stack)} in {escape(cost['region'])}</h2>",
            f"<p><strong>{escape(headline(cost))}</strong></p>\n<ul>{listed}</ul>",
            picture(cost),
            *(
                f"<h3>{escape(title)}</h3>\n{_table(rows, has_head=has_head)}"
                for title, rows, has_head in tables
                if rows
            ),
        ]
    )


def _table(rows: Sequence[Row], *, has_head: bool) -> str:
    body = rows[1:] if has_head else rows
    numbers = {column for row in body for column, cell in enumerate(row) if _is_number(cell)}
    lines = ["".join(_cell(cell, "td", number=column in numbers) for column, cell in enumerate(row)) for row in body]
    if has_head:
        head = (_cell(cell, "th", number=column in numbers) for column, cell in enumerate(rows[0]))
        lines.insert(0, "".join(head))
    return '<table class="wide">\n' + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _cell(text: str, tag: str, *, number: bool) -> str:
    return f"<{tag}{' class=number' * number}>{escape(text)}</{tag}>"


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()


def picture(cost: Cost) -> str:
    """Draw the sum by part and by model, the ways to buy it, and each over the hours of use a day, as SVG."""

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(3, 1, height_ratios=(0.7, 1.6, 1.8))
        _parts(figure.add_subplot(grid[0]), cost)
        _ways(figure.add_subplot(grid[1]), cost)
        _over_hours(figure.add_subplot(grid[2]), cost)

    return drawn(draw, height=8.5)


def _parts(axes: Axes, cost: Cost) -> None:
    """One bar by part, one by model and platform."""
    shares = [*cost["models"], {"model": "platform", "usd": cost["platform"]}]
    for place, (key, found) in enumerate((("part", cost["parts"]), ("model", shares))):
        left = 0.0
        for number, item in enumerate(found):
            color = _COLORS[number % len(_COLORS)] if place == 0 else f"C{number}"
            axes.barh([-place], [item["usd"]], left=left, color=color, label=f"{item[key]} {item['usd']:,.0f}")
            left += item["usd"]
    axes.set_yticks([0, -1], ["by part", "by model"])
    axes.set_xlabel(f"{cost['currency']} a month, as expected")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, ncols=5)


def _ways(axes: Axes, cost: Cost) -> None:
    """Two bars a way: always on, and autoscaled; a way without a known price has none and says so."""
    found = list(reversed(cost["comparison"]))
    for place, way in enumerate(found):
        for shift, key, color in ((0.2, "alwaysOn", "#b8b8b8"), (-0.2, "autoscaled", "#2a7f62")):
            if way[key] is None:
                continue
            label = {"alwaysOn": "always on", "autoscaled": "autoscaled"}[key] if way is found[-1] else None
            axes.barh([place + shift], [way[key]], height=0.36, color=color, label=label)
            axes.text(way[key], place + shift, f" {way[key]:,.0f}", va="center", fontsize=8)
        if way["alwaysOn"] is None and way["autoscaled"] is None:
            axes.text(0, place, " price unknown", va="center", fontsize=8, color="#777777")
    axes.set_yticks(range(len(found)), [_named(way, cost) for way in found])
    axes.set_xlabel(f"{cost['currency']} a month")
    axes.margins(x=0.12)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), frameon=False, ncols=2)


def _named(way: Mapping[str, Any], cost: Cost) -> str:
    return f"{way['way']} (this stack)" if way["way"] == cost["capacity"] else str(way["way"])


def _over_hours(axes: Axes, cost: Cost) -> None:
    found = dict(cost["overHours"])
    hours = found.pop("hours")
    for number, (way, usd) in enumerate(found.items()):
        if all(value is None for value in usd):
            continue
        shown = [float("nan") if value is None else value for value in usd]
        style = "--" if way.startswith(_DASHED) else "-"
        axes.plot(hours, shown, style, label=way, marker=".", color=_COLORS[number % len(_COLORS)])
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 2))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("hours of use a day, autoscaled")
    axes.set_ylabel(f"{cost['currency']} a month")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), frameon=False, ncols=5)

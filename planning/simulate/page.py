"""Runs as one HTML page with pictures: no network, no script, readable on paper."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pages import drawn, table, whole
from planning.simulate.report import document, rows
from planning.simulate.results import Moment, Results, Use, quantiles
from planning.simulate.scenario import Scenario

BINS: Final = 288
"""Five minutes each, of a day."""
_COLORS: Final = {
    Use.SERVING: "#2a7f62",
    Use.IDLE: "#8fc7a8",
    Use.STARTING: "#e0a030",
    Use.DRAINING: "#7a6fb0",
    Use.EMPTY: "#b8b8b8",
}


def page(stack: str, runs: Iterable[tuple[Scenario, Results]]) -> str:
    """Make the page of a stack's runs; the same runs give the same bytes."""
    return whole(f"Simulation of {stack}", (_section(scenario, results) for scenario, results in runs))


def _section(scenario: Scenario, results: Results) -> str:
    found = document(scenario, results)
    figures = table((name, value) for name, value in rows(found))
    rests = table(
        (assumption.what, assumption.value, "; ".join(filter(None, (assumption.by, assumption.detail))))
        for assumption in scenario.assumptions
    )
    return f"<h2>{escape(scenario.model)}</h2>\n{picture(results)}\n{figures}\n<h3>What it rests on</h3>\n{rests}"


def picture(results: Results) -> str:
    """Draw requests, replicas, waits over time and GPU hours by use, as SVG."""

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(4, 1, height_ratios=(1, 1.4, 1.4, 0.5))
        first = figure.add_subplot(grid[0])
        _requests(first, results)
        _replicas(figure.add_subplot(grid[1], sharex=first), results)
        waits = figure.add_subplot(grid[2], sharex=first)
        _waits(waits, results)
        waits.set_xlabel("hours since the start")
        # Hours of a day, not tenths of one.
        first.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 3, 6, 10]))
        first.set_xlim(0, results.seconds / 3600)
        _hours(figure.add_subplot(grid[3]), results)

    return drawn(draw, height=8)


def _requests(axes: Axes, results: Results) -> None:
    width = results.seconds / BINS
    counts = [0] * BINS
    for at in results.came:
        counts[min(BINS - 1, int(at / width))] += 1
    edges = [number * width / 3600 for number in range(BINS + 1)]
    axes.stairs([count / width for count in counts], edges, fill=True, color="#6f8fb8")
    axes.set_ylabel("served\nrequests a second")


def _replicas(axes: Axes, results: Results) -> None:
    replicas(axes, {name: version.moments for name, version in results.versions.items()}, results.seconds)


def replicas(axes: Axes, versions: Mapping[str, Sequence[Moment]], seconds: float) -> None:
    """Draw how many replicas of each version served and were wanted, over hours."""
    for number, (name, moments) in enumerate(versions.items()):
        times = [moment.at / 3600 for moment in moments] + [seconds / 3600]
        color = f"C{number}"
        axes.plot(times, _last_twice(moments, "ready"), drawstyle="steps-post", color=color, label=f"{name}: serving")
        axes.plot(
            times,
            _last_twice(moments, "wanted"),
            drawstyle="steps-post",
            color=color,
            ls=":",
            label=f"{name}: wanted",
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("replicas")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=4)


def _last_twice(moments: Sequence[Moment], field: str) -> list[int]:
    values = [getattr(moment, field) for moment in moments]
    return [*values, *values[-1:]]


def _waits(axes: Axes, results: Results) -> None:
    width = results.seconds / BINS
    bins: list[list[float]] = [[] for _ in range(BINS)]
    for at, seconds in zip(results.came, results.first_token, strict=True):
        bins[min(BINS - 1, int(at / width))].append(seconds)
    middles = [(number + 0.5) * width / 3600 for number in range(BINS)]
    found = [quantiles(seconds) for seconds in bins]
    for name, values in (("p50", [q.p50 for q in found]), ("p95", [q.p95 for q in found])):
        # A gap where nobody asked; on a logarithmic axis nothing is below a hundredth.
        shown = [float("nan") if value is None else max(value, 0.01) for value in values]
        axes.plot(middles, shown, label=name, marker=".", ms=2, lw=1)
    axes.set_yscale("log")
    axes.set_ylabel("seconds to\nthe first token")
    axes.legend(loc="upper right", frameon=False, ncols=2)


def _hours(axes: Axes, results: Results) -> None:
    left = 0.0
    for use, color in _COLORS.items():
        hours = sum(s for (_, what), s in results.node_seconds.items() if what is use) * results.gpus / 3600
        if hours:
            axes.barh([0], [hours], left=left, color=color, label=f"{use} {hours:,.1f}")
        left += hours
    axes.set_yticks([])
    axes.set_xlabel("GPU hours")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=5)

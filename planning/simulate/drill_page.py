"""Drills as one HTML page: the run with the most harm over time, and how all runs recovered."""

from collections.abc import Iterable
from html import escape
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pages import drawn, table, whole
from planning.simulate.drill import Outcome, Part, Played, too_early
from planning.simulate.drill_report import document, rows
from planning.simulate.page import replicas

BARS: Final = 20
_LOSS, _CUT, _GOOD = "#c0392b", "#7a1fa2", "#2a7f62"


def page(stack: str, outcomes: Iterable[Outcome]) -> str:
    """Make the page of a stack's drills; the same drills give the same bytes."""
    return whole(f"Preemption drill of {stack}", map(_section, outcomes))


def _section(outcome: Outcome) -> str:
    figures = table(rows(document(outcome)))
    rests = table(
        (assumption.what, assumption.value, "; ".join(filter(None, (assumption.by, assumption.detail))))
        for assumption in outcome.drill.assumptions
    )
    verdict = "passed" if outcome.passed else "FAILED"
    return (
        f"<h2>{escape(outcome.drill.model)}: {verdict}</h2>\n{picture(outcome)}\n{figures}\n"
        f"<h3>What it rests on</h3>\n{rests}"
    )


def worst(outcome: Outcome) -> Played:
    """Choose the run to show: with the most answers cut too early, then the lowest share served, the most losses."""
    return max(
        outcome.of(Part.LOSSES),
        key=lambda run: (len(too_early(outcome.drill, run.cuts)), -run.share, len(run.losses), -run.seed),
    )


def picture(outcome: Outcome) -> str:
    """Draw replicas over time with what was lost, the times of recovery, and how old cut answers were, as SVG."""

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(2, 2, height_ratios=(1.5, 1))
        _over_time(figure.add_subplot(grid[0, :]), outcome, worst(outcome))
        _recoveries(figure.add_subplot(grid[1, 0]), outcome)
        _cuts(figure.add_subplot(grid[1, 1]), outcome)

    return drawn(draw, height=6)


def _over_time(axes: Axes, outcome: Outcome, run: Played) -> None:
    replicas(axes, run.moments, run.seconds)
    most = max(moment.wanted for moments in run.moments.values() for moment in moments)
    axes.set_ylim(0, most * 1.35 + 0.4)
    for number, at in enumerate(sorted({loss.at for loss in run.losses})):
        label = "_" if number else "spot node called back"
        axes.vlines(at / 3600, 0, most * 1.05, color=_LOSS, lw=1, alpha=0.5, label=label)
    cuts = sorted({cut.at for cut in too_early(outcome.drill, run.cuts)})
    if cuts:
        axes.plot([at / 3600 for at in cuts], [most * 1.08] * len(cuts), "x", color=_CUT, label="stream cut too early")
    axes.set_xlim(0, run.seconds / 3600)
    axes.set_title(f"the run of seed {run.seed}", loc="left", fontsize=9)
    axes.set_xlabel("hours since the start")
    axes.legend(loc="upper right", frameon=False, ncols=3)


def _recoveries(axes: Axes, outcome: Outcome) -> None:
    axes.set_title("until as many replicas served again, all runs", loc="left", fontsize=9)
    known = [r.seconds / 60 for run in outcome.of(Part.LOSSES) for r in run.recoveries if r.seconds is not None]
    if not known:
        _empty(axes, "no serving replica was lost, or none came back")
        return
    axes.hist(known, bins=BARS, range=(0, max(*known, 1.0)), color=_GOOD)
    axes.set_xlabel("minutes")
    axes.set_ylabel("losses")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _cuts(axes: Axes, outcome: Outcome) -> None:
    axes.set_title("age of the streams that were cut, all runs", loc="left", fontsize=9)
    runs = [*outcome.of(Part.LOSSES), *outcome.of(Part.STOPS)]
    found = [
        ([cut.seconds for run in runs for cut in run.cuts if cut.called_back is called_back], color, budget, name)
        for called_back, color, budget, name in (
            (True, _LOSS, outcome.drill.budgets.spot, "node called back"),
            (False, _CUT, outcome.drill.budgets.voluntary, "told to stop"),
        )
    ]
    if not any(ages for ages, *_ in found):
        _empty(axes, "no stream was cut")
        return
    most = max(max(ages, default=0.0) for ages, *_ in found)
    for ages, color, budget, name in found:
        if not ages:
            continue
        axes.hist(ages, bins=BARS, range=(0, most), color=color, alpha=0.6, label=name)
        if budget is not None and budget <= most:
            axes.axvline(budget, color=color, ls="--", lw=1, label=f"budget {budget:g} s")
        else:
            axes.plot([], [], color=color, ls="--", label=f"budget {budget:g} s, beyond the right edge")
    axes.set_xlabel("seconds since it was accepted")
    axes.set_ylabel("streams")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right", frameon=False)


def _empty(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0, 0.5, text, transform=axes.transAxes)
